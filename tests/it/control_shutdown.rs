//! The end of Leveret: by signal and by command, in parallel, and by force when somebody insists.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::run::{self, script, victim};
use crate::support::status::only_pid;
use crate::support::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// Processes that end only when all of them have been told to: stopped one after the other they would be killed, and
/// never write that they ended.
struct Party {
    record: PathBuf,
    command: String,
}

impl Party {
    const SIZE: usize = 5;

    fn new() -> Self {
        let directory = run::directory("party");
        let record = directory.join("record");
        let (shown, size) = (record.display(), Self::SIZE);
        let command = script(
            &directory.join("party.sh"),
            &format!(
                "trap 'echo \"begin $LEVERET_PROGRAM\" >> {shown}
                       while [ \"$(grep -c begin {shown})\" -lt {size} ]; do sleep 0.05; done
                       echo \"end $LEVERET_PROGRAM\" >> {shown}
                       exit 0' TERM
echo \"ready $LEVERET_PROGRAM\" >> {shown}
while :; do sleep 0.05; done
"
            ),
        );
        Self { record, command }
    }

    fn start(&self) -> Daemon {
        let mut yaml = String::from("defaults: {stop: {timeout: 20s}}\nprograms:\n");
        for number in 0..Self::SIZE {
            yaml.push_str(&format!("  guest{number}: {{command: {}}}\n", self.command));
        }
        let daemon = Daemon::start(&yaml);
        wait_for("all guests", LIMIT, || (self.count("ready") == Self::SIZE).then_some(()));
        daemon
    }

    fn count(&self, what: &str) -> usize {
        read(&self.record).matches(what).count()
    }
}

#[test]
fn programs_are_stopped_in_parallel_whoever_asks() {
    for ask in [Ask::Signal(Signal::TERM), Ask::Signal(Signal::INT), Ask::Command] {
        let party = Party::new();
        let mut daemon = party.start();
        match ask {
            Ask::Signal(signal) => daemon.signal(signal),
            Ask::Command => assert_eq!(daemon.cli_exits(0, &["shutdown"]), "Leveret has ended.\n"),
        }
        assert_eq!(daemon.wait_exit().code(), Some(0), "{ask:?}");
        assert_eq!(party.count("end"), Party::SIZE, "{ask:?}: {}", read(&party.record));
        daemon.assert_nothing_left();
        assert!(!daemon.socket_path().exists());
        assert!(daemon.output().contains("everything has ended"), "{}", daemon.output());
    }
}

#[derive(Debug)]
enum Ask {
    Signal(Signal),
    Command,
}

#[test]
fn a_second_sigterm_kills_what_has_not_ended() {
    let started = run::directory("stubborn").join("pids");
    let stubborn = victim(&format!("--ignore-term --grandchild-session --pids {}", started.display()));
    let mut daemon =
        Daemon::start(&format!("programs:\n  stubborn: {{command: {stubborn}, stop: {{timeout: 3600s}}}}\n"));
    daemon.wait_running("stubborn");
    wait_for("the grandchild", LIMIT, || read(&started).contains("grandchild").then_some(()));
    daemon.signal(Signal::TERM);
    let process = daemon.wait_process("stubborn", "stopping");
    assert!(
        process["reason"].as_str().is_some_and(|reason| reason.contains("Leveret shuts down")),
        "{process}"
    );
    let refused = daemon.cli_exits(1, &["start", "stubborn"]);
    assert!(refused.contains("Leveret is shutting down"), "{refused}");
    assert_eq!(daemon.status()["shutting_down"], true);

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit().code(), Some(0));
    daemon.assert_nothing_left();
}

#[test]
fn a_shutdown_goes_on_when_its_controller_is_killed() {
    let release = run::directory("slow").join("go");
    let command = script(
        &release.with_file_name("slow.sh"),
        &format!(
            "trap 'while [ ! -e {} ]; do sleep 0.05; done; exit 0' TERM\nwhile :; do sleep 0.05; done\n",
            release.display()
        ),
    );
    let mut daemon = Daemon::start(&format!(
        "programs:\n  slow: {{command: {command}, stop: {{timeout: 300s}}}}\n  web: {{command: sleep 1000}}\n"
    ));
    let slow = only_pid(&daemon.wait_running("slow"));
    daemon.wait_running("web");
    daemon.signal(Signal::TERM);
    daemon.wait_process("web", "stopped");
    daemon.wait_process("slow", "stopping");
    daemon.kill_controller();
    let status = daemon.status();
    assert_eq!(status["shutting_down"], true, "it was told before");
    assert_eq!(only_pid(&daemon.program("slow")), slow, "its work is not cut short");
    assert_eq!(daemon.program("web")["processes"][0]["state"], "stopped", "and nothing is started again");
    fs::write(&release, "").expect("the directory is ours");
    assert_eq!(daemon.wait_exit().code(), Some(0));
    daemon.assert_nothing_left();
}

#[test]
fn a_shutdown_takes_no_longer_than_it_may_whatever_a_program_may() {
    let directory = run::directory("overdue");
    let record = directory.join("record");
    let text = format!("trap '' TERM\necho ready > {}\nexec sleep 1000\n", record.display());
    let deaf = script(&directory.join("deaf.sh"), &text);
    let mut daemon = Daemon::start(&format!(
        "shutdown_timeout: 1s\nprograms: {{deaf: {{command: {deaf}, stop: {{timeout: 1h}}}}}}\n"
    ));
    daemon.wait_running("deaf");
    wait_for("the trap", LIMIT, || (read(&record) == "ready\n").then_some(()));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit().code(), Some(0));
    let output = daemon.output();
    assert!(output.contains("the shutdown has taken 1s: what is left is killed"), "{output}");
    daemon.assert_nothing_left();
}

#[test]
fn a_stop_climbs_its_ladder_of_signals() {
    let directory = run::directory("ladder");
    let record = directory.join("record");
    let command = script(
        &directory.join("deaf.sh"),
        &format!(
            "trap 'echo term >> {0}' TERM\ntrap 'echo quit >> {0}; exit 0' QUIT\necho ready >> {0}\nwhile :; do sleep 0.05; done\n",
            record.display()
        ),
    );
    let daemon = Daemon::start(&format!(
        "programs:\n  deaf: {{command: {command}, stop: [{{signal: TERM, for: 500ms}}, {{signal: QUIT, for: 300s}}, KILL]}}\n"
    ));
    wait_for("the traps", LIMIT, || (read(&record) == "ready\n").then_some(()));
    daemon.cli_exits(0, &["stop", "deaf"]);
    assert_eq!(read(&record), "ready\nterm\nquit\n");
    assert_eq!(daemon.program("deaf")["processes"][0]["exit"], "exit code 0");
}

#[test]
fn leveret_ends_with_a_critical_program_and_its_exit_code() {
    let end = run::directory("critical").join("end");
    let command = script(
        &end.with_file_name("critical.sh"),
        &format!("while [ ! -e {} ]; do sleep 0.05; done\nexit 7\n", end.display()),
    );
    let mut daemon = Daemon::start(&format!(
        "programs:
  main: {{command: {command}, critical: true, backoff: {{initial: 0s, give_up_after: 2}}}}
  web: {{command: sleep 1000, processes: 2}}
"
    ));
    daemon.wait_running("main");
    daemon.wait_running("web");
    fs::write(&end, "").expect("the directory is ours");
    assert_eq!(daemon.wait_exit().code(), Some(7));
    let output = daemon.output();
    assert!(
        output.contains("main is critical and has ended for good: Leveret shuts down with exit code 7"),
        "{output}"
    );
    daemon.assert_nothing_left();
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
