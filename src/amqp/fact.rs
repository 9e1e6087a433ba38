//! What reading a broker tells, sorted into facts.

use std::net::SocketAddr;
use std::time::Duration;

use crate::core::time::Time;

/// One thing that a probe found out.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The state of a broker changed, or its error did.
    Broker {
        /// The broker's name in the configuration.
        broker: String,
        /// Its state now.
        state: BrokerState,
        /// When.
        at: Time,
    },
    /// A queue was read, or could not be.
    Queue {
        /// The broker's name in the configuration.
        broker: String,
        /// The queue's name.
        queue: String,
        /// What it said.
        reading: Reading,
        /// When.
        at: Time,
    },
    /// The state of a broker's management API changed, or its error did.
    Management {
        /// The broker's name in the configuration.
        broker: String,
        /// Its state now.
        state: ManagementState,
    },
    /// The state of the metrics that a broker exports changed, or their error did.
    Metrics {
        /// The broker's name in the configuration.
        broker: String,
        /// Their state now.
        state: ManagementState,
    },
    /// What the management API or the metrics tell of a queue.
    Figures {
        /// The broker's name in the configuration.
        broker: String,
        /// The queue's name.
        queue: String,
        /// What it told.
        figures: Figures,
        /// When it was received. The broker gathers its figures every 5 s, from queues and channels that tell them every 5 s, so
        /// they may be 10 s older.
        at: Time,
    },
    /// Why more consumers would not empty a queue sooner, where the management API tells so; told before its first figures and
    /// whenever it changes.
    Trap {
        /// The broker's name in the configuration.
        broker: String,
        /// The queue's name.
        queue: String,
        /// What it is, if it is one.
        trap: Option<Trap>,
    },
    /// What the management API tells of the channels of a broker's virtual host, where that is asked for.
    Channels {
        /// The broker's name in the configuration.
        broker: String,
        /// All of them, everybody's.
        channels: Vec<Channel>,
        /// When it was received.
        at: Time,
    },
    /// A round over all queues that are not in quarantine is complete.
    Round {
        /// The broker's name in the configuration.
        broker: String,
        /// How long it took.
        took: Duration,
    },
}

/// The state of the connection to a broker. Texts are sentences for people and never contain the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// Not yet connected, nothing known to be wrong.
    Connecting,
    /// Connected.
    Connected,
    /// The broker answers and refuses: login, virtual host.
    Refused(String),
    /// There is no connection: refused, lost, timed out, not resolved, certificate not trusted.
    Unreachable(String),
}

/// How a broker's management API stands, or the metrics that it exports. Texts are sentences for people and never contain the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagementState {
    /// Not asked yet.
    Connecting,
    /// It answers and tells everything.
    Answers,
    /// It answers, and does not tell everything.
    Limited(String),
    /// It does not answer, or not with what is wanted.
    Fails(String),
}

/// What the management API or the metrics tell of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Messages ready.
    pub ready: u64,
    /// Messages with consumers.
    pub unacknowledged: u64,
    /// What came and went; absent where that is not told, or means nothing.
    pub flow: Result<Counters, NoFlow>,
}

/// A queue whose depth must not be answered with consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A stream: what was consumed stays in it.
    Stream,
    /// One of its consumers is active at a time, and the others stand by.
    SingleActiveConsumer,
    /// A consumer has it for itself.
    ExclusiveConsumer,
}

impl Trap {
    /// What it is, as a sentence without its end.
    pub fn words(self) -> &'static str {
        match self {
            Self::Stream => "the queue is a stream, in which messages stay when they were consumed",
            Self::SingleActiveConsumer => "the queue has one active consumer at a time, and others stand by",
            Self::ExclusiveConsumer => "a consumer has the queue for itself, and others are refused",
        }
    }
}

/// Messages since the broker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Acknowledged.
    pub acknowledged: u64,
    /// Published to the queue, where that is told.
    pub published: Option<u64>,
}

/// A channel of somebody's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Where the connection comes from, as the broker sees it.
    pub peer: Option<SocketAddr>,
    /// The name that its client gave the connection, where that was asked for and it did.
    pub connection_name: Option<String>,
    /// Messages that were delivered on it and are not acknowledged; absent where the broker does not know yet.
    pub unacknowledged: Option<u64>,
    /// Its consumers.
    pub consumers: u32,
    /// How many messages all of them together hold at the most; 0 is without a limit. Absent where there are none, or where the
    /// broker does not say.
    pub prefetch: Option<u32>,
}

/// Why the counters of a queue are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoFlow {
    /// The broker does not count, or has not yet.
    NotCounted,
    /// Most messages are taken as acknowledged when they are delivered, so that nobody can tell who works on one.
    AutomaticAcknowledgement,
}

/// What a queue said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It was read.
    Depth {
        /// Messages ready for delivery. Delivered ones that are not acknowledged are not among them.
        ready: u64,
        /// Consumers on the queue.
        consumers: u64,
    },
    /// There is no such queue.
    Missing,
    /// It is another connection's exclusive queue.
    Locked,
    /// The login may not read it. The text is the broker's.
    Refused(String),
    /// The broker did not answer for this queue in time.
    TimedOut,
    /// The broker is not connected.
    Unreachable,
}
