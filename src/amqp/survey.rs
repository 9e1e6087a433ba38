//! One look at a broker: everything that it tells of some queues at one moment, over AMQP and, where they are configured, over its
//! management API or its metrics. It changes nothing there, and decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::fact::{BrokerState, Fact, Reading, Trap};
use super::probe::{Probe, ProbeSettings};
use super::{management, metrics};
use crate::core::spec::BrokerSpec;

/// How long a look may take beyond one call.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a look found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// How it went to connect.
    pub state: BrokerState,
    /// What each queue said; absent where no connection was made.
    pub readings: BTreeMap<String, Reading>,
    /// What the management API told, or why it did not, as a sentence; absent where none is configured.
    pub kinds: Option<Result<Kinds, String>>,
    /// Whether the metrics tell of queues, or why they do not, as a sentence; absent where none are configured.
    pub metrics: Option<Result<(), String>>,
}

/// What a management API tells of queues and their consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// The broker's version, where it is RabbitMQ's.
    pub version: Option<String>,
    /// The queues that there are.
    pub queues: BTreeMap<String, QueueKind>,
    /// Who consumes from them, everybody's.
    pub consumers: Vec<Consumer>,
}

/// What kind of queue it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueKind {
    /// Why more consumers would not empty it sooner.
    pub trap: Option<Trap>,
    /// How long a consumer may hold a message, where the queue or a policy says so.
    pub held_most: Option<Duration>,
}

/// A consumer of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The queue.
    pub queue: String,
    /// Where its connection comes from, as the broker sees it.
    pub peer: Option<SocketAddr>,
    /// The name that its client gave the connection.
    pub connection_name: Option<String>,
    /// How many messages it takes ahead; 0 is without a limit.
    pub prefetch: Option<u64>,
    /// Whether it says when a message is done; else all are taken for done when they are delivered.
    pub acknowledges: bool,
}

/// Looks once. Must be called on a tokio runtime.
pub async fn survey(broker: &BrokerSpec, queues: &BTreeSet<String>) -> Survey {
    let settings = ProbeSettings::new(broker.clone());
    let limit = settings.timeout;
    let (readings, kinds, metrics) = tokio::join!(
        read(settings, queues),
        management::read_kinds(broker, queues, limit),
        metrics::look(broker, limit)
    );
    let (state, readings) = readings;
    Survey { state, readings, kinds, metrics }
}

/// Reads until each queue has said something, or nothing more is to come.
async fn read(
    settings: ProbeSettings,
    queues: &BTreeSet<String>,
) -> (BrokerState, BTreeMap<String, Reading>) {
    let limit = settings.timeout * 2 + PATIENCE;
    let (sender, mut facts) = mpsc::channel(1_024);
    let _probe = Probe::start(settings, queues.clone(), sender);
    let (mut state, mut readings) = (BrokerState::Connecting, BTreeMap::new());
    let look = async {
        while let Some(fact) = facts.recv().await {
            match fact {
                Fact::Broker { state: now, .. } => {
                    state = now;
                    match &state {
                        BrokerState::Refused(_) | BrokerState::Unreachable(_) => return,
                        BrokerState::Connected if queues.is_empty() => return,
                        BrokerState::Connected | BrokerState::Connecting => {}
                    }
                }
                Fact::Queue { reading: Reading::Unreachable, .. } => {}
                Fact::Queue { queue, reading, .. } => {
                    readings.insert(queue, reading);
                    if queues.iter().all(|queue| readings.contains_key(queue)) {
                        return;
                    }
                }
                Fact::Management { .. }
                | Fact::Metrics { .. }
                | Fact::Figures { .. }
                | Fact::Trap { .. }
                | Fact::Channels { .. }
                | Fact::Round { .. } => {}
            }
        }
    };
    // What has not said anything by then is known to have been silent.
    let _ = timeout(limit, look).await;
    if state == BrokerState::Connecting {
        state = BrokerState::Unreachable(format!("there was no answer within {} s", limit.as_secs()));
    }
    (state, readings)
}
