//! A supervisor that was started for a measurement, and its end: whatever happens, nothing is left of it.

use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result};
use leveret::sys::process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How long a supervisor may take to end with all its processes.
const END_LIMIT: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// How long the kernel may take to end what was killed.
const KILL_LIMIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// What a supervisor is asked while it is measured.
pub(crate) trait Supervisor {
    /// The process whose children the processes are.
    fn parent(&self) -> i32;
    /// Its own processes, which are what it costs.
    fn own(&self) -> Result<Vec<i32>>;
    /// Asks for everything about every process and returns the length of the answer in bytes; nothing where that cannot be
    /// asked in a reasonable time.
    fn status(&self) -> Result<Option<usize>>;
    /// Asks that every process end; may return before they have.
    fn stop_all(&self) -> Result<()>;
}

/// A started supervisor. Dropping it ends it: SIGTERM, then, if that takes too long, SIGKILL for it and for its children.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> i32 {
        pid_of(&self.child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What cannot be listed or signalled any more has ended, and that is what is wanted.
        let children = process::children(self.pid()).unwrap_or_default();
        let known: Vec<(i32, u64)> =
            children.into_iter().filter_map(|pid| Some((pid, start_of(pid)?))).collect();
        signal(self.pid(), Signal::TERM);
        if !has_ended(&self.child, END_LIMIT) {
            signal(self.pid(), Signal::KILL);
            has_ended(&self.child, KILL_LIMIT);
        }
        for (pid, start) in known {
            if start_of(pid) == Some(start) {
                signal(pid, Signal::KILL);
            }
        }
        reap(&mut self.child);
    }
}

fn start_of(pid: i32) -> Option<u64> {
    process::stat(pid).ok().filter(|stat| !stat.is_zombie()).map(|stat| stat.start_time_ticks)
}

/// Sends a signal; to a process that has ended it is of no consequence.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn has_ended(child: &Child, limit: Timespec) -> bool {
    // One that cannot be opened was reaped.
    let Ok(handle) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return true };
    poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit)) == Ok(1)
}

/// Waits for a child that has been killed or has ended.
#[expect(clippy::disallowed_methods, reason = "the bench reaps what it started itself")]
pub(crate) fn reap(child: &mut Child) {
    // There is nothing to be done about one that cannot be reaped.
    let _ = child.wait();
}

pub(crate) fn pid_of(child: &Child) -> i32 {
    Pid::from_child(child).as_raw_nonzero().get()
}

/// An environment without what belongs to another Leveret.
pub(crate) fn without_leveret(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LEVERET_") {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("STATE_DIRECTORY").env_remove("RUNTIME_DIRECTORY")
}

/// How long everything may take to start or to end.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
