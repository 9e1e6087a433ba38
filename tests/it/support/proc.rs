//! Looking at processes through /proc, and ending those of a test.

use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::wait::wait_for_state;

/// How long the kernel may take to end processes that were sent SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// One process as /proc shows it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// One letter as in proc(5): R, S, D, T, Z and so on.
    pub(crate) state: char,
    /// Ticks from boot to the start of this process: with the pid, its identity.
    pub(crate) start_ticks: u64,
    /// Arguments joined by spaces; the short name where there are none (a zombie).
    pub(crate) command_line: String,
}

impl Process {
    /// The process with this pid; None if there is none.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may contain both spaces and parentheses.
        let (before, after) = stat.rsplit_once(") ")?;
        let name = before.split_once('(')?.1;
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command_line = String::from_utf8_lossy(&arguments).replace('\0', " ").trim_end().to_owned();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
            command_line: if command_line.is_empty() { name.to_owned() } else { command_line },
        })
    }

    /// Whether it has ended and waits to be reaped.
    pub(crate) fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// All processes of the machine that can be read.
pub(crate) fn all() -> Vec<Process> {
    fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect()
}

/// The processes whose parent is `pid`, zombies included.
pub(crate) fn children_of(pid: i32) -> Vec<Process> {
    all().into_iter().filter(|process| process.parent == pid).collect()
}

/// The living processes with `marker` in their environment or their arguments.
pub(crate) fn marked(marker: &str) -> Vec<Process> {
    let found = |process: &Process| {
        ["environ", "cmdline"].iter().any(|file| {
            let content = fs::read(format!("/proc/{}/{file}", process.pid)).unwrap_or_default();
            content.split(|&byte| byte == 0).any(|entry| String::from_utf8_lossy(entry).contains(marker))
        })
    };
    all().into_iter().filter(|process| !process.is_zombie()).filter(found).collect()
}

/// Processor time of a process so far.
pub(crate) fn processor_seconds(pid: i32) -> f64 {
    leveret::sys::process::usage(pid).expect("it lives").cpu_seconds
}

/// Sends a signal; false if the process is gone.
pub(crate) fn signal(pid: i32, signal: Signal) -> bool {
    let pid = Pid::from_raw(pid).expect("a pid is positive");
    match kill_process(pid, signal) {
        Ok(()) => true,
        Err(Errno::SRCH) => false,
        Err(error) => panic!("cannot send {signal:?} to {pid:?}: {error}"),
    }
}

/// Kills everything with `marker` until nothing is left, and returns what it found at first.
pub(crate) fn kill_marked(marker: &str) -> Vec<Process> {
    let found = marked(marker);
    wait_for_state("killed processes to end", KILL_LIMIT, || {
        let left = marked(marker);
        for process in &left {
            signal(process.pid, Signal::KILL);
        }
        if left.is_empty() { Ok(()) } else { Err(describe(&left)) }
    });
    found
}

/// One line for each process, for messages.
pub(crate) fn describe(processes: &[Process]) -> String {
    let line = |process: &Process| {
        let Process { pid, parent, state, command_line, .. } = process;
        format!("\n  {pid} (parent {parent}, {state}) {command_line}")
    };
    processes.iter().map(line).collect()
}
