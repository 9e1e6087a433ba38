//! Orphans: what the processes leave behind comes to Leveret, which reaps it; as process 1 of a container as well.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::proc::{self, Process};
use crate::support::run::{self, script, victim};
use crate::support::status::only_pid;
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(60);

const ORPHANS: usize = 10;
const ORPHANS_OF_PROCESS_1: usize = 1_000;

#[test]
fn orphans_are_adopted_and_reaped() {
    let orphanage = Orphanage::new(ORPHANS);
    let daemon = Daemon::start(&orphanage.configuration());
    orphanage.assert_orphans_are_reaped(&daemon);
}

#[test]
fn as_process_1_a_thousand_orphans_are_reaped_and_sigterm_ends_everything() {
    let orphanage = Orphanage::new(ORPHANS_OF_PROCESS_1);
    let stubborn = victim("--ignore-term --daemonize --grandchild-session");
    let stubborn = format!("  stubborn:\n    command: {stubborn}\n    stop: {{timeout: 2s}}\n");
    let Some(mut daemon) = Daemon::start_as_pid_1(&(orphanage.configuration() + &stubborn)) else {
        skip("a pid namespace is not permitted here: Leveret was NOT tested as process 1");
        return;
    };
    assert_eq!(daemon.status()["pid"], 1);
    orphanage.assert_orphans_are_reaped(&daemon);

    let parent = only_pid(&daemon.wait_running("parent"));
    daemon.kill_controller();
    assert_eq!(only_pid(&daemon.wait_running("parent")), parent);

    // One ignores the signal, with a child in a session of its own and a daemon that has cleared its environment.
    daemon.wait_running("stubborn");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit().code(), Some(0));
    daemon.assert_nothing_left();
}

/// A program that starts processes and forgets them.
struct Orphanage {
    directory: PathBuf,
    /// A named pipe: a line in it lets one orphan go.
    gate: PathBuf,
    orphans: usize,
}

impl Orphanage {
    fn new(orphans: usize) -> Self {
        let directory = run::directory("orphans");
        let gate = directory.join("gate");
        mknodat(CWD, &gate, FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("a named pipe can be made");
        Self { directory, gate, orphans }
    }

    fn configuration(&self) -> String {
        let orphan = self.script("orphan.sh", &format!("read -r _ < {}\n", self.gate.display()));
        let orphans = self.orphans;
        let parent = self.script(
            "parent.sh",
            &format!(
                "i=0\nwhile [ $i -lt {orphans} ]; do ({orphan} &); i=$((i + 1)); done\nexec sleep 1000\n"
            ),
        );
        format!("programs:\n  parent:\n    command: {parent}\n    stop: {{timeout: 5s}}\n")
    }

    fn script(&self, name: &str, text: &str) -> String {
        script(&self.directory.join(name), text)
    }

    fn assert_orphans_are_reaped(&self, daemon: &Daemon) {
        let keeper = daemon.keeper_pid();
        wait_for("the orphans adopted", LIMIT, || (orphans_of(keeper).len() == self.orphans).then_some(()));
        assert_eq!(
            daemon.program("parent")["running"],
            1,
            "that it left others is none of the program's harm"
        );
        let mut gate = open_gate(&self.gate);
        gate.write_all(&b"\n".repeat(self.orphans)).expect("a pipe has room for a few bytes");
        wait_for_state("the orphans reaped", LIMIT, || {
            let left: Vec<Process> = proc::children_of(keeper)
                .into_iter()
                .filter(|child| is_orphan(child) || child.is_zombie())
                .collect();
            if left.is_empty() { Ok(()) } else { Err(proc::describe(&left)) }
        });
    }
}

fn orphans_of(keeper: i32) -> Vec<Process> {
    proc::children_of(keeper).into_iter().filter(is_orphan).collect()
}

fn is_orphan(process: &Process) -> bool {
    process.command_line.contains("orphan.sh")
}

/// For reading as well, so that the opening does not wait for a reader.
fn open_gate(gate: &Path) -> File {
    File::options().read(true).write(true).open(gate).expect("the pipe is there")
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not tested")]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}
