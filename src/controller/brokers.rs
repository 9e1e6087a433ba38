//! What the brokers and their queues last said, and what that means to the core and to people.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;

use super::handle::Histogram;
use super::snapshot::{BrokerView, ManagementView};
use crate::amqp::fact::{BrokerState, Counters, Fact, Figures, ManagementState, NoFlow, Reading, Trap};
use crate::amqp::management::{Management, ManagementSettings, Names};
use crate::amqp::probe::{Probe, ProbeSettings};
use crate::core::event;
use crate::core::observed::BrokerHealth;
use crate::core::spec::{BrokerSpec, ProgramSpec};
use crate::core::time::Time;
use crate::scaling::input::{Detail, Observation};

/// Bounds of the histogram of probe rounds, in seconds.
const ROUND_BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// How old what the management API told may be and still be shown. The engine forgets it at the same age.
const FIGURES_FRESH: Duration = Duration::from_secs(16);

/// What follows where the management API does not answer.
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
    /// What the management API told last, and when.
    pub(crate) figures: Option<(Figures, Time)>,
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
            if broker.spec.management != spec.management {
                (broker.management, broker.management_state) = (None, ManagementState::Connecting);
                broker.spec.management.clone_from(&spec.management);
            }
            match (&broker.management, queues.is_empty() || spec.management.is_none()) {
                (_, true) => broker.management = None,
                (Some(management), false) => management.set_queues(queues.clone()),
                (None, false) => {
                    let settings = ManagementSettings::new(spec.clone());
                    broker.management = Some(Management::start(settings, queues.clone(), self.facts.clone()));
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

    /// Has those queues looked at more often of which consumers are starting, by broker.
    pub(crate) fn set_starting(&self, mut starting: BTreeMap<String, BTreeSet<String>>) {
        for (name, broker) in &self.brokers {
            if let Some(probe) = &broker.probe {
                probe.set_starting(starting.remove(name).unwrap_or_default());
            }
        }
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

    /// What a person should know of what the management API tells of `queue`, one sentence each.
    pub(crate) fn remarks(&self, broker: &str, queue: &str, now: Time) -> Vec<String> {
        let Some(known) = self.brokers.get(broker) else { return Vec::new() };
        let trap = self.queues.get(&(broker.to_owned(), queue.to_owned())).and_then(|seen| seen.trap);
        let by_itself = match &known.management_state {
            ManagementState::Fails(why) => Some(format!("{why}; {GOES_ON}")),
            ManagementState::Limited(why) => Some(why.clone()),
            ManagementState::Connecting | ManagementState::Answers => None,
        };
        let flow = self.figures(broker, queue, now).map(|figures| figures.flow);
        let of_queue =
            matches!(flow, Some(Err(NoFlow::AutomaticAcknowledgement))).then(|| AUTOMATIC.to_owned());
        let of_kind =
            trap.map(|trap| format!("{}, so its depth is not answered with consumers", trap.words()));
        by_itself.into_iter().chain(of_kind).chain(of_queue).collect()
    }

    /// What the management API told last of `queue`, if that is not too old to be shown.
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
                (None, management_news(&broker, &before, &known.management_state))
            }
            Fact::Figures { broker, queue, figures, at } => {
                let Some(seen) = self.queues.get_mut(&(broker.clone(), queue.clone())) else {
                    return (None, None);
                };
                seen.figures = Some((figures, at));
                if seen.trap.is_some() {
                    return (None, None);
                }
                let Ok(Counters { acknowledged, published }) = figures.flow else { return (None, None) };
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
            Fact::Glance { broker, queue, consumers, at } => {
                (Some(event::Fact::Glance { broker, queue, consumers, at }), None)
            }
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
            names: Names::NotAsked,
        }
    }

    /// Whether its management API was asked for the first time and has neither answered nor failed. It takes some seconds at
    /// most.
    fn is_about_to_tell(&self) -> bool {
        self.management.is_some() && self.management_state == ManagementState::Connecting
    }

    fn management_view(&self) -> Option<ManagementView> {
        let spec = self.spec.management.as_ref()?;
        let (state, error) = match (&self.management_state, &self.management) {
            (_, None) => ("unused", None),
            (ManagementState::Connecting, _) => ("connecting", None),
            (ManagementState::Answers, _) => ("answering", None),
            (ManagementState::Limited(why), _) => ("limited", Some(why.clone())),
            (ManagementState::Fails(why), _) => ("failing", Some(why.clone())),
        };
        Some(ManagementView { state: state.to_owned(), url: spec.address.clone(), error })
    }
}

/// What is worth a line in the log: that it begins to answer, and that it ceases to.
fn management_news(broker: &str, before: &ManagementState, after: &ManagementState) -> Option<String> {
    match (before, after) {
        (ManagementState::Fails(_), ManagementState::Fails(_)) => None,
        (_, ManagementState::Fails(why)) => Some(format!("broker \"{broker}\": {why}; {GOES_ON}")),
        (_, ManagementState::Limited(why)) => Some(format!("broker \"{broker}\": {why}")),
        (ManagementState::Fails(_), ManagementState::Answers) => {
            Some(format!("broker \"{broker}\": the management API answers again"))
        }
        (ManagementState::Connecting | ManagementState::Limited(_), ManagementState::Answers) => {
            Some(format!("broker \"{broker}\": the management API answers"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::secret::Secret;

    fn brokers() -> Brokers {
        let (facts, _) = mpsc::channel(1);
        let mut brokers = Brokers::new(facts);
        let url = Secret::new("amqp://shop:hunter2@mq/%2f");
        let spec =
            BrokerSpec { name: "default".into(), url, shown: "amqp://shop@mq/%2f".into(), management: None };
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

    fn figures(unacknowledged: u64, flow: Result<Counters, NoFlow>) -> Fact {
        let (broker, queue) = ("default".to_owned(), "orders".to_owned());
        let figures = Figures { ready: 3, unacknowledged, flow };
        Fact::Figures { broker, queue, figures, at: Time::from_millis(6_000) }
    }

    #[test]
    fn what_the_management_api_tells_reaches_the_engine_where_it_counts_messages_and_is_shown_while_it_is_fresh()
     {
        let mut brokers = brokers();
        brokers.observe(reading(Reading::Depth { ready: 3, consumers: 2 }));
        let counted = Counters { acknowledged: 7, published: Some(11) };
        let (fact, told) = brokers.observe(figures(2, Ok(counted)));
        let Some(event::Fact::Queue { observation: Observation::Detail(detail), .. }) = fact else {
            panic!("{fact:?}");
        };
        assert_eq!((detail.ready, detail.unacknowledged, detail.acknowledged), (3, 2, 7));
        assert_eq!((detail.published, told), (Some(11), None));
        let shown = |brokers: &Brokers, seconds: u64| {
            brokers
                .figures("default", "orders", Time::from_millis(seconds * 1_000))
                .map(|told| told.unacknowledged)
        };
        assert_eq!((shown(&brokers, 22), shown(&brokers, 23)), (Some(2), None));

        let (fact, _) = brokers.observe(figures(4, Err(NoFlow::AutomaticAcknowledgement)));
        assert_eq!((fact, shown(&brokers, 7)), (None, Some(4)), "shown, and nothing to scale by");
        let remarks = brokers.remarks("default", "orders", Time::from_millis(7_000));
        assert_eq!(remarks, [AUTOMATIC]);
    }

    #[test]
    fn the_end_of_what_the_management_api_tells_is_said_once_and_so_is_its_return() {
        let mut brokers = brokers();
        let mut say = |state| brokers.observe(Fact::Management { broker: "default".into(), state }).1;
        assert_eq!(
            say(ManagementState::Answers).as_deref(),
            Some("broker \"default\": the management API answers")
        );
        let why = "the management API at http://mq:15672 did not answer within 5 s";
        let said = say(ManagementState::Fails(why.into()));
        assert_eq!(said, Some(format!("broker \"default\": {why}; {GOES_ON}")));
        assert_eq!(say(ManagementState::Fails("another one".into())), None);
        let back = "broker \"default\": the management API answers again";
        assert_eq!(say(ManagementState::Answers).as_deref(), Some(back));
        brokers.observe(Fact::Management {
            broker: "default".into(),
            state: ManagementState::Fails(why.into()),
        });
        let remarks = brokers.remarks("default", "orders", Time::from_millis(1));
        assert_eq!(remarks, [format!("{why}; {GOES_ON}")]);
    }

    #[test]
    fn the_depth_of_a_queue_that_more_consumers_do_not_empty_sooner_is_shown_and_not_scaled_by() {
        for trap in [Trap::Stream, Trap::SingleActiveConsumer, Trap::ExclusiveConsumer] {
            let mut brokers = brokers();
            brokers.observe(reading(Reading::Depth { ready: 9, consumers: 0 }));
            let (broker, queue) = ("default".to_owned(), "orders".to_owned());
            let (fact, told) = brokers.observe(Fact::Trap { broker, queue, trap: Some(trap) });
            assert!(fact.is_none() && told.is_some_and(|told| told.contains("queue \"orders\": ")));
            assert_eq!(
                brokers.observe(figures(0, Ok(Counters { acknowledged: 1, published: None }))),
                (None, None)
            );
            let (fact, _) = brokers.observe(reading(Reading::Depth { ready: 9, consumers: 0 }));
            let Some(event::Fact::Queue { observation: Observation::Lost { why, .. }, .. }) = fact else {
                panic!("{fact:?}");
            };
            assert_eq!(brokers.queue("default", "orders").depth.map(|depth| depth.ready), Some(9));
            let remarks = brokers.remarks("default", "orders", Time::from_millis(7_000));
            assert_eq!(remarks, [format!("{why}, so its depth is not answered with consumers")]);
        }
    }
}
