//! Several queues and the consumers that work for all of them, in virtual time: the goals are kept, whoever comes first does,
//! and what is starved is named.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use crate::core::random::Random;
use crate::core::time::Time;
use crate::scaling::Engine;
use crate::scaling::decision::Decision;
use crate::scaling::input::{Detail, Fleet, Goal, Observation, Order, QueueGoal};
use crate::scaling::profile::Profile;

const STARTUP: Duration = Duration::from_millis(500);
/// A broker tells more than depths so often, in seconds.
const STATISTICS: u64 = 5;

/// A queue: its goal, seconds of work per message, and when messages arrive.
struct Queue {
    wait: f64,
    service: f64,
    arrivals: Vec<f64>,
}

/// What became of a queue's messages.
#[derive(Debug, Default)]
struct Outcome {
    messages: usize,
    over_goal: usize,
    longest: f64,
}

impl Outcome {
    fn over_goal_ratio(&self) -> f64 {
        self.over_goal as f64 / self.messages as f64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Done { consumer: usize, queue: usize },
    Up { consumer: usize },
    Arrives { queue: usize },
    Second,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting(Time),
    Idle,
    Busy(usize),
    Draining(usize),
    Gone,
}

struct World {
    engine: Engine,
    order: Order,
    queues: Vec<Queue>,
    waiting: Vec<VecDeque<f64>>,
    consumers: Vec<(State, Time)>,
    turn: usize,
    acknowledged: Vec<u64>,
    outcomes: Vec<Outcome>,
    told_everything: bool,
    now: Time,
    events: BinaryHeap<Reverse<(Time, Event)>>,
    random: Random,
    consumer_seconds: f64,
    most: u32,
    starved: BTreeSet<(String, String)>,
}

impl World {
    fn new(goal: Goal, order: Order, queues: Vec<Queue>, told_everything: bool) -> Self {
        let names = ["high", "low"];
        let goals = queues.iter().zip(names);
        let goals = goals.map(|(queue, name)| QueueGoal {
            name: name.to_owned(),
            wait: Duration::from_secs_f64(queue.wait),
        });
        let mut events = BinaryHeap::from([Reverse((Time::from_millis(500), Event::Second))]);
        for (index, queue) in queues.iter().enumerate() {
            let arrivals = queue.arrivals.iter().map(|at| Time::default() + Duration::from_secs_f64(*at));
            events.extend(arrivals.map(|at| Reverse((at, Event::Arrives { queue: index }))));
        }
        Self {
            engine: Engine::of_several(goal, goals.collect(), order, &[], None),
            order,
            waiting: vec![VecDeque::new(); queues.len()],
            consumers: Vec::new(),
            turn: 0,
            acknowledged: vec![0; queues.len()],
            outcomes: queues.iter().map(|_| Outcome::default()).collect(),
            queues,
            told_everything,
            now: Time::default(),
            events,
            random: Random::new(7),
            consumer_seconds: 0.0,
            most: 0,
            starved: BTreeSet::new(),
        }
    }

    fn run(mut self, seconds: u64) -> Self {
        while let Some(Reverse((at, event))) = self.events.pop() {
            if at > Time::from_millis(seconds * 1_000) {
                break;
            }
            self.consumer_seconds += f64::from(self.alive()) * at.since(self.now).as_secs_f64();
            self.now = at;
            match event {
                Event::Arrives { queue } => self.waiting[queue].push_back(at.as_seconds()),
                Event::Up { consumer } => {
                    if let State::Starting(_) = self.consumers[consumer].0 {
                        self.consumers[consumer].0 = State::Idle;
                        self.engine.observe_started(STARTUP);
                    }
                }
                Event::Done { consumer, queue } => {
                    self.acknowledged[queue] += 1;
                    let is_leaving = matches!(self.consumers[consumer].0, State::Draining(_));
                    self.consumers[consumer].0 = if is_leaving { State::Gone } else { State::Idle };
                }
                Event::Second => self.second(),
            }
            self.give();
        }
        for (queue, waiting) in self.waiting.iter().enumerate() {
            let outcome = &mut self.outcomes[queue];
            outcome.messages += waiting.len();
            let is_over = |at: &&f64| self.now.as_seconds() - **at > self.queues[queue].wait;
            outcome.over_goal += waiting.iter().filter(is_over).count();
        }
        self
    }

    fn alive(&self) -> u32 {
        self.consumers.iter().filter(|(state, _)| *state != State::Gone).count() as u32
    }

    /// Whoever is idle takes a message: from the first queue that has one, or from each in turn.
    fn give(&mut self) {
        for consumer in 0..self.consumers.len() {
            if self.consumers[consumer].0 != State::Idle {
                continue;
            }
            let count = self.queues.len();
            let first = match self.order {
                Order::Strict => 0,
                Order::Fair => self.turn,
            };
            let next =
                (0..count).map(|step| (first + step) % count).find(|&queue| !self.waiting[queue].is_empty());
            let Some(queue) = next else { return };
            let Some(arrived) = self.waiting[queue].pop_front() else { return };
            self.turn = (queue + 1) % count;
            let waited = self.now.as_seconds() - arrived;
            let outcome = &mut self.outcomes[queue];
            outcome.messages += 1;
            outcome.over_goal += usize::from(waited > self.queues[queue].wait);
            outcome.longest = outcome.longest.max(waited);
            // Some take up to twice as long as others.
            let service = self.queues[queue].service * (2.0 / 3.0 + self.random.unit() * 2.0 / 3.0);
            self.consumers[consumer].0 = State::Busy(queue);
            let done = self.now + Duration::from_secs_f64(service);
            self.events.push(Reverse((done, Event::Done { consumer, queue })));
        }
    }

    fn second(&mut self) {
        self.events.push(Reverse((self.now + Duration::from_secs(1), Event::Second)));
        let fleet = self.fleet();
        let visible = u64::from(fleet.running + fleet.draining);
        let is_full = self.told_everything && (self.now.as_micros() / 1_000_000).is_multiple_of(STATISTICS);
        for queue in 0..self.queues.len() {
            let (at, ready) = (self.now, self.waiting[queue].len() as u64);
            self.engine.observe_queue(queue, Observation::Sample { at, ready, consumers: visible });
            if is_full {
                let is_held = |(state, _): &&(State, Time)| {
                    *state == State::Busy(queue) || *state == State::Draining(queue)
                };
                let unacknowledged = self.consumers.iter().filter(is_held).count() as u64;
                let acknowledged = self.acknowledged[queue];
                let published = None;
                let detail = Detail { at, ready, unacknowledged, acknowledged, published };
                self.engine.observe_queue(queue, Observation::Detail(detail));
            }
        }
        let decision = self.engine.decide(&fleet, self.now);
        self.note(&decision);
        self.obey(decision.target);
    }

    fn note(&mut self, decision: &Decision) {
        self.most = self.most.max(decision.target);
        for queue in decision.several.iter().flat_map(|several| &several.queues) {
            if let Some(by) = &queue.starved_by {
                self.starved.insert((queue.name.clone(), by.clone()));
            }
        }
    }

    fn fleet(&self) -> Fleet {
        let mut fleet = Fleet::default();
        for (state, began) in &self.consumers {
            match state {
                State::Starting(at) => fleet.starting.push(*at),
                State::Idle | State::Busy(_) => {
                    fleet.running += 1;
                    fleet.oldest_running =
                        Some(fleet.oldest_running.map_or(*began, |oldest| oldest.min(*began)));
                }
                State::Draining(_) => fleet.draining += 1,
                State::Gone => {}
            }
        }
        fleet
    }

    /// The youngest goes first, idle ones before it where that is known.
    fn obey(&mut self, target: u32) {
        while self.fleet().live() < target {
            self.consumers.push((State::Starting(self.now), self.now));
            let consumer = self.consumers.len() - 1;
            self.events.push(Reverse((self.now + STARTUP, Event::Up { consumer })));
        }
        while self.fleet().live() > target {
            let is_live = |state: State| matches!(state, State::Starting(_) | State::Idle | State::Busy(_));
            let places = || (0..self.consumers.len()).rev();
            let idle = places().find(|&at| matches!(self.consumers[at].0, State::Starting(_) | State::Idle));
            let youngest = places().find(|&at| is_live(self.consumers[at].0));
            let Some(at) = idle.filter(|_| self.told_everything).or(youngest) else { return };
            self.consumers[at].0 = match self.consumers[at].0 {
                State::Busy(queue) | State::Draining(queue) => State::Draining(queue),
                State::Starting(_) | State::Idle | State::Gone => State::Gone,
            };
        }
    }
}

fn goal(max: u32) -> Goal {
    let (interval, profile) = (Duration::from_secs(1), Profile::Balanced);
    Goal { wait: Duration::ZERO, min: 1, max, interval, profile }
}

/// Messages at random moments, `rate` a second between two moments.
fn flow(seed: u64, rate: f64, (from, to): (f64, f64)) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut at = from;
    let mut arrivals = Vec::new();
    loop {
        at -= (1.0 - random.unit()).ln() / rate;
        if at >= to {
            return arrivals;
        }
        arrivals.push(at);
    }
}

fn bursts(seed: u64, rate: f64) -> Vec<f64> {
    (1..15)
        .flat_map(|burst| {
            flow(seed + burst, rate, (f64::from(burst as u32) * 120.0, f64::from(burst as u32) * 120.0 + 8.0))
        })
        .collect()
}

/// Bursts that have to be answered within seconds, and a batch beside a steady flow that has ten minutes.
fn mixed() -> Vec<Queue> {
    let high = Queue { wait: 5.0, service: 0.1, arrivals: bursts(1, 60.0) };
    let mut arrivals = flow(50, 4.0, (0.0, 1_900.0));
    arrivals.extend(flow(51, 500.0, (500.0, 510.0)));
    vec![high, Queue { wait: 600.0, service: 0.2, arrivals }]
}

#[test]
fn each_queue_keeps_its_goal_with_the_same_consumers() {
    for (order, told_everything) in
        [(Order::Strict, true), (Order::Strict, false), (Order::Fair, true), (Order::Fair, false)]
    {
        let world = World::new(goal(60), order, mixed(), told_everything).run(2_400);
        let name = format!("{order:?}, told everything: {told_everything}, {:?}", world.outcomes);
        let [high, low] = world.outcomes.as_slice() else { panic!("there are two queues") };
        assert!(high.over_goal_ratio() <= 0.02, "{name}");
        assert_eq!(low.over_goal, 0, "{name}");
        assert!(high.messages > 6_000 && low.messages > 12_000, "{name}");
        let work = 0.1 * high.messages as f64 + 0.2 * low.messages as f64;
        assert!(world.consumer_seconds < 4.0 * work, "{} for {work}: {name}", world.consumer_seconds);
        assert!(world.alive() <= 2, "{} are left: {name}", world.alive());
        assert!(world.starved.is_empty(), "{:?}: {name}", world.starved);
    }
}

#[test]
fn under_the_maximum_the_first_queue_keeps_its_goal_and_the_starved_one_is_named() {
    // Fifteen consumers' work in the first queue, three in the second, and 15 of them may be: 20 minutes of that.
    let queues = || {
        let high = Queue { wait: 5.0, service: 0.1, arrivals: flow(3, 145.0, (60.0, 1_260.0)) };
        vec![high, Queue { wait: 60.0, service: 0.3, arrivals: flow(4, 10.0, (60.0, 1_260.0)) }]
    };
    let strict = World::new(goal(15), Order::Strict, queues(), true).run(3_000);
    let [high, low] = strict.outcomes.as_slice() else { panic!("there are two queues") };
    assert!(high.over_goal_ratio() <= 0.02, "{high:?}");
    assert!(low.over_goal_ratio() > 0.5, "{low:?}");
    let named = ("low".to_owned(), "high".to_owned());
    assert_eq!(strict.starved.into_iter().collect::<Vec<_>>(), [named]);
    let fair = World::new(goal(15), Order::Fair, queues(), true).run(3_000);
    assert_eq!(fair.starved.len(), 0);
    assert!(fair.outcomes[1].over_goal < low.over_goal, "{:?} {low:?}", fair.outcomes);
}
