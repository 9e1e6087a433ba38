//! The run: events in virtual time, a policy that decides at its rhythm, a supervisor that does what it says.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::core::random::Random;
use crate::core::time::Time;
use crate::simulation::policy::{Depth, Occasion, Policy, Reading, Removal, Rhythm, Statistics, Tick};
use crate::simulation::queue::consumers::{Consumers, Id, State};
use crate::simulation::queue::record::{End, Moment, Record, Run};
use crate::simulation::queue::scenario::{FaultKind, Scenario};
use crate::simulation::workload::{Message, Workload};

/// Polling workers without a message look again after this time.
const POLL: Duration = Duration::from_millis(250);
/// A run ends this long after the end of its workload, whatever is left.
const PATIENCE_SECONDS: f64 = 3_600.0;
const SECOND: Duration = Duration::from_secs(1);

/// Runs a workload under a policy; `with_moments` keeps how things stood at every second.
pub fn run(workload: &Workload, scenario: &Scenario, policy: &mut dyn Policy, with_moments: bool) -> Run {
    World::new(workload, scenario, policy, with_moments).run()
}

/// What consumers do. Events at the same moment happen in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Finished(Id),
    Ready(Id),
    Poll(Id),
}

/// What happens next. At the same moment in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Next {
    Arrival,
    Consumer,
    Second,
    Rhythm,
    Review,
}

pub(super) struct World<'a> {
    workload: &'a Workload,
    scenario: &'a Scenario,
    pub(super) policy: &'a mut dyn Policy,
    rhythm: Rhythm,
    removal: Removal,
    random: Random,
    now: Time,
    events: BinaryHeap<Reverse<(Time, Event)>>,
    second_at: Time,
    rhythm_at: Time,
    /// Messages that wait, by number, in their order.
    ready: VecDeque<u32>,
    /// Consumers with room, in the order in which the broker gives to them.
    row: VecDeque<Id>,
    pub(super) consumers: Consumers,
    statistics: Option<Statistics>,
    /// Whether the target or the set of consumers has changed since the supervisor looked.
    pub(super) changed: bool,
    pub(super) target: u32,
    /// How many more may be started.
    pub(super) room: u32,
    /// Whether those that are at work are asked to end where too few are idle.
    pub(super) insists: bool,
    arrived: usize,
    consumed: usize,
    unacked: u64,
    last_consumed: f64,
    record: Record,
}

impl<'a> World<'a> {
    pub(super) fn new(
        workload: &'a Workload,
        scenario: &'a Scenario,
        policy: &'a mut dyn Policy,
        with_moments: bool,
    ) -> Self {
        let (rhythm, removal) = (policy.rhythm(), policy.removal());
        Self {
            workload,
            scenario,
            policy,
            rhythm,
            removal,
            random: Random::new(scenario.seed),
            now: Time::default(),
            events: BinaryHeap::new(),
            second_at: Time::default(),
            rhythm_at: Time::default() + rhythm.first,
            ready: VecDeque::new(),
            row: VecDeque::new(),
            consumers: Consumers::default(),
            statistics: None,
            changed: true,
            target: scenario.min,
            room: u32::MAX,
            insists: false,
            arrived: 0,
            consumed: 0,
            unacked: 0,
            last_consumed: 0.0,
            record: Record::new(workload, scenario, with_moments),
        }
    }

    fn run(mut self) -> Run {
        loop {
            if std::mem::take(&mut self.changed) {
                self.supervise();
            }
            let (at, next) = self.next();
            if self.is_over(at) {
                break;
            }
            self.advance(at, next);
        }
        self.finish()
    }

    /// Time passes until `at`, when something happens.
    pub(super) fn advance(&mut self, at: Time, next: Next) {
        self.pass_time(at);
        match next {
            Next::Arrival => self.arrive(),
            Next::Consumer => self.consumer_event(),
            Next::Second => self.second(),
            Next::Rhythm => {
                self.rhythm_at = self.now + self.rhythm.every;
                self.ask(Occasion::Rhythm);
            }
            Next::Review => self.ask(Occasion::Review),
        }
        self.check();
    }

    /// Nothing happens here until `at`.
    pub(super) fn pass_time(&mut self, at: Time) {
        self.record.pass_time(at, self.consumers.all());
        self.now = at;
    }

    pub(super) fn next(&self) -> (Time, Next) {
        let arrival = self.arrival().map(|message| (Time::from_seconds(message.arrival), Next::Arrival));
        let consumer = self.events.peek().map(|Reverse((at, _))| (*at, Next::Consumer));
        let review = self.policy.review_at().map(|at| (at.max(self.now), Next::Review));
        let mut next = (self.second_at, Next::Second).min((self.rhythm_at, Next::Rhythm));
        for other in [arrival, consumer, review].into_iter().flatten() {
            next = next.min(other);
        }
        next
    }

    fn arrival(&self) -> Option<&Message> {
        self.workload.messages.get(self.arrived)
    }

    /// Over are runs with nothing left, and those that last too long.
    pub(super) fn is_over(&self, at: Time) -> bool {
        let at = at.as_seconds();
        let all = self.consumed == self.workload.messages.len() && at > self.workload.length;
        (all && at > self.last_consumed + self.scenario.epilogue)
            || at > self.workload.length + PATIENCE_SECONDS
    }

    fn arrive(&mut self) {
        self.ready.push_back(self.arrived as u32);
        self.arrived += 1;
        if !self.scenario.polling {
            self.deliver();
        }
        if self.policy.hears_messages() {
            self.ask(Occasion::Message);
        }
    }

    /// Gives waiting messages to consumers with room, in turn, as a broker does.
    fn deliver(&mut self) {
        while let Some(&message) = self.ready.front()
            && let Some(id) = self.row.pop_front()
        {
            let prefetch = self.scenario.prefetch as usize;
            let Some(consumer) = self.consumers.get_mut(id) else { continue };
            consumer.in_row = false;
            if consumer.draining || consumer.hand.len() >= prefetch {
                continue;
            }
            self.ready.pop_front();
            consumer.hand.push_back(message);
            consumer.in_row = consumer.hand.len() < prefetch;
            if consumer.in_row {
                self.row.push_back(id);
            }
            let begins = consumer.hand.len() == 1;
            self.unacked += 1;
            if begins {
                self.begin(id, message);
            }
        }
    }

    fn begin(&mut self, id: Id, message: u32) {
        self.consumers.set(id, State::Busy);
        let message = self.workload.messages[message as usize];
        self.record.waited(self.now.as_seconds() - message.arrival);
        let service = message.service * self.workload.slowdown(self.consumers.working());
        self.record.worked(service);
        self.events.push(Reverse((self.now + Duration::from_secs_f64(service), Event::Finished(id))));
    }

    fn consumer_event(&mut self) {
        let Some(Reverse((_, event))) = self.events.pop() else { return };
        match event {
            Event::Finished(id) => self.finished(id),
            Event::Ready(id) => self.came_up(id),
            Event::Poll(id) => {
                if let Some(consumer) = self.consumers.get_mut(id)
                    && consumer.state == State::Idle
                {
                    self.poll(id);
                }
            }
        }
    }

    fn finished(&mut self, id: Id) {
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        consumer.hand.pop_front();
        let (draining, next) = (consumer.draining, consumer.hand.front().copied());
        self.consumed += 1;
        self.unacked -= 1;
        self.last_consumed = self.now.as_seconds();
        if draining {
            self.consumers.set(id, State::Gone);
            self.changed = true;
        } else if let Some(next) = next {
            self.begin(id, next);
            self.has_room(id);
        } else {
            self.consumers.set(id, State::Idle);
            self.has_room(id);
        }
    }

    fn came_up(&mut self, id: Id) {
        if let Some(consumer) = self.consumers.get_mut(id) {
            let took = self.now.since(consumer.ordered);
            self.consumers.set(id, State::Idle);
            if !took.is_zero() {
                self.policy.observe_started(took);
            }
            self.changed = true;
            self.has_room(id);
        }
    }

    /// A consumer could take a message more.
    fn has_room(&mut self, id: Id) {
        if self.scenario.polling {
            self.poll(id);
            return;
        }
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        if !consumer.in_row {
            consumer.in_row = true;
            self.row.push_back(id);
        }
        self.deliver();
    }

    /// An idle worker takes a message, or looks again later.
    fn poll(&mut self, id: Id) {
        let Some(message) = self.ready.pop_front() else {
            self.events.push(Reverse((self.now + POLL, Event::Poll(id))));
            return;
        };
        if let Some(consumer) = self.consumers.get_mut(id) {
            consumer.hand.push_back(message);
            self.unacked += 1;
            self.begin(id, message);
        }
    }

    fn second(&mut self) {
        let second = (self.now.as_micros() / 1_000_000) as usize;
        self.second_at = self.now + SECOND;
        let every = self.scenario.statistics.as_secs().max(1) as usize;
        if second.is_multiple_of(every) {
            self.statistics = self.make_statistics();
        }
        let oldest = self
            .ready
            .front()
            .map_or(0.0, |&message| self.now.as_seconds() - self.workload.messages[message as usize].arrival);
        let starting = self.consumers.starting();
        let consumers = self.consumers.all();
        let ready = self.ready.len() as u64;
        self.record.second(second, Moment { ready, running: consumers - starting, consumers, oldest });
    }

    fn make_statistics(&self) -> Option<Statistics> {
        let at = self.now;
        let Depth { ready, unacked, published, acknowledged } = self.depth();
        match self.fault() {
            Some(FaultKind::Lost | FaultKind::Silent | FaultKind::NoQueue) => None,
            Some(FaultKind::Empty) => Some(Statistics { at, ready: 0, unacked: 0, published, acknowledged }),
            None => Some(Statistics { at, ready, unacked, published, acknowledged }),
        }
    }

    fn depth(&self) -> Depth {
        Depth {
            ready: self.ready.len() as u64,
            unacked: self.unacked,
            published: self.arrived as u64,
            acknowledged: self.consumed as u64,
        }
    }

    fn ask(&mut self, occasion: Occasion) {
        let tick = Tick {
            now: self.now,
            occasion,
            reading: if occasion == Occasion::Rhythm { self.read() } else { None },
            statistics: self.statistics,
            depth: self.depth(),
            consumers: &self.consumers,
        };
        self.target = self.policy.decide(&tick).min(self.scenario.max);
        self.changed = true;
    }

    fn read(&self) -> Option<Reading> {
        match self.fault() {
            Some(FaultKind::Lost) => Some(Reading::Lost("the broker is unreachable")),
            Some(FaultKind::Silent) => None,
            Some(FaultKind::Empty) => Some(Reading::Sample { ready: 0, consumers: 0 }),
            Some(FaultKind::NoQueue) => Some(Reading::NoQueue),
            None => {
                let up = self.consumers.running() + self.consumers.draining();
                let consumers = if self.scenario.polling { 0 } else { u64::from(up) };
                Some(Reading::Sample { ready: self.ready.len() as u64, consumers })
            }
        }
    }

    fn fault(&self) -> Option<FaultKind> {
        let now = self.now.as_seconds();
        let faults = &self.workload.faults;
        faults.iter().find(|fault| fault.from <= now && now < fault.to).map(|fault| fault.kind)
    }

    /// Starts and stops consumers, within the start limit and the maximum.
    pub(super) fn supervise(&mut self) {
        let before = self.consumers.live();
        while self.consumers.live() > self.target && self.stop_one() {}
        if self.removal == Removal::IdleNow {
            self.target = self.target.max(self.consumers.live());
        }
        while self.consumers.live() < self.target
            && self.counted() < self.scenario.max
            && self.consumers.starting() < self.scenario.start_limit
            && self.room > 0
        {
            self.start_one();
            self.room -= 1;
        }
        let after = self.consumers.live();
        if after != before {
            self.record.changed(after > before);
        }
        self.record.peak(self.consumers.all());
    }

    /// Consumers that count against the maximum.
    fn counted(&self) -> u32 {
        if self.policy.counts_draining() { self.consumers.all() } else { self.consumers.live() }
    }

    fn start_one(&mut self) {
        let is_there = self.scenario.warm && self.now == Time::default();
        let id = self.consumers.start(self.now);
        let took = if is_there { 0.0 } else { self.scenario.startup * (0.8 + 0.4 * self.random.unit()) };
        self.events.push(Reverse((self.now + Duration::from_secs_f64(took), Event::Ready(id))));
    }

    /// Whether there was one that may go.
    fn stop_one(&mut self) -> bool {
        let first = self.consumers.next_to_go(self.removal, &mut self.random);
        let first = match first {
            None if self.insists => self.consumers.next_to_go(Removal::Youngest, &mut self.random),
            first => first,
        };
        let Some((id, state)) = first else { return false };
        if state != State::Busy {
            self.consumers.set(id, State::Gone);
            return true;
        }
        self.record.busy_stop();
        self.consumers.drain(id);
        if let Some(consumer) = self.consumers.get_mut(id) {
            while consumer.hand.len() > 1
                && let Some(message) = consumer.hand.pop_back()
            {
                self.ready.push_front(message);
                self.unacked -= 1;
            }
        }
        self.deliver();
        true
    }

    /// No message is lost or doubled, and nobody is over the maximum.
    fn check(&self) {
        debug_assert_eq!(self.arrived, self.consumed + self.unacked as usize + self.ready.len());
        debug_assert!(self.unacked >= u64::from(self.consumers.working()));
        debug_assert!(self.counted() <= self.scenario.max.max(self.scenario.min));
    }

    fn finish(self) -> Run {
        let (workload, scenario) = (self.workload, self.scenario);
        let (record, end) = self.into_record();
        record.finish(workload, scenario, &end)
    }

    /// What was written down of it, and how it ended.
    pub(super) fn into_record(mut self) -> (Record, End) {
        // What nobody has begun has waited until now, and will wait longer.
        let begun = self.record.messages_waited();
        debug_assert!(begun <= self.workload.messages.len(), "every message is begun once");
        let now = self.now.as_seconds();
        for message in self.workload.messages.iter().skip(begun) {
            self.record.waited(now - message.arrival);
        }
        let (starts, consumers) = (self.consumers.ever_started(), self.consumers.live());
        let end = End { consumed: self.consumed, starts, consumers };
        (self.record, end)
    }
}
