//! A shim that was started ahead of need and waits for its order. Loading the binary takes longer than everything else
//! between an exit and the next exec, so that one process more, asleep, makes a crash the shorter. It is only ever a
//! short cut: whatever stands in its way, a shim is started for the order as if there had been none.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::children::{Shim, launch};

/// A shim that waits.
#[derive(Debug)]
pub(super) struct Standby {
    pid: i32,
    /// What is written here is its order, which ends where this is closed.
    order: OwnedFd,
    report: File,
}

impl Standby {
    /// Starts a shim that waits.
    pub(super) fn start(shim: &Shim) -> io::Result<Self> {
        let (theirs, order) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&order, true)?;
        let (pid, report) = launch(theirs, "leveret: standby", shim)?;
        Ok(Self { pid, order, report })
    }

    /// Its number, until it was taken.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Hands an order over and returns the shim's number and its report. Nothing is returned, and no shim is left, if it
    /// does not take the order: it was killed, or the order is longer than a pipe holds.
    pub(super) fn take(self, order: &[u8]) -> Option<(i32, File)> {
        let fits = fcntl_getpipe_size(&self.order).is_ok_and(|size| order.len() <= size);
        // An empty pipe that is large enough takes all in one go.
        if fits && File::from(self.order).write(order).is_ok_and(|written| written == order.len()) {
            return Some((self.pid, self.report));
        }
        end(self.pid);
        None
    }

    /// Ends it, unused.
    pub(super) fn end(self) {
        end(self.pid);
    }
}

/// Kills and reaps a shim that has no order. It was not reaped before, so that the number is its own.
fn end(pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    // A shim that has ended already is a zombie, which takes the signal as well.
    if kill_process(pid, Signal::KILL).is_ok() {
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }
}
