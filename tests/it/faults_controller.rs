//! The controller killed again and again: the programs and their output do not notice, and nothing that they do
//! meanwhile is missed.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use leveret::core::random::Random;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::http::{Request, send_tcp};
use crate::support::printers::{Lives, Printers, log, printed};
use crate::support::proc::{self, Process};
use crate::support::run::{self, victim};
use crate::support::status::{self, id, pids, text};
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

const KILLS: usize = 100;
const PRINTERS: u32 = 25;
const MORTALS: usize = 6;
const BY_HAND: u32 = 9;
const CYCLERS: u32 = 10;
const LINES_PER_SECOND: usize = 10;

#[test]
fn a_controller_killed_a_hundred_times_costs_no_process_no_line_no_exit_and_no_connection() {
    let stage = Stage::start();
    let daemon = &stage.daemon;
    let printers = pids(&daemon.wait_running("printer"));
    let mortals = pids(&daemon.wait_running("mortal"));
    daemon.wait_running("by-hand");
    let keeper = daemon.keeper_pid();
    let mut random = Random::new(7);
    let is_over = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let over = AtItsEnd(&is_over);
        let asking = scope.spawn(|| ask_until(&is_over, daemon.port()));
        for kill in 0..KILLS {
            stage.wait_a_moment(&mut random);
            match kill % 20 {
                3 => kill_while_one_ends(daemon, mortals[&format!("mortal:{}", kill / 20)]),
                7 | 17 => stop_by_hand_and_kill(daemon, &format!("by-hand:{}", kill / 10 % BY_HAND as usize)),
                _ => daemon.kill_controller(),
            }
            assert_eq!(pids(&daemon.program("printer")), printers, "the same processes");
        }
        drop(over);
        asking.join().expect("it asks to the end")
    });
    assert!(asked.answered > KILLS, "{asked:?}");
    assert_eq!(asked.refused, 0, "{asked:?}");
    assert_eq!(daemon.keeper_pid(), keeper);
    assert_eq!(daemon.status()["controller_restarts"], KILLS);

    stage.assert_exits_are_known(&mortals);
    daemon.cli_exits(0, &["stop", "all"]);
    let lives = stage.printers.lives();
    stage.assert_nothing_was_started_twice(&lives);
    stage.assert_ends_are_counted(&lives);
    stage.assert_no_line_is_missing_or_doubled(&lives);
}

/// Holds the controller, ends a process, and kills it before it can have heard of that.
fn kill_while_one_ends(daemon: &Daemon, exits: i32) {
    let controller = daemon.controller_pid();
    proc::signal(controller, Signal::STOP);
    wait_for("the controller held", LIMIT, || (Process::read(controller)?.state == 'T').then_some(()));
    proc::signal(exits, Signal::TERM);
    wait_for("the keeper to reap", LIMIT, || Process::read(exits).is_none().then_some(()));
    proc::signal(controller, Signal::KILL);
    daemon.wait_next_controller(controller);
}

/// Somebody stops a process, and the controller dies before it is over; then somebody starts it again.
fn stop_by_hand_and_kill(daemon: &Daemon, process: &str) {
    let stopping = daemon.cli_exits(0, &["stop", process, "--no-wait"]);
    daemon.kill_controller();
    daemon.wait_process(process, "stopped");
    let starting = daemon.cli_exits(0, &["start", process]);
    assert!(!stopping.is_empty() && !starting.is_empty());
}

/// Says that it is over, also when an assertion ends it.
struct AtItsEnd<'a>(&'a AtomicBool);

impl Drop for AtItsEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What became of requests.
#[derive(Debug, Default)]
struct Asked {
    answered: usize,
    /// No connection was made.
    refused: usize,
    /// The controller that had the request was killed.
    broken: usize,
}

/// Asks over TCP, one request after the other.
fn ask_until(is_over: &AtomicBool, port: u16) -> Asked {
    let host = format!("127.0.0.1:{port}");
    let headers = [("Host", host.as_str())];
    let mut asked = Asked::default();
    while !is_over.load(Ordering::Relaxed) {
        let request = Request { method: "GET", path: "/healthz", headers: &headers, body: "" };
        match send_tcp(port, request) {
            Ok(response) => {
                assert_eq!(response.status, 200, "{response:?}");
                asked.answered += 1;
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => asked.refused += 1,
            Err(_) => asked.broken += 1,
        }
    }
    asked
}

struct Stage {
    daemon: Daemon,
    printers: Printers,
}

impl Stage {
    /// Printers that live throughout, mortals that are not started again, some that people stop and start, and some
    /// that end by themselves all the time.
    fn start() -> Self {
        let printers = Printers::new(LINES_PER_SECOND);
        let printer = printers.command();
        let cycler = printers.other_command(
            "cycle.sh",
            "for number in 1 2 3 4 5; do echo line $number; sleep 0.2; done\nexit $((20 + LEVERET_SLOT))",
        );
        let daemon = Daemon::start(&format!(
            "programs:
  printer: {{command: {printer}, processes: {PRINTERS}}}
  mortal: {{command: {printer}, processes: {MORTALS}, restart: never}}
  by-hand: {{command: {printer}, processes: {BY_HAND}}}
  cycler: {{command: {cycler}, processes: {CYCLERS}, backoff: {{initial: 0s}}}}
"
        ));
        Self { daemon, printers }
    }

    /// Waits until a process has printed some more lines: none, or up to half a second's.
    fn wait_a_moment(&self, random: &mut Random) {
        let more = (random.next_u64() % (LINES_PER_SECOND as u64 / 2 + 1)) as usize;
        let count = || log(&self.daemon, "printer:0").lines().count();
        let before = count();
        wait_for("some more lines", LIMIT, || (count() >= before + more).then_some(()));
    }

    fn assert_exits_are_known(&self, before: &BTreeMap<String, i32>) {
        let program = self.daemon.program("mortal");
        let of = |name: &str| -> Value {
            status::processes(&program).find(|process| id(process) == name).expect("it is shown").clone()
        };
        let ended = KILLS / 20;
        for slot in 0..ended {
            let process = of(&format!("mortal:{slot}"));
            assert_eq!(
                (text(&process, "state"), text(&process, "exit")),
                ("exited", &*format!("exit code {}", 10 + slot))
            );
        }
        let last = format!("mortal:{ended}");
        assert_eq!((text(&of(&last), "state"), pids(&program)[&last]), ("running", before[&last]));
    }

    fn assert_nothing_was_started_twice(&self, lives: &Lives) {
        assert_eq!(lives.len(), (PRINTERS + BY_HAND + CYCLERS) as usize + MORTALS);
        for (process, lives) in lives {
            if process.starts_with("printer:") || process.starts_with("mortal:") {
                assert_eq!(lives.len(), 1, "{process}: {lives:?}");
            }
        }
    }

    /// Every life of those that end by themselves is counted with its code; the last one was stopped, or just ended.
    fn assert_ends_are_counted(&self, lives: &Lives) {
        let explanation = self.daemon.api_get("/api/v1/explain/cycler");
        let deaths = explanation["deaths"].as_array().expect("a list");
        for slot in 0..CYCLERS {
            let cause = format!("exit code {}", 20 + slot);
            let of_slot = deaths.iter().find(|death| text(death, "cause") == cause);
            let count = of_slot.and_then(|death| death["count"].as_u64()).unwrap_or_default();
            let lives = lives[&format!("cycler:{slot}")].len() as u64;
            assert!(lives > 5, "{lives}");
            assert!(count == lives || count + 1 == lives, "cycler:{slot}: {count} of {lives}: {explanation}");
        }
    }

    fn assert_no_line_is_missing_or_doubled(&self, lives: &Lives) {
        for (process, lives) in lives {
            let ends = printed(&self.daemon, process);
            if process.starts_with("cycler:") {
                // One that was stopped in its first moment has printed nothing; all before it came to their fifth line.
                assert!(ends.len() == lives.len() || ends.len() + 1 == lives.len(), "{process}: {ends:?}");
                let ended_by_themselves = ends.iter().take(lives.len() - 1);
                assert!(ended_by_themselves.copied().all(|end| end == 5), "{process}: {ends:?}");
            } else {
                assert_eq!(ends.len(), lives.len(), "{process}: {ends:?}");
                assert_eq!(ends, self.printers.said(process), "{process}");
            }
        }
    }
}

#[test]
fn a_follower_of_a_log_misses_nothing_when_the_controller_is_replaced() {
    let directory = run::directory("followed");
    let printed = directory.join("printed");
    let command = victim(&format!("--print-until-term {} --rate 50", printed.display()));
    let daemon = Daemon::start(&format!("programs:\n  web: {{command: {command}}}\n"));
    daemon.wait_running("web");
    let output = directory.join("output");
    let file = fs::File::create(&output).expect("the directory is ours");
    let mut follower =
        daemon.cli_command(&["logs", "web", "-f", "-n", "10000"]).stdout(file).spawn().expect("it starts");
    // Between them are Leveret's own words about the process.
    let printed_lines = |path: &Path| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("line ")).map(str::to_owned).collect()
    };
    let lines = |path: &Path| printed_lines(path).len();
    for _ in 0..3 {
        let before = lines(&output);
        wait_for("lines that are followed", LIMIT, || (lines(&output) > before + 20).then_some(()));
        daemon.kill_controller();
    }
    let before = lines(&output);
    wait_for("lines that are followed", LIMIT, || (lines(&output) > before).then_some(()));
    daemon.cli_exits(0, &["stop", "web"]);
    let count: usize = fs::read_to_string(&printed).expect("it wrote").trim_end().parse().expect("a number");
    wait_for("all lines followed", LIMIT, || (lines(&output) >= count).then_some(()));
    proc::signal(crate::support::command::pid_of(&follower), Signal::INT);
    let status = crate::support::command::wait_for_exit("leveret logs -f", &mut follower, LIMIT);
    assert_eq!(status.code(), Some(0));
    let expected: Vec<String> = (1..=count).map(|number| format!("line {number}")).collect();
    assert_eq!(printed_lines(&output), expected);
}
