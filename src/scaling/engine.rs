//! The engine: readings in, a target with its reason out.
//!
//! Policy, in the order in which the rules win:
//! 1. Missing data hold the present number: a failed or late reading, and 0 ready with 0 consumers where the same
//!    processes have been seen consuming. A queue that does not exist holds too, and keeps one to declare it.
//! 2. Up goes at once to the computed number, from zero as well.
//! 3. Down goes only while nothing waits, after a window `clamp(2(L + S), 10 s, 30 s)` of fresh readings in which fewer
//!    would always have done, by half the gap, then again after a further window: nobody can see over AMQP who is busy.
//!    The window is about the cost of a start: the ski-rental argument (Karlin et al., 1988) pays at most twice the best.
//! 4. To zero only with `min` 0 and after a longer silence, which doubles each time that it turns out too short.
//!
//! `decide` may be called at any moment and any number of times; only a new reading or the passing of time changes its
//! outcome.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::decision::{Decision, Inputs, Limit};
use crate::scaling::estimate::{Arrivals, Interval, Startup};
use crate::scaling::input::{Fleet, Goal, Learned, Observation};
use crate::scaling::need::{self, Need, State};
use crate::scaling::reason::{self, Cause, Figures};
use crate::scaling::service::{BusyInterval, Service};
use crate::scaling::window::Window;

/// A reading that is older than this many intervals is missing data: two may be lost to a slow broker.
const STALE_INTERVALS: u32 = 3;
/// Bounds of the window before a step down: shorter would chase noise, longer costs more than a start.
const WINDOW_LEAST_SECONDS: f64 = 10.0;
const WINDOW_MOST_SECONDS: f64 = 30.0;
/// How long the queue has to be empty before the flow is taken to have fallen: twice the time in which a queue near its
/// capacity forgets, which goes with the work per message; no longer than a person would wait for it.
const LONG_EMPTY_MOST_SECONDS: f64 = 300.0;
/// Gaps below this share of the present number are not worth a stop and a start.
const DEADBAND: f64 = 0.05;
/// The silence before the last consumer is stopped, and what it grows to where messages keep returning soon after.
const SILENCE_LEAST: Duration = Duration::from_secs(60);
const SILENCE_MOST: Duration = Duration::from_secs(16 * 60);
/// Falls of the depth without a visible consumer before workers are taken to poll: one may be a purge, or a restart.
const POLLING_EVIDENCE: u32 = 3;
/// Readings that are kept until the next decision; more only come where nobody asks for decisions.
const PENDING_MOST: usize = 16;
const VANISHED: &str = "the queue shows no consumers although ours are running";

/// The engine of one program.
#[derive(Clone, Debug)]
pub struct Engine {
    goal: Goal,
    arrivals: Arrivals,
    /// Used by decisions. What the newest reading taught counts from the next reading on, so that within one reading
    /// more messages never mean fewer consumers.
    service: Service,
    service_next: Service,
    startup: Startup,
    polling: Polling,
    pending: VecDeque<Observation>,
    reading: Reading,
    last: Option<Sample>,
    /// Consumers at work at the last good reading.
    working: f64,
    onset: f64,
    /// Begin of the unbroken row of good readings.
    fresh_since: Option<Time>,
    /// Begin of the unbroken row of good readings with nothing ready.
    empty_since: Option<Time>,
    window: Window,
    stepped_down_at: Option<Time>,
    silence: Silence,
    target: Option<u32>,
}

/// A good reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    at: Time,
    ready: u64,
    consumers: u64,
}

/// What the newest reading said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    None,
    Good(Sample),
    NoQueue,
    Missing(&'static str),
}

/// Whether the workers poll, and how that is known.
#[derive(Clone, Copy, Debug)]
struct Polling {
    recognised: bool,
    evidence: u32,
    consumers_seen_at: Option<Time>,
}

/// How long nothing may happen before the last consumer is stopped.
#[derive(Clone, Copy, Debug)]
struct Silence {
    length: Duration,
    asleep_since: Option<Time>,
}

/// A target and why.
struct Outcome {
    target: u32,
    limit: Limit,
    cause: Cause,
    review_at: Option<Time>,
}

impl Engine {
    /// An engine that begins with what was learned before.
    pub fn new(goal: Goal, learned: Learned) -> Self {
        let service = Service::new(learned.service_seconds);
        Self {
            goal,
            arrivals: Arrivals::default(),
            service_next: service.clone(),
            service,
            startup: Startup::new(learned.startup_seconds),
            polling: Polling { recognised: learned.polling, evidence: 0, consumers_seen_at: None },
            pending: VecDeque::new(),
            reading: Reading::None,
            last: None,
            working: 0.0,
            onset: 0.0,
            fresh_since: None,
            empty_since: None,
            window: Window::default(),
            stepped_down_at: None,
            silence: Silence { length: SILENCE_LEAST, asleep_since: None },
            target: None,
        }
    }

    /// A new goal, after a reload. What was learned stays; the next decision lies within the new bounds.
    pub fn set_goal(&mut self, goal: Goal) {
        self.goal = goal;
    }

    /// Takes a reading. It counts from the next decision on, which tells the fleet that it is to be seen with.
    pub fn observe(&mut self, observation: Observation) {
        if self.pending.len() == PENDING_MOST {
            self.pending.pop_front();
        }
        self.pending.push_back(observation);
    }

    /// A consumer consumes, `took` after it was ordered.
    pub fn observe_started(&mut self, took: Duration) {
        self.startup.observe(took);
    }

    /// How many consumers there should be. `now` must not lie before an earlier call's.
    pub fn decide(&mut self, fleet: &Fleet, now: Time) -> Decision {
        while let Some(observation) = self.pending.pop_front() {
            self.absorb(observation, fleet);
        }
        let before = self.target.unwrap_or_else(|| fleet.live());
        let bounded = before.clamp(self.goal.min, self.goal.max.max(self.goal.min));
        let need = need::compute(&self.state(), &self.goal, fleet, now);
        let outcome = self.outcome(bounded, need, fleet, now);
        if outcome.target < bounded {
            self.stepped_down_at = Some(now);
        }
        self.silence.note(bounded, outcome.target, now);
        self.target = Some(outcome.target);
        self.decision(before, need, outcome, fleet, now)
    }

    /// What a restart should not forget.
    pub fn learned(&self) -> Learned {
        Learned {
            service_seconds: self.service_next.is_learned().then(|| self.service_next.seconds()),
            startup_seconds: self.startup.learned(),
            polling: self.polling.recognised,
        }
    }

    /// How long a consumer is taken to be starting.
    pub fn startup(&self) -> Duration {
        Duration::from_secs_f64(self.startup.seconds())
    }

    /// Whether the queue's workers poll and are never visible as consumers.
    pub fn is_polling(&self) -> bool {
        self.polling.recognised
    }

    fn absorb(&mut self, observation: Observation, fleet: &Fleet) {
        match observation {
            Observation::Sample { at, ready, consumers } => {
                self.absorb_sample(Sample { at, ready, consumers }, fleet);
            }
            Observation::NoQueue { at: _ } => self.interrupt(Reading::NoQueue),
            Observation::Lost { at: _, why } => self.interrupt(Reading::Missing(why)),
        }
    }

    fn absorb_sample(&mut self, sample: Sample, fleet: &Fleet) {
        if self.last.is_some_and(|last| sample.at <= last.at) {
            return;
        }
        if self.polling.contradicts(&sample, fleet) {
            self.interrupt(Reading::Missing(VANISHED));
            return;
        }
        let working = self.working_consumers(&sample, fleet);
        let neighbour = self
            .last
            .filter(|last| self.fresh_since.is_some() && sample.at.since(last.at) <= self.stale_after());
        match neighbour {
            Some(previous) => self.learn(previous, sample, working, fleet),
            None => {
                self.interrupt(Reading::None);
                self.fresh_since = Some(sample.at);
            }
        }
        self.polling.note(&sample);
        self.empty_since = (sample.ready == 0).then(|| self.empty_since.unwrap_or(sample.at));
        self.working = working;
        self.last = Some(sample);
        self.reading = Reading::Good(sample);
    }

    /// Breaks the row of good readings.
    fn interrupt(&mut self, reading: Reading) {
        self.reading = reading;
        self.fresh_since = None;
        self.empty_since = None;
        self.service_next.end_phase();
    }

    /// Consumers that work: those of ours that run, as far as the queue shows as many. One process may hold several
    /// consumers, and others may consume too: work is counted by our process, the rest shows as fewer arrivals.
    fn working_consumers(&self, sample: &Sample, fleet: &Fleet) -> f64 {
        let running = f64::from(fleet.running);
        if self.polling.recognised || sample.consumers == 0 {
            running
        } else {
            running.min(sample.consumers as f64)
        }
    }

    fn learn(&mut self, previous: Sample, sample: Sample, working: f64, fleet: &Fleet) {
        let seconds = sample.at.since(previous.at).as_secs_f64();
        let consumers = (self.working + working) / 2.0;
        self.service = self.service_next.clone();
        let usual_arrivals = self.arrivals.slow();
        self.arrivals.observe(&Interval {
            seconds,
            ready_before: previous.ready as f64,
            ready_after: sample.ready as f64,
            capacity: consumers / self.service.planned_seconds(),
            long_empty: self.empty_since.is_some_and(|since| sample.at.since(since) >= self.long_empty()),
        });
        let slope = (sample.ready as f64 - previous.ready as f64) / seconds;
        if previous.ready > 0 && sample.ready > 0 {
            self.service_next.observe(&BusyInterval {
                seconds,
                ready_before: previous.ready as f64,
                slope,
                consumers,
                consumers_changed: (working - self.working).abs(),
                usual_arrivals,
                onset: self.onset,
            });
        } else {
            self.onset = slope.max(0.0);
            self.service_next.end_phase();
        }
        self.polling.weigh(&previous, &sample, fleet);
    }

    fn state(&self) -> State {
        State {
            ready: self.last.map_or(0, |sample| sample.ready),
            arrivals_slow: self.arrivals.slow(),
            arrivals_fast: self.arrivals.fast(),
            service: self.service.planned_seconds(),
            startup: self.startup.seconds(),
        }
    }

    fn outcome(&mut self, before: u32, need: Need, fleet: &Fleet, now: Time) -> Outcome {
        let last = self.last.map(|sample| now.since(sample.at));
        let held = |cause| Outcome { target: before, limit: Limit::Data, cause, review_at: None };
        match self.reading {
            Reading::None => held(Cause::NotRead),
            Reading::Missing(why) => held(Cause::Missing { why, last }),
            Reading::NoQueue => {
                let target = before.max(1).min(self.goal.max.max(self.goal.min));
                Outcome { target, limit: Limit::Data, cause: Cause::NoQueue, review_at: None }
            }
            Reading::Good(sample) if now.since(sample.at) > self.stale_after() => {
                held(Cause::Stale { last: now.since(sample.at) })
            }
            Reading::Good(sample) => {
                let mut outcome = self.follow(before, need, &sample, fleet, now);
                let stale_at = sample.at + self.stale_after() + Duration::from_micros(1);
                outcome.review_at = Some(outcome.review_at.map_or(stale_at, |at| at.min(stale_at)));
                outcome
            }
        }
    }

    /// The outcome where the data are good.
    fn follow(&mut self, before: u32, need: Need, sample: &Sample, fleet: &Fleet, now: Time) -> Outcome {
        let wanted = self.wanted(before, need, sample, now);
        let bounded = wanted.clamp(self.goal.min, self.goal.max.max(self.goal.min));
        self.window.record(now, bounded, self.window_length());
        if bounded > before {
            return self.up(before, bounded, wanted, need, sample, fleet, now);
        }
        if f64::from(before - bounded) <= DEADBAND * f64::from(before) {
            return self.stay(before, wanted, need, sample, fleet, now);
        }
        if sample.ready > 0 {
            let cause = Cause::Waiting { ready: sample.ready };
            return Outcome { target: before, limit: Limit::Window, cause, review_at: None };
        }
        let ends = self.window_ends(before, now);
        if ends > sample.at {
            let cause = Cause::Window { left: ends.since(now) };
            return Outcome { target: before, limit: Limit::Window, cause, review_at: None };
        }
        self.down(before, self.window.peak(), now)
    }

    /// What the numbers ask for, with the rules about zero.
    fn wanted(&self, before: u32, need: Need, sample: &Sample, now: Time) -> u32 {
        let total = need.total();
        if sample.ready > 0 || self.goal.min > 0 {
            return total;
        }
        let asleep = before == 0;
        let silent = self.silence_ends().is_some_and(|ends| ends <= now);
        if asleep || (silent && total <= 1) { 0 } else { total.max(1) }
    }

    #[expect(clippy::too_many_arguments, reason = "the numbers of one decision, used here once")]
    fn up(
        &self,
        before: u32,
        bounded: u32,
        wanted: u32,
        need: Need,
        sample: &Sample,
        fleet: &Fleet,
        now: Time,
    ) -> Outcome {
        let room = self.goal.max.saturating_sub(fleet.draining);
        if room >= bounded {
            return Outcome { target: bounded, ..self.stay(bounded, wanted, need, sample, fleet, now) };
        }
        let cause = Cause::Draining { draining: fleet.draining, wanted: bounded };
        Outcome { target: room.max(before).max(self.goal.min), limit: Limit::Max, cause, review_at: None }
    }

    /// The outcome where `target` is what the numbers ask for.
    fn stay(
        &self,
        target: u32,
        wanted: u32,
        need: Need,
        sample: &Sample,
        fleet: &Fleet,
        now: Time,
    ) -> Outcome {
        let begun_in = need::seconds_until_begun(&self.state(), fleet, target, now)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let ready = sample.ready;
        let backlog = need.drain >= need.steady && ready > 0;
        let (limit, cause) = if wanted > self.goal.max && backlog {
            (Limit::Max, Cause::BacklogAtMaximum { ready, begun_in })
        } else if wanted > self.goal.max {
            (Limit::Max, Cause::FlowAtMaximum)
        } else if target == 0 {
            (Limit::None, Cause::Asleep)
        } else if let Some(ends) = self.silence_ends().filter(|_| self.goal.min == 0 && target == 1) {
            (Limit::Window, Cause::LastOne { left: ends.since(now) })
        } else if wanted < self.goal.min || (target == self.goal.min && need.steady <= 1 && ready == 0) {
            (Limit::Min, Cause::Minimum)
        } else if backlog {
            (Limit::None, Cause::Backlog { ready, begun_in })
        } else {
            (Limit::None, Cause::Flow)
        };
        let review_at = self.silence_ends().filter(|&ends| self.goal.min == 0 && target == 1 && ends > now);
        Outcome { target, limit, cause, review_at }
    }

    /// Half of the gap, rounded up.
    fn down(&self, before: u32, to: u32, now: Time) -> Outcome {
        let target = before - (before - to).div_ceil(2);
        let empty = self.empty_since.map_or(Duration::ZERO, |since| now.since(since));
        let limit = if target > to { Limit::Window } else { Limit::None };
        Outcome { target, limit, cause: Cause::Down { empty, from: before, to }, review_at: None }
    }

    /// When a step down from `before` may come, if the queue stays empty and every reading good.
    fn window_ends(&self, before: u32, now: Time) -> Time {
        let length = self.window_length();
        let empty = self.empty_since.unwrap_or(now) + length;
        let stepped = self.stepped_down_at.map(|at| at + length);
        let peak = self.window.falls_to(before - 1, length);
        [Some(empty), stepped, peak].into_iter().flatten().max().unwrap_or(empty)
    }

    /// When the silence is long enough to stop the last consumer; absent while messages wait.
    fn silence_ends(&self) -> Option<Time> {
        self.empty_since.map(|since| since + self.silence.length.max(self.window_length()))
    }

    fn long_empty(&self) -> Duration {
        let seconds = 2.0 * (self.startup.seconds() + self.service.planned_seconds());
        Duration::from_secs_f64(seconds.clamp(WINDOW_LEAST_SECONDS, LONG_EMPTY_MOST_SECONDS))
    }

    fn window_length(&self) -> Duration {
        let seconds = 2.0 * (self.startup.seconds() + self.service.planned_seconds());
        Duration::from_secs_f64(seconds.clamp(WINDOW_LEAST_SECONDS, WINDOW_MOST_SECONDS))
    }

    fn stale_after(&self) -> Duration {
        self.goal.interval * STALE_INTERVALS
    }

    fn decision(&self, before: u32, need: Need, outcome: Outcome, fleet: &Fleet, now: Time) -> Decision {
        let state = self.state();
        let starts_too_slowly = need::starts_too_slowly(state.startup, &self.goal);
        let figures = Figures {
            target: outcome.target,
            max: self.goal.max,
            goal: self.goal.wait,
            arrivals: state.arrivals_slow,
            service: Duration::from_secs_f64(state.service),
            service_learned: self.service.is_learned(),
            startup: self.startup(),
            starts_too_slowly,
            polling: self.polling.recognised,
        };
        let known = self.arrivals.are_known();
        let sample_age = self.last.map(|sample| now.since(sample.at));
        let fresh = sample_age.is_some_and(|age| age <= self.stale_after());
        Decision {
            target: outcome.target,
            before,
            limit: outcome.limit,
            reason: reason::sentence(&outcome.cause, &figures),
            inputs: Inputs {
                ready: self.last.map(|sample| sample.ready),
                consumers: self.last.map(|sample| sample.consumers),
                sample_age,
                arrivals_per_second: known.then_some(state.arrivals_slow),
                arrivals_per_second_fast: known.then_some(state.arrivals_fast),
                service_seconds: state.service,
                service_learned: self.service.is_learned(),
                startup_seconds: state.startup,
                steady: need.steady,
                drain: need.drain,
                window_peak: self.window.peak(),
            },
            review_at: outcome.review_at.filter(|&at| at > now),
            predicted_wait: need::seconds_until_begun(&state, fleet, outcome.target, now)
                .filter(|_| fresh)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    }
}

impl Polling {
    /// Nothing ready and nobody consuming, although processes that were seen consuming still run: the answer of a queue
    /// without a leader, not of an empty one.
    fn contradicts(&self, sample: &Sample, fleet: &Fleet) -> bool {
        let lived_then = match (fleet.oldest_running, self.consumers_seen_at) {
            (Some(started), Some(seen)) => fleet.running > 0 && started < seen,
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        sample.ready == 0 && sample.consumers == 0 && lived_then && !self.recognised
    }

    /// Messages are taken while processes run and no consumer is shown.
    fn weigh(&mut self, previous: &Sample, sample: &Sample, fleet: &Fleet) {
        let ran_all_the_time = fleet.running > 0 && fleet.oldest_running.is_some_and(|at| at < previous.at);
        let taken = sample.ready < previous.ready;
        if ran_all_the_time && taken && previous.consumers == 0 && sample.consumers == 0 {
            self.evidence += 1;
            self.recognised |= self.evidence >= POLLING_EVIDENCE;
        }
    }

    fn note(&mut self, sample: &Sample) {
        if sample.consumers > 0 {
            *self = Self { recognised: false, evidence: 0, consumers_seen_at: Some(sample.at) };
        }
    }
}

impl Silence {
    /// A sleep that messages soon ended was a mistake: the next silence has to last twice as long.
    fn note(&mut self, before: u32, target: u32, now: Time) {
        if before > 0 && target == 0 {
            self.asleep_since = Some(now);
        } else if target > 0
            && let Some(since) = self.asleep_since.take()
        {
            let soon = now.since(since) < 2 * self.length;
            self.length = if soon { (2 * self.length).min(SILENCE_MOST) } else { SILENCE_LEAST };
        }
    }
}
