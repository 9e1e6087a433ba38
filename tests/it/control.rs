//! Start, stop, restart, copy, scale and auto of the real daemon: by command and by POST, for every kind of name, and
//! what of it lasts.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::http::{Request, Response};
use crate::support::run::{self, script, victim};
use crate::support::status::{self, all_pids, id, only_pid, pids, text};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// Two programs of a project and one of none.
const PROGRAMS: &str = "programs:
  web: {command: sleep 1000, processes: 2, project: shop}
  api: {command: sleep 1000, project: shop}
  mail: {command: sleep 1000}
";

fn start() -> Daemon {
    let daemon = Daemon::start(PROGRAMS);
    for name in ["web", "api", "mail"] {
        daemon.wait_running(name);
    }
    daemon
}

fn states(daemon: &Daemon) -> Vec<(String, String)> {
    let status = daemon.status();
    let programs = status["programs"].as_array().expect("there is a list").iter();
    programs
        .flat_map(status::processes)
        .map(|process| (id(process), text(process, "state").to_owned()))
        .collect()
}

/// The names that are not running.
fn stopped(daemon: &Daemon) -> Vec<String> {
    states(daemon).into_iter().filter(|(_, state)| state != "running").map(|(name, _)| name).collect()
}

#[test]
fn a_process_a_program_a_project_and_all_are_stopped_and_started_by_command() {
    let daemon = start();
    let before = all_pids(&daemon.status());
    let cases: [(&str, &[&str]); 4] = [
        ("web:1", &["web:1"]),
        ("web", &["web:0", "web:1"]),
        ("@shop", &["web:0", "web:1", "api"]),
        ("all", &["web:0", "web:1", "api", "mail"]),
    ];
    for (name, concerned) in cases {
        let said = daemon.cli_exits(0, &["stop", name]);
        assert!(said.starts_with(&format!("{name}: ")) && said.ends_with("stopped\n"), "{said}");
        // The command returned, so it has come about: nothing is waited for here.
        assert_eq!(stopped(&daemon), concerned, "stop {name}");
        assert_eq!(states(&daemon).iter().filter(|(_, state)| state == "stopped").count(), concerned.len());
        daemon.cli_exits(3, &["status", "web:1"]);

        daemon.cli_exits(0, &["start", name]);
        assert!(stopped(&daemon).is_empty(), "start {name}: {:?}", states(&daemon));
        daemon.cli_exits(0, &["status", "web:1"]);
    }
    let after = all_pids(&daemon.status());
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(after.iter().all(|(name, pid)| before[name] != *pid), "each was stopped once at least");
    assert_eq!(daemon.zombies(), []);
}

#[test]
fn a_restart_replaces_what_it_names_and_nothing_else() {
    let daemon = start();
    for (name, concerned) in [("web:0", 1), ("web", 2), ("@shop", 3), ("all", 4)] {
        let before = all_pids(&daemon.status());
        daemon.cli_exits(0, &["restart", name]);
        let after = all_pids(&daemon.status());
        assert_eq!(after.len(), 4, "{after:?}");
        assert_eq!(
            after.iter().filter(|(name, pid)| before[*name] != **pid).count(),
            concerned,
            "restart {name}"
        );
    }
    assert_eq!(daemon.program("web")["restarts_by_reason"]["operator"], 7);
}

#[test]
fn a_service_is_copied_scaled_and_given_back_to_the_file() {
    let daemon = start();
    let first = only_pid(&daemon.program("api"));
    assert_eq!(daemon.cli_exits(0, &["copy", "api"]), "api:1: added\n");
    let copied = daemon.program("api");
    assert_eq!((copied["desired"].as_u64(), copied["configured"].as_u64()), (Some(2), Some(1)));
    assert_eq!(copied["hold"]["processes"], 2);
    assert_eq!(pids(&copied)["api:0"], first, "a copy leaves the others alone");

    daemon.cli_exits(0, &["scale", "api", "4"]);
    assert_eq!(pids(&daemon.wait_running("api")).len(), 4);
    assert!(text(&daemon.program("api"), "reason").contains("held at 4 by an operator (command line)"));
    daemon.cli_exits(0, &["scale", "api", "0"]);
    daemon.wait_program("api", "none left", LIMIT, |program| pids(program).is_empty().then_some(()));

    daemon.cli_exits(0, &["auto", "api"]);
    let released = daemon.wait_running("api");
    assert_eq!((released["desired"].as_u64(), &released["hold"]), (Some(1), &Value::Null));
    assert_eq!(text(&released, "reason"), "one process, as configured");

    assert!(daemon.cli_exits(2, &["copy", "@shop"]).contains("copy takes a program"));
    assert!(daemon.cli_exits(2, &["scale", "api", "1001"]).contains("the most is 1000"));
    assert_eq!(daemon.program("api")["desired"], 1);
}

#[test]
fn the_exit_code_says_what_became_of_a_command() {
    let daemon = start();
    daemon.cli_exits(0, &["status"]);
    for wrong in
        [&["stop"][..], &["scale", "web"], &["scale", "web", "many"], &["start", "we b"], &["nonsense"]]
    {
        daemon.cli_exits(2, wrong);
    }
    for verb in ["start", "stop", "restart", "copy", "status", "logs", "explain"] {
        let said = daemon.cli_exits(4, &[verb, "wbe"]);
        assert!(said.contains("there is no program") && said.contains("wbe"), "{said}");
    }
    for name in ["web:2", "@shp"] {
        daemon.cli_exits(4, &["stop", name]);
    }
    assert!(stopped(&daemon).is_empty(), "{:?}", states(&daemon));
    daemon.cli_exits(5, &["status", "--server", "unix:/nonexistent/leveret.sock"]);
}

#[test]
fn one_stopped_by_hand_is_said_to_be_and_the_others_go_on() {
    let daemon = start();
    let before = pids(&daemon.program("web"))["web:0"];
    daemon.cli_exits(0, &["stop", "web:1"]);
    let program = daemon.program("web");
    assert_eq!(text(&program, "reason"), "one of 2 processes is stopped by an operator");
    assert_eq!((program["desired"].as_u64(), program["running"].as_u64()), (Some(1), Some(1)));
    let process = daemon.wait_process("web:1", "stopped");
    assert_eq!(text(&process, "reason"), "stopped by an operator");
    assert_eq!(pids(&program)["web:0"], before);
    daemon.cli_exits(0, &["status"]);
}

#[test]
fn a_stop_waits_until_the_process_has_ended_and_a_start_until_it_runs() {
    let directory = run::directory("slow");
    let go = directory.join("go");
    // It ends when the file is there, not before.
    let command = script(
        &directory.join("slow.sh"),
        &format!(
            "trap 'while [ ! -e {} ]; do sleep 0.05; done; exit 0' TERM\nwhile :; do sleep 0.05; done\n",
            go.display()
        ),
    );
    let daemon =
        Daemon::start(&format!("programs:\n  slow: {{command: {command}, stop: {{timeout: 300s}}}}\n"));
    let pid = only_pid(&daemon.wait_running("slow"));
    let mut stop = daemon.cli_command(&["stop", "slow"]).spawn().expect("it starts");
    daemon.wait_process("slow", "stopping");
    let late = daemon.cli_exits(1, &["stop", "slow", "--timeout", "300ms"]);
    assert!(
        late.contains("not done after 300ms: stopping: 0 of 1 done, waiting for slow (asked to stop"),
        "{late}"
    );
    assert_eq!(crate::support::command::exit_of(&mut stop), None, "it waits for a process that lives");
    assert_eq!(only_pid(&daemon.program("slow")), pid);
    fs::write(&go, "").expect("the directory is ours");
    let status = crate::support::command::wait_for_exit("leveret stop", &mut stop, LIMIT);
    assert_eq!(status.code(), Some(0));
    assert_eq!(daemon.program("slow")["processes"][0]["state"], "stopped");

    daemon.cli_exits(0, &["start", "slow"]);
    assert_eq!(daemon.program("slow")["processes"][0]["state"], "running");
}

#[test]
fn a_process_that_keeps_failing_makes_its_start_fail_and_is_given_up_when_told_so() {
    let state = run::directory("failing").join("starts");
    let command = victim(&format!("--exit-code 7 --state {}", state.display()));
    let daemon = Daemon::start(&format!(
        "programs:\n  failing:\n    command: {command}\n    autostart: false\n    backoff: {{initial: 10ms, give_up_after: 3}}\n"
    ));
    daemon.cli_exits(0, &["status"]);
    assert!(text(&daemon.program("failing"), "reason").contains("autostart is off"));
    let said = daemon.cli_exits(1, &["start", "failing"]);
    assert!(said.starts_with("error: failing: "), "{said}");
    let process = daemon.wait_process("failing", "failed");
    assert_eq!(text(&process, "exit"), "exit code 7");
    assert!(
        text(&process, "reason").starts_with("given up after 3 failures in a row, the last one: exit code 7")
    );
    assert_eq!(fs::read_to_string(&state).expect("it started").len(), 3);
    daemon.cli_exits(3, &["status", "failing"]);
    daemon.wait_output("failing: ended with exit code 7", LIMIT);
}

/// POST as a script does it over TCP: no header but Host.
fn post(daemon: &Daemon, path: &str, body: &str) -> Response {
    let host = format!("127.0.0.1:{}", daemon.port());
    daemon.tcp(Request { method: "POST", path, headers: &[("Host", &host)], body })
}

#[test]
fn every_action_works_by_post() {
    let daemon = start();
    let before = all_pids(&daemon.status());
    let wait = |what: &str, done: &dyn Fn(&Value) -> bool| {
        daemon.wait_status(what, LIMIT, |status| done(status).then_some(()));
    };
    let count = |status: &Value| all_pids(status).len();
    let accepted = |path: &str, body: &str, processes: &[&str]| {
        let response = post(&daemon, path, body);
        assert_eq!(response.status, 200, "{path}: {response:?}");
        let answer = response.json();
        assert!(answer["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
        assert_eq!(answer["processes"], serde_json::json!(processes), "{path}");
    };

    accepted("/api/v1/processes/web:1/stop", "", &["web:1"]);
    wait("one less", &|status| count(status) == 3);
    accepted("/api/v1/processes/web:1/start", "", &["web:1"]);
    wait("all four", &|status| count(status) == 4);
    accepted("/api/v1/processes/mail/restart", "", &["mail"]);
    wait("another mail", &|status| all_pids(status).get("mail").is_some_and(|pid| *pid != before["mail"]));
    accepted("/api/v1/programs/mail/copy", "", &["mail:1"]);
    wait("two mails", &|status| count(status) == 5);
    accepted("/api/v1/programs/mail/scale", r#"{"processes":3}"#, &["mail:0", "mail:1", "mail:2"]);
    wait("three mails", &|status| count(status) == 6);
    let response = post(&daemon, "/api/v1/programs/mail/auto", "");
    assert_eq!(response.status, 200, "{response:?}");
    wait("one mail", &|status| count(status) == 4);
    accepted("/api/v1/projects/shop/stop", "", &["web:0", "web:1", "api"]);
    wait("only mail", &|status| all_pids(status).keys().eq(["mail"]));
    accepted("/api/v1/projects/shop/start", "", &["web:0", "web:1", "api"]);
    wait("all four", &|status| count(status) == 4);
    accepted("/api/v1/all/stop", "", &["web:0", "web:1", "api", "mail"]);
    wait("none", &|status| count(status) == 0);
    accepted("/api/v1/all/start", "", &["web:0", "web:1", "api", "mail"]);
    wait("all four", &|status| count(status) == 4);
    let between = all_pids(&daemon.status());
    accepted("/api/v1/all/restart", "", &["web:0", "web:1", "api", "mail"]);
    wait("four others", &|status| {
        let now = all_pids(status);
        now.len() == 4 && now.iter().all(|(name, pid)| between[name] != *pid)
    });
}

#[test]
fn a_post_that_cannot_be_done_says_why_and_changes_nothing() {
    let daemon = start();
    let before = all_pids(&daemon.status());
    let cases = [
        ("/api/v1/programs/wbe/stop", "", 404, "there is no program \"wbe\""),
        ("/api/v1/processes/web:7/stop", "", 404, "there is no process \"web:7\""),
        ("/api/v1/projects/shp/stop", "", 404, "there is no project \"shp\""),
        ("/api/v1/programs/web:1/stop", "", 404, "web:1 is a process, not a program"),
        ("/api/v1/programs/web/explode", "", 404, "explode"),
        ("/api/v1/programs/web/scale", r#"{"processes":1001}"#, 400, "the most is 1000"),
        ("/api/v1/programs/web/scale", "", 400, "processes"),
        ("/api/v1/programs/web/scale", r#"{"proceses":1}"#, 400, "proceses"),
        ("/api/v1/all/scale", r#"{"processes":1}"#, 400, "one program"),
        ("/api/v1/shutdown", "", 403, "needs the Unix socket"),
        ("/api/v1/status", "", 405, "POST"),
    ];
    for (path, body, code, sentence) in cases {
        let response = post(&daemon, path, body);
        assert_eq!(response.status, code, "{path}: {response:?}");
        let answer = response.json();
        assert!(text(&answer, "error").contains(sentence), "{path}: {answer}");
    }
    assert_eq!(all_pids(&daemon.status()), before);
    let absent = daemon.api_post("/api/v1/nothing", "");
    assert_eq!(absent.status, 404);
}

#[test]
fn what_an_operator_set_outlives_the_controller_and_leveret_itself() {
    let mut daemon = start();
    daemon.cli_exits(0, &["stop", "mail"]);
    daemon.cli_exits(0, &["stop", "web:0"]);
    daemon.cli_exits(0, &["scale", "api", "3"]);
    daemon.wait_running("api");
    let before = all_pids(&daemon.status());
    assert_eq!(before.keys().collect::<Vec<_>>(), ["api:0", "api:1", "api:2", "web:1"]);

    daemon.kill_controller();
    assert_eq!(all_pids(&daemon.status()), before, "the same processes");
    assert_set_by_the_operator(&daemon);

    daemon.cli_exits(0, &["shutdown"]);
    assert!(daemon.wait_exit().success());
    daemon.assert_nothing_left();
    daemon.start_again();
    daemon.wait_running("api");
    daemon.wait_running("web");
    let after = all_pids(&daemon.status());
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_set_by_the_operator(&daemon);

    daemon.cli_exits(0, &["start", "all"]);
    daemon.cli_exits(0, &["auto", "api"]);
    let alone = |program: &Value| pids(program).keys().eq(["api"]).then_some(());
    daemon.wait_program("api", "one again", LIMIT, alone);
    assert_eq!(all_pids(&daemon.status()).keys().collect::<Vec<_>>(), ["api", "mail", "web:0", "web:1"]);
}

fn assert_set_by_the_operator(daemon: &Daemon) {
    assert!(text(&daemon.program("mail"), "reason").starts_with("stopped by an operator"));
    assert_eq!(daemon.program("mail")["desired"], 0);
    assert_eq!(text(&daemon.program("web"), "reason"), "one of 2 processes is stopped by an operator");
    let api = daemon.program("api");
    assert_eq!((&api["hold"]["processes"], &api["configured"]), (&Value::from(3), &Value::from(1)));
}

#[test]
fn a_signal_goes_to_the_main_processes_and_changes_nothing_that_is_wanted() {
    let directory = run::directory("signals");
    let seen = directory.join("seen");
    let command = script(
        &directory.join("signal.sh"),
        &format!(
            "trap 'echo \"$LEVERET_PROCESS\" >> {}' USR1\necho ready\nwhile :; do sleep 0.05; done\n",
            seen.display()
        ),
    );
    let daemon = Daemon::start(&format!("programs:\n  web: {{command: {command}, processes: 2}}\n"));
    let before = pids(&daemon.wait_running("web"));
    wait_for("both traps set", LIMIT, || {
        (daemon.cli_exits(0, &["logs", "web"]).matches("ready").count() == 2).then_some(())
    });
    daemon.cli_exits(0, &["signal", "web:1", "USR1"]);
    wait_for("the signal", LIMIT, || (fs::read_to_string(&seen).ok()? == "web:1\n").then_some(()));
    assert_eq!(pids(&daemon.wait_running("web")), before);
}
