//! How many consumers several queues need that the same consumers work for.
//!
//! Each queue has a goal of its own, and the count is the largest that one of them asks for; that one *decides*. Arrivals
//! and work add up: every message takes a consumer, of whichever queue it is. With `a` the load of a queue, `N` consumers,
//! `s` the part of them that a queue and those before it take up (`sum of a / N`):
//! - *strict*: consumers take from a queue only what those before it leave. A message that finds all busy waits about
//!   `exp(-N (1 - s before) (1 - s with) t / S)`, which is exact for the first one (A. Cobham, *Priority Assignment in
//!   Waiting Line Problems*, 1954, has the means); a backlog is begun when it and those before it were worked off, beside what
//!   still arrives for those;
//! - *fair*: they take from each in turn. While a queue waits, each other one gets as many turns as it at most.
//!
//! A message that is begun is not interrupted. So while others that come later, or in turn, wait as well, everybody is busy
//! with their work, and enough consumers are needed that one of them is free in time.

use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::erlang;
use crate::scaling::input::{Fleet, Goal, Order};
use crate::scaling::need::{self, Ahead, Need, State};

/// What is known of one of several queues.
#[derive(Clone, Copy, Debug)]
pub(super) struct One {
    /// With this queue's own wait.
    pub(super) goal: Goal,
    pub(super) state: State,
}

/// Several queues, the first one first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Several<'a> {
    pub(super) queues: &'a [One],
    pub(super) order: Order,
    pub(super) fleet: &'a Fleet,
    pub(super) now: Time,
}

impl Several<'_> {
    /// What each of them asks for.
    pub(super) fn needs(&self) -> Vec<Need> {
        let steady = self.steady();
        (0..self.queues.len()).map(|index| Need { steady: steady[index], drain: self.drain(index) }).collect()
    }

    /// What has to be done before the last message of a queue is begun, with so many consumers.
    pub(super) fn ahead(&self, index: usize) -> Ahead {
        let own = &self.queues[index].state;
        match self.order {
            Order::Strict => Ahead {
                seconds: self.queues[..=index].iter().map(|one| one.state.ahead().seconds).sum(),
                taken: self.load_before(index),
            },
            Order::Fair => {
                let others = self.others(index).map(|one| {
                    let all = one.state.ahead().seconds;
                    all.min(own.ready as f64 * one.state.service)
                });
                Ahead { seconds: own.ahead().seconds + others.sum::<f64>(), taken: 0.0 }
            }
        }
    }

    /// How long a message that arrives now in a queue is expected to wait; absent where nobody will begin it.
    pub(super) fn expected_wait(&self, index: usize, target: u32) -> Option<Duration> {
        let state = &self.queues[index].state;
        let consumers = f64::from(self.fleet.running);
        let (load, service) = self.total();
        if state.ready > 0 || consumers <= load {
            let ahead = self.ahead(index);
            return need::until_begun(&ahead, state.startup, self.fleet, target, self.now);
        }
        let all_busy = match self.blocking(index) {
            Some(_) => 1.0,
            None => erlang::probability_of_waiting(load, self.fleet.running),
        };
        let service = self.blocking(index).unwrap_or(service);
        let spare = consumers * self.spare(index, consumers);
        Duration::try_from_secs_f64(all_busy * service / spare).ok()
    }

    /// Who takes what a queue would need; the one that takes most.
    pub(super) fn starved_by(&self, index: usize, target: u32) -> Option<usize> {
        let One { goal, state } = &self.queues[index];
        if self.order == Order::Fair || index == 0 || state.ready == 0 {
            return None;
        }
        let begun = |ahead: &Ahead| need::until_begun(ahead, state.startup, self.fleet, target, self.now);
        let keeps = |ahead: &Ahead| begun(ahead).is_some_and(|wait| wait <= goal.wait);
        let with = self.ahead(index);
        let nothing_is_left = with.taken >= f64::from(target);
        if keeps(&with) || !(nothing_is_left || keeps(&state.ahead())) {
            return None;
        }
        let takes = |one: &One| one.state.load() * goal.wait.as_secs_f64() + one.state.ahead().seconds;
        let before = self.queues[..index].iter().enumerate();
        before.max_by(|one, other| takes(one.1).total_cmp(&takes(other.1))).map(|(by, _)| by)
    }

    /// How many of `consumers` can be at work for each queue at the most: all that the others leave. Where a queue has messages
    /// waiting, they are.
    pub(super) fn at_work(&self, consumers: f64) -> Vec<f64> {
        (0..self.queues.len()).map(|index| self.at_work_for(index, consumers)).collect()
    }

    fn at_work_for(&self, index: usize, consumers: f64) -> f64 {
        match self.order {
            Order::Strict => {
                let before: f64 = self.queues[..index].iter().map(takes_up).sum();
                (consumers - before).max(0.0)
            }
            Order::Fair => {
                let own = self.queues[index].state.service;
                let waiting = self.others(index).filter(|one| one.state.ready > 0);
                let in_turn: f64 = waiting.map(|one| one.state.service).sum();
                let others: f64 = self.others(index).map(takes_up).sum();
                (consumers - others).max(consumers * own / (own + in_turn))
            }
        }
    }

    /// All of them as one.
    pub(super) fn together(&self) -> State {
        let sum = |of: fn(&State) -> f64| self.queues.iter().map(|one| of(&one.state)).sum::<f64>();
        let add =
            |of: fn(&State) -> u64| self.queues.iter().map(|one| of(&one.state)).fold(0, u64::saturating_add);
        State {
            ready: add(|state| state.ready),
            arrivals_slow: sum(|state| state.arrivals_slow),
            arrivals_fast: sum(|state| state.arrivals_fast),
            service: self.total().1,
            startup: self.queues.iter().map(|one| one.state.startup).fold(0.0, f64::max),
            unacknowledged: add_known(self.queues.iter().map(|one| one.state.unacknowledged)),
            stuck: self.queues.iter().any(|one| one.state.stuck),
            waiting_long: add(|state| state.waiting_long),
            due: 0.0,
            in_hand: self.queues.iter().map(|one| one.state.in_hand).fold(0.0, f64::max),
        }
    }

    /// The load of all, and seconds of work per message on average.
    fn total(&self) -> (f64, f64) {
        let load: f64 = self.queues.iter().map(|one| one.state.load()).sum();
        let arrivals: f64 = self.queues.iter().map(|one| one.state.arrivals_slow).sum();
        let longest = self.queues.iter().map(|one| one.state.service).fold(0.0, f64::max);
        (load, if arrivals > 0.0 { load / arrivals } else { longest })
    }

    fn load_before(&self, index: usize) -> f64 {
        self.queues[..index].iter().map(|one| one.state.load()).sum()
    }

    fn others(&self, index: usize) -> impl Iterator<Item = &One> {
        self.queues.iter().enumerate().filter(move |(other, _)| *other != index).map(|(_, one)| one)
    }

    /// The part of `consumers` that is free for messages of a queue that wait.
    fn spare(&self, index: usize, consumers: f64) -> f64 {
        let part = |load: f64| (1.0 - load / consumers).max(0.0);
        match self.order {
            Order::Strict => {
                let before = self.load_before(index);
                part(before) * part(before + self.queues[index].state.load())
            }
            Order::Fair => part(self.total().0),
        }
    }

    /// Seconds of work per message of what everybody is busy with, where messages wait that this queue's do not wait for
    /// but for the one that is under way.
    fn blocking(&self, index: usize) -> Option<f64> {
        let longest = |queues: &mut dyn Iterator<Item = &One>| {
            queues.filter(|one| one.state.ready > 0).map(|one| one.state.service).reduce(f64::max)
        };
        match self.order {
            Order::Strict => longest(&mut self.queues[index + 1..].iter()),
            Order::Fair => longest(&mut self.others(index)),
        }
    }

    fn steady(&self) -> Vec<u32> {
        let (load, service) = self.total();
        let counts = (0..self.queues.len()).map(|index| {
            let One { goal, state } = &self.queues[index];
            if state.load() <= 0.0 {
                return 0;
            }
            let (planned, tolerance) = (need::planned(goal), need::tolerance(state.startup, goal));
            let decay = |consumers: f64| -consumers * self.spare(index, consumers) * planned / service;
            let flow = erlang::needed(load, tolerance, goal.max, decay);
            flow.max(self.despite_others(index, planned, tolerance))
        });
        let counts = counts.collect::<Vec<u32>>();
        match self.in_system() {
            Some(in_system) => counts.into_iter().map(|count| count.min(in_system)).collect(),
            None => counts,
        }
    }

    /// How many there have to be so that one is free in time, while others keep everybody busy and a message of this queue is
    /// to be expected.
    fn despite_others(&self, index: usize, planned: f64, tolerance: f64) -> u32 {
        let Some(service) = self.blocking(index) else { return 0 };
        let goal = &self.queues[index].goal;
        let state = &self.queues[index].state;
        let busy_seconds: f64 = self.queues.iter().map(|one| one.state.ahead().seconds).sum();
        let lasts = busy_seconds / f64::from(self.fleet.live().max(1));
        if state.arrivals_slow * lasts < 1.0 {
            return 0;
        }
        let own = match self.order {
            Order::Strict => self.load_before(index) + state.load(),
            Order::Fair => state.load(),
        };
        let count = (own - tolerance.ln() * service / planned).ceil();
        (count.min(f64::from(goal.max) + 1.0) as u32).min(self.one_for_each())
    }

    /// Where a consumer can be started for each message in time: messages that are with consumers, and those that have waited
    /// for long.
    fn in_system(&self) -> Option<u32> {
        let of_each = self.queues.iter().map(|One { goal, state }| {
            let starts = state.load() <= 0.0 || need::starts_for_each(state, need::planned(goal), goal);
            state.unacknowledged.filter(|_| starts).map(|held| state.waiting_long.saturating_add(held))
        });
        let all = add_known(of_each)?;
        Some(u32::try_from(all.max(1)).unwrap_or(u32::MAX))
    }

    fn drain(&self, index: usize) -> u32 {
        let One { goal, state } = &self.queues[index];
        if state.ready == 0 {
            return 0;
        }
        let time = need::time_to_drain(state, goal);
        let work = |state: &State| (state.ready as f64 + need::arriving_until_up(state)) * state.service;
        let (work, taken) = match self.order {
            Order::Strict => {
                let upto = self.queues[..=index].iter().map(|one| work(&one.state)).sum::<f64>();
                (upto, self.load_before(index))
            }
            Order::Fair => {
                let turns = state.ready as f64 + need::arriving_until_up(state);
                let in_turn = self.others(index).map(|one| {
                    let all = work(&one.state) + one.state.load() * time;
                    all.min(turns * one.state.service)
                });
                (work(state) + in_turn.sum::<f64>(), 0.0)
            }
        };
        let left = (work - need::worked_until_up(state, self.fleet, self.now)).max(0.0);
        let needed = (left / time + taken).ceil() as u32;
        let doubled = if state.stuck { 2 * self.fleet.live() } else { 0 };
        needed.max(doubled).clamp(1, self.one_for_each())
    }

    /// One for each message that waits, beside those that are busy.
    fn one_for_each(&self) -> u32 {
        let ready = self.queues.iter().fold(0_u64, |sum, one| sum.saturating_add(one.state.ready));
        u32::try_from(ready).unwrap_or(u32::MAX).saturating_add(self.fleet.running).max(1)
    }
}

/// All together, where each is known.
fn add_known(mut counts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    counts.try_fold(0_u64, |sum, count| Some(sum.saturating_add(count?)))
}

/// How many consumers are at work for a queue in the time between two readings, if they can be.
fn takes_up(one: &One) -> f64 {
    one.state.load() + one.state.ahead().seconds / one.goal.interval.as_secs_f64()
}
