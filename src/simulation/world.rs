//! The run: events in virtual time, the engine once an interval, a supervisor that does what it says.
//!
//! After every decision the rules that must always hold are checked; the first one that does not ends the run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::core::random::Random;
use crate::core::time::Time;
use crate::scaling::Engine;
use crate::scaling::decision::Decision;
use crate::scaling::input::{Fleet, Goal, Learned, Observation};
use crate::simulation::report::{Report, quantile};
use crate::simulation::workload::{Message, Workload};

/// Silent polling workers look again after this many seconds.
const POLL_SECONDS: f64 = 0.25;
/// A run ends this long after the end of its workload, whatever is left.
const PATIENCE_SECONDS: f64 = 3_600.0;
/// How long a run goes on after its last message, so that the way back is seen.
const EPILOGUE_SECONDS: f64 = 150.0;
/// Two changes of direction within this time count as one reversal.
const REVERSAL_SECONDS: f64 = 300.0;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What the engine is asked for.
    pub goal: Goal,
    /// What it remembers.
    pub learned: Learned,
    /// Seconds from the order until a consumer consumes; varies by a fifth.
    pub startup: f64,
    /// The most that may be starting at one time.
    pub start_limit: u32,
    /// Workers take with `basic.get`, and the queue never shows them.
    pub polling: bool,
    /// What goes wrong with readings, and when.
    pub faults: Vec<Fault>,
    /// Seed of everything random that is not in the workload.
    pub seed: u64,
}

/// A stretch of time in which readings are not what they should be.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its begin in seconds.
    pub from: f64,
    /// Its end in seconds.
    pub to: f64,
    /// What happens.
    pub kind: FaultKind,
}

/// What happens to readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// They fail, and that is told.
    Lost,
    /// Nothing comes at all.
    Silent,
    /// They say 0 ready and 0 consumers.
    Empty,
    /// The queue is said not to exist.
    NoQueue,
}

/// One decision, for those who want to look on.
#[derive(Clone, Debug)]
pub struct Step {
    /// When, in seconds.
    pub at: f64,
    /// Messages that really were ready.
    pub ready: usize,
    /// Consumers past their start-up.
    pub running: u32,
    /// What was decided.
    pub decision: Decision,
}

/// A rule that did not hold, as a sentence with the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {at_ms} ms: {rule}")]
pub struct Broken {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// What was broken.
    pub rule: String,
}

/// Runs a workload.
///
/// # Errors
///
/// When a rule that must always hold did not.
pub fn run(workload: &Workload, scenario: &Scenario) -> Result<Report, Broken> {
    run_watched(workload, scenario, |_| ())
}

/// Runs a workload, showing every decision to `watch`.
///
/// # Errors
///
/// When a rule that must always hold did not.
pub fn run_watched(
    workload: &Workload,
    scenario: &Scenario,
    watch: impl FnMut(&Step),
) -> Result<Report, Broken> {
    World::new(workload, scenario, watch).run()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Starting { ordered: Time },
    Idle,
    Busy,
}

#[derive(Clone, Copy, Debug)]
struct Consumer {
    state: State,
    started: Time,
    draining: bool,
}

/// Events at the same moment happen in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(usize),
    Finished(u64),
    Ready(u64),
    Poll(u64),
    Reading,
    Review,
}

struct World<'a, W> {
    workload: &'a Workload,
    scenario: &'a Scenario,
    watch: W,
    engine: Engine,
    random: Random,
    now: Time,
    events: BTreeSet<(Time, Event)>,
    waiting: VecDeque<Message>,
    /// By number; a higher number is younger.
    consumers: BTreeMap<u64, Consumer>,
    idle: BTreeSet<u64>,
    busy: usize,
    /// Whether the target or the set of consumers has changed since the supervisor looked.
    changed: bool,
    ordered: u64,
    target: u32,
    waits: Vec<f64>,
    arrived: usize,
    consumed: usize,
    last_consumed: f64,
    report: Report,
    direction: Option<(bool, f64)>,
}

impl<'a, W: FnMut(&Step)> World<'a, W> {
    fn new(workload: &'a Workload, scenario: &'a Scenario, watch: W) -> Self {
        let arrivals = workload.messages.iter().enumerate();
        let mut events: BTreeSet<_> = arrivals
            .map(|(index, message)| (Time::from_seconds(message.arrival), Event::Arrival(index)))
            .collect();
        events.insert((Time::default(), Event::Reading));
        Self {
            workload,
            scenario,
            watch,
            engine: Engine::new(scenario.goal, scenario.learned),
            random: Random::new(scenario.seed),
            now: Time::default(),
            events,
            waiting: VecDeque::new(),
            consumers: BTreeMap::new(),
            idle: BTreeSet::new(),
            busy: 0,
            changed: true,
            ordered: 0,
            target: scenario.goal.min,
            waits: Vec::new(),
            arrived: 0,
            consumed: 0,
            last_consumed: 0.0,
            report: Report::default(),
            direction: None,
        }
    }

    fn run(mut self) -> Result<Report, Broken> {
        while let Some((at, event)) = self.events.pop_first() {
            self.pass_time(at);
            self.handle(event)?;
            if std::mem::take(&mut self.changed) {
                self.supervise();
            }
            self.check_world()?;
            if self.is_over() {
                break;
            }
        }
        self.require(self.consumed == self.workload.messages.len(), || "messages were left over".to_owned())?;
        Ok(self.finish())
    }

    fn pass_time(&mut self, at: Time) {
        let seconds = at.since(self.now).as_secs_f64();
        self.report.consumer_seconds += seconds * self.consumers.len() as f64;
        self.now = at;
    }

    fn is_over(&self) -> bool {
        let now = self.now.as_seconds();
        let all = self.consumed == self.workload.messages.len() && now > self.workload.length;
        (all && now > self.last_consumed + EPILOGUE_SECONDS) || now > self.workload.length + PATIENCE_SECONDS
    }

    fn handle(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Arrival(index) => {
                self.arrived += 1;
                self.waiting.push_back(self.workload.messages[index]);
                if !self.scenario.polling {
                    self.deliver();
                }
            }
            Event::Finished(number) => {
                self.consumed += 1;
                self.busy -= 1;
                self.last_consumed = self.now.as_seconds();
                self.report.back_at_minimum_after = None;
                self.become_idle(number);
            }
            Event::Ready(number) => {
                if let Some(consumer) = self.consumers.get(&number)
                    && let State::Starting { ordered } = consumer.state
                {
                    self.engine.observe_started(self.now.since(ordered));
                    self.changed = true;
                    self.become_idle(number);
                }
            }
            Event::Poll(number) => self.take(number),
            Event::Reading => {
                let interval = self.scenario.goal.interval;
                self.events.insert((self.now + interval, Event::Reading));
                let told = self.read();
                if let Some(observation) = told {
                    self.engine.observe(observation);
                }
                if told.is_some() {
                    self.decide()?;
                }
            }
            Event::Review => self.decide()?,
        }
        Ok(())
    }

    /// Gives waiting messages to idle consumers, as a broker does.
    fn deliver(&mut self) {
        while !self.waiting.is_empty()
            && let Some(&number) = self.idle.first()
        {
            self.take(number);
        }
    }

    /// An idle consumer takes a message, or looks again later where it polls.
    fn take(&mut self, number: u64) {
        let Some(consumer) = self.consumers.get_mut(&number) else { return };
        if consumer.state != State::Idle {
            return;
        }
        if let Some(message) = self.waiting.pop_front() {
            consumer.state = State::Busy;
            self.idle.remove(&number);
            self.busy += 1;
            self.waits.push((self.now.as_seconds() - message.arrival).max(0.0));
            self.events
                .insert((self.now + Duration::from_secs_f64(message.service), Event::Finished(number)));
        } else if self.scenario.polling {
            self.events.insert((self.now + Duration::from_secs_f64(POLL_SECONDS), Event::Poll(number)));
        }
    }

    fn become_idle(&mut self, number: u64) {
        let Some(consumer) = self.consumers.get_mut(&number) else { return };
        consumer.state = State::Idle;
        if consumer.draining {
            self.consumers.remove(&number);
            self.changed = true;
        } else {
            self.idle.insert(number);
            self.take(number);
        }
    }

    fn read(&self) -> Option<Observation> {
        let at = self.now;
        match self.fault() {
            Some(FaultKind::Lost) => Some(Observation::Lost { at, why: "the broker is unreachable" }),
            Some(FaultKind::Silent) => None,
            Some(FaultKind::Empty) => Some(Observation::Sample { at, ready: 0, consumers: 0 }),
            Some(FaultKind::NoQueue) => Some(Observation::NoQueue { at }),
            None => {
                let consumers = if self.scenario.polling { 0 } else { u64::from(self.running()) };
                Some(Observation::Sample { at, ready: self.waiting.len() as u64, consumers })
            }
        }
    }

    fn fault(&self) -> Option<FaultKind> {
        let now = self.now.as_seconds();
        self.scenario.faults.iter().find(|fault| fault.from <= now && now < fault.to).map(|fault| fault.kind)
    }

    fn decide(&mut self) -> Result<(), Broken> {
        let fleet = self.fleet();
        let decision = self.engine.decide(&fleet, self.now);
        let again = self.engine.decide(&fleet, self.now);
        self.require(again.target == decision.target, || {
            format!(
                "asked twice: {} ({}), then {} ({})",
                decision.target, decision.reason, again.target, again.reason
            )
        })?;
        self.check_decision(&decision)?;
        let now = self.now.as_seconds();
        self.note_direction(decision.target, now);
        self.target = decision.target;
        self.changed = true;
        if self.target == self.scenario.goal.min && self.report.back_at_minimum_after.is_none() {
            self.report.back_at_minimum_after = Some(now - self.last_consumed);
        }
        if let Some(at) = decision.review_at {
            self.events.retain(|(_, event)| *event != Event::Review);
            self.events.insert((at, Event::Review));
        }
        let running = self.running();
        (self.watch)(&Step { at: now, ready: self.waiting.len(), running, decision });
        Ok(())
    }

    fn note_direction(&mut self, target: u32, now: f64) {
        if target == self.target {
            return;
        }
        let up = target > self.target;
        if self.direction.is_some_and(|(was_up, at)| was_up != up && now - at < REVERSAL_SECONDS) {
            self.report.reversals += 1;
        }
        self.direction = Some((up, now));
    }

    /// Starts and stops consumers, within the start limit and the maximum.
    fn supervise(&mut self) {
        while self.live() > self.target {
            self.stop_one();
        }
        while self.live() < self.target
            && (self.consumers.len() as u32) < self.scenario.goal.max
            && self.starting() < self.scenario.start_limit
        {
            self.start_one();
        }
        self.report.most_consumers = self.report.most_consumers.max(self.consumers.len() as u32);
    }

    fn start_one(&mut self) {
        let number = self.ordered;
        self.ordered += 1;
        self.report.starts += 1;
        let took = self.scenario.startup * (0.8 + 0.4 * self.random.unit());
        let state = State::Starting { ordered: self.now };
        self.consumers.insert(number, Consumer { state, started: self.now, draining: false });
        self.events.insert((self.now + Duration::from_secs_f64(took), Event::Ready(number)));
    }

    /// First one that is not running yet, then the youngest; nobody can see which of them is busy.
    fn stop_one(&mut self) {
        let live = || self.consumers.iter().rev().filter(|(_, one)| !one.draining);
        let chosen =
            live().find(|(_, one)| matches!(one.state, State::Starting { .. })).or_else(|| live().next());
        let Some((&number, consumer)) = chosen else { return };
        match consumer.state {
            State::Busy => {
                self.report.busy_stops += 1;
                if let Some(consumer) = self.consumers.get_mut(&number) {
                    consumer.draining = true;
                }
            }
            State::Idle | State::Starting { .. } => {
                self.consumers.remove(&number);
                self.idle.remove(&number);
            }
        }
    }

    fn fleet(&self) -> Fleet {
        let running = || self.consumers.values().filter(|one| is_running(one));
        Fleet {
            running: running().count() as u32,
            starting: self.consumers.values().filter_map(ordered).collect(),
            draining: self.consumers.values().filter(|one| one.draining).count() as u32,
            oldest_running: running().map(|one| one.started).min(),
        }
    }

    fn live(&self) -> u32 {
        self.consumers.values().filter(|one| !one.draining).count() as u32
    }

    fn starting(&self) -> u32 {
        self.consumers.values().filter_map(ordered).count() as u32
    }

    fn running(&self) -> u32 {
        self.consumers.values().filter(|one| is_running(one)).count() as u32
    }

    fn check_decision(&self, decision: &Decision) -> Result<(), Broken> {
        let goal = &self.scenario.goal;
        let down = decision.target < self.target;
        let target = decision.target;
        self.require((goal.min..=goal.max).contains(&target), || format!("{target} is out of bounds"))?;
        self.require(!down || self.waiting.is_empty(), || format!("down to {target} while messages wait"))?;
        self.require(!down || self.fault().is_none(), || format!("down to {target} on missing data"))?;
        self.require(decision.review_at.is_none_or(|at| at > self.now), || {
            "a review in the past".to_owned()
        })?;
        self.require(!decision.reason.is_empty(), || "a decision without a reason".to_owned())
    }

    fn check_world(&self) -> Result<(), Broken> {
        let all = self.consumed + self.busy + self.waiting.len();
        self.require(self.arrived == all, || {
            format!("{} arrived and {all} are accounted for", self.arrived)
        })?;
        let count = self.consumers.len() as u32;
        self.require(count <= self.scenario.goal.max, || format!("{count} consumers at one time"))
    }

    fn require(&self, holds: bool, rule: impl FnOnce() -> String) -> Result<(), Broken> {
        if holds { Ok(()) } else { Err(Broken { at_ms: self.now.as_micros() / 1_000, rule: rule() }) }
    }

    fn finish(mut self) -> Report {
        let goal = self.scenario.goal.wait.as_secs_f64();
        let over = self.waits.iter().filter(|&&wait| wait > goal).count();
        self.waits.sort_by(f64::total_cmp);
        Report {
            messages: self.consumed,
            wait_p50: quantile(&self.waits, 0.5),
            wait_p95: quantile(&self.waits, 0.95),
            wait_max: quantile(&self.waits, 1.0),
            over_goal: over as f64 / self.consumed.max(1) as f64,
            least_consumer_seconds: self
                .workload
                .work()
                .max(f64::from(self.scenario.goal.min) * self.now.as_seconds()),
            consumers_at_end: self.live(),
            ..self.report
        }
    }
}

fn is_running(consumer: &Consumer) -> bool {
    !consumer.draining && ordered(consumer).is_none()
}

fn ordered(consumer: &Consumer) -> Option<Time> {
    match consumer.state {
        State::Starting { ordered } => Some(ordered),
        State::Idle | State::Busy => None,
    }
}
