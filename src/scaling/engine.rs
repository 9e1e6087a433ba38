//! The engine: readings in, a target with its reason out.
//!
//! Missing data come before everything: a failed or late reading, and 0 ready with 0 consumers where the same processes
//! have been seen consuming, hold the present number. A queue that does not exist holds too, and keeps one to declare it.
//! With good data the policy decides. Of several queues, one without good data keeps the number from falling, and the others
//! may still raise it.
//!
//! The window before a step down is `clamp(2(L + S), 8 s, 30 s)` in the balanced profile: about the cost of a start, so that keeping a consumer
//! for nothing and starting one too many cost the same (ski rental: at most twice the best that can be done).
//!
//! `decide` may be called at any moment and any number of times; only a new reading or the passing of time changes its
//! outcome.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::decision::{Decision, Inputs, Limit, OfQueue, OfSeveral};
use crate::scaling::delayed::Delayed;
use crate::scaling::effect::Bounded;
use crate::scaling::estimate::Startup;
use crate::scaling::hands::Hands;
use crate::scaling::input::{Fleet, Floor, Goal, Learned, Observation, Order, QueueGoal};
use crate::scaling::need::{self, Ahead, Need, State};
use crate::scaling::policy::{self, Outcome, Situation};
use crate::scaling::rate::Allowed;
use crate::scaling::reason::{self, Cause, Figures};
use crate::scaling::several::{One, Several};
use crate::scaling::silence::Silence;
use crate::scaling::track::{LONG_EMPTY_MOST_SECONDS, Reading, Sample, Track, View};
use crate::scaling::window::Window;

/// The least window before a step down: a shorter one would chase noise.
const WINDOW_LEAST_SECONDS: f64 = 8.0;
/// The same where it is known who is idle: as often as brokers renew what they tell. The work per message counts up to
/// so much there.
const WINDOW_LEAST_KNOWN_SECONDS: f64 = 5.0;
const WINDOW_WORK_MOST_SECONDS: f64 = 10.0;
/// Readings of a queue that are kept until the next decision; more only come where nobody asks for decisions.
const PENDING_MOST: usize = 16;

/// The engine of one program.
#[derive(Clone, Debug)]
pub struct Engine {
    /// With the shortest wait of all queues, and the least that holds at present.
    goal: Goal,
    /// The least where no floor holds.
    least: u32,
    floor: Option<Floor>,
    /// The most messages a second that all consumers together may take.
    rate: Option<f64>,
    hands: Hands,
    /// From where messages come back into the first queue.
    delayed: Vec<Delayed>,
    /// The queues in their order, one at least.
    tracks: Vec<Track>,
    /// Their names, where there are several.
    names: Vec<String>,
    order: Order,
    startup: Startup,
    pending: VecDeque<(usize, Observation)>,
    window: Window,
    stepped_down_at: Option<Time>,
    silence: Silence,
    target: Option<u32>,
}

/// What all queues together ask for.
#[derive(Debug)]
struct Asked {
    state: State,
    need: Need,
    /// The queue that asks for most.
    by: usize,
    /// Messages that wait in it, and what has to be done before the last of them is begun.
    ready: u64,
    ahead: Ahead,
    /// What each of several asks for.
    needs: Vec<Need>,
}

impl Engine {
    /// An engine for one queue that begins with what was learned before.
    pub fn new(goal: Goal, learned: Learned) -> Self {
        Self::with(goal, vec![Track::new(goal, learned)], learned.startup_seconds)
    }

    /// An engine for several queues, one at least, with what was learned of each before, and of a start. The wait of `goal`
    /// does not count.
    pub fn of_several(
        goal: Goal,
        queues: Vec<QueueGoal>,
        order: Order,
        learned: &[Learned],
        startup_seconds: Option<f64>,
    ) -> Self {
        let learned = learned.iter().copied().chain(std::iter::repeat(Learned::default()));
        let tracks = queues.iter().zip(learned);
        let tracks =
            tracks.map(|(queue, learned)| Track::new(Goal { wait: queue.wait, ..goal }, learned)).collect();
        let mut engine = Self::with(goal, tracks, startup_seconds);
        engine.set_goals(goal, queues, order);
        engine
    }

    fn with(goal: Goal, tracks: Vec<Track>, startup_seconds: Option<f64>) -> Self {
        Self {
            goal,
            least: goal.min,
            floor: None,
            rate: None,
            hands: Hands::default(),
            delayed: Vec::new(),
            tracks,
            names: Vec::new(),
            order: Order::default(),
            startup: Startup::new(startup_seconds),
            pending: VecDeque::new(),
            window: Window::default(),
            stepped_down_at: None,
            silence: Silence::default(),
            target: None,
        }
    }

    /// A new goal, after a reload. What was learned stays; the next decision lies within the new bounds.
    pub fn set_goal(&mut self, goal: Goal) {
        self.goal = goal;
        self.least = goal.min;
        self.set_floor(self.floor.clone());
        self.tracks.iter_mut().for_each(|track| track.goal = goal);
    }

    /// The same for several queues, which are those that there were before.
    pub fn set_goals(&mut self, goal: Goal, queues: Vec<QueueGoal>, order: Order) {
        let wait = queues.iter().map(|queue| queue.wait).min().unwrap_or(goal.wait);
        self.goal = Goal { wait, ..goal };
        self.least = goal.min;
        self.set_floor(self.floor.clone());
        self.order = order;
        for (track, queue) in self.tracks.iter_mut().zip(&queues) {
            track.goal = Goal { wait: queue.wait, ..goal };
        }
        self.names = queues.into_iter().map(|queue| queue.name).collect();
    }

    /// The least that holds at present, of all servers together.
    pub fn least(&self) -> u32 {
        self.goal.min
    }

    /// The least that holds for a while, in place of that of the goal where it is higher.
    pub fn set_floor(&mut self, floor: Option<Floor>) {
        self.goal.min =
            floor.as_ref().map_or(self.least, |floor| self.least.max(floor.min.min(self.goal.max)));
        self.floor = floor;
    }

    /// The most messages an hour that all consumers together may take.
    pub fn set_rate(&mut self, messages_per_hour: Option<u64>) {
        self.rate = messages_per_hour.map(|messages| messages as f64 / 3_600.0);
    }

    /// How each consumer takes messages. What is known of the work is of a place, and one of several places in a consumer takes
    /// so many times as long for a message as the consumer does on the average.
    pub fn set_hands(&mut self, hands: Hands) {
        let times = f64::from(hands.concurrency) / f64::from(self.hands.concurrency);
        if hands.concurrency != self.hands.concurrency {
            self.tracks.iter_mut().for_each(|track| track.divide_into_places(times));
        }
        self.hands = hands;
    }

    /// Queues from which messages come back into the only one, each after its time. What is known of them stays while these are
    /// the same.
    pub fn set_delayed(&mut self, after: &[Duration]) {
        if !self.delayed.iter().map(Delayed::after).eq(after.iter().copied()) {
            self.delayed = after.iter().map(|&after| Delayed::new(after)).collect();
        }
    }

    /// Takes a reading of a delayed queue, by its place. One that does not exist is not listened to.
    pub fn observe_delayed(&mut self, place: usize, observation: Observation) {
        if let Some(delayed) = self.delayed.get_mut(place) {
            delayed.observe(observation);
        }
    }

    /// Takes a reading of the only queue, or the first one. It counts from the next decision on, which tells the fleet that
    /// it is to be seen with.
    pub fn observe(&mut self, observation: Observation) {
        self.observe_queue(0, observation);
    }

    /// Takes a reading of a queue, by its place from 0. One that does not exist is not listened to.
    pub fn observe_queue(&mut self, queue: usize, observation: Observation) {
        if queue >= self.tracks.len() {
            return;
        }
        if self.pending.len() == PENDING_MOST * self.tracks.len() {
            self.pending.pop_front();
        }
        self.pending.push_back((queue, observation));
    }

    /// A consumer consumes, `took` after it was ordered.
    pub fn observe_started(&mut self, took: Duration) {
        self.startup.observe(took);
    }

    /// How many consumers there should be. `now` must not lie before an earlier call's.
    pub fn decide(&mut self, fleet: &Fleet, now: Time) -> Decision {
        while let Some((queue, observation)) = self.pending.pop_front() {
            self.absorb(queue, observation, fleet, now);
        }
        let before = self.target.unwrap_or_else(|| fleet.live());
        let bounded = policy::bounded(before, &self.goal);
        let asked = self.asked(fleet, now);
        let outcome = self.outcome(bounded, &asked, fleet, now);
        let outcome = self.by_floor(before, outcome);
        if outcome.target < bounded {
            self.stepped_down_at = Some(now);
        }
        self.silence.note(bounded, outcome.target, now);
        self.target = Some(outcome.target);
        self.decision(before, &asked, &outcome, fleet, now)
    }

    /// Goes on from a number that was set past the engine: by an operator's hold that has ended, or before a restart. From
    /// there it rises at once where that is needed, and falls by the rules of every other step down.
    pub fn resume_at(&mut self, target: u32) {
        self.target = Some(target);
    }

    /// What a restart should not forget, of the only queue or the first one.
    pub fn learned(&self) -> Learned {
        self.learned_of(0)
    }

    /// What a restart should not forget of a queue, by its place.
    pub fn learned_of(&self, queue: usize) -> Learned {
        let track = self.tracks.get(queue);
        Learned {
            service_seconds: track
                .and_then(Track::learned_service)
                .map(|seconds| seconds / f64::from(self.hands.concurrency)),
            startup_seconds: self.startup.learned(),
            polling: track.is_some_and(|track| track.polling.is_recognised()),
        }
    }

    /// How long a consumer is taken to be starting.
    pub fn startup(&self) -> Duration {
        Duration::from_secs_f64(self.startup.seconds())
    }

    /// Whether the workers of a queue, by its place, poll and are never visible as consumers.
    pub fn is_polling(&self, queue: usize) -> bool {
        self.tracks.get(queue).is_some_and(|track| track.polling.is_recognised())
    }

    fn absorb(&mut self, queue: usize, observation: Observation, fleet: &Fleet, now: Time) {
        let startup = self.startup();
        let mut view = View { fleet, startup, share: 1.0, hands: self.hands, elsewhere: 0 };
        if self.tracks.len() > 1 {
            let places = f64::from(self.hands.places(fleet.running));
            let at_work = self.several(&self.ones(now), &self.hands.fleet(fleet), now).at_work(places);
            view.share = if fleet.running == 0 { 1.0 } else { (at_work[queue] / places).clamp(0.0, 1.0) };
            let others = self.tracks.iter().enumerate().filter(|(other, _)| *other != queue);
            let held = others.filter_map(|(_, track)| track.flow.unacknowledged());
            view.elsewhere = held.fold(0, u64::saturating_add);
        }
        self.tracks[queue].absorb(observation, &view);
    }

    fn asked(&self, fleet: &Fleet, now: Time) -> Asked {
        let hands = self.hands;
        let places = hands.fleet(fleet);
        if let [track] = self.tracks.as_slice() {
            let horizon = self.startup() + self.goal.interval;
            let due = self.delayed.iter().map(|delayed| delayed.due(now, horizon)).sum();
            let state = State { due, ..track.state(self.startup(), hands, now) };
            let need = hands.need(need::compute(&state, &hands.goal(self.goal), &places, now));
            let (ready, ahead) = (state.ready, hands.ahead(state.ahead()));
            return Asked { state, need, by: 0, ready, ahead, needs: Vec::new() };
        }
        let ones = self.ones(now);
        let several = self.several(&ones, &places, now);
        let needs: Vec<Need> = several.needs().into_iter().map(|need| hands.need(need)).collect();
        let by = (0..needs.len()).rev().max_by_key(|&index| needs[index].total()).unwrap_or(0);
        Asked {
            state: several.together(),
            need: needs[by],
            by,
            ready: ones[by].state.ready,
            ahead: hands.ahead(several.ahead(by)),
            needs,
        }
    }

    /// What is known of each queue. Of one that cannot be read, its usual flow; of one that does not exist, nothing.
    fn ones(&self, now: Time) -> Vec<One> {
        let startup = self.startup();
        let one = |track: &Track| {
            let state = track.state(startup, self.hands, now);
            let state = match (self.trouble_of(track, now), track.reading) {
                (None, _) => state,
                (Some(_), Reading::NoQueue) => {
                    State { ready: 0, waiting_long: 0, arrivals_slow: 0.0, arrivals_fast: 0.0, ..state }
                }
                (Some(_), Reading::None | Reading::Good(_) | Reading::Missing(_)) => {
                    State { ready: 0, waiting_long: 0, ..state }
                }
            };
            One { goal: self.hands.goal(track.goal), state }
        };
        self.tracks.iter().map(one).collect()
    }

    fn several<'a>(&self, queues: &'a [One], fleet: &'a Fleet, now: Time) -> Several<'a> {
        Several { queues, order: self.order, fleet, now }
    }

    /// How many of the fleet are at work, at the most, where that is known.
    pub(super) fn busy(&self, fleet: &Fleet, now: Time) -> Option<u32> {
        let told = self.tracks.iter().map(|track| track.busy(now));
        let all = told.sum::<Option<u32>>()?;
        Some(all.min(fleet.running))
    }

    /// Why a queue cannot be gone by.
    fn trouble_of(&self, track: &Track, now: Time) -> Option<Cause> {
        match track.reading {
            Reading::None => Some(Cause::NotRead),
            Reading::Missing(why) => {
                Some(Cause::Missing { why, last: track.last.map(|sample| now.since(sample.at)) })
            }
            Reading::NoQueue => Some(Cause::NoQueue),
            Reading::Good(sample) if now.since(sample.at) > track.stale_after() => {
                Some(Cause::Stale { last: now.since(sample.at) })
            }
            Reading::Good(_) => None,
        }
    }

    /// The first queue that cannot be gone by, and why.
    fn trouble(&self, now: Time) -> Option<(usize, Cause)> {
        let of = |(index, track)| self.trouble_of(track, now).map(|cause| (index, cause));
        self.tracks.iter().enumerate().find_map(of)
    }

    fn outcome(&mut self, before: u32, asked: &Asked, fleet: &Fleet, now: Time) -> Outcome {
        let trouble = self.trouble(now);
        if trouble.is_some() && self.tracks.len() == 1 {
            return self.held(before, trouble);
        }
        let busy = self.busy(fleet, now);
        let length = self.window_length(busy.is_some());
        self.window.record(now, policy::load(&self.goal, &asked.state, asked.need), length);
        let empty_since = self.all_since(|track| track.empty_since);
        let situation = Situation {
            goal: &self.goal,
            state: &asked.state,
            fleet,
            now,
            read_at: self.read_at(now),
            before,
            need: asked.need,
            ready: asked.ready,
            ahead: asked.ahead,
            peak: self.window.peak(),
            empty_since,
            window_ends: match busy {
                Some(_) => self.window_ends_for_idle(before, now),
                None => self.window_ends(&asked.state, before, now),
            },
            busy,
            bounded: self.bounded(asked).filter(|_| busy.is_some()),
            allowed: self.allowed(),
            hides: self.hands.are_unlimited() && asked.state.unacknowledged != Some(0),
            silence_ends: empty_since.unwrap_or(now) + self.silence.length().max(length),
        };
        match trouble {
            None => situation.outcome(),
            Some(_) => situation.rise().unwrap_or_else(|| self.held(before, trouble)),
        }
    }

    /// The present number, and one at the least where somebody has to declare a queue.
    fn held(&self, before: u32, trouble: Option<(usize, Cause)>) -> Outcome {
        let is_missing = |track: &Track| track.reading == Reading::NoQueue;
        let declares = self.tracks.iter().any(is_missing);
        let target = if declares { before.max(1).min(self.goal.max) } else { before };
        let cause = trouble.map_or(Cause::NotRead, |(_, cause)| cause);
        Outcome { target, limit: Limit::Data, cause }
    }

    /// Where a floor is what holds the number, it is told.
    fn by_floor(&self, before: u32, outcome: Outcome) -> Outcome {
        let Some(floor) = self.floor.as_ref().filter(|floor| floor.min > self.least) else { return outcome };
        let raises = outcome.limit == Limit::Data && before < self.goal.min;
        if raises || outcome.cause == Cause::Minimum {
            let cause = Cause::Floor { until: floor.until.clone() };
            return Outcome { limit: Limit::Min, cause, ..outcome };
        }
        outcome
    }

    /// What the rate allows, where there is one.
    fn allowed(&self) -> Option<Allowed> {
        let rate = self.rate?;
        let arrivals: f64 = self.tracks.iter().map(|track| track.arrivals.slow()).sum();
        let seconds = |track: &Track| track.service.seconds();
        // Of several queues by what arrives in each; the quickest where nothing does, so that the rate is kept.
        let service = if arrivals > 0.0 {
            self.tracks.iter().map(|track| track.arrivals.slow() * seconds(track)).sum::<f64>() / arrivals
        } else {
            self.tracks.iter().map(seconds).fold(f64::INFINITY, f64::min)
        };
        let is_learned = self.tracks.iter().all(|track| track.service.is_learned());
        Some(Allowed::new(rate, service, self.hands.concurrency, is_learned, self.goal.min))
    }

    /// When the oldest of the newest readings was made.
    fn read_at(&self, now: Time) -> Time {
        let read_at = |track: &Track| match track.reading {
            Reading::Good(sample) => Some(sample.at),
            Reading::None | Reading::NoQueue | Reading::Missing(_) => None,
        };
        self.tracks.iter().filter_map(read_at).min().unwrap_or(now)
    }

    /// Since when something is so of all queues.
    fn all_since(&self, since: impl Fn(&Track) -> Option<Time>) -> Option<Time> {
        let all = self.tracks.iter().map(since).collect::<Option<Vec<Time>>>()?;
        all.into_iter().max()
    }

    /// How many are of use, where more were found not to be, for the queue that asks for most: beside those that others need.
    fn bounded(&self, asked: &Asked) -> Option<Bounded> {
        let bounded = self.tracks[asked.by].flow.bound()?;
        let others = self.tracks.iter().enumerate().filter(|(index, _)| *index != asked.by);
        let load = |track: &Track| track.arrivals.slow() * track.service.planned_seconds();
        let beside = others.map(|(_, track)| load(track)).sum::<f64>().ceil() as u32;
        let more = |places: u32| self.hands.consumers(places.saturating_add(beside));
        Some(Bounded { useful: more(bounded.useful), tried: bounded.tried.map(more), ..bounded })
    }

    /// The longest work per message, in seconds.
    fn longest_service(&self) -> f64 {
        self.tracks.iter().map(|track| track.service.planned_seconds()).fold(0.0, f64::max)
    }

    /// When a step down from `before` may come, if the queues stay empty and every reading good.
    fn window_ends(&self, state: &State, before: u32, now: Time) -> Time {
        let length = self.window_length(false);
        let empty = self.all_since(|track| track.empty_since).unwrap_or(now) + length;
        // A flow that the half cannot do shows as soon as those that are left are busy.
        let service = Duration::from_secs_f64(self.longest_service());
        let least = if need::starts_quickly(state, &self.goal) { length / 4 } else { length / 2 };
        let next = (service * 2).clamp(least, length);
        let stepped = self.stepped_down_at.map_or(empty, |at| at + next);
        let peak = self.window.falls_to(before.saturating_sub(1), length).unwrap_or(empty);
        empty.max(stepped).max(peak)
    }

    /// The same where it is known who is idle: messages may wait meanwhile, if fewer can do them.
    fn window_ends_for_idle(&self, before: u32, now: Time) -> Time {
        let length = self.window_length(true);
        let fresh = self.all_since(|track| track.fresh_since).unwrap_or(now) + length;
        fresh.max(self.window.falls_to(before.saturating_sub(1), length).unwrap_or(fresh))
    }

    /// Where nobody knows who is idle, a message more is what it takes to see that nobody is needed. Where that is known,
    /// a start is to be weighed, and little beside it.
    fn window_length(&self, is_known: bool) -> Duration {
        let tuning = self.goal.profile.tuning();
        let service = self.longest_service();
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

    /// When time alone may change the outcome: when a reading grows too old.
    fn review_at(&self, now: Time) -> Option<Time> {
        let stale_at = self.tracks.iter().filter_map(Track::stale_at).filter(|&at| at > now).min()?;
        let flow = self.tracks.iter().filter_map(|track| track.flow.stale_at()).filter(|&at| at > now);
        Some(flow.fold(stale_at, Time::min))
    }

    fn decision(&self, before: u32, asked: &Asked, outcome: &Outcome, fleet: &Fleet, now: Time) -> Decision {
        let target = outcome.target;
        let several = (self.tracks.len() > 1).then(|| self.of_several_queues(asked, target, fleet, now));
        let trouble = self.trouble(now);
        let is_good = self.tracks.iter().any(|track| track.stale_at().is_some_and(|at| at > now));
        let predicted_wait = match &several {
            None => {
                let (places, target) = (self.hands.fleet(fleet), self.hands.places(target));
                need::expected_wait(&asked.state, &places, target, now).filter(|_| is_good)
            }
            Some(several) => self.shortest().and_then(|index| several.queues[index].predicted_wait),
        };
        Decision {
            target,
            before,
            wanted: target,
            busy: self.busy(fleet, now),
            limit: outcome.limit,
            trouble: outcome
                .cause
                .trouble()
                .or_else(|| trouble.as_ref().and_then(|(_, cause)| cause.trouble())),
            reason: self.sentence(
                asked,
                outcome,
                several.as_ref(),
                trouble.map_or(asked.by, |(index, _)| index),
            ),
            inputs: self.inputs(asked, now),
            review_at: self.review_at(now),
            predicted_wait,
            several,
        }
    }

    /// The queue with the shortest goal.
    fn shortest(&self) -> Option<usize> {
        (0..self.tracks.len()).min_by_key(|&index| self.tracks[index].goal.wait)
    }

    /// `troubled` is the queue that a cause about data is about.
    fn sentence(
        &self,
        asked: &Asked,
        outcome: &Outcome,
        several: Option<&OfSeveral>,
        troubled: usize,
    ) -> String {
        let of = if outcome.limit == Limit::Data { troubled } else { asked.by };
        let track = &self.tracks[of];
        let service = track.service.planned_seconds();
        let starved = several
            .iter()
            .flat_map(|several| &several.queues)
            .find_map(|queue| queue.starved_by.as_deref().map(|by| (queue.name.as_str(), by)));
        let figures = Figures {
            target: outcome.target,
            max: self.goal.max,
            goal: track.goal.wait,
            arrivals: track.arrivals.slow(),
            service: Duration::from_secs_f64(service),
            service_learned: track.service.is_learned(),
            startup: self.startup(),
            starts_too_slowly: need::starts_too_slowly(self.startup.seconds(), &track.goal),
            polling: self.tracks.iter().any(|track| track.polling.is_recognised()),
            hands: (self.hands.prefetch, Duration::from_secs_f64(self.hands.seconds(service))),
            queue: self.names.get(of).map(String::as_str).filter(|_| self.tracks.len() > 1),
            starved,
        };
        reason::sentence(&outcome.cause, &figures)
    }

    fn of_several_queues(&self, asked: &Asked, target: u32, fleet: &Fleet, now: Time) -> OfSeveral {
        let ones = self.ones(now);
        let places = self.hands.fleet(fleet);
        let several = self.several(&ones, &places, now);
        let target = self.hands.places(target);
        let name = |index: usize| self.names.get(index).cloned().unwrap_or_default();
        let queue = |(index, track): (usize, &Track)| {
            let is_good = self.trouble_of(track, now).is_none();
            OfQueue {
                name: name(index),
                inputs: inputs_of(track, &ones[index].state, asked.needs[index], now),
                predicted_wait: several.expected_wait(index, target).filter(|_| is_good),
                starved_by: several.starved_by(index, target).map(name),
            }
        };
        OfSeveral { decided_by: name(asked.by), queues: self.tracks.iter().enumerate().map(queue).collect() }
    }

    fn inputs(&self, asked: &Asked, now: Time) -> Inputs {
        let inputs = match self.tracks.as_slice() {
            [track] => inputs_of(track, &asked.state, asked.need, now),
            tracks => {
                let samples = || tracks.iter().map(|track| track.last);
                Inputs {
                    ready: samples()
                        .map(|last| last.map(|sample| sample.ready))
                        .reduce(|sum, ready| Some(sum?.saturating_add(ready?)))
                        .flatten(),
                    consumers: samples().map(|last| last.map(|sample| sample.consumers)).min().flatten(),
                    sample_age: samples().flatten().map(|sample: Sample| now.since(sample.at)).max(),
                    arrivals_per_second: Some(asked.state.arrivals_slow),
                    arrivals_per_second_fast: Some(asked.state.arrivals_fast),
                    service_seconds: asked.state.service,
                    service_learned: tracks.iter().all(|track| track.service.is_learned()),
                    startup_seconds: asked.state.startup,
                    steady: asked.needs.iter().map(|need| need.steady).max().unwrap_or(0),
                    drain: asked.needs.iter().map(|need| need.drain).max().unwrap_or(0),
                    window_peak: 0,
                }
            }
        };
        Inputs { window_peak: self.window.peak(), ..inputs }
    }
}

/// The numbers of one queue.
fn inputs_of(track: &Track, state: &State, need: Need, now: Time) -> Inputs {
    let known = track.arrivals.are_known();
    Inputs {
        ready: track.last.map(|sample| sample.ready),
        consumers: track.last.map(|sample| sample.consumers),
        sample_age: track.last.map(|sample| now.since(sample.at)),
        arrivals_per_second: known.then_some(state.arrivals_slow),
        arrivals_per_second_fast: known.then_some(state.arrivals_fast),
        service_seconds: state.service,
        service_learned: track.service.is_learned(),
        startup_seconds: state.startup,
        steady: need.steady,
        drain: need.drain,
        window_peak: 0,
    }
}
