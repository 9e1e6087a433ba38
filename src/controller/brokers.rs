//! What the brokers and their queues last said, and what that means to the core and to people.

mod counted;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;

use self::counted::Counted;
use super::handle::Histogram;
use super::snapshot::{BrokerView, ManagementView};
use crate::amqp::fact::{BrokerState, Counters, Fact, Figures, ManagementState, NoFlow, Reading, Trap};
use crate::amqp::management::{Management, ManagementSettings, Names};
use crate::amqp::metrics::{Metrics, MetricsSettings};
use crate::amqp::probe::{Probe, ProbeSettings};
use crate::core::event;
use crate::core::observed::BrokerHealth;
use crate::core::spec::{BrokerSpec, ProgramSpec};
use crate::core::time::Time;
use crate::scaling::input::{Detail, Observation};

/// Bounds of the histogram of probe rounds, in seconds.
const ROUND_BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// How old what a broker told beside the depth may be and still be shown. The engine forgets it at the same age.
const FIGURES_FRESH: Duration = Duration::from_secs(16);

/// What follows where a management API or metrics do not answer.
const GOES_ON: &str = "scaling goes by what AMQP tells until it does";

/// What is to be known of a queue whose consumers do not acknowledge.
const AUTOMATIC: &str = "its messages are taken as acknowledged when they are delivered, so nobody can tell how long one \
                         takes or who works on one, and scaling goes by what AMQP tells";

/// All brokers and the queues that are read.
#[derive(Debug)]
pub(crate) struct Brokers {
    brokers: BTreeMap<String, Broker>,
    queues: BTreeMap<(String, String), QueueSeen>,
    facts: mpsc::Sender<Fact>,
}

#[derive(Debug)]
struct Broker {
    spec: BrokerSpec,
    interval: Duration,
    /// Absent while no program reads a queue there.
    probe: Option<Probe>,
    state: BrokerState,
    rounds: Histogram,
    /// Absent while no program reads a queue there, and where no address is configured.
    management: Option<Management>,
    management_state: ManagementState,
    /// As for a management API, in whose place it is.
    metrics: Option<Metrics>,
    metrics_state: ManagementState,
    /// Whether names of connections tell more of processes than ports.
    names: Names,
}

/// What a queue last said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct QueueSeen {
    /// The newest depth.
    pub(crate) depth: Option<Depth>,
    /// What stands in the way of a fresh one.
    pub(crate) error: Option<String>,
    /// What its management API or its metrics told last, and when.
    pub(crate) figures: Option<(Figures, Time)>,
    /// Where their counts begin.
    counted: Counted,
    /// What the management API told of its kind, whenever that was.
    trap: Option<Trap>,
    /// The broker is not connected, whose own trouble says more.
    is_cut_off: bool,
}

/// A depth and when it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Depth {
    /// Ready messages.
    pub(crate) ready: u64,
    /// Consumers on the queue.
    pub(crate) consumers: u64,
    /// When.
    pub(crate) at: Time,
}

impl Brokers {
    /// No brokers yet; their probes will send what they find to `facts`.
    pub(crate) fn new(facts: mpsc::Sender<Fact>) -> Self {
        Self { brokers: BTreeMap::new(), queues: BTreeMap::new(), facts }
    }

    /// Reads the queues of `programs` from `specs`, each every `interval`. A broker that did not change keeps its connection.
    pub(crate) fn configure(&mut self, specs: &[BrokerSpec], programs: &[ProgramSpec], interval: Duration) {
        let wanted: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        self.brokers.retain(|name, _| wanted.contains(name.as_str()));
        for spec in specs {
            let queues = queues_of(spec, programs);
            let unchanged = self
                .brokers
                .get(&spec.name)
                .is_some_and(|broker| broker.spec.url == spec.url && broker.interval == interval);
            if !unchanged {
                self.brokers.insert(spec.name.clone(), Broker::new(spec, interval));
            }
            let Some(broker) = self.brokers.get_mut(&spec.name) else { continue };
            if broker.spec.management != spec.management || broker.spec.metrics != spec.metrics {
                broker.forget_figures(spec);
                let of_broker = self.queues.iter_mut().filter(|((broker, _), _)| *broker == spec.name);
                of_broker.for_each(|(_, seen)| seen.counted.begin_anew());
            }
            match (&broker.management, queues.is_empty() || spec.management.is_none()) {
                (_, true) => broker.management = None,
                (Some(management), false) => management.set_queues(queues.clone()),
                (None, false) => {
                    let settings = ManagementSettings::new(spec.clone());
                    broker.management = Some(Management::start(settings, queues.clone(), self.facts.clone()));
                }
            }
            match (&broker.metrics, queues.is_empty() || spec.metrics.is_none()) {
                (_, true) => broker.metrics = None,
                (Some(metrics), false) => metrics.set_queues(queues.clone()),
                (None, false) => {
                    let settings = MetricsSettings::new(spec.clone());
                    broker.metrics = Some(Metrics::start(settings, queues.clone(), self.facts.clone()));
                }
            }
            match (&broker.probe, queues.is_empty()) {
                (_, true) => broker.probe = None,
                (Some(probe), false) => probe.set_queues(queues),
                (None, false) => {
                    let settings = ProbeSettings { interval, ..ProbeSettings::new(spec.clone()) };
                    broker.probe = Some(Probe::start(settings, queues, self.facts.clone()));
                }
            }
        }
        let read: BTreeSet<(String, String)> = specs
            .iter()
            .flat_map(|spec| queues_of(spec, programs).into_iter().map(|queue| (spec.name.clone(), queue)))
            .collect();
        self.queues.retain(|key, _| read.contains(key));
    }

    /// What `queue` of `broker` last said.
    pub(crate) fn queue(&self, broker: &str, queue: &str) -> QueueSeen {
        let seen = self.queues.get(&(broker.to_owned(), queue.to_owned())).cloned().unwrap_or_default();
        match self.trouble(broker).filter(|_| seen.is_cut_off) {
            Some(trouble) => QueueSeen { error: Some(format!("broker \"{broker}\": {trouble}")), ..seen },
            None => seen,
        }
    }

    /// Why nothing can be read from `broker`, where it is known, as a sentence without its name.
    pub(crate) fn trouble(&self, broker: &str) -> Option<&str> {
        match &self.brokers.get(broker)?.state {
            BrokerState::Refused(why) | BrokerState::Unreachable(why) => Some(why),
            BrokerState::Connecting | BrokerState::Connected => None,
        }
    }

    /// Whether `broker` is asked about its channels from now on, where it has a management API.
    pub(crate) fn ask_for_channels(&self, broker: &str, asks: bool) {
        if let Some(Broker { management: Some(management), names, .. }) = self.brokers.get(broker) {
            management.set_channels(asks.then_some(*names));
        }
    }

    /// Whether `broker` is asked for names of connections when it is asked about channels.
    pub(crate) fn ask_for_names(&mut self, broker: &str, names: Names) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.names = names;
        }
    }

    /// What a person should know of what the management API or the metrics tell of `queue`, one sentence each.
    pub(crate) fn remarks(&self, broker: &str, queue: &str, now: Time) -> Vec<String> {
        let Some(known) = self.brokers.get(broker) else { return Vec::new() };
        let trap = self.queues.get(&(broker.to_owned(), queue.to_owned())).and_then(|seen| seen.trap);
        let by_itself = [&known.management_state, &known.metrics_state].map(|state| match state {
            ManagementState::Fails(why) => Some(format!("{why}; {GOES_ON}")),
            ManagementState::Limited(why) => Some(why.clone()),
            ManagementState::Connecting | ManagementState::Answers => None,
        });
        let flow = self.figures(broker, queue, now).map(|figures| figures.flow);
        let of_queue =
            matches!(flow, Some(Err(NoFlow::AutomaticAcknowledgement))).then(|| AUTOMATIC.to_owned());
        let of_kind =
            trap.map(|trap| format!("{}, so its depth is not answered with consumers", trap.words()));
        by_itself.into_iter().flatten().chain(of_kind).chain(of_queue).collect()
    }

    /// What the management API or the metrics told last of `queue`, if that is not too old to be shown.
    pub(crate) fn figures(&self, broker: &str, queue: &str, now: Time) -> Option<Figures> {
        let seen = self.queues.get(&(broker.to_owned(), queue.to_owned()))?;
        seen.figures.filter(|(_, at)| now.since(*at) <= FIGURES_FRESH).map(|(figures, _)| figures)
    }

    /// The brokers as shown.
    pub(crate) fn views(&self) -> Vec<BrokerView> {
        self.brokers
            .values()
            .map(|broker| {
                let (state, error) = match (&broker.state, &broker.probe) {
                    (_, None) => ("unused", None),
                    (BrokerState::Connecting, _) => ("connecting", None),
                    (BrokerState::Connected, _) => ("connected", None),
                    (BrokerState::Refused(why), _) => ("refused", Some(why.clone())),
                    (BrokerState::Unreachable(why), _) => ("unreachable", Some(why.clone())),
                };
                BrokerView {
                    name: broker.spec.name.clone(),
                    state: state.to_owned(),
                    url: broker.spec.shown.clone(),
                    error,
                    management: broker.management_view(),
                    metrics: broker.metrics_view(),
                }
            })
            .collect()
    }

    /// Durations of probe rounds by broker.
    pub(crate) fn rounds(&self) -> Vec<(String, Histogram)> {
        self.brokers.iter().map(|(name, broker)| (name.clone(), broker.rounds.clone())).collect()
    }

    /// Takes note of what a probe found, and says what it means to the core. The second value is a sentence for the log
    /// where the state of a broker changed.
    pub(crate) fn observe(&mut self, fact: Fact) -> (Option<event::Fact>, Option<String>) {
        match fact {
            Fact::Broker { broker, state, at } => {
                let Some(known) = self.brokers.get_mut(&broker) else { return (None, None) };
                let health = health(&state);
                let told = (known.state != state).then(|| sentence(&broker, &state));
                known.state = state;
                (Some(event::Fact::Broker { broker, health, at }), told)
            }
            Fact::Management { broker, state } => {
                let Some(known) = self.brokers.get_mut(&broker) else { return (None, None) };
                let before = std::mem::replace(&mut known.management_state, state);
                (None, news("the management API answers", &broker, &before, &known.management_state))
            }
            Fact::Metrics { broker, state } => {
                let Some(known) = self.brokers.get_mut(&broker) else { return (None, None) };
                let before = std::mem::replace(&mut known.metrics_state, state);
                (None, news("the metrics endpoint answers", &broker, &before, &known.metrics_state))
            }
            Fact::Figures { broker, queue, figures, at } => {
                let Some(seen) = self.queues.get_mut(&(broker.clone(), queue.clone())) else {
                    return (None, None);
                };
                seen.figures = Some((figures, at));
                if seen.trap.is_some() {
                    return (None, None);
                }
                let Ok(flow) = figures.flow else { return (None, None) };
                let Counters { acknowledged, published } = seen.counted.since(flow);
                let (ready, unacknowledged) = (figures.ready, figures.unacknowledged);
                let detail = Detail { at, ready, unacknowledged, acknowledged, published };
                let observation = Observation::Detail(detail);
                (Some(event::Fact::Queue { broker, queue, observation }), None)
            }
            Fact::Trap { broker, queue, trap } => {
                let told =
                    trap.map(|trap| format!("broker \"{broker}\", queue \"{queue}\": {}", trapped(trap)));
                self.queues.entry((broker, queue)).or_default().trap = trap;
                (None, told)
            }
            // It is the controller's to find out whose they are.
            Fact::Channels { .. } => (None, None),
            Fact::Round { broker, took } => {
                if let Some(known) = self.brokers.get_mut(&broker) {
                    known.rounds.observe(took);
                }
                (None, None)
            }
            Fact::Queue { broker, queue, reading, at } => {
                // What kind of queue it is comes before what its depth asks for, where somebody is about to tell.
                let is_early = matches!(reading, Reading::Depth { .. })
                    && self.brokers.get(&broker).is_some_and(Broker::is_about_to_tell);
                let seen = self.queues.entry((broker.clone(), queue.clone())).or_default();
                let observation = match &reading {
                    Reading::Depth { ready, consumers } => {
                        let (ready, consumers) = (*ready, *consumers);
                        seen.depth = Some(Depth { ready, consumers, at });
                        match seen.trap {
                            Some(trap) => Observation::Lost { at, why: trap.words() },
                            None => Observation::Sample { at, ready, consumers },
                        }
                    }
                    Reading::Missing => {
                        seen.depth = None;
                        Observation::NoQueue { at }
                    }
                    Reading::Locked | Reading::Refused(_) | Reading::TimedOut | Reading::Unreachable => {
                        Observation::Lost { at, why: why_lost(&reading) }
                    }
                };
                let error = error(&reading, &queue, &broker);
                let told = match (&error, &seen.error) {
                    (Some(error), before) if before.as_ref() != Some(error) && !is_broker_wide(&reading) => {
                        Some(error.clone())
                    }
                    _ => None,
                };
                seen.error = error;
                seen.is_cut_off = is_broker_wide(&reading);
                let fact = (!is_early).then_some(event::Fact::Queue { broker, queue, observation });
                (fact, told)
            }
        }
    }
}

impl Broker {
    fn new(spec: &BrokerSpec, interval: Duration) -> Self {
        Self {
            spec: spec.clone(),
            interval,
            probe: None,
            state: BrokerState::Connecting,
            rounds: Histogram::new(&ROUND_BOUNDS),
            management: None,
            management_state: ManagementState::Connecting,
            metrics: None,
            metrics_state: ManagementState::Connecting,
            names: Names::NotAsked,
        }
    }

    /// Somebody else tells from now on, or nobody.
    fn forget_figures(&mut self, spec: &BrokerSpec) {
        if self.spec.management != spec.management {
            (self.management, self.management_state) = (None, ManagementState::Connecting);
            self.spec.management.clone_from(&spec.management);
        }
        if self.spec.metrics != spec.metrics {
            (self.metrics, self.metrics_state) = (None, ManagementState::Connecting);
            self.spec.metrics.clone_from(&spec.metrics);
        }
    }

    /// Whether its management API was asked for the first time and has neither answered nor failed. It takes some seconds at
    /// most.
    fn is_about_to_tell(&self) -> bool {
        self.management.is_some() && self.management_state == ManagementState::Connecting
    }

    fn management_view(&self) -> Option<ManagementView> {
        let spec = self.spec.management.as_ref()?;
        Some(view(&spec.address, &self.management_state, self.management.is_some()))
    }

    fn metrics_view(&self) -> Option<ManagementView> {
        let spec = self.spec.metrics.as_ref()?;
        Some(view(&spec.address, &self.metrics_state, self.metrics.is_some()))
    }
}

fn view(url: &str, state: &ManagementState, is_asked: bool) -> ManagementView {
    let (state, error) = match (state, is_asked) {
        (_, false) => ("unused", None),
        (ManagementState::Connecting, _) => ("connecting", None),
        (ManagementState::Answers, _) => ("answering", None),
        (ManagementState::Limited(why), _) => ("limited", Some(why.clone())),
        (ManagementState::Fails(why), _) => ("failing", Some(why.clone())),
    };
    ManagementView { state: state.to_owned(), url: url.to_owned(), error }
}

/// What is worth a line in the log: that it begins to answer, and that it ceases to.
fn news(answers: &str, broker: &str, before: &ManagementState, after: &ManagementState) -> Option<String> {
    match (before, after) {
        (ManagementState::Fails(_), ManagementState::Fails(_)) => None,
        (_, ManagementState::Fails(why)) => Some(format!("broker \"{broker}\": {why}; {GOES_ON}")),
        (_, ManagementState::Limited(why)) => Some(format!("broker \"{broker}\": {why}")),
        (ManagementState::Fails(_), ManagementState::Answers) => {
            Some(format!("broker \"{broker}\": {answers} again"))
        }
        (ManagementState::Connecting | ManagementState::Limited(_), ManagementState::Answers) => {
            Some(format!("broker \"{broker}\": {answers}"))
        }
        (ManagementState::Answers, ManagementState::Answers) | (_, ManagementState::Connecting) => None,
    }
}

fn queues_of(broker: &BrokerSpec, programs: &[ProgramSpec]) -> BTreeSet<String> {
    programs
        .iter()
        .filter_map(|program| program.scale())
        .filter(|scale| scale.broker == broker.name)
        .flat_map(|scale| scale.read().map(str::to_owned))
        .collect()
}

fn health(state: &BrokerState) -> BrokerHealth {
    match state {
        BrokerState::Connecting => BrokerHealth::Unknown,
        BrokerState::Connected => BrokerHealth::Up,
        BrokerState::Refused(_) => BrokerHealth::Refused,
        BrokerState::Unreachable(_) => BrokerHealth::Unreachable,
    }
}

fn sentence(broker: &str, state: &BrokerState) -> String {
    match state {
        BrokerState::Connecting => format!("broker \"{broker}\": connecting"),
        BrokerState::Connected => format!("broker \"{broker}\": connected"),
        BrokerState::Refused(why) | BrokerState::Unreachable(why) => format!("broker \"{broker}\": {why}"),
    }
}

/// The trouble is the broker's and is told once for it, not once for each of its queues.
fn is_broker_wide(reading: &Reading) -> bool {
    match reading {
        Reading::Unreachable => true,
        Reading::Depth { .. }
        | Reading::Missing
        | Reading::Locked
        | Reading::Refused(_)
        | Reading::TimedOut => false,
    }
}

fn trapped(trap: Trap) -> String {
    format!("{}, so its depth is not answered with consumers", trap.words())
}

fn why_lost(reading: &Reading) -> &'static str {
    match reading {
        Reading::Locked => "the queue is exclusive to another connection",
        Reading::Refused(_) => "the login may not read the queue",
        Reading::TimedOut => "the broker does not answer for this queue",
        Reading::Unreachable | Reading::Depth { .. } | Reading::Missing => "the broker is not connected",
    }
}

fn error(reading: &Reading, queue: &str, broker: &str) -> Option<String> {
    match reading {
        Reading::Depth { .. } => None,
        Reading::Missing => Some(format!("queue \"{queue}\" does not exist on broker \"{broker}\"")),
        Reading::Locked => Some(format!("queue \"{queue}\" is exclusive to another connection")),
        Reading::Refused(why) => Some(format!("queue \"{queue}\" may not be read: {why}")),
        Reading::TimedOut => Some(format!("broker \"{broker}\" does not answer for queue \"{queue}\"")),
        Reading::Unreachable => Some(format!("broker \"{broker}\" is not connected")),
    }
}
