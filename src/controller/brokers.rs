//! What the brokers and their queues last said, and what that means to the core and to people.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;

use super::handle::Histogram;
use super::snapshot::BrokerView;
use crate::amqp::fact::{BrokerState, Fact, Reading};
use crate::amqp::probe::{Probe, ProbeSettings};
use crate::core::event;
use crate::core::observed::BrokerHealth;
use crate::core::spec::{BrokerSpec, ProgramSpec};
use crate::core::time::Time;
use crate::scaling::input::Observation;

/// Bounds of the histogram of probe rounds, in seconds.
const ROUND_BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

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
}

/// What a queue last said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct QueueSeen {
    /// The newest depth.
    pub(crate) depth: Option<Depth>,
    /// What stands in the way of a fresh one.
    pub(crate) error: Option<String>,
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
                .is_some_and(|broker| broker.spec == *spec && broker.interval == interval);
            if !unchanged {
                let (state, rounds) = (BrokerState::Connecting, Histogram::new(&ROUND_BOUNDS));
                let broker = Broker { spec: spec.clone(), interval, probe: None, state, rounds };
                self.brokers.insert(spec.name.clone(), broker);
            }
            let Some(broker) = self.brokers.get_mut(&spec.name) else { continue };
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
            Fact::Round { broker, took } => {
                if let Some(known) = self.brokers.get_mut(&broker) {
                    known.rounds.observe(took);
                }
                (None, None)
            }
            Fact::Queue { broker, queue, reading, at } => {
                let seen = self.queues.entry((broker.clone(), queue.clone())).or_default();
                let observation = match &reading {
                    Reading::Depth { ready, consumers } => {
                        let (ready, consumers) = (*ready, *consumers);
                        seen.depth = Some(Depth { ready, consumers, at });
                        Observation::Sample { at, ready, consumers }
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
                (Some(event::Fact::Queue { broker, queue, observation }), told)
            }
        }
    }
}

fn queues_of(broker: &BrokerSpec, programs: &[ProgramSpec]) -> BTreeSet<String> {
    programs
        .iter()
        .filter_map(|program| program.scale())
        .filter(|scale| scale.broker == broker.name)
        .map(|scale| scale.queue.clone())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::secret::Secret;

    fn brokers() -> Brokers {
        let (facts, _) = mpsc::channel(1);
        let mut brokers = Brokers::new(facts);
        let url = Secret::new("amqp://shop:hunter2@mq/%2f");
        let spec = BrokerSpec { name: "default".into(), url, shown: "amqp://shop@mq/%2f".into() };
        // No program reads a queue there, so no connection is made.
        brokers.configure(&[spec], &[], Duration::from_secs(1));
        brokers
    }

    fn reading(reading: Reading) -> Fact {
        let (broker, queue) = ("default".to_owned(), "orders".to_owned());
        Fact::Queue { broker, queue, reading, at: Time::from_millis(5_000) }
    }

    #[test]
    fn every_kind_of_trouble_with_a_queue_has_a_sentence_of_its_own_and_is_no_depth() {
        let troubles = [
            Reading::Missing,
            Reading::Locked,
            Reading::Refused("ACCESS_REFUSED".into()),
            Reading::TimedOut,
            Reading::Unreachable,
        ];
        let mut sentences = BTreeSet::new();
        for trouble in troubles {
            let mut brokers = brokers();
            let (fact, _) = brokers.observe(reading(trouble.clone()));
            let Some(event::Fact::Queue { observation, .. }) = fact else { panic!("{fact:?}") };
            assert!(!matches!(observation, Observation::Sample { .. }), "{trouble:?}");
            sentences.insert(brokers.queue("default", "orders").error.expect("a sentence"));
        }
        assert_eq!(sentences.len(), 5, "{sentences:?}");
    }

    #[test]
    fn a_queue_of_a_broker_in_trouble_tells_the_brokers_trouble() {
        let mut brokers = brokers();
        let error = |brokers: &Brokers| brokers.queue("default", "orders").error;
        let state = |state| Fact::Broker { broker: "default".into(), state, at: Time::from_millis(1) };
        brokers.observe(reading(Reading::Unreachable));
        assert_eq!(error(&brokers).as_deref(), Some("broker \"default\" is not connected"));
        brokers.observe(state(BrokerState::Refused("the broker refuses the login of user shop".into())));
        let refused = "broker \"default\": the broker refuses the login of user shop";
        assert_eq!(error(&brokers).as_deref(), Some(refused));
        brokers.observe(state(BrokerState::Unreachable("cannot find the broker's host mq".into())));
        assert_eq!(error(&brokers).as_deref(), Some("broker \"default\": cannot find the broker's host mq"));
        brokers.observe(reading(Reading::Missing));
        assert!(error(&brokers).is_some_and(|error| error.contains("does not exist")), "its own trouble");
    }

    #[test]
    fn the_last_depth_stays_visible_with_its_age_while_the_broker_is_away() {
        let mut brokers = brokers();
        brokers.observe(reading(Reading::Depth { ready: 7, consumers: 2 }));
        brokers.observe(reading(Reading::Unreachable));
        let seen = brokers.queue("default", "orders");
        assert_eq!(seen.depth.map(|depth| depth.ready), Some(7));
        assert!(seen.error.is_some());
        brokers.observe(reading(Reading::Depth { ready: 8, consumers: 2 }));
        assert_eq!(brokers.queue("default", "orders").error, None);
    }

    #[test]
    fn a_change_of_state_is_told_once_and_without_the_password() {
        let mut brokers = brokers();
        let refused = || Fact::Broker {
            broker: "default".into(),
            state: BrokerState::Refused("the broker refuses the login of shop".into()),
            at: Time::from_millis(1),
        };
        let (fact, told) = brokers.observe(refused());
        assert!(matches!(fact, Some(event::Fact::Broker { health: BrokerHealth::Refused, .. })));
        assert_eq!(told.as_deref(), Some("broker \"default\": the broker refuses the login of shop"));
        assert_eq!(brokers.observe(refused()).1, None);
        assert!(!format!("{brokers:?}{:?}", brokers.views()).contains("hunter2"));
    }
}
