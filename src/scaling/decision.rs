//! What the engine says.

use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::reason;

/// One outcome of the engine: how many consumers there should be, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// How many consumers there should be, from `min` to `max`.
    pub target: u32,
    /// How many the engine wanted before.
    pub before: u32,
    /// How many it would be if there were enough of everything for all.
    pub wanted: u32,
    /// How many of the running ones are at work, where that is known.
    pub busy: Option<u32>,
    /// What kept the target from being what the numbers alone ask for.
    pub limit: Limit,
    /// What is wrong with the data, where they hold the target.
    pub trouble: Option<DataTrouble>,
    /// Why, in one sentence that a person understands, without the program's name.
    pub reason: String,
    /// The numbers that it was made from.
    pub inputs: Inputs,
    /// The moment at which time alone may change the outcome; absent when only a new fact can.
    pub review_at: Option<Time>,
    /// How long a message that arrives now is expected to wait; absent where it cannot be said. Of several queues, in the one
    /// with the shortest goal.
    pub predicted_wait: Option<Duration>,
    /// Where there are several queues: which one decided, and each of them in its order.
    pub several: Option<OfSeveral>,
}

/// What a decision about several queues says of each.
#[derive(Clone, Debug, PartialEq)]
pub struct OfSeveral {
    /// The name of the queue that decided.
    pub decided_by: String,
    /// In their order.
    pub queues: Vec<OfQueue>,
}

/// What a decision about several queues says of one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct OfQueue {
    /// Its name.
    pub name: String,
    /// The numbers of it alone.
    pub inputs: Inputs,
    /// How long a message that arrives in it now is expected to wait; absent where it cannot be said.
    pub predicted_wait: Option<Duration>,
    /// The queue that takes what it would need, where its goal is missed because of that.
    pub starved_by: Option<String>,
}

impl Decision {
    /// The same with fewer consumers, because there is not enough of something; `of` names it: `the budget of 64 processes`.
    pub fn limited_to(self, target: u32, limit: Limit, of: &str) -> Self {
        let reason = reason::limited(self.target, target, of);
        Self { target, limit, reason, ..self }
    }
}

/// What is wrong with the data of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataTrouble {
    /// The queue has not been read yet.
    NotRead,
    /// Readings fail.
    Lost,
    /// No reading came for a while.
    Stale,
    /// The queue does not exist.
    NoQueue,
}

/// What kept a target from being what the numbers alone ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// Nothing.
    #[default]
    None,
    /// The configured least.
    Min,
    /// The configured most.
    Max,
    /// Data that are missing or stale, or a queue that does not exist.
    Data,
    /// The window that must pass before a step down.
    Window,
    /// The messages in a time that are allowed.
    Rate,
    /// Something behind the consumers, with which more of them do no more.
    Downstream,
    /// A budget that is shared with others.
    Budget,
}

impl Limit {
    /// The word on the page and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Min => "min",
            Self::Max => "max",
            Self::Data => "data",
            Self::Window => "window",
            Self::Rate => "rate",
            Self::Downstream => "downstream",
            Self::Budget => "budget",
        }
    }
}

/// The numbers that a decision was made from. Absent: not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Inputs {
    /// Messages ready at the newest sample.
    pub ready: Option<u64>,
    /// Consumers that the queue showed at the newest sample.
    pub consumers: Option<u64>,
    /// Age of the newest sample.
    pub sample_age: Option<Duration>,
    /// Arrivals per second over a long window.
    pub arrivals_per_second: Option<f64>,
    /// Arrivals per second over a few seconds.
    pub arrivals_per_second_fast: Option<f64>,
    /// Seconds of work per message.
    pub service_seconds: f64,
    /// Whether `service_seconds` was learned; otherwise it is the prior.
    pub service_learned: bool,
    /// Seconds from the order to start a consumer until it consumes.
    pub startup_seconds: f64,
    /// Consumers that the steady flow needs.
    pub steady: u32,
    /// Consumers that the present backlog needs.
    pub drain: u32,
    /// The most that was needed within the window before a step down.
    pub window_peak: u32,
}
