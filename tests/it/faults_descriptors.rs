//! File descriptors are used up: of the keeper, of the controller, or from the start.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::command::wait_for_exit;
use crate::support::daemon::Daemon;
use crate::support::printers::{Printers, log, printed};
use crate::support::proc;
use crate::support::run::{self, script};
use crate::support::status::{self, only_pid, pids, text};
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(60);

/// Below every number that is free: what is open stays open, and nothing more can be opened.
const NONE_FREE: &str = "3";

#[test]
fn a_keeper_without_descriptors_says_so_starts_nothing_and_goes_on_where_it_was() {
    let stage = Stage::start();
    let daemon = &stage.daemon;
    let printers = pids(&daemon.wait_running("printer"));
    let web = only_pid(&daemon.wait_running("web"));
    let keeper = daemon.keeper_pid();
    let room = daemon.set_limit(keeper, "nofile", NONE_FREE);
    proc::signal(web, Signal::KILL);
    let cause = "Too many open files (`ulimit -n`, LimitNOFILE); starts again";
    let process = daemon.wait_program("web", "a start that is refused", LIMIT, |program| {
        let process = status::processes(program).next()?.clone();
        process["reason"].as_str()?.contains(cause).then_some(process)
    });
    assert_eq!(text(&process, "state"), "backoff");
    let spent = proc::processor_seconds(keeper);
    stage.wait_lines(60);
    let spent = proc::processor_seconds(keeper) - spent;
    assert!(spent < 1.5, "nothing turns in circles: {spent} s");
    assert_eq!(pids(&daemon.program("printer")), printers);

    daemon.set_limit(keeper, "nofile", &room);
    daemon.wait_running("web");
    let output = daemon.output();
    assert!(output.matches("failed to look for processes").count() <= 1, "{output}");
    stage.assert_no_line_is_lost();
}

#[test]
fn a_controller_without_descriptors_loses_nothing_and_answers_when_there_are_some() {
    let stage = Stage::start();
    let daemon = &stage.daemon;
    let printers = pids(&daemon.wait_running("printer"));
    let web = only_pid(&daemon.wait_running("web"));
    let controller = daemon.controller_pid();
    stage.wait_lines(5);
    let room = daemon.set_limit(controller, "nofile", NONE_FREE);
    // A new life, whose output cannot be read yet, and one that is over before it can be.
    proc::signal(web, Signal::KILL);
    daemon.wait_output("the output of web cannot be read yet", LIMIT);
    let second =
        wait_for("its second life", LIMIT, || stage.printers.last_pid("web:0").filter(|pid| *pid != web));
    proc::signal(second, Signal::KILL);
    wait_for("its third life", LIMIT, || (stage.printers.lives()["web:0"].len() == 3).then_some(()));
    let mut asking = daemon.cli_command(&["status"]).stdout(Stdio::null()).spawn().expect("it starts");
    let spent = proc::processor_seconds(controller);
    stage.wait_lines(60);
    let spent = proc::processor_seconds(controller) - spent;
    assert!(spent < 1.5, "nothing turns in circles: {spent} s");

    daemon.set_limit(controller, "nofile", &room);
    assert_eq!(wait_for_exit("leveret status", &mut asking, LIMIT).code(), Some(0));
    daemon.wait_running("web");
    assert_eq!(daemon.controller_pid(), controller);
    assert_eq!(pids(&daemon.program("printer")), printers);
    wait_for_state("the first lines of each life", LIMIT, || match log(daemon, "web:0") {
        lines if lines == "born\nborn\nborn\n" => Ok(()),
        lines => Err(lines),
    });
    let output = daemon.output();
    for sentence in ["cannot be read yet", "connections cannot be accepted"] {
        assert_eq!(output.matches(sentence).count(), 1, "{sentence}: {output}");
    }
    stage.assert_no_line_is_lost();
}

/// Printers that live throughout, and a process that says a word and waits.
struct Stage {
    daemon: Daemon,
    printers: Printers,
}

impl Stage {
    fn start() -> Self {
        let printers = Printers::new(20);
        let printer = printers.command();
        let web = printers.other_command("web.sh", "echo born\nexec sleep 1000");
        let daemon = Daemon::start(&format!(
            "programs:
  printer: {{command: {printer}, processes: 3}}
  web: {{command: {web}, backoff: {{initial: 100ms, max: 1s}}}}
"
        ));
        Self { daemon, printers }
    }

    fn wait_lines(&self, more: usize) {
        let count = || log(&self.daemon, "printer:0").lines().count();
        let before = count();
        wait_for("some more lines", LIMIT, || (count() >= before + more).then_some(()));
    }

    fn assert_no_line_is_lost(&self) {
        self.daemon.cli_exits(0, &["stop", "printer"]);
        for process in ["printer:0", "printer:1", "printer:2"] {
            assert_eq!(printed(&self.daemon, process), self.printers.said(process), "{process}");
        }
    }
}

#[test]
fn with_few_descriptors_as_many_run_as_can_and_all_that_run_are_looked_after() {
    let directory = run::directory("many");
    let command = script(
        &directory.join("many.sh"),
        "for number in 1 2 3 4 5; do echo line $number; done\nexec sleep 1000\n",
    );
    let daemon = Daemon::start_after(
        "ulimit -n 128",
        &format!(
            "programs:\n  many: {{command: {command}, processes: 200, backoff: {{initial: 100ms, max: 500ms}}}}\n"
        ),
    );
    let program = daemon.wait_program("many", "each running or refused", LIMIT, |program| {
        let is_settled = |process: &serde_json::Value| {
            process["state"] == "running"
                || process["reason"].as_str().is_some_and(|reason| reason.contains("Too many open files"))
        };
        status::processes(program).all(is_settled).then(|| program.clone())
    });
    let running = pids(&program);
    assert!((40..100).contains(&running.len()), "{} run", running.len());
    for process in running.keys() {
        wait_for_state("its lines", LIMIT, || match log(&daemon, process) {
            lines if lines == "line 1\nline 2\nline 3\nline 4\nline 5\n" => Ok(()),
            lines => Err(format!("{process}: {lines}")),
        });
    }
    // People come all the same, several at one time.
    let mut asking: Vec<_> = (0..8)
        .map(|_| {
            let mut command = daemon.cli_command(&["logs", "many", "-n", "1"]);
            command.stdout(Stdio::null()).spawn().expect("it starts")
        })
        .collect();
    for asking in &mut asking {
        assert_eq!(wait_for_exit("leveret logs", asking, LIMIT).code(), Some(0));
    }
    let stopped: Vec<&str> = running.keys().take(10).map(String::as_str).collect();
    daemon.cli_exits(0, &[&["stop"], stopped.as_slice()].concat());
    daemon.wait_program("many", "others in their place", LIMIT, |program| {
        (pids(program).len() >= running.len()).then_some(())
    });
    let controllers = daemon.status()["controller_restarts"].clone();
    assert_eq!(controllers, 0, "{}", daemon.output());
}
