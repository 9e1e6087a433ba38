//! Deploys with real processes: one after another, a canary first, halted by what does not live.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::{Daemon, list};
use crate::support::run::{self, script};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// A worker that says in `record` when it begins and ends, and does not live where `release` says bad.
fn worker(directory: &Path) -> String {
    let (release, record) = (directory.join("release"), directory.join("record"));
    fs::write(&release, "good\n").expect("a file in a directory of our own");
    let (release, record) = (release.display(), record.display());
    script(
        &directory.join("worker.sh"),
        &format!(
            "if [ \"$(cat {release})\" = bad ]; then echo 'no such class: Orders' >&2; exit 3; fi
trap 'sleep 0.3; echo end $LEVERET_PROCESS >> {record}; exit 0' TERM
echo begin $LEVERET_PROCESS >> {record}
while :; do sleep 0.05; done
"
        ),
    )
}

fn pids(program: &Value) -> Vec<i64> {
    list(&program["processes"]).iter().filter_map(|process| process["pid"].as_i64()).collect()
}

#[test]
fn processes_are_replaced_one_after_another_and_a_replaced_controller_goes_on_with_it() {
    let directory = run::directory("rolling");
    let command = worker(&directory);
    let mut daemon = Daemon::start(&format!("programs: {{web: {{command: {command}, processes: 4}}}}\n"));
    let before = pids(&daemon.wait_running("web"));
    fs::write(directory.join("record"), "").expect("a file of our own");

    let answer = daemon.api_post("/api/v1/programs/web/restart?rolling=true", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = answer.json()["rollout"].clone();
    daemon.wait_program("web", "one replaced", LIMIT, |web| {
        (web["rollout"]["replaced"].as_u64()? >= 1).then_some(())
    });
    let waiting = daemon.program("web")["processes"].to_string();
    assert!(waiting.contains("of 4 replaced)"), "{waiting}");
    let old = daemon.controller_pid();
    daemon.kill_controller();
    daemon.wait_next_controller(old);
    let web = daemon.wait_program("web", "all replaced", LIMIT, |web| {
        (web["rollout"]["state"] == "done").then(|| web.clone())
    });
    assert_eq!(web["rollout"]["id"], id);
    assert_eq!(web["rollout"]["replaced"], 4);
    assert!(pids(&web).iter().all(|pid| !before.contains(pid)), "{before:?} {web}");
    assert_eq!(daemon.metric("leveret_rollout_processes_replaced{program=\"web\"}"), Some(4.0));
    assert_eq!(
        daemon.metric("leveret_process_restarts_total{program=\"web\",reason=\"rollout\"}"),
        Some(4.0)
    );

    let record = fs::read_to_string(directory.join("record")).expect("they wrote it");
    let lines: Vec<&str> = record.lines().collect();
    assert_eq!(lines.len(), 8, "{record}");
    for pair in lines.chunks(2) {
        let (ended, begun) = (pair[0].strip_prefix("end "), pair[1].strip_prefix("begin "));
        assert!(ended.is_some() && ended == begun, "one is back before the next one goes: {record}");
    }
    assert_eq!(daemon.shut_down().code(), Some(0));
    daemon.assert_nothing_left();
}

#[test]
fn a_canary_that_does_not_live_touches_nothing_and_its_last_words_are_told() {
    let directory = run::directory("canary");
    let command = worker(&directory);
    let mut daemon = Daemon::start(&format!(
        "programs:
  web: {{project: shop, command: {command}, processes: 2}}
  mail: {{project: shop, command: {command}}}
"
    ));
    let before = (pids(&daemon.wait_running("web")), pids(&daemon.wait_running("mail")));

    fs::write(directory.join("release"), "bad\n").expect("a file of our own");
    let said = daemon.cli_exits(1, &["restart", "web", "--rolling", "--canary", "--timeout", "60s"]);
    assert!(
        said.contains("because web:2 ended with exit code 3 after") && said.contains("no such class: Orders"),
        "{said}"
    );
    let web = daemon.wait_running("web");
    assert_eq!(pids(&web), before.0);
    assert_eq!(web["rollout"]["state"], "halted");
    assert_eq!(daemon.metric("leveret_rollout_halted{program=\"web\"}"), Some(1.0));

    fs::write(directory.join("release"), "good\n").expect("a file of our own");
    let done =
        daemon.cli_exits(0, &["restart", "@shop", "--rolling", "--canary", "--wait", "--timeout", "60s"]);
    assert!(done.contains("web: 2 processes replaced\nmail: 1 process replaced\n"), "{done}");
    let after = (pids(&daemon.wait_running("web")), pids(&daemon.wait_running("mail")));
    assert!(after.0.iter().chain(&after.1).all(|pid| !before.0.contains(pid) && !before.1.contains(pid)));
    wait_for("the canary's slot is empty again", LIMIT, || {
        (list(&daemon.program("web")["processes"]).len() == 2).then_some(())
    });
    assert_eq!(daemon.shut_down().code(), Some(0));
    daemon.assert_nothing_left();
}

#[test]
fn a_deploy_shows_who_still_runs_the_release_before() {
    let directory = run::directory("releases");
    let link = |release: &str| {
        let (target, new, current) =
            (directory.join(release), directory.join("new"), directory.join("current"));
        fs::create_dir_all(&target).expect("a directory of our own");
        symlink(&target, &new).expect("a link of our own");
        fs::rename(&new, &current).expect("a link takes the place of another");
        fs::canonicalize(&target).expect("it was just made").display().to_string()
    };
    let old = link("releases/41");
    let current = directory.join("current");
    let mut daemon = Daemon::start(&format!(
        "programs: {{web: {{command: sleep 1000, directory: {}, processes: 3}}}}\n",
        current.display()
    ));
    let runs_in = |slot: usize, release: &str| {
        daemon.wait_program("web", release, LIMIT, |web| {
            (web["processes"][slot]["directory"] == release).then_some(())
        });
    };
    (0..3).for_each(|slot| runs_in(slot, &old));
    let new = link("releases/42");
    daemon.cli_exits(0, &["restart", "web:1"]);
    runs_in(1, &new);
    let told = format!("web:1 runs in {new}; web:0, web:2 run in {old}");
    for command in ["status", "explain"] {
        let shown = daemon.cli_exits(0, &[command, "web"]);
        assert!(shown.contains(&told), "{shown}");
    }
    assert!(daemon.get_text("/").contains(&told), "the page shows it as well");
    daemon.cli_exits(0, &["restart", "web", "--rolling", "--timeout", "60s"]);
    (0..3).for_each(|slot| runs_in(slot, &new));
    assert!(!daemon.cli_exits(0, &["status"]).contains("runs in"));
    assert_eq!(daemon.shut_down().code(), Some(0));
    daemon.assert_nothing_left();
}
