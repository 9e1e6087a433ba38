//! Commands that run at moments of the lives of processes.

use std::fs;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::run;
use crate::support::status::{only_pid, processes};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// Says how it was run, goes on while there is a file `wait`, and succeeds where there is one `well`.
const PREPARE: &str = r#"
echo "$LEVERET_HOOK of $LEVERET_PROCESS $KIND in $(basename "$PWD")" | tee -a begun
while test -e wait; do sleep 0.05; done
test -e well
"#;

#[test]
fn a_process_starts_when_its_hook_has_succeeded_whoever_of_the_controllers_waits_for_it() {
    let directory = run::directory("pre-start");
    let prepare = run::script(&directory.join("prepare.sh"), PREPARE);
    let shown = directory.display();
    fs::write(directory.join("wait"), "").expect("the directory is ours");
    let mut daemon = Daemon::start(&format!(
        "programs:
  web:
    command: sleep 1000
    directory: {shown}
    environment: {{KIND: own}}
    hooks: {{pre_start: {{command: {prepare}, timeout: 10m}}}}
    backoff: {{initial: 10m, max: 10m}}
"
    ));
    let begun = || fs::read_to_string(directory.join("begun")).unwrap_or_default();
    wait_for("the hook", LIMIT, || (!begun().is_empty()).then_some(()));
    let web = daemon.wait_process("web", "starting");
    let reason = web["reason"].as_str().expect("it has one");
    assert!(reason.starts_with("starting: pre_start runs; it has failed in "), "{reason}");
    assert!(web["pid"].is_null());
    daemon.kill_controller();
    fs::remove_file(directory.join("wait")).expect("it is there");
    daemon.wait_process("web", "backoff");
    let failed = "cannot start: pre_start ended with exit code 1; starts again in ";
    daemon.wait_program("web", "why it does not start", LIMIT, |program| {
        processes(program).next()?["reason"].as_str()?.starts_with(failed).then_some(())
    });
    let name = directory.file_name().expect("it has one").to_string_lossy();
    let line = format!("pre_start of web:0 own in {name}\n");
    assert_eq!(begun(), line, "the next controller did not run it again");
    assert!(daemon.cli_exits(0, &["logs", "web"]).contains(line.trim_end()));

    fs::write(directory.join("well"), "").expect("the directory is ours");
    daemon.cli_exits(0, &["start", "web"]);
    let first = only_pid(&daemon.wait_running("web"));
    assert_eq!(begun(), line.repeat(2));
    daemon.kill_controller();
    assert_eq!(only_pid(&daemon.wait_running("web")), first);
    daemon.cli_exits(0, &["restart", "web"]);
    assert_ne!(only_pid(&daemon.wait_running("web")), first);
    assert_eq!(begun(), line.repeat(3), "once before every start");
    daemon.shut_down();
    daemon.assert_nothing_left();
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_all_that_it_started_and_so_is_one_that_nobody_waits_for() {
    let directory = run::directory("slow-hook");
    let slow = run::script(&directory.join("slow.sh"), "sleep 5432 &\nsleep 5432\n");
    let path = directory.join("slow.sh");
    let path = path.display();
    let mut daemon = Daemon::start(&format!(
        "programs:
  late:
    command: sleep 1000
    hooks: {{pre_start: {{command: [/bin/sh, {path}], timeout: 1s}}}}
    backoff: {{initial: 10m, max: 10m}}
  stopped: {{command: sleep 1000, hooks: {{pre_start: {slow}}}}}
"
    ));
    daemon.wait_program("late", "a hook that takes too long", LIMIT, |program| {
        let reason = processes(program).next()?["reason"].as_str()?.to_owned();
        reason.starts_with("cannot start: pre_start did not end within 1s; starts again in ").then_some(())
    });
    daemon.cli_exits(0, &["stop", "stopped"]);
    daemon.wait_process("stopped", "stopped");
    let sleeping =
        || daemon.processes().iter().filter(|process| process.command_line.contains("5432")).count();
    wait_for("the end of all hooks", LIMIT, || (sleeping() == 0).then_some(()));
    daemon.shut_down();
    daemon.assert_nothing_left();
}

/// Says what it was told, goes on while there is a file of its name, and succeeds unless that is `post_ready`.
const TELL: &str = r#"
echo "$LEVERET_HOOK of $LEVERET_PROCESS $KIND code=$LEVERET_EXIT_CODE signal=$LEVERET_EXIT_SIGNAL" | tee -a told
if test -n "$LEVERET_PID"; then kill -0 "$LEVERET_PID" || echo "$LEVERET_HOOK: nobody there" >> told; fi
while test -e "$LEVERET_HOOK"; do sleep 0.05; done
test "$LEVERET_HOOK" != post_ready
"#;

#[test]
fn hooks_run_once_at_their_moments_whoever_of_the_controllers_is_there() {
    let directory = run::directory("hooks");
    let tell = run::script(&directory.join("tell.sh"), TELL);
    let shown = directory.display();
    let mut daemon = Daemon::start(&format!(
        "programs:
  web:
    command: sleep 1000
    directory: {shown}
    environment: {{KIND: own}}
    hooks: {{post_ready: {tell}, pre_stop: {{command: {tell}, timeout: 10m}}, post_exit: {tell}}}
"
    ));
    let told = || fs::read_to_string(directory.join("told")).unwrap_or_default();
    let tells = |line: &str, times: usize| {
        wait_for(line, LIMIT, || {
            (told().lines().filter(|told| *told == line).count() == times).then_some(())
        });
    };
    let first = only_pid(&daemon.wait_running("web"));
    tells("post_ready of web:0 own code= signal=", 1);
    wait_for("the failure to be said", LIMIT, || {
        daemon.output().contains("web: post_ready ended with exit code 1").then_some(())
    });
    daemon.kill_controller();
    assert_eq!(only_pid(&daemon.wait_running("web")), first);

    fs::write(directory.join("pre_stop"), "").expect("the directory is ours");
    daemon.cli_exits(0, &["stop", "web", "--no-wait"]);
    tells("pre_stop of web:0 own code= signal=", 1);
    let web = daemon.wait_process("web", "stopping");
    let reason = web["reason"].as_str().expect("it has one");
    assert!(reason.starts_with("stopping: pre_stop runs; the stop signal follows in "), "{reason}");
    daemon.kill_controller();
    daemon.wait_process("web", "stopping");
    assert!(daemon.processes().iter().any(|process| process.pid == first), "it goes on");
    fs::remove_file(directory.join("pre_stop")).expect("it is there");
    daemon.wait_process("web", "stopped");
    tells("post_exit of web:0 own code= signal=SIGTERM", 1);

    fs::write(directory.join("post_exit"), "").expect("the directory is ours");
    daemon.cli_exits(0, &["start", "web"]);
    let second = only_pid(&daemon.wait_running("web"));
    tells("post_ready of web:0 own code= signal=", 2);
    daemon.cli_exits(0, &["signal", "web", "KILL"]);
    tells("post_exit of web:0 own code= signal=SIGKILL", 1);
    daemon.kill_controller();
    let third = daemon.wait_program("web", "another process while the hook runs", LIMIT, |program| {
        processes(program).find_map(|process| process["pid"].as_i64().filter(|pid| *pid != i64::from(second)))
    });
    fs::remove_file(directory.join("post_exit")).expect("it is there");
    daemon.wait_running("web");
    tells("post_ready of web:0 own code= signal=", 3);
    assert_eq!(i64::from(only_pid(&daemon.wait_running("web"))), third);
    let log = daemon.cli_exits(0, &["logs", "web"]);
    assert!(log.contains("post_exit of web:0 own code= signal=SIGKILL"), "{log}");
    daemon.shut_down();
    daemon.assert_nothing_left();
    let all = told();
    let count = |hook: &str| all.lines().filter(|line| line.starts_with(hook)).count();
    assert_eq!((count("post_ready"), count("pre_stop"), count("post_exit")), (3, 2, 3), "{all}");
    assert!(!all.contains("nobody there"), "{all}");
}

#[test]
fn hooks_that_take_too_long_are_killed_with_all_that_they_started_and_a_shutdown_goes_on() {
    let directory = run::directory("slow-hooks");
    let slow = run::script(&directory.join("slow.sh"), "sleep 6543 &\nsleep 6543\n");
    let path = directory.join("slow.sh");
    let path = path.display();
    let mut daemon = Daemon::start(&format!(
        "programs:
  late:
    command: sleep 1000
    hooks:
      pre_stop: {{command: [/bin/sh, {path}], timeout: 1s}}
      post_exit: {{command: [/bin/sh, {path}], timeout: 1s}}
      post_ready: {slow}
"
    ));
    let pid = only_pid(&daemon.wait_running("late"));
    let sleeping =
        || daemon.processes().iter().filter(|process| process.command_line.contains("6543")).count();
    wait_for("the hook of what is ready", LIMIT, || (sleeping() >= 2).then_some(()));
    daemon.cli_exits(0, &["restart", "late"]);
    assert_ne!(only_pid(&daemon.wait_running("late")), pid);
    for hook in ["pre_stop", "post_exit"] {
        let said = format!("late: {hook} did not end within 1s");
        wait_for(&said, LIMIT, || daemon.output().contains(&said).then_some(()));
    }
    assert!(!daemon.output().contains("late: post_ready"), "it was for nothing any more");
    daemon.shut_down();
    daemon.assert_nothing_left();
}
