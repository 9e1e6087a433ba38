//! The probe beside the demo broker, which misbehaves on command.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

use super::fact::{BrokerState, Fact, Reading};
use super::probe::{Probe, ProbeSettings};
use crate::core::secret::Secret;
use crate::core::spec::BrokerSpec;
use crate::demo::broker::{Broker, BrokerOptions, Fault};

const INTERVAL: Duration = Duration::from_millis(50);
/// No test passes by this: it only ends one that would wait for ever.
const GIVE_UP: Duration = Duration::from_secs(60);

/// A probe and everything that it has told.
struct Told {
    probe: Probe,
    facts: Receiver<Fact>,
    all: Vec<Fact>,
}

impl Told {
    fn start(url: &str, queues: &[&str]) -> Self {
        Self::start_with(url, queues, |_| {})
    }

    fn start_with(url: &str, queues: &[&str], change: impl FnOnce(&mut ProbeSettings)) -> Self {
        let broker = BrokerSpec {
            name: "default".into(),
            url: Secret::new(url),
            shown: "amqp://somewhere".into(),
            management: None,
            metrics: None,
        };
        let mut settings = ProbeSettings { interval: INTERVAL, ..ProbeSettings::new(broker) };
        change(&mut settings);
        let (sender, facts) = channel(1_000);
        Self { probe: Probe::start(settings, names(queues), sender), facts, all: Vec::new() }
    }

    /// Waits for a fact and returns it. Looks at new ones only.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Fact) -> bool) -> Fact {
        let found = timeout(GIVE_UP, async {
            loop {
                let fact = self.facts.recv().await.expect("the probe goes on");
                self.all.push(fact.clone());
                if wanted(&fact) {
                    return fact;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("never told: {what}; last {:?}", self.all.iter().rev().take(5)))
    }

    async fn until_reading(&mut self, name: &str, wanted: impl Fn(&Reading) -> bool) {
        self.until(&format!("a reading of {name}"), |fact| match fact {
            Fact::Queue { queue, reading, .. } => queue == name && wanted(reading),
            Fact::Broker { .. }
            | Fact::Management { .. }
            | Fact::Metrics { .. }
            | Fact::Figures { .. }
            | Fact::Trap { .. }
            | Fact::Channels { .. }
            | Fact::Round { .. } => false,
        })
        .await;
    }

    async fn until_state(&mut self, wanted: impl Fn(&BrokerState) -> bool) -> BrokerState {
        let is_wanted = |fact: &Fact| matches!(fact, Fact::Broker { state, .. } if wanted(state));
        let Fact::Broker { state, .. } = self.until("a state", is_wanted).await else {
            unreachable!("until returns what was wanted")
        };
        state
    }

    async fn until_rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.until("a round", |fact| matches!(fact, Fact::Round { .. })).await;
        }
    }

    /// The queues that were read in each complete round so far.
    fn rounds(&self) -> Vec<BTreeSet<String>> {
        let mut rounds = Vec::new();
        let mut current = BTreeSet::new();
        for fact in &self.all {
            match fact {
                Fact::Queue { queue, reading: Reading::Depth { .. }, .. } => {
                    current.insert(queue.clone());
                }
                Fact::Queue { .. }
                | Fact::Broker { .. }
                | Fact::Management { .. }
                | Fact::Metrics { .. }
                | Fact::Figures { .. }
                | Fact::Trap { .. }
                | Fact::Channels { .. } => {}
                Fact::Round { .. } => rounds.push(std::mem::take(&mut current)),
            }
        }
        rounds
    }
}

fn names(queues: &[&str]) -> BTreeSet<String> {
    queues.iter().map(|queue| (*queue).to_owned()).collect()
}

fn twenty() -> Vec<String> {
    (0..20).map(|n| format!("q{n:02}")).collect()
}

async fn broker() -> Broker {
    Broker::start(BrokerOptions::default()).await.unwrap()
}

/// A client that declares queues, which live on when it goes.
async fn client(broker: &Broker) -> (Connection, lapin::Channel) {
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn declare(broker: &Broker, queues: impl IntoIterator<Item = impl AsRef<str>>) {
    let (_connection, channel) = client(broker).await;
    for queue in queues {
        let options = QueueDeclareOptions::default();
        channel.queue_declare(queue.as_ref().into(), options, FieldTable::default()).await.unwrap();
    }
}

fn is_read(reading: &Reading) -> bool {
    matches!(reading, Reading::Depth { .. })
}

fn is_down(state: &BrokerState) -> bool {
    matches!(state, BrokerState::Unreachable(_))
}

#[tokio::test]
async fn a_queue_is_read_with_its_ready_messages_and_its_consumers() {
    let broker = broker().await;
    declare(&broker, ["orders"]).await;
    let (_connection, channel) = client(&broker).await;
    for _ in 0..3 {
        let publish = channel.basic_publish(
            "".into(),
            "orders".into(),
            BasicPublishOptions::default(),
            b"x",
            BasicProperties::default(),
        );
        publish.await.unwrap().await.unwrap();
    }
    let mut told = Told::start(&broker.url(), &["orders"]);
    assert_eq!(told.until_state(|state| *state != BrokerState::Connecting).await, BrokerState::Connected);
    told.until_reading("orders", |reading| *reading == Reading::Depth { ready: 3, consumers: 0 }).await;

    channel.basic_qos(1, Default::default()).await.unwrap();
    let options = Default::default();
    let _consumer =
        channel.basic_consume("orders".into(), "".into(), options, FieldTable::default()).await.unwrap();
    told.until_reading("orders", |reading| *reading == Reading::Depth { ready: 2, consumers: 1 }).await;
    let first = told.all.first().unwrap();
    assert!(matches!(first, Fact::Broker { state: BrokerState::Connecting, .. }), "{first:?}");
}

#[tokio::test]
async fn a_missing_queue_among_twenty_leaves_nineteen_read_in_every_round() {
    let broker = broker().await;
    let queues = twenty();
    declare(&broker, queues.iter().filter(|queue| *queue != "q07")).await;
    let all: Vec<&str> = queues.iter().map(String::as_str).collect();
    let mut told = Told::start(&broker.url(), &all);
    told.until_reading("q07", |reading| *reading == Reading::Missing).await;
    told.until_rounds(20).await;
    let others: BTreeSet<String> = queues.iter().filter(|queue| *queue != "q07").cloned().collect();
    let rounds = told.rounds();
    assert!(rounds.len() >= 20);
    assert!(rounds.iter().all(|round| *round == others), "{rounds:?}");

    declare(&broker, ["q07"]).await;
    told.until_reading("q07", is_read).await;
    let before = told.rounds().len();
    told.until_rounds(3).await;
    assert!(told.rounds()[before + 1..].iter().all(|round| round.len() == 20));
}

#[tokio::test]
async fn a_missing_queue_costs_no_channels_over_two_hundred_rounds() {
    let broker = broker().await;
    declare(&broker, ["there"]).await;
    let mut told = Told::start_with(&broker.url(), &["there", "missing"], |settings| {
        settings.interval = Duration::from_millis(5);
    });
    let mut most = 0;
    for _ in 0..200 {
        told.until_rounds(1).await;
        most = most.max(broker.channel_count());
    }
    let missing = |fact: &&Fact| matches!(fact, Fact::Queue { reading: Reading::Missing, .. });
    assert!(told.all.iter().filter(missing).count() > 20);
    assert!(most <= 3, "{most} channels at one time");
    assert_eq!(broker.connection_count(), 1);
}

#[tokio::test]
async fn a_used_up_connection_is_exchanged_without_a_word() {
    let broker = broker().await;
    declare(&broker, ["there"]).await;
    // Each missing queue uses up a channel at every interval: more than a connection has, soon.
    let missing: Vec<String> = (0..120).map(|n| format!("m{n}")).collect();
    let mut queues: Vec<&str> = missing.iter().map(String::as_str).collect();
    queues.push("there");
    let mut told = Told::start(&broker.url(), &queues);
    let mut times_missing = 0;
    while times_missing < 3_000 {
        told.until_reading("m7", |reading| *reading == Reading::Missing).await;
        let is_missing = |fact: &&Fact| matches!(fact, Fact::Queue { reading: Reading::Missing, .. });
        times_missing = told.all.iter().filter(is_missing).count();
    }
    told.until_reading("there", is_read).await;
    let state_changes = told.all.iter().filter(|fact| matches!(fact, Fact::Broker { .. })).count();
    assert_eq!(state_changes, 2, "connecting and connected, then nothing");
    let known = |reading: &Reading| matches!(reading, Reading::Missing | Reading::Depth { .. });
    let odd: Vec<_> = told
        .all
        .iter()
        .filter(|fact| matches!(fact, Fact::Queue { reading, .. } if !known(reading)))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[tokio::test]
async fn a_locked_and_a_refused_queue_are_told_apart_and_hurt_nobody() {
    let broker = broker().await;
    declare(&broker, ["mine", "secret"]).await;
    let (_connection, channel) = client(&broker).await;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("locked".into(), exclusive, FieldTable::default()).await.unwrap();
    broker.set_fault(Fault::RefuseQueue("secret".into(), true));
    let mut told = Told::start(&broker.url(), &["locked", "mine", "secret"]);
    told.until_reading("locked", |reading| *reading == Reading::Locked).await;
    told.until_reading(
        "secret",
        |reading| matches!(reading, Reading::Refused(text) if text.contains("secret")),
    )
    .await;
    told.until_rounds(3).await;
    assert!(told.rounds().iter().all(|round| *round == names(&["mine"])), "{:?}", told.rounds());

    drop(channel);
    drop(_connection);
    declare(&broker, ["locked"]).await;
    broker.set_fault(Fault::RefuseQueue("secret".into(), false));
    told.until_reading("locked", is_read).await;
    told.until_reading("secret", is_read).await;
}

#[tokio::test]
async fn a_hanging_queue_times_out_and_the_others_are_read_on() {
    let broker = broker().await;
    declare(&broker, ["a", "b", "hung", "z"]).await;
    broker.set_fault(Fault::HangQueue("hung".into(), true));
    let mut told = Told::start_with(&broker.url(), &["a", "b", "hung", "z"], |settings| {
        settings.timeout = Duration::from_millis(1_200);
    });
    told.until_reading("hung", |reading| *reading == Reading::TimedOut).await;
    let others = names(&["a", "b", "z"]);
    assert!(!told.rounds().is_empty());
    assert!(told.rounds().iter().all(|round| *round == others), "{:?}", told.rounds());
    told.until_reading("hung", |reading| *reading == Reading::TimedOut).await;
    assert!(broker.channel_count() <= 3, "{} channels", broker.channel_count());
    broker.set_fault(Fault::HangQueue("hung".into(), false));
    told.until_reading("hung", is_read).await;
    told.until("a round with all four", |fact| matches!(fact, Fact::Round { .. })).await;
    told.until_reading("hung", is_read).await;
    assert_eq!(broker.connection_count(), 1);
}

#[tokio::test]
async fn a_quorum_queue_without_a_leader_reads_as_nothing() {
    let broker = broker().await;
    declare(&broker, ["q"]).await;
    let (_connection, channel) = client(&broker).await;
    let options = BasicPublishOptions::default();
    channel
        .basic_publish("".into(), "q".into(), options, b"x", BasicProperties::default())
        .await
        .unwrap()
        .await
        .unwrap();
    let mut told = Told::start(&broker.url(), &["q"]);
    told.until_reading("q", |reading| *reading == Reading::Depth { ready: 1, consumers: 0 }).await;
    broker.set_fault(Fault::ZeroZero("q".into(), true));
    told.until_reading("q", |reading| *reading == Reading::Depth { ready: 0, consumers: 0 }).await;
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_virtual_host_are_different_sentences_and_show_no_password() {
    let login = Some(("shop".to_owned(), Secret::new("hunter2")));
    let broker = Broker::start(BrokerOptions { login, ..BrokerOptions::default() }).await.unwrap();
    let at = broker.address();

    let mut told = Told::start(&format!("amqp://shop:wr0ng-Pw@{at}/%2f"), &["q"]);
    let state = told.until_state(|state| *state != BrokerState::Connecting).await;
    assert_eq!(state, BrokerState::Refused("the broker refuses the login of user shop".into()));
    told.until_reading("q", |reading| *reading == Reading::Unreachable).await;
    let shown = format!("{:?} {:?}", told.probe, told.all);
    assert!(!shown.contains("wr0ng-Pw"), "{shown}");

    let mut told = Told::start(&format!("amqp://shop:hunter2@{at}/nope"), &["q"]);
    let state = told.until_state(|state| *state != BrokerState::Connecting).await;
    let sentence = "the broker has no virtual host nope, or user shop may not use it";
    assert_eq!(state, BrokerState::Refused(sentence.into()));
    let shown = format!("{:?} {:?}", told.probe, told.all);
    assert!(!shown.contains("hunter2"), "{shown}");

    let mut told = Told::start("amqp://shop:hunter2@", &["q"]);
    let state = told.until_state(|state| *state != BrokerState::Connecting).await;
    assert!(is_down(&state) && !format!("{state:?}").contains("hunter2"), "{state:?}");
}

#[tokio::test]
async fn reading_goes_on_when_the_login_is_accepted_again() {
    let broker = broker().await;
    declare(&broker, ["q"]).await;
    let mut told = Told::start(&broker.url(), &["q"]);
    told.until_reading("q", is_read).await;
    broker.set_fault(Fault::RefuseLogin(true));
    broker.set_fault(Fault::DropAllConnections);
    told.until_state(|state| matches!(state, BrokerState::Refused(_))).await;
    broker.set_fault(Fault::RefuseLogin(false));
    told.until_state(|state| *state == BrokerState::Connected).await;
    told.until_reading("q", is_read).await;
}

#[tokio::test]
async fn a_stopped_broker_is_unreachable_and_read_again_when_it_is_back_on_its_port() {
    let broker = broker().await;
    let url = broker.url();
    let port = broker.address().port();
    declare(&broker, ["q"]).await;
    let mut told = Told::start(&url, &["q", "r"]);
    told.until_reading("q", is_read).await;
    told.until_reading("r", |reading| *reading == Reading::Missing).await;

    broker.stop().await;
    let lost = told.until_state(is_down).await;
    assert!(format!("{lost:?}").contains("shutting down"), "{lost:?}");
    let refused = told.until_state(|state| is_down(state) && *state != lost).await;
    assert!(format!("{refused:?}").contains("connection refused"), "{refused:?}");
    for queue in ["q", "r", "q", "r"] {
        told.until_reading(queue, |reading| *reading == Reading::Unreachable).await;
    }

    let back = Broker::start(BrokerOptions { port, ..BrokerOptions::default() }).await.unwrap();
    told.until_state(|state| *state == BrokerState::Connected).await;
    declare(&back, ["q"]).await;
    told.until_reading("q", is_read).await;
    told.until_reading("r", |reading| *reading == Reading::Missing).await;
}

#[tokio::test]
async fn broken_connections_are_made_again_over_and_over() {
    let broker = broker().await;
    declare(&broker, ["q"]).await;
    let mut told = Told::start(&broker.url(), &["q", "missing"]);
    for _ in 0..5 {
        told.until_reading("q", is_read).await;
        broker.set_fault(Fault::DropAllConnections);
        told.until_state(is_down).await;
        told.until_state(|state| *state == BrokerState::Connected).await;
    }
    broker.set_fault(Fault::RefuseConnections(true));
    broker.set_fault(Fault::DropAllConnections);
    let hung_up = told.until_state(|state| format!("{state:?}").contains("during the login")).await;
    assert!(is_down(&hung_up));
    broker.set_fault(Fault::RefuseConnections(false));
    told.until_state(|state| *state == BrokerState::Connected).await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_times_out_and_leaves_no_connection_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let mut told = Told::start_with(&format!("amqp://{at}/%2f"), &["q"], |settings| {
        settings.timeout = Duration::from_millis(200);
    });
    let (mut silent, _) = listener.accept().await.unwrap();
    let state = told.until_state(is_down).await;
    assert!(format!("{state:?}").contains("did not answer within 0.2 s"), "{state:?}");
    // The probe's end of the abandoned connection is shut down: all that it sent, and then the end.
    let mut sent = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut sent);
    timeout(GIVE_UP, read).await.unwrap().unwrap();
    assert!(sent.starts_with(b"AMQP"));
}

#[tokio::test]
async fn a_peer_that_is_no_broker_is_recognised() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").unwrap();
        socket
    });
    let mut told = Told::start(&format!("amqp://{at}/%2f"), &["q"]);
    let state = told.until_state(is_down).await;
    assert!(format!("{state:?}").contains("does not speak AMQP"), "{state:?}");
    drop(server.join().unwrap());
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_named() {
    let mut told = Told::start("amqp://no-such-host.invalid/%2f", &["q"]);
    let state = told.until_state(|state| *state != BrokerState::Connecting).await;
    let text = format!("{state:?}");
    assert!(is_down(&state) && text.contains("cannot find the broker's host no-such-host.invalid"), "{text}");
}

#[tokio::test]
async fn encryption_with_a_broker_that_has_none_is_a_sentence() {
    let broker = broker().await;
    let mut told = Told::start(&format!("amqps://{}/%2f", broker.address()), &["q"]);
    let state = told.until_state(is_down).await;
    assert!(format!("{state:?}").contains("cannot agree on encryption"), "{state:?}");
}

#[tokio::test]
async fn queues_come_and_go_while_the_probe_runs() {
    let broker = broker().await;
    declare(&broker, ["a", "b"]).await;
    let mut told = Told::start(&broker.url(), &["a", "missing"]);
    told.until_reading("missing", |reading| *reading == Reading::Missing).await;
    told.probe.set_queues(names(&["b"]));
    told.until_reading("b", is_read).await;
    let before = told.all.len();
    told.until_rounds(5).await;
    let others = told.all[before..]
        .iter()
        .filter(|fact| matches!(fact, Fact::Queue { queue, .. } if queue != "b"))
        .count();
    assert_eq!(others, 0);
}

#[tokio::test]
async fn a_name_that_the_protocol_has_no_room_for_is_refused_alone() {
    let broker = broker().await;
    declare(&broker, ["a"]).await;
    let long = "x".repeat(256);
    let mut told = Told::start(&broker.url(), &["a", &long]);
    told.until_reading(&long, |reading| matches!(reading, Reading::Refused(_))).await;
    told.until_reading("a", is_read).await;
}

#[tokio::test]
async fn hundreds_of_queues_are_read_in_one_round() {
    let broker = broker().await;
    let queues: Vec<String> = (0..300).map(|n| format!("q{n}")).collect();
    declare(&broker, &queues).await;
    let all: Vec<&str> = queues.iter().map(String::as_str).collect();
    let mut told = Told::start(&broker.url(), &all);
    told.until_rounds(2).await;
    assert!(told.rounds().iter().all(|round| round.len() == 300));
}

#[tokio::test]
async fn dropping_a_probe_closes_its_connection() {
    let broker = broker().await;
    declare(&broker, ["q"]).await;
    let mut told = Told::start(&broker.url(), &["q"]);
    told.until_reading("q", is_read).await;
    let Told { probe, mut facts, .. } = told;
    drop(probe);
    // The task ends, and with it the only sender.
    timeout(GIVE_UP, async { while facts.recv().await.is_some() {} }).await.unwrap();
    timeout(GIVE_UP, async {
        while broker.connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
