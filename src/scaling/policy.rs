//! From what is needed to a target: up at once, down with patience.
//!
//! 1. Up goes at once to the computed number, from zero as well.
//! 2. Down goes only while nothing waits, after a window without any need for more, by half the gap, then again after
//!    half a window or a whole one: nobody can see over AMQP who is busy. Where that is known, it goes after the window by the whole gap,
//!    but never below those that are at work.
//! 3. To zero only with `min` 0 and after a longer silence.

use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::decision::Limit;
use crate::scaling::effect::Bounded;
use crate::scaling::input::{Fleet, Goal};
use crate::scaling::need::{self, Ahead, Need, State};
use crate::scaling::rate::Allowed;
use crate::scaling::reason::Cause;

/// A target and why.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) target: u32,
    pub(super) limit: Limit,
    pub(super) cause: Cause,
}

/// Everything that an outcome depends on, with good data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    pub(super) goal: &'a Goal,
    pub(super) state: &'a State,
    pub(super) fleet: &'a Fleet,
    pub(super) now: Time,
    /// When the newest reading was made. Steps down wait for a reading, so that one covers the whole window.
    pub(super) read_at: Time,
    /// The present target, within the goal's bounds.
    pub(super) before: u32,
    pub(super) need: Need,
    /// Messages that wait in the queue that asks for most, and what has to be done before the last of them is begun.
    pub(super) ready: u64,
    pub(super) ahead: Ahead,
    /// The highest load within the window.
    pub(super) peak: u32,
    /// How long the queue has been empty; absent while messages wait.
    pub(super) empty_since: Option<Time>,
    /// When a step down may come.
    pub(super) window_ends: Time,
    /// How many are at work, where that is known.
    pub(super) busy: Option<u32>,
    /// How many are of use, where more were found not to be.
    pub(super) bounded: Option<Bounded>,
    /// How many a rate allows, where there is one.
    pub(super) allowed: Option<Allowed>,
    /// Whether consumers may hide messages in their hands, as many as there are.
    pub(super) hides: bool,
    /// When the last consumer may be stopped.
    pub(super) silence_ends: Time,
}

/// What the numbers ask for, within the goal's bounds. Where none may run, a flow that one consumer can do counts as
/// none: it may have ended long ago.
pub(super) fn load(goal: &Goal, state: &State, need: Need) -> u32 {
    let total = need.total();
    let negligible = goal.min == 0 && !state.has_work() && total <= 1;
    bounded(if negligible { 0 } else { total }, goal)
}

/// Within minimum and maximum.
pub(super) fn bounded(count: u32, goal: &Goal) -> u32 {
    count.min(goal.max).max(goal.min)
}

impl Situation<'_> {
    pub(super) fn outcome(&self) -> Outcome {
        if let Some(allowed) = self.allowed.filter(|allowed| self.before > allowed.most) {
            return self.at_rate(allowed.consumers, &allowed);
        }
        if let Some(rise) = self.rise() {
            return rise;
        }
        let wanted = self.wanted();
        let gap = f64::from(self.before - wanted);
        let negligible =
            gap <= self.goal.profile.tuning().deadband * f64::from(self.before) && wanted > self.goal.min;
        if gap == 0.0 || negligible {
            return self.at(self.before);
        }
        if self.hides {
            return Outcome { target: self.before, limit: Limit::Window, cause: Cause::Hidden };
        }
        if self.busy.is_none() && self.state.ready > 0 {
            let cause = Cause::Waiting { ready: self.state.ready };
            return Outcome { target: self.before, limit: Limit::Window, cause };
        }
        if self.window_ends > self.read_at {
            let left = self.window_ends.since(self.now);
            let cause = if self.busy.is_some() { Cause::Surplus { left } } else { Cause::Window { left } };
            return Outcome { target: self.before, limit: Limit::Window, cause };
        }
        match self.busy {
            Some(busy) => self.down_to_busy(self.peak.max(wanted), busy),
            None => self.down(self.peak.max(wanted)),
        }
    }

    /// The way up, where more are wanted.
    pub(super) fn rise(&self) -> Option<Outcome> {
        let wanted = self.wanted();
        if wanted <= self.before {
            return None;
        }
        if let Some(allowed) = self.allowed.filter(|allowed| wanted > allowed.consumers.max(self.before)) {
            let most = allowed.consumers.max(self.before);
            let useful = self.useful(most).filter(|outcome| outcome.target < most);
            return Some(useful.unwrap_or_else(|| self.at_rate(most, &allowed)));
        }
        Some(self.useful(wanted).unwrap_or_else(|| self.up(wanted)))
    }

    /// As many as a rate allows.
    fn at_rate(&self, target: u32, allowed: &Allowed) -> Outcome {
        let outcome = if target > self.before { self.up(target) } else { self.at(target) };
        if outcome.target < target {
            return outcome;
        }
        let Allowed { rate, service, .. } = *allowed;
        Outcome { target, limit: Limit::Rate, cause: Cause::Rate { rate, service } }
    }

    /// The load, with the rules about zero: from zero only a message wakes, and the last one stays for a silence.
    fn wanted(&self) -> u32 {
        let load = load(self.goal, self.state, self.need);
        if self.goal.min > 0 || self.state.has_work() {
            load
        } else if self.before == 0 || self.silence_ends <= self.read_at {
            if self.before == 0 { 0 } else { load }
        } else {
            load.max(1).min(self.goal.max)
        }
    }

    /// The outcome where what is wanted was found to be of no use.
    fn useful(&self, wanted: u32) -> Option<Outcome> {
        let bounded = self.bounded?;
        let most = bounded.tried.unwrap_or(bounded.useful).max(self.before);
        if wanted <= most {
            return None;
        }
        let Bounded { useful, throughput, tried } = bounded;
        let cause = Cause::Downstream { useful, throughput, tried: tried.is_some() };
        Some(Outcome { limit: Limit::Downstream, cause, ..self.up(most) })
    }

    fn up(&self, wanted: u32) -> Outcome {
        let room = self.goal.max.saturating_sub(self.fleet.draining);
        if wanted <= room {
            return self.at(wanted);
        }
        let cause = Cause::Draining { draining: self.fleet.draining, wanted };
        Outcome { target: room.max(self.before), limit: Limit::Max, cause }
    }

    /// Half of the gap, rounded up.
    fn down(&self, to: u32) -> Outcome {
        let gap = self.before - to;
        let target = if need::starts_quickly(self.state, self.goal) { to + gap / 4 } else { to + gap / 2 };
        let empty = self.empty_since.map_or(Duration::ZERO, |since| self.now.since(since));
        let limit = if target > to { Limit::Window } else { Limit::None };
        Outcome { target, limit, cause: Cause::Down { empty, from: self.before, to } }
    }

    /// All of the gap, as far as it is idle.
    fn down_to_busy(&self, to: u32, busy: u32) -> Outcome {
        let target = self.before.min(to.max(busy));
        if target == self.before {
            let cause = Cause::Busy { busy, enough: to };
            return Outcome { target, limit: Limit::Window, cause };
        }
        let limit = if target > to { Limit::Window } else { Limit::None };
        Outcome { target, limit, cause: Cause::Idle { idle: self.before - target, to } }
    }

    /// The outcome where `target` is what the numbers ask for.
    fn at(&self, target: u32) -> Outcome {
        let (limit, cause) = self.explain(target);
        Outcome { target, limit, cause }
    }

    fn explain(&self, target: u32) -> (Limit, Cause) {
        let ready = self.ready;
        let begun_in = need::until_begun(&self.ahead, self.state.startup, self.fleet, target, self.now);
        let total = self.need.total();
        let backlog = ready > 0 && self.need.drain >= self.need.steady;
        let comes_back = ready == 0 && self.need.drain > self.need.steady && self.state.due >= 1.0;
        let due = Cause::Due { due: self.state.due.round() as u64, is_all: total > self.goal.max };
        if total > self.goal.max {
            let cause = match (backlog, comes_back) {
                (true, _) => Cause::BacklogAtMaximum { ready, begun_in },
                (false, true) => due,
                (false, false) => Cause::FlowAtMaximum,
            };
            return (Limit::Max, cause);
        }
        if target == 0 {
            return (Limit::None, Cause::Asleep);
        }
        if self.goal.min == 0 && target == 1 && !self.state.has_work() && total <= 1 {
            return (Limit::Window, Cause::LastOne { left: self.silence_ends.since(self.now) });
        }
        if total < self.goal.min || (target == self.goal.min && self.state.ready == 0 && total <= 1) {
            return (Limit::Min, Cause::Minimum);
        }
        let cause = match (backlog, comes_back) {
            (true, _) => Cause::Backlog { ready, begun_in },
            (false, true) => due,
            (false, false) => Cause::Flow,
        };
        (Limit::None, cause)
    }
}
