//! What reading a broker tells, sorted into facts.

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
