//! The controller killed again and again: the programs and their output do not notice, and nothing that they do
//! meanwhile is missed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::proc::{self, Process};
use crate::support::run::{self, script, victim};
use crate::support::status::{self, id, only_pid, pids, text};
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(60);

/// Kills come in bursts: within one the controllers die young and the next ones wait a little; between them one lives
/// long enough to count as healthy.
const BURSTS: usize = 4;
const KILLS_IN_A_BURST: usize = 5;
const PRINTERS: u32 = 18;
const MORTALS: usize = BURSTS + 1;
const LINES_PER_SECOND: usize = 20;
/// A healthy controller is one of 2 s.
const LINES_BETWEEN_BURSTS: usize = 5 * LINES_PER_SECOND / 2;

#[test]
fn a_controller_killed_twenty_times_costs_no_process_no_line_and_no_exit() {
    let stage = Stage::start();
    let daemon = &stage.daemon;
    let printers = pids(&daemon.wait_running("printer"));
    let mortals = pids(&daemon.wait_running("mortal"));
    daemon.wait_running("phoenix");
    let keeper = daemon.keeper_pid();

    for burst in 0..BURSTS {
        stage.wait_lines(LINES_BETWEEN_BURSTS);
        for kill in 0..KILLS_IN_A_BURST {
            if kill == 2 {
                let mortal = mortals[&format!("mortal:{burst}")];
                kill_while_processes_end(daemon, mortal, only_pid(&daemon.wait_running("phoenix")));
            } else {
                daemon.kill_controller();
            }
            assert_eq!(pids(&daemon.program("printer")), printers, "the same processes");
        }
    }
    assert_eq!(daemon.keeper_pid(), keeper);
    assert_eq!(daemon.status()["controller_restarts"], BURSTS * KILLS_IN_A_BURST);
    stage.wait_lines(LINES_PER_SECOND);

    stage.assert_exits_are_known(&mortals);
    daemon.cli_exits(0, &["stop", "all"]);
    stage.assert_nothing_was_started_twice();
    stage.assert_no_line_is_missing_or_doubled();
}

/// Holds the controller, ends two processes, and kills it before it can have heard of that.
fn kill_while_processes_end(daemon: &Daemon, exits: i32, is_killed: i32) {
    let controller = daemon.controller_pid();
    proc::signal(controller, Signal::STOP);
    wait_for("the controller held", LIMIT, || (Process::read(controller)?.state == 'T').then_some(()));
    proc::signal(exits, Signal::TERM);
    proc::signal(is_killed, Signal::KILL);
    wait_for("the keeper to reap", LIMIT, || {
        [exits, is_killed].iter().all(|pid| Process::read(*pid).is_none()).then_some(())
    });
    proc::signal(controller, Signal::KILL);
    daemon.wait_next_controller(controller);
}

struct Stage {
    daemon: Daemon,
    directory: PathBuf,
}

impl Stage {
    /// Printers that live throughout, mortals that are not started again, and one that is at once.
    fn start() -> Self {
        let directory = run::directory("printers");
        let shown = directory.display();
        let printer = victim(&format!(
            "--pids {shown}/starts --role $LEVERET_PROGRAM:$LEVERET_SLOT/$LEVERET_INCARNATION --rate {LINES_PER_SECOND} \
             --print-until-term {shown}/printed.$LEVERET_PROGRAM.$LEVERET_SLOT --term-exit-code $((10 + LEVERET_SLOT))"
        ));
        let command = script(&directory.join("print.sh"), &format!("exec {printer}\n"));
        let daemon = Daemon::start(&format!(
            "programs:
  printer: {{command: {command}, processes: {PRINTERS}}}
  mortal: {{command: {command}, processes: {MORTALS}, restart: never}}
  phoenix: {{command: {command}, backoff: {{initial: 0s}}}}
"
        ));
        Self { daemon, directory }
    }

    /// Waits until every process that lives has printed so many more lines.
    fn wait_lines(&self, more: usize) {
        let alive = status::all_pids(&self.daemon.status());
        let count = |name: &String| self.log(name).lines().count();
        let before: BTreeMap<&String, usize> = alive.keys().map(|name| (name, count(name))).collect();
        wait_for_state("more lines of everybody", LIMIT, || {
            let late: Vec<&&String> = before
                .iter()
                .filter(|(name, before)| count(name) < **before + more)
                .map(|(name, _)| name)
                .collect();
            if late.is_empty() { Ok(()) } else { Err(format!("nothing yet of {late:?}")) }
        });
    }

    /// The file that a process's output is in; of a program with one process its slot is 0.
    fn log(&self, process: &str) -> String {
        let (program, slot) = process.split_once(':').unwrap_or((process, "0"));
        fs::read_to_string(self.daemon.logs_directory().join(format!("{program}.{slot}.log")))
            .unwrap_or_default()
    }

    /// What a process says that it has printed in its last life.
    fn printed(&self, process: &str) -> usize {
        let (program, slot) = process.split_once(':').unwrap_or((process, "0"));
        let path = self.directory.join(format!("printed.{program}.{slot}"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim_end().parse().expect("it wrote a number, once")
    }

    fn assert_exits_are_known(&self, before: &BTreeMap<String, i32>) {
        let program = self.daemon.program("mortal");
        let of = |name: &str| -> Value {
            status::processes(&program).find(|process| id(process) == name).expect("it is shown").clone()
        };
        for burst in 0..BURSTS {
            let process = of(&format!("mortal:{burst}"));
            assert_eq!(
                (text(&process, "state"), text(&process, "exit")),
                ("exited", &*format!("exit code {}", 10 + burst))
            );
        }
        let last = format!("mortal:{BURSTS}");
        assert_eq!((text(&of(&last), "state"), pids(&program)[&last]), ("running", before[&last]));
        let phoenix = self.daemon.wait_running("phoenix");
        let process = status::processes(&phoenix).next().expect("it has one").clone();
        assert_eq!(
            (text(&process, "exit"), &process["restarts"]),
            ("killed by SIGKILL", &Value::from(BURSTS))
        );
    }

    fn assert_nothing_was_started_twice(&self) {
        let text = fs::read_to_string(self.directory.join("starts")).expect("they wrote");
        let mut lives: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in text.lines() {
            let (process, life) = line.split_once('/').expect("the role has both");
            lives.entry(process).or_default().push(life);
        }
        assert_eq!(lives.len(), PRINTERS as usize + MORTALS + 1);
        for (process, lives) in lives {
            let expected = if process == "phoenix:0" { BURSTS + 1 } else { 1 };
            assert_eq!(lives.len(), expected, "{process}: {lives:?}");
        }
    }

    fn assert_no_line_is_missing_or_doubled(&self) {
        for slot in 0..PRINTERS {
            self.assert_lines(&format!("printer:{slot}"), 1);
        }
        for slot in 0..MORTALS {
            self.assert_lines(&format!("mortal:{slot}"), 1);
        }
        self.assert_lines("phoenix", BURSTS + 1);
    }

    /// Every life counts from 1 without a gap, and the last one as far as it says itself.
    fn assert_lines(&self, process: &str, lives: usize) {
        let log = self.log(process);
        let numbers: Vec<usize> = log
            .lines()
            .map(|line| {
                line.strip_prefix("line ")
                    .and_then(|number| number.parse().ok())
                    .unwrap_or_else(|| panic!("{process}: {line:?}"))
            })
            .collect();
        let mut begun = 0;
        let mut before = 0;
        for number in &numbers {
            begun += usize::from(*number == 1);
            assert!(*number == 1 || *number == before + 1, "{process}: {number} follows {before}");
            before = *number;
        }
        assert_eq!(
            (begun, before),
            (lives, self.printed(process)),
            "{process}: lives, and lines of the last one"
        );
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
    let lines = |path: &Path| fs::read_to_string(path).unwrap_or_default().lines().count();
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
    let expected: String = (1..=count).map(|number| format!("line {number}\n")).collect();
    assert_eq!(fs::read_to_string(&output).expect("it is ours"), expected);
}
