//! What the engine is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::Time;
use crate::scaling::profile::Profile;

/// What a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// How long a message may wait before a consumer begins it.
    pub wait: Duration,
    /// The fewest consumers.
    pub min: u32,
    /// The most consumers, those that are still draining included.
    pub max: u32,
    /// How often the queue is read.
    pub interval: Duration,
    /// What is preferred.
    pub profile: Profile,
}

/// The fewest consumers for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// How many.
    pub min: u32,
    /// Until when, for a sentence: `18:00 Europe/Berlin`.
    pub until: String,
}

/// One of the queues that the same consumers work for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueGoal {
    /// Its name, for sentences.
    pub name: String,
    /// How long a message in it may wait before a consumer begins it.
    pub wait: Duration,
}

/// How consumers take from several queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// From the first one that has a message.
    #[default]
    Strict,
    /// From each in turn.
    Fair,
}

/// One reading of the queue, or the lack of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The queue was read.
    Sample {
        /// When.
        at: Time,
        /// Messages ready.
        ready: u64,
        /// Consumers that the queue shows, ours and others'.
        consumers: u64,
    },
    /// More was told than over AMQP. It comes beside samples, at its own pace, and its lack is no lack of data.
    Detail(Detail),
    /// The queue does not exist.
    NoQueue {
        /// When that was seen.
        at: Time,
    },
    /// The reading failed, timed out, or the broker is not reachable.
    Lost {
        /// When that was seen.
        at: Time,
        /// Why, as the end of a sentence: `the broker is unreachable`, `the queue is locked by another connection`.
        why: &'static str,
    },
}

/// What a broker tells of a queue beside the protocol: by its management API, or where it exports metrics. All of one
/// moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// When.
    pub at: Time,
    /// Messages ready.
    pub ready: u64,
    /// Messages with consumers.
    pub unacknowledged: u64,
    /// Messages acknowledged since the broker counts.
    pub acknowledged: u64,
    /// Messages published since the broker counts, where it says so.
    pub published: Option<u64>,
}

/// The consumers that there are, as the supervisor knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Past their start-up and not ending.
    pub running: u32,
    /// When each one that is still starting was ordered, oldest first.
    pub starting: Vec<Time>,
    /// Asked to end and still finishing what they began.
    pub draining: u32,
    /// When the oldest of those that are running was started.
    pub oldest_running: Option<Time>,
}

impl Fleet {
    /// Running and starting.
    pub fn live(&self) -> u32 {
        self.running + self.starting.len() as u32
    }
}

/// What the engine has learned and a restart should not forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Seconds of work per message; of a consumer that works on several at once, divided by how many.
    pub service_seconds: Option<f64>,
    /// Seconds from the order to start a consumer until it consumes.
    pub startup_seconds: Option<f64>,
    /// Whether the queue's workers poll and are never visible as consumers.
    pub polling: bool,
}
