//! No process can be started any more: the limit on processes (RLIMIT_NPROC, TasksMax, pids.max) is reached.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::printers::{self, Printers, printed};
use crate::support::proc;
use crate::support::status::{self, only_pid, pids, text};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// Root is not bound by the limit, so the daemon is somebody of whom nothing else runs here.
const NOBODY_ELSE: u32 = 61_234;

#[test]
fn where_no_process_can_be_started_those_that_run_go_on_and_the_others_follow_when_there_is_room() {
    let printers = Printers::new(20);
    printers.open_to_all();
    let printer = printers.command();
    let daemon = Daemon::start_as(
        NOBODY_ELSE,
        &format!(
            "programs:
  printer: {{command: {printer}, processes: 3}}
  web: {{command: sleep 1000, backoff: {{initial: 14s, max: 14s}}}}
"
        ),
    );
    let before = pids(&daemon.wait_running("printer"));
    let web = only_pid(&daemon.wait_running("web"));
    let (keeper, controller) = (daemon.keeper_pid(), daemon.controller_pid());
    let room = [keeper, controller].map(|pid| (pid, daemon.set_limit(pid, "nproc", "1")));

    // The next one comes from the shim that waits, which takes no fork; somebody insists, so that it comes at once.
    proc::signal(web, Signal::KILL);
    let refused = wait_for("a start that is refused", LIMIT, || {
        let program = daemon.program("web");
        match status::pids(&program).values().next() {
            Some(pid) => {
                proc::signal(*pid, Signal::KILL);
                None
            }
            None => {
                let process = status::processes(&program).next()?.clone();
                let is_refused = process["reason"].as_str()?.contains("cannot start");
                if !is_refused {
                    daemon.cli(&["start", "web", "--no-wait"]);
                }
                is_refused.then_some(process)
            }
        }
    });
    let reason = text(&refused, "reason");
    let cause = "cannot start: start process: Resource temporarily unavailable (the limit on processes is reached: \
                 `ulimit -u`, TasksMax or pids.max); starts again";
    assert!(reason.contains(cause), "{reason}");
    assert_eq!(refused["state"], "backoff");

    let spent = || -> f64 { [keeper, controller].into_iter().map(proc::processor_seconds).sum() };
    let (spent_before, lines) = (spent(), lines_of(&daemon));
    // The next attempt comes after threads that had nothing to do have ended elsewhere: what needs one goes on to work.
    let attempts = || daemon.output().matches("cannot start").count();
    let before_it = attempts();
    wait_for("another attempt", LIMIT, || (attempts() > before_it).then_some(()));
    assert!(lines_of(&daemon) > lines);
    assert!(spent() - spent_before < 8.0, "nothing turns in circles: {} s", spent() - spent_before);
    assert_eq!(daemon.controller_pid(), controller, "{}", daemon.output());
    daemon.cli_exits(0, &["stop", "printer:1"]);
    assert!(daemon.cli_exits(0, &["logs", "printer:0", "-n", "1"]).starts_with("line "));
    daemon.cli_exits(3, &["status", "web"]);

    for (pid, soft) in room {
        daemon.set_limit(pid, "nproc", &soft);
    }
    daemon.cli_exits(0, &["start", "web", "printer:1"]);
    let after = pids(&daemon.wait_running("printer"));
    for process in ["printer:0", "printer:2"] {
        assert_eq!(after[process], before[process]);
    }
    daemon.cli_exits(0, &["stop", "all"]);
    for process in ["printer:0", "printer:1", "printer:2"] {
        assert_eq!(printed(&daemon, process), printers.said(process), "{process}");
    }
}

fn lines_of(daemon: &Daemon) -> usize {
    printers::log(daemon, "printer:0").lines().count()
}
