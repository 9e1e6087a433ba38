//! The engine: readings in, a target with its reason out.
//!
//! Missing data come before everything: a failed or late reading, and 0 ready with 0 consumers where the same processes
//! have been seen consuming, hold the present number. A queue that does not exist holds too, and keeps one to declare it.
//! With good data the policy decides.
//!
//! The window before a step down is `clamp(2(L + S), 8 s, 30 s)` in the balanced profile: about the cost of a start, so that keeping a consumer
//! for nothing and starting one too many cost the same (ski rental: at most twice the best that can be done).
//!
//! `decide` may be called at any moment and any number of times; only a new reading or the passing of time changes its
//! outcome.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::decision::{Decision, Inputs, Limit};
use crate::scaling::estimate::{Arrivals, Interval, Startup};
use crate::scaling::flow::Flow;
use crate::scaling::input::{Detail, Fleet, Goal, Learned, Observation};
use crate::scaling::need::{self, Need, State};
use crate::scaling::policy::{self, Outcome, Situation};
use crate::scaling::polling::Polling;
use crate::scaling::reason::{self, Cause, Figures};
use crate::scaling::service::{BusyInterval, Service};
use crate::scaling::silence::Silence;
use crate::scaling::stuck::Stuck;
use crate::scaling::window::Window;

/// A reading that is older than this many intervals is missing data: two may be lost to a slow broker.
const STALE_INTERVALS: u32 = 3;
/// The least window before a step down: a shorter one would chase noise.
const WINDOW_LEAST_SECONDS: f64 = 8.0;
/// The same where it is known who is idle: as often as brokers renew what they tell. The work per message counts up to
/// so much there.
const WINDOW_LEAST_KNOWN_SECONDS: f64 = 5.0;
const WINDOW_WORK_MOST_SECONDS: f64 = 10.0;
/// How long the queue has to be empty before the flow is taken to have fallen: twice the time in which a queue near its
/// capacity forgets, which goes with the work per message; no longer than a person would wait for it.
const LONG_EMPTY_MOST_SECONDS: f64 = 300.0;
/// So many readings in a row without a fall are no chance.
const STUCK_INTERVALS: u32 = 10;
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
    flow: Flow,
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
    /// The fewest messages that waited within half of the planned wait, as the most by which they fell short.
    short_of_waiting: Window,
    stepped_down_at: Option<Time>,
    silence: Silence,
    stuck: Stuck,
    target: Option<u32>,
}

/// A good reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: Time,
    pub(super) ready: u64,
    pub(super) consumers: u64,
}

/// What the newest reading said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    None,
    Good(Sample),
    NoQueue,
    Missing(&'static str),
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
            flow: Flow::default(),
            polling: Polling::new(learned.polling),
            pending: VecDeque::new(),
            reading: Reading::None,
            last: None,
            working: 0.0,
            onset: 0.0,
            fresh_since: None,
            empty_since: None,
            window: Window::default(),
            short_of_waiting: Window::default(),
            stepped_down_at: None,
            silence: Silence::default(),
            stuck: Stuck::default(),
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
        let bounded = policy::bounded(before, &self.goal);
        let state = self.state(now);
        let need = need::compute(&state, &self.goal, fleet, now);
        let outcome = self.outcome(bounded, need, &state, fleet, now);
        if outcome.target < bounded {
            self.stepped_down_at = Some(now);
        }
        self.silence.note(bounded, outcome.target, now);
        self.target = Some(outcome.target);
        self.decision(before, need, &outcome, &state, fleet, now)
    }

    /// Goes on from a number that was set past the engine: by an operator's hold that has ended, or before a restart. From
    /// there it rises at once where that is needed, and falls by the rules of every other step down.
    pub fn resume_at(&mut self, target: u32) {
        self.target = Some(target);
    }

    /// What a restart should not forget.
    pub fn learned(&self) -> Learned {
        Learned {
            service_seconds: self.service_next.is_learned().then(|| self.service_next.seconds()),
            startup_seconds: self.startup.learned(),
            polling: self.polling.is_recognised(),
        }
    }

    /// How long a consumer is taken to be starting.
    pub fn startup(&self) -> Duration {
        Duration::from_secs_f64(self.startup.seconds())
    }

    /// Whether the queue's workers poll and are never visible as consumers.
    pub fn is_polling(&self) -> bool {
        self.polling.is_recognised()
    }

    fn absorb(&mut self, observation: Observation, fleet: &Fleet) {
        match observation {
            Observation::Sample { at, ready, consumers } => {
                self.absorb_sample(Sample { at, ready, consumers }, fleet);
            }
            Observation::Detail(detail) => self.absorb_detail(detail, fleet),
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
        let short = u32::MAX - u32::try_from(sample.ready).unwrap_or(u32::MAX);
        self.short_of_waiting.record(sample.at, short, self.patience() / 2);
        self.last = Some(sample);
        self.reading = Reading::Good(sample);
    }

    /// What it tells is taken over by the estimates that do without, so that they can go on from there.
    fn absorb_detail(&mut self, detail: Detail, fleet: &Fleet) {
        if let Reading::Missing(_) = self.reading {
            // A broker whose depth is not to be believed is not to be believed about the rest.
            self.flow.interrupt();
            return;
        }
        let believed = (self.arrivals.slow(), self.service.planned_seconds());
        self.flow.observe(detail, f64::from(fleet.running), believed, self.startup());
        if let Some((arrivals, service)) = self.flow.known() {
            self.arrivals.adopt(arrivals);
            self.service_next.adopt(service, self.flow.has_seen_work());
            self.service = self.service_next.clone();
        }
    }

    /// Breaks the row of good readings.
    fn interrupt(&mut self, reading: Reading) {
        self.reading = reading;
        self.fresh_since = None;
        self.empty_since = None;
        self.stuck.interrupt();
        self.service_next.end_phase();
    }

    /// Consumers that work: those of ours that run, as far as the queue shows as many. One process may hold several
    /// consumers, and others may consume too: work is counted by our process, the rest shows as fewer arrivals.
    fn working_consumers(&self, sample: &Sample, fleet: &Fleet) -> f64 {
        let running = f64::from(fleet.running);
        if self.polling.is_recognised() || sample.consumers == 0 {
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
        let ready_before = surely_waiting(&previous, self.working);
        let ready_after = surely_waiting(&sample, working);
        self.arrivals.observe(&Interval {
            seconds,
            ready_before,
            ready_after,
            capacity: consumers / self.service.planned_seconds(),
            long_empty: self.long_empty(sample.at),
        });
        // Those that are new each took a message without having done one.
        let taken = (working - self.working).max(0.0);
        let slope = (ready_after - ready_before + taken) / seconds;
        self.stuck.note(sample.at, ready_after, working);
        if ready_before > 0.0 {
            self.service_next.observe_fall(
                consumers * seconds,
                ready_before - ready_after - taken,
                ready_after == 0.0,
            );
        }
        let is_busy = ready_before > 0.0 && ready_after > 0.0;
        // Where it is known there is nothing to infer.
        if is_busy && !self.flow.is_fresh(sample.at) {
            self.service_next.observe(&BusyInterval {
                seconds,
                ready_before,
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

    fn state(&self, now: Time) -> State {
        let unacknowledged = self.flow.unacknowledged().filter(|_| self.flow.is_fresh(now));
        State {
            ready: self.last.map_or(0, |sample| sample.ready),
            arrivals_slow: self.arrivals.slow(),
            arrivals_fast: self.arrivals.fast(),
            service: self.service.planned_seconds(),
            startup: self.startup.seconds(),
            unacknowledged,
            stuck: self.is_stuck(),
            waiting_long: u64::from(u32::MAX - self.short_of_waiting.peak()),
        }
    }

    /// Whether nothing moves and nothing is known that would explain it.
    fn is_stuck(&self) -> bool {
        let patience = self.patience().max(self.goal.interval * STUCK_INTERVALS);
        let is_known = self.service.is_learned() || self.flow.known().is_some();
        !is_known && self.last.is_some_and(|sample| self.stuck.is_overdue(sample.at, patience))
    }

    /// How long a message may wait before one more consumer is to be ordered for it.
    fn patience(&self) -> Duration {
        let planned = self.goal.wait.mul_f64(self.goal.profile.tuning().planned_share);
        planned.saturating_sub(self.startup() + self.goal.interval)
    }

    /// How many of the fleet are at work, where that is known.
    pub(super) fn busy(&self, fleet: &Fleet, now: Time) -> Option<u32> {
        let told = self.flow.busy().filter(|_| self.flow.is_fresh(now));
        told.map(|busy| busy.min(fleet.running))
    }

    fn outcome(&mut self, before: u32, need: Need, state: &State, fleet: &Fleet, now: Time) -> Outcome {
        let last = self.last.map(|sample| now.since(sample.at));
        let held = |cause| Outcome { target: before, limit: Limit::Data, cause };
        match self.reading {
            Reading::None => held(Cause::NotRead),
            Reading::Missing(why) => held(Cause::Missing { why, last }),
            Reading::NoQueue => {
                let target = before.max(1).min(self.goal.max);
                Outcome { target, limit: Limit::Data, cause: Cause::NoQueue }
            }
            Reading::Good(sample) if now.since(sample.at) > self.stale_after() => {
                held(Cause::Stale { last: now.since(sample.at) })
            }
            Reading::Good(sample) => {
                let busy = self.busy(fleet, now);
                let length = self.window_length(busy.is_some());
                self.window.record(now, policy::load(&self.goal, state, need), length);
                let situation = Situation {
                    goal: &self.goal,
                    state,
                    fleet,
                    now,
                    read_at: sample.at,
                    before,
                    need,
                    peak: self.window.peak(),
                    empty_since: self.empty_since,
                    window_ends: match busy {
                        Some(_) => self.window_ends_for_idle(before, now),
                        None => self.window_ends(state, before, now),
                    },
                    busy,
                    bounded: self.flow.bound().filter(|_| busy.is_some()),
                    silence_ends: self.empty_since.unwrap_or(now) + self.silence.length().max(length),
                };
                situation.outcome()
            }
        }
    }

    /// When a step down from `before` may come, if the queue stays empty and every reading good.
    fn window_ends(&self, state: &State, before: u32, now: Time) -> Time {
        let length = self.window_length(false);
        let empty = self.empty_since.unwrap_or(now) + length;
        // A flow that the half cannot do shows as soon as those that are left are busy.
        let service = Duration::from_secs_f64(self.service.planned_seconds());
        let least = if need::starts_quickly(state, &self.goal) { length / 4 } else { length / 2 };
        let next = (service * 2).clamp(least, length);
        let stepped = self.stepped_down_at.map_or(empty, |at| at + next);
        let peak = self.window.falls_to(before.saturating_sub(1), length).unwrap_or(empty);
        empty.max(stepped).max(peak)
    }

    /// The same where it is known who is idle: messages may wait meanwhile, if fewer can do them.
    fn window_ends_for_idle(&self, before: u32, now: Time) -> Time {
        let length = self.window_length(true);
        let fresh = self.fresh_since.unwrap_or(now) + length;
        fresh.max(self.window.falls_to(before.saturating_sub(1), length).unwrap_or(fresh))
    }

    /// The time after which an empty queue tells that the flow has fallen, in seconds, where that has passed.
    fn long_empty(&self, now: Time) -> Option<f64> {
        let seconds = 2.0 * (self.startup.seconds() + self.service.planned_seconds());
        let seconds = seconds.clamp(WINDOW_LEAST_SECONDS, LONG_EMPTY_MOST_SECONDS);
        let empty = now.since(self.empty_since?).as_secs_f64();
        (empty >= seconds).then_some(seconds)
    }

    /// Where nobody knows who is idle, a message more is what it takes to see that nobody is needed. Where that is known,
    /// a start is to be weighed, and little beside it.
    fn window_length(&self, is_known: bool) -> Duration {
        let tuning = self.goal.profile.tuning();
        let service = self.service.planned_seconds();
        let seen = if is_known { service.min(WINDOW_WORK_MOST_SECONDS) } else { service };
        let seconds = tuning.window_factor * (self.startup.seconds() + seen);
        let (least, most) = if is_known {
            (WINDOW_LEAST_KNOWN_SECONDS, tuning.window_most_seconds)
        } else {
            // Long work ends seldom: whoever looks for less than it takes has seen nothing.
            (WINDOW_LEAST_SECONDS, tuning.window_most_seconds.max(service.min(LONG_EMPTY_MOST_SECONDS)))
        };
        Duration::from_secs_f64(seconds.clamp(least, most))
    }

    fn stale_after(&self) -> Duration {
        self.goal.interval * STALE_INTERVALS
    }

    fn decision(
        &self,
        before: u32,
        need: Need,
        outcome: &Outcome,
        state: &State,
        fleet: &Fleet,
        now: Time,
    ) -> Decision {
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
            polling: self.polling.is_recognised(),
        };
        let known = self.arrivals.are_known();
        let sample_age = self.last.map(|sample| now.since(sample.at));
        let stale_at = match self.reading {
            Reading::Good(sample) => Some(sample.at + self.stale_after() + Duration::from_micros(1)),
            Reading::None | Reading::NoQueue | Reading::Missing(_) => None,
        }
        .filter(|&at| at > now);
        let review_at = stale_at.map(|at| match self.flow.stale_at().filter(|&flow| flow > now) {
            Some(flow) => at.min(flow),
            None => at,
        });
        Decision {
            target: outcome.target,
            before,
            limit: outcome.limit,
            trouble: outcome.cause.trouble(),
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
            review_at,
            predicted_wait: stale_at.and_then(|_| need::expected_wait(state, fleet, outcome.target, now)),
        }
    }
}

/// Messages that wait because every consumer is busy. One that is not shown may be idle and about to look, so as many
/// messages as there are such consumers prove nothing.
fn surely_waiting(sample: &Sample, working: f64) -> f64 {
    let idle = if sample.consumers == 0 { working } else { 0.0 };
    (sample.ready as f64 - idle).max(0.0)
}
