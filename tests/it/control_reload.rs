//! Reading the configuration again: only what changed is touched, and a broken file changes nothing.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::faults_start::{FIVE_MISTAKES, assert_five_errors};
use crate::support::daemon::Daemon;
use crate::support::run::{self, script};
use crate::support::status::{all_pids, only_pid, pids, text};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

const BEFORE: &str = "programs:
  web: {command: sleep 1000, processes: 2}
  api: {command: sleep 1000}
  old: {command: sleep 1000}
";

const AFTER: &str = "programs:
  web: {command: sleep 1000, processes: 3, stop: {timeout: 7s}}
  api: {command: sleep 2000}
  new: {command: sleep 1000}
";

fn start() -> Daemon {
    let daemon = Daemon::start(BEFORE);
    for name in ["web", "api", "old"] {
        daemon.wait_running(name);
    }
    daemon
}

#[test]
fn a_reload_adds_removes_and_changes_programs_and_touches_nothing_else() {
    let daemon = start();
    let before = all_pids(&daemon.status());
    daemon.write_config(AFTER);
    let changes = "restart    api: command (1 process)\n\
                   removed    old (1 process)\n\
                   in place   web: processes, stop.timeout\n\
                   added      new\n";
    assert_eq!(daemon.cli_exits(0, &["reload", "--plan"]), changes);
    assert_eq!(all_pids(&daemon.status()), before, "a plan changes nothing");
    assert_eq!(daemon.cli_exits(0, &["reload"]), changes);
    let after = daemon.wait_status("the new configuration in force", LIMIT, |status| {
        let now = all_pids(status);
        let is_new = now.keys().eq(["api", "new", "web:0", "web:1", "web:2"]) && now["api"] != before["api"];
        is_new.then_some(now)
    });
    for name in ["web:0", "web:1"] {
        assert_eq!(after[name], before[name], "{name} goes on");
    }
    assert_eq!(daemon.program("api")["restarts_by_reason"]["changed"], 1);
    daemon.wait_status("the removed program forgotten", LIMIT, |status| {
        (status["programs"].as_array()?.iter().all(|program| program["name"] != "old")).then_some(())
    });
    daemon.cli_exits(4, &["status", "old"]);

    // The next controller goes on with the configuration that was read last.
    daemon.wait_running("api");
    let settled = all_pids(&daemon.status());
    daemon.kill_controller();
    assert_eq!(all_pids(&daemon.status()), settled);
    assert_eq!(daemon.program("web")["configured"], 3);
}

#[test]
fn a_reload_of_the_same_file_changes_nothing() {
    let daemon = start();
    let before = all_pids(&daemon.status());
    assert_eq!(daemon.cli_exits(0, &["reload"]), "nothing changed\n");
    let plan = daemon.cli_exits(0, &["reload", "--plan"]);
    assert_eq!(plan, "unchanged  web\nunchanged  api\nunchanged  old\nnothing would change\n");
    daemon.write_config(&format!("# A comment.\n{BEFORE}"));
    assert_eq!(daemon.cli_exits(0, &["reload"]), "nothing changed\n");
    daemon.signal(Signal::HUP);
    daemon.wait_output_count("configuration read: 0 added, 0 removed, 0 restarted, 0 adjusted", 3, LIMIT);
    assert_eq!(all_pids(&daemon.status()), before);
}

#[test]
fn a_broken_file_keeps_the_running_configuration_and_says_so() {
    let daemon = start();
    let before = all_pids(&daemon.status());
    daemon.write_config(FIVE_MISTAKES);

    let said = daemon.cli_exits(2, &["reload", "--plan"]);
    assert_five_errors(said.strip_prefix("error: ").expect("it is an error"), Daemon::CONFIG_HEAD_LINES);
    assert_eq!(daemon.status()["config_error"], Value::Null, "a plan leaves no trace");
    let said = daemon.cli_exits(2, &["reload"]);
    assert_five_errors(said.strip_prefix("error: ").expect("it is an error"), Daemon::CONFIG_HEAD_LINES);
    assert!(said.contains("the configuration was not changed, because the file has mistakes"), "{said}");
    let status = daemon.status();
    assert_five_errors(text(&status, "config_error"), Daemon::CONFIG_HEAD_LINES);
    assert_eq!(all_pids(&status), before);
    let answer = daemon.api_post("/api/v1/reload", "");
    assert_eq!(answer.status, 422, "{answer:?}");
    let page = daemon.get_text("/");
    assert!(page.contains("The configuration file has errors"), "{page}");
    assert!(daemon.get_text("/metrics").lines().any(|line| line == "leveret_config_error 1"));

    daemon.write_config(BEFORE);
    daemon.cli_exits(0, &["reload"]);
    assert_eq!(daemon.status()["config_error"], Value::Null);
    assert_eq!(all_pids(&daemon.status()), before);
}

#[test]
fn sighup_reads_the_file_and_a_broken_one_changes_nothing() {
    let daemon = start();
    let before = all_pids(&daemon.status());
    daemon.write_config(FIVE_MISTAKES);
    daemon.signal(Signal::HUP);
    daemon.wait_status("the error shown", LIMIT, |status| status["config_error"].as_str().map(drop));
    daemon.wait_output("unknown key `proceses`", LIMIT);
    assert_eq!(all_pids(&daemon.status()), before);

    daemon.write_config(AFTER);
    daemon.signal(Signal::HUP);
    daemon.wait_running("new");
    assert_eq!(daemon.status()["config_error"], Value::Null);
}

#[test]
fn a_broken_file_does_not_hurt_the_next_controller() {
    let daemon = start();
    let before = all_pids(&daemon.status());
    daemon.write_config(FIVE_MISTAKES);
    daemon.kill_controller();
    assert_eq!(all_pids(&daemon.status()), before);
    assert_eq!(daemon.wait_running("web")["running"], 2);
}

#[test]
fn a_removed_program_that_is_slow_to_end_is_shown_until_it_has_ended() {
    let release = run::directory("slow").join("go");
    let script = script(
        &release.with_file_name("slow.sh"),
        &format!(
            "trap 'while [ ! -e {} ]; do sleep 0.05; done; exit 0' TERM\nwhile :; do sleep 0.05; done\n",
            release.display()
        ),
    );
    let daemon =
        Daemon::start(&format!("programs:\n  slow: {{command: {script}, stop: {{timeout: 300s}}}}\n"));
    let pid = only_pid(&daemon.wait_running("slow"));
    daemon.write_config("programs: {}\n");
    assert_eq!(
        daemon.cli_exits(0, &["reload"]),
        "removed    slow (1 process)\nwarning: there are no programs in this configuration\n"
    );
    let process = daemon.wait_process("slow", "stopping");
    assert!(text(&process, "reason").contains("its program was removed"), "{process}");
    daemon.kill_controller();
    assert_eq!(
        pids(&daemon.program("slow")).into_values().collect::<Vec<_>>(),
        [pid],
        "and by the next controller"
    );
    fs::write(&release, "").expect("the directory is ours");
    daemon
        .wait_status("it has gone", LIMIT, |status| status["programs"].as_array()?.is_empty().then_some(()));
}

#[test]
fn what_an_operator_set_survives_and_output_goes_elsewhere_without_a_restart() {
    let directory = run::directory("elsewhere");
    let command = script(
        &directory.join("say.sh"),
        "trap 'echo again' USR1\necho begin\nwhile :; do sleep 0.05; done\n",
    );
    let log = directory.join("new.log");
    let config = |processes: u32, rest: &str| {
        format!(
            "programs:\n  say: {{command: {command}, processes: {processes}{rest}}}\n  other: {{command: sleep 1000, processes: 2}}\n"
        )
    };
    let daemon = Daemon::start(&config(1, ""));
    daemon.wait_running("say");
    daemon.wait_running("other");
    daemon.cli_exits(0, &["stop", "other:1"]);
    daemon.cli_exits(0, &["scale", "say", "2"]);
    daemon.wait_status("two of it", LIMIT, |status| (all_pids(status).len() == 3).then_some(()));
    let before = all_pids(&daemon.status());
    daemon.write_config(&config(3, &format!(", log: {{path: {}}}, backoff: {{max: 5s}}", log.display())));
    let said = daemon.cli_exits(0, &["reload"]);
    assert_eq!(said, "in place   say: processes, log.path, backoff.max\n");
    daemon.cli_exits(0, &["signal", "say", "USR1"]);
    wait_for("the words of both in the new file", LIMIT, || {
        (fs::read_to_string(&log).ok()? == "again\nagain\n").then_some(())
    });
    assert_eq!(all_pids(&daemon.status()), before, "the count and the stop are as they were set");
}
