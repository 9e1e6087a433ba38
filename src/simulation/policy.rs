//! What decides how many consumers there should be, as the world sees it, and what the world tells it.

use std::fmt::Debug;
use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::decision::Decision;
use crate::simulation::queue::Consumers;

/// An autoscaler. It is asked at its rhythm and answers with a number of consumers.
pub trait Policy: Debug {
    /// When it is asked.
    fn rhythm(&self) -> Rhythm;

    /// Which consumer goes when there are too many.
    fn removal(&self) -> Removal;

    /// How many consumers there should be.
    fn decide(&mut self, tick: &Tick<'_>) -> u32;

    /// Whether it is asked at every arrival as well.
    fn hears_messages(&self) -> bool {
        false
    }

    /// Whether consumers that are still finishing their last message count against the maximum.
    fn counts_draining(&self) -> bool {
        false
    }

    /// A consumer consumes, `took` after it was ordered.
    fn observe_started(&mut self, _took: Duration) {}

    /// What it asks for where a budget is shared, and its newest decision; a policy that knows of no budgets has none, and
    /// takes what is there when it wants it.
    fn decided(&self) -> Option<&Decision> {
        None
    }

    /// It was given fewer than it asked for.
    fn limit_to(&mut self, _target: u32) {}

    /// A moment at which it wants to be asked beside its rhythm.
    fn review_at(&self) -> Option<Time> {
        None
    }
}

/// When a policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// For the first time, after the begin.
    pub first: Duration,
    /// Then again and again.
    pub every: Duration,
}

impl Rhythm {
    /// From the begin on.
    pub const fn every(every: Duration) -> Self {
        Self { first: Duration::ZERO, every }
    }
}

/// Which consumer goes when there are too many. One that is stopped while busy finishes the message that it has begun
/// and gives back what it had only fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The oldest, whatever it does.
    Oldest,
    /// One that is not up yet, then any, as a ReplicaSet does.
    Any,
    /// One that is not up yet, then the youngest: nobody can see which of them is busy.
    Youngest,
    /// One that is not up yet, then an idle one. Where there are too few of these, that is the end of it.
    IdleNow,
    /// One that is not up yet, then an idle one. Where there are too few, the rest goes once it is seen idle.
    WhenIdle,
}

/// Why a policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Its rhythm.
    Rhythm,
    /// The moment that it named.
    Review,
    /// A message has arrived.
    Message,
}

/// What a policy can know at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Tick<'a> {
    /// Now.
    pub now: Time,
    /// Why it is asked.
    pub occasion: Occasion,
    /// What the broker says over AMQP, now; absent where nothing came, or nobody asked.
    pub reading: Option<Reading>,
    /// The newest figures of the management API; absent where there are none.
    pub statistics: Option<Statistics>,
    /// What there really is, which only consumers themselves and observers can know.
    pub depth: Depth,
    /// The consumers, those that start and those that finish included.
    pub consumers: &'a Consumers,
}

/// What a broker says over AMQP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The queue as it shows itself.
    Sample {
        /// Messages ready.
        ready: u64,
        /// Consumers, as far as they are visible.
        consumers: u64,
    },
    /// There is no such queue.
    NoQueue,
    /// The reading failed, with the end of a sentence that says why.
    Lost(&'static str),
}

impl Reading {
    /// Messages ready, where it says so.
    pub fn ready(self) -> Option<u64> {
        match self {
            Self::Sample { ready, consumers: _ } => Some(ready),
            Self::NoQueue | Self::Lost(_) => None,
        }
    }
}

/// What the management API says about a queue. Brokers make these figures every few seconds, so they are a little old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// When they were made.
    pub at: Time,
    /// Messages ready.
    pub ready: u64,
    /// Messages delivered and not acknowledged.
    pub unacked: u64,
    /// Messages ever published.
    pub published: u64,
    /// Messages ever acknowledged.
    pub acknowledged: u64,
}

impl Statistics {
    /// Ready and unacknowledged together.
    pub fn messages(self) -> u64 {
        self.ready + self.unacked
    }
}

/// The messages that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting in the queue.
    pub ready: u64,
    /// Fetched by consumers and not acknowledged.
    pub unacked: u64,
    /// Ever published.
    pub published: u64,
    /// Ever acknowledged.
    pub acknowledged: u64,
}
