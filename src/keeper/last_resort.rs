//! The end of everything without a controller: only if none can be started and the end was asked for.

use std::time::Duration;

use rustix::process::Signal;

use super::run::Keeper;
use super::say::say;
use super::signals::is_request_to_end;
use crate::core::command::Scope;
use crate::core::ids::Incarnation;
use crate::core::time::Time;

/// How long processes have when the keeper must end them without a controller.
const LAST_RESORT_TIME: Duration = Duration::from_secs(60);

impl Keeper {
    pub(super) fn consider_last_resort(&mut self, now: Time) {
        let is_wanted = self.waiting_signals.iter().any(|number| is_request_to_end(*number));
        if self.last_resort.is_some() || !is_wanted || !self.controller.is_hopeless() {
            return;
        }
        say(
            "no controller can be started; all processes are ended now, and killed after 60 s or a second signal",
        );
        self.last_resort = Some(now + LAST_RESORT_TIME);
        self.signal_all(Signal::TERM, Scope::Main);
    }

    pub(super) fn has_left(&self) -> bool {
        self.children.iter().any(|(_, child)| !child.is_gone() && !child.is_killed)
    }

    pub(super) fn end_by_force(&mut self, now: Time) {
        if self.children.are_gone() {
            self.controller.kill();
            self.finished = Some(1);
        } else if self.last_resort.is_some_and(|at| at <= now) && self.has_left() {
            self.signal_all(Signal::KILL, Scope::Tree);
            self.sweep(now);
        }
    }

    pub(super) fn signal_all(&mut self, signal: Signal, scope: Scope) {
        let left = self.children.iter().filter(|(_, child)| !child.is_gone());
        let left: Vec<Incarnation> = left.map(|(incarnation, _)| *incarnation).collect();
        for incarnation in left {
            self.signal(incarnation, signal.as_raw(), scope);
        }
    }
}
