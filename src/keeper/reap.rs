//! How starts went and how processes ended: reports are read, children reaped at once, and the controller told.

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait, waitpid};

use super::protocol::Fact;
use super::run::{Keeper, SWEEP_DELAY};
use super::say::say;
use super::shim::ShimReport;
use super::signals;
use super::upgrade::Upgrading;
use crate::core::exit::ExitStatus;
use crate::core::ids::Incarnation;
use crate::sys::clock;

impl Keeper {
    /// Tells how a spawn went, once it is known.
    pub(super) fn settle(&mut self, incarnation: Incarnation, is_reaped: bool) {
        match self.children.settle(incarnation, is_reaped) {
            Some(Ok((pid, is_unrecorded))) => {
                self.tell(&Fact::Spawned { incarnation, pid, at: clock::now() });
                if is_unrecorded {
                    self.say_unrecorded();
                }
            }
            Some(Err(failure)) => self.could_not_spawn(incarnation, failure),
            None => {}
        }
    }

    /// Once: where one cannot be written, the next one cannot either.
    pub(super) fn say_unrecorded(&mut self) {
        let Some(place) = &self.shim.records else { return };
        if !std::mem::replace(&mut self.has_said_unrecorded, true) {
            say(&format!(
                "lives cannot be written down in {} (is the disk full?); if the keeper were killed now, they would not be \
                 known again",
                place.directory.display()
            ));
        }
    }

    pub(super) fn could_not_spawn(&mut self, incarnation: Incarnation, failure: ShimReport) {
        let ShimReport { step, cause } = failure;
        self.tell(&Fact::CouldNotSpawn { incarnation, step, cause, at: clock::now() });
    }

    /// Reaps the child that a signal named, if it has ended: a number, so nothing needs to be looked through.
    pub(super) fn reap_one(&mut self, pid: u32) {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
        // Whatever stands in the way stands in the way of the look at all children as well, which says so.
        if let Ok(Some((pid, status))) = waitpid(Some(pid), WaitOptions::NOHANG) {
            self.reaped(pid.as_raw_nonzero().get(), ended_with(status));
        }
    }

    pub(super) fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.reaped(pid.as_raw_nonzero().get(), ended_with(status)),
                Ok(None) | Err(Errno::CHILD) => break,
                Err(Errno::INTR) => {}
                Err(error) => {
                    say(&format!("failed to reap: {error}"));
                    break;
                }
            }
        }
        // What has ended may be a leader, or the last of what one left behind.
        if self.children.iter().any(|(_, child)| child.is_left_to_count()) {
            self.request_sweep(SWEEP_DELAY);
        }
    }

    pub(super) fn reaped(&mut self, pid: i32, status: ExitStatus) {
        if self.controller.pid() == Some(pid) {
            return self.controller_ended(status);
        }
        if self.standby.as_ref().is_some_and(|standby| standby.pid() == pid) {
            self.standby = None;
        }
        if self.upgrading.as_ref().and_then(Upgrading::child) == Some(pid) {
            return self.preflight_ended(status);
        }
        // Any other is an orphan that ended, and of no interest by itself.
        let Some(incarnation) = self.children.by_pid(pid) else { return };
        self.settle(incarnation, true);
        if self.children.by_pid(pid).is_none() {
            return;
        }
        let at = clock::now();
        let left = u32::from(signals::group_exists(pid));
        self.children.exited(incarnation, status, left, at);
        self.tell(&Fact::Exited { incarnation, status, left, at });
    }
}

fn ended_with(status: WaitStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Unknown,
    }
}
