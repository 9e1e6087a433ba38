//! The keeper killed, and Leveret started again: the programs do not notice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::proc;
use crate::support::run::{self, script, victim};
use crate::support::status::{self, only_pid, pids, text};
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(60);
const KILLS: usize = 20;
const PRINTERS: u32 = 10;
const LINES_PER_SECOND: usize = 100;

#[test]
fn a_keeper_killed_twenty_times_costs_no_process_and_no_line() {
    let directory = run::directory("printers");
    let shown = directory.display();
    let printer = victim(&format!(
        "--pids {shown}/starts --role $LEVERET_PROCESS/$LEVERET_INCARNATION --rate {LINES_PER_SECOND} \
         --print-until-term {shown}/printed.$LEVERET_SLOT"
    ));
    let printer = script(&directory.join("print.sh"), &format!("exec {printer}\n"));
    let mortal = victim(&format!("--pids {shown}/mortals --exit-after 0.2 --exit-code 3"));
    let mut daemon = Daemon::start(&format!(
        "programs:
  printer: {{command: {printer}, processes: {PRINTERS}}}
  mortal: {{command: {mortal}, processes: 4, backoff: {{initial: 0s}}}}
"
    ));
    let printers = pids(&daemon.wait_running("printer"));
    for _ in 0..KILLS {
        wait_lines(&daemon, LINES_PER_SECOND / 4);
        let old = daemon.keeper_pid();
        daemon.kill_keeper();
        daemon.start_again();
        assert_ne!(daemon.keeper_pid(), old);
        let program = daemon.program("printer");
        assert_eq!(pids(&program), printers, "the same processes");
        for process in status::processes(&program).filter(|process| process["state"] == "running") {
            let reason = text(process, "reason");
            assert_eq!(reason, "taken over from an earlier Leveret; its exit code will be unknown");
        }
        daemon.kill_controller();
        assert_eq!(pids(&daemon.program("printer")), printers, "the same processes, by the next controller");
    }
    wait_lines(&daemon, LINES_PER_SECOND / 2);
    daemon.cli_exits(0, &["stop", "all"]);

    let starts = fs::read_to_string(directory.join("starts")).expect("they wrote");
    assert_eq!(starts.lines().count(), PRINTERS as usize, "none was started twice:\n{starts}");
    for slot in 0..PRINTERS {
        let count: usize = read_number(&directory.join(format!("printed.{slot}")));
        let expected: String = (1..=count).map(|number| format!("line {number}\n")).collect();
        assert_eq!(log(&daemon, &format!("printer.{slot}")), expected, "printer:{slot}");
    }
    let mortals = fs::read_to_string(directory.join("mortals")).expect("they wrote");
    assert!(mortals.lines().count() > KILLS * 4, "they went on to be restarted:\n{mortals}");
}

#[test]
fn a_keeper_killed_during_a_mass_start_starts_nothing_twice() {
    let directory = run::directory("mass");
    let shown = directory.display();
    let command = script(
        &directory.join("mass.sh"),
        &format!("echo $LEVERET_SLOT $$ >> {shown}/starts\nexec sleep 1000\n"),
    );
    let mut daemon = Daemon::start(&format!(
        "programs:\n  mass: {{command: {command}, processes: 50, autostart: false}}\n"
    ));
    for kill in 0..3 {
        let before = lines(&directory);
        let mut start = daemon.cli_command(&["start", "mass", "--no-wait"]);
        // What it is told when its Leveret is killed is another test's.
        let mut starting =
            start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("leveret can be run");
        wait_for("some to be started", LIMIT, || (lines(&directory) > before + 15 * kill).then_some(()));
        daemon.kill_keeper();
        crate::support::command::wait_for_exit("leveret start", &mut starting, LIMIT);
        daemon.start_again();
        daemon.cli_exits(0, &["start", "mass"]);
        daemon.wait_running("mass");
        let shown = pids(&daemon.program("mass"));
        let mut living: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        let starts = fs::read_to_string(directory.join("starts")).expect("they wrote");
        for line in starts.lines() {
            let (slot, pid) = line.split_once(' ').expect("a slot and a pid");
            let pid: i32 = pid.parse().expect("a number");
            if proc::Process::read(pid).is_some_and(|process| !process.is_zombie()) {
                living.entry(format!("mass:{slot}")).or_default().push(pid);
            }
        }
        let expected = shown.into_iter().map(|(process, pid)| (process, vec![pid])).collect();
        assert_eq!(living, expected, "kill {kill}");
        daemon.cli_exits(0, &["stop", "mass"]);
    }
}

#[test]
fn what_changed_in_the_file_before_the_next_start_is_treated_as_by_a_reload() {
    let directory = run::directory("changed");
    let printed = directory.join("printed");
    let kept = victim(&format!("--print-until-term {} --rate 50", printed.display()));
    let mut daemon = Daemon::start(&format!(
        "programs:
  kept: {{command: {kept}}}
  changed: {{command: sleep 1000}}
  removed: {{command: sleep 1001, stop: {{timeout: 5s}}}}
  fewer: {{command: sleep 1002, processes: 3}}
"
    ));
    let of = |daemon: &Daemon, name: &str| only_pid(&daemon.wait_running(name));
    let (old_kept, changed, removed) = (of(&daemon, "kept"), of(&daemon, "changed"), of(&daemon, "removed"));
    let fewer = pids(&daemon.wait_running("fewer"));
    daemon.kill_keeper();
    daemon.write_config(&format!(
        "programs:
  kept: {{command: {kept}}}
  changed: {{command: sleep 2000}}
  fewer: {{command: sleep 1002, processes: 1}}
"
    ));
    daemon.start_again();
    assert_eq!(of(&daemon, "kept"), old_kept);
    wait_for("the changed one to be replaced", LIMIT, || {
        let program = daemon.wait_running("changed");
        (only_pid(&program) != changed).then_some(())
    });
    let is_gone = |pid: i32| proc::Process::read(pid).is_none_or(|process| process.is_zombie());
    wait_for("the removed one to be stopped", LIMIT, || is_gone(removed).then_some(()));
    wait_for("two of three to be stopped", LIMIT, || {
        let left: Vec<_> = fewer.values().filter(|pid| !is_gone(**pid)).collect();
        (left.len() == 1).then_some(())
    });
    daemon.wait_status("the removed one forgotten", LIMIT, |status| {
        let programs = status["programs"].as_array()?;
        (programs.len() == 3).then_some(())
    });
}

#[test]
fn an_adopted_process_that_dies_counts_as_failed_and_is_started_again_by_its_policy() {
    let mut daemon = Daemon::start(
        "programs:
  web: {command: sleep 1000, backoff: {initial: 0s}}
  once: {command: sleep 1001, restart: never}
",
    );
    let web = only_pid(&daemon.wait_running("web"));
    let once = only_pid(&daemon.wait_running("once"));
    daemon.kill_keeper();
    daemon.start_again();
    daemon.wait_running("once");
    proc::signal(web, Signal::TERM);
    proc::signal(once, Signal::TERM);
    assert_eq!(text(&daemon.wait_process("once", "exited"), "exit"), "ended, exit code unknown");
    let process = daemon.wait_program("web", "another process", LIMIT, |program| {
        let process = status::processes(program).next()?.clone();
        (process["state"] == "running" && process["pid"] != web).then_some(process)
    });
    assert_eq!(text(&process, "exit"), "ended, exit code unknown");
    assert_eq!(process["restarts"], 1);
}

#[test]
fn a_clean_end_leaves_nothing_to_take_over() {
    let mut daemon = Daemon::start("programs:\n  web: {command: sleep 1000}\n");
    let web = only_pid(&daemon.wait_running("web"));
    assert!(daemon.shut_down().success());
    assert!(!daemon.directory().join("run/lives").exists());
    daemon.start_again();
    assert_ne!(only_pid(&daemon.wait_running("web")), web);
}

/// Waits until every printer has printed so many more lines.
fn wait_lines(daemon: &Daemon, more: usize) {
    let count = |slot: u32| log(daemon, &format!("printer.{slot}")).lines().count();
    let before: Vec<usize> = (0..PRINTERS).map(count).collect();
    wait_for_state("more lines of everybody", LIMIT, || {
        let now: Vec<usize> = (0..PRINTERS).map(count).collect();
        let all = now.iter().zip(&before).all(|(now, before)| *now >= before + more);
        if all { Ok(()) } else { Err(format!("{before:?}, now {now:?}")) }
    });
}

fn log(daemon: &Daemon, name: &str) -> String {
    let path: PathBuf = daemon.logs_directory().join(format!("{name}.log"));
    fs::read_to_string(path).unwrap_or_default()
}

fn lines(directory: &Path) -> usize {
    fs::read_to_string(directory.join("starts")).unwrap_or_default().lines().count()
}

fn read_number(path: &Path) -> usize {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim_end().parse().expect("it wrote a number, once")
}
