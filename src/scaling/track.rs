//! What is known of one queue: its readings, and what they taught about arrivals and work.

use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::estimate::{Arrivals, Interval};
use crate::scaling::flow::Flow;
use crate::scaling::hands::Hands;
use crate::scaling::input::{Detail, Fleet, Goal, Learned, Observation};
use crate::scaling::need::State;
use crate::scaling::polling::Polling;
use crate::scaling::service::{BusyInterval, Service};
use crate::scaling::stuck::Stuck;
use crate::scaling::window::Window;

/// A reading that is older than this many intervals is missing data: two may be lost to a slow broker.
const STALE_INTERVALS: u32 = 3;
/// The shortest time after which an empty queue tells that the flow has fallen, in seconds.
const LONG_EMPTY_LEAST_SECONDS: f64 = 8.0;
/// How long the queue has to be empty before the flow is taken to have fallen: twice the time in which a queue near its
/// capacity forgets, which goes with the work per message; no longer than a person would wait for it.
pub(super) const LONG_EMPTY_MOST_SECONDS: f64 = 300.0;
/// So many readings in a row without a fall are no chance.
const STUCK_INTERVALS: u32 = 10;
const VANISHED: &str = "the queue shows no consumers although ours are running";

/// What is known of one queue.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// What is asked for, with this queue's own wait.
    pub(super) goal: Goal,
    pub(super) arrivals: Arrivals,
    /// Used by decisions. What the newest reading taught counts from the next reading on, so that within one reading
    /// more messages never mean fewer consumers.
    pub(super) service: Service,
    service_next: Service,
    pub(super) flow: Flow,
    pub(super) polling: Polling,
    pub(super) reading: Reading,
    pub(super) last: Option<Sample>,
    /// Consumers that there were at the last good reading, and those of them that were there for this queue.
    there: f64,
    working: f64,
    onset: f64,
    /// Begin of the unbroken row of good readings.
    pub(super) fresh_since: Option<Time>,
    /// Begin of the unbroken row of good readings with nothing ready.
    pub(super) empty_since: Option<Time>,
    /// The fewest messages that waited within half of the planned wait, as the most by which they fell short.
    short_of_waiting: Window,
    stuck: Stuck,
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
pub(super) enum Reading {
    None,
    Good(Sample),
    NoQueue,
    Missing(&'static str),
}

/// What a reading is to be seen with.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) fleet: &'a Fleet,
    /// How long a start takes.
    pub(super) startup: Duration,
    /// The share of the consumers that is there for this queue, 0 to 1.
    pub(super) share: f64,
    /// How consumers take messages.
    pub(super) hands: Hands,
    /// Messages that are with consumers and of other queues.
    pub(super) elsewhere: u64,
}

impl Track {
    /// A queue of which nothing is known but what was learned before.
    pub(super) fn new(goal: Goal, learned: Learned) -> Self {
        let service = Service::new(learned.service_seconds);
        Self {
            goal,
            arrivals: Arrivals::default(),
            service_next: service.clone(),
            service,
            flow: Flow::default(),
            polling: Polling::new(learned.polling),
            reading: Reading::None,
            last: None,
            there: 0.0,
            working: 0.0,
            onset: 0.0,
            fresh_since: None,
            empty_since: None,
            short_of_waiting: Window::default(),
            stuck: Stuck::default(),
        }
    }

    /// A consumer has so many times the places that it was taken to have.
    pub(super) fn divide_into_places(&mut self, times: f64) {
        self.service_next.stretch(times);
        self.service = self.service_next.clone();
        self.flow.stretch(times);
        self.there *= times;
        self.working *= times;
    }

    /// Seconds of work per message, where they are known.
    pub(super) fn learned_service(&self) -> Option<f64> {
        self.service_next.is_learned().then(|| self.service_next.seconds())
    }

    /// How old a reading may be.
    pub(super) fn stale_after(&self) -> Duration {
        self.goal.interval * STALE_INTERVALS
    }

    /// Takes what was seen.
    pub(super) fn absorb(&mut self, observation: Observation, view: &View<'_>) {
        match observation {
            Observation::Sample { at, ready, consumers } => {
                self.absorb_sample(Sample { at, ready, consumers }, view);
            }
            Observation::Detail(detail) => self.absorb_detail(detail, view),
            Observation::NoQueue { at: _ } => self.interrupt(Reading::NoQueue),
            Observation::Lost { at: _, why } => self.interrupt(Reading::Missing(why)),
        }
    }

    fn absorb_sample(&mut self, sample: Sample, view: &View<'_>) {
        if self.last.is_some_and(|last| sample.at <= last.at) {
            return;
        }
        if self.polling.contradicts(&sample, view.fleet) {
            self.interrupt(Reading::Missing(VANISHED));
            return;
        }
        let there = self.places_there(&sample, view);
        let neighbour = self
            .last
            .filter(|last| self.fresh_since.is_some() && sample.at.since(last.at) <= self.stale_after());
        match neighbour {
            Some(previous) => self.learn(previous, sample, there, view),
            None => {
                self.interrupt(Reading::None);
                self.fresh_since = Some(sample.at);
            }
        }
        self.polling.note(&sample);
        self.empty_since = (sample.ready == 0).then(|| self.empty_since.unwrap_or(sample.at));
        (self.there, self.working) = (there, there * view.share);
        let short = u32::MAX - u32::try_from(sample.ready).unwrap_or(u32::MAX);
        self.short_of_waiting.record(sample.at, short, self.patience(view.startup) / 2);
        self.last = Some(sample);
        self.reading = Reading::Good(sample);
    }

    /// What it tells is taken over by the estimates that do without, so that they can go on from there.
    fn absorb_detail(&mut self, detail: Detail, view: &View<'_>) {
        if let Reading::Missing(_) = self.reading {
            // A broker whose depth is not to be believed is not to be believed about the rest.
            self.flow.interrupt();
            return;
        }
        let believed = (self.arrivals.slow(), self.service.planned_seconds());
        // A consumer that holds messages of several queues works on one of them.
        let held = detail.unacknowledged.saturating_add(view.elsewhere).max(1) as f64;
        let most = f64::from(view.hands.places(view.fleet.running));
        let working =
            if view.elsewhere == 0 { most } else { most * (detail.unacknowledged as f64 / held).min(1.0) };
        self.flow.observe(detail, working, believed, view.startup);
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

    /// Places in which messages are worked on: of those of our processes that run, as far as the queue shows as many
    /// consumers. One process may hold several, and others may consume too: work is counted by our process, the rest shows as
    /// fewer arrivals.
    fn places_there(&self, sample: &Sample, view: &View<'_>) -> f64 {
        let running = f64::from(view.fleet.running);
        let there = if self.polling.is_recognised() || sample.consumers == 0 {
            running
        } else {
            running.min(sample.consumers as f64)
        };
        there * f64::from(view.hands.concurrency)
    }

    fn learn(&mut self, previous: Sample, sample: Sample, there: f64, view: &View<'_>) {
        let seconds = sample.at.since(previous.at).as_secs_f64();
        let working = there * view.share;
        let consumers = (self.working + working) / 2.0;
        self.service = self.service_next.clone();
        let usual_arrivals = self.arrivals.slow();
        let ready_before = surely_waiting(&previous, self.there);
        let ready_after = surely_waiting(&sample, there);
        self.arrivals.observe(&Interval {
            seconds,
            ready_before,
            ready_after,
            capacity: consumers / self.service.planned_seconds(),
            long_empty: self.long_empty(sample.at, view.startup),
        });
        // Those that are new each took a message without having done one.
        let taken = (working - self.working).max(0.0);
        let slope = (ready_after - ready_before + taken) / seconds;
        self.stuck.note(sample.at, ready_after, there);
        if ready_before > 0.0 {
            // All of them, because no more can have been at work on it.
            self.service_next.observe_fall(
                (self.there + there) / 2.0 * seconds,
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
        self.polling.weigh(&previous, &sample, view.fleet);
    }

    /// What the need is computed from.
    pub(super) fn state(&self, startup: Duration, hands: Hands, now: Time) -> State {
        let unacknowledged = self.flow.unacknowledged().filter(|_| self.flow.is_fresh(now));
        State {
            ready: self.last.map_or(0, |sample| sample.ready),
            arrivals_slow: self.arrivals.slow(),
            arrivals_fast: self.arrivals.fast(),
            service: self.service.planned_seconds(),
            startup: startup.as_secs_f64(),
            unacknowledged,
            stuck: self.is_stuck(startup),
            waiting_long: u64::from(u32::MAX - self.short_of_waiting.peak()),
            due: 0.0,
            in_hand: hands.seconds(self.service.planned_seconds()),
        }
    }

    /// Whether nothing moves and nothing is known that would explain it.
    fn is_stuck(&self, startup: Duration) -> bool {
        let patience = self.patience(startup).max(self.goal.interval * STUCK_INTERVALS);
        let is_known = self.service.is_learned() || self.flow.known().is_some();
        !is_known && self.last.is_some_and(|sample| self.stuck.is_overdue(sample.at, patience))
    }

    /// How long a message may wait before one more consumer is to be ordered for it.
    fn patience(&self, startup: Duration) -> Duration {
        let planned = self.goal.wait.mul_f64(self.goal.profile.tuning().planned_share);
        planned.saturating_sub(startup + self.goal.interval)
    }

    /// How many of the fleet are at work for this queue, at the most, where that is known.
    pub(super) fn busy(&self, now: Time) -> Option<u32> {
        self.flow.busy().filter(|_| self.flow.is_fresh(now))
    }

    /// The time after which an empty queue tells that the flow has fallen, in seconds, where that has passed.
    fn long_empty(&self, now: Time, startup: Duration) -> Option<f64> {
        let seconds = 2.0 * (startup.as_secs_f64() + self.service.planned_seconds());
        let seconds = seconds.clamp(LONG_EMPTY_LEAST_SECONDS, LONG_EMPTY_MOST_SECONDS);
        let empty = now.since(self.empty_since?).as_secs_f64();
        (empty >= seconds).then_some(seconds)
    }

    /// When the newest reading is too old to be believed, where it is a good one.
    pub(super) fn stale_at(&self) -> Option<Time> {
        match self.reading {
            Reading::Good(sample) => Some(sample.at + self.stale_after() + Duration::from_micros(1)),
            Reading::None | Reading::NoQueue | Reading::Missing(_) => None,
        }
    }
}

/// Messages that wait because every consumer is busy. One that is not shown may be idle and about to look, so as many
/// messages as there are such consumers prove nothing.
fn surely_waiting(sample: &Sample, there: f64) -> f64 {
    let idle = if sample.consumers == 0 { there } else { 0.0 };
    (sample.ready as f64 - idle).max(0.0)
}
