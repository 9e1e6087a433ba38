//! The circumstances of a run, beside what arrives.

use std::time::Duration;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How long a message may wait.
    pub wait: Duration,
    /// The fewest consumers.
    pub min: u32,
    /// The most consumers.
    pub max: u32,
    /// How often our own engine reads the queue.
    pub interval: Duration,
    /// Seconds from the order until a consumer consumes; varies by a fifth.
    pub startup: f64,
    /// The most that may be starting at one time.
    pub start_limit: u32,
    /// Messages that a consumer fetches in advance, the one that it works on included; at least 1.
    pub prefetch: u32,
    /// Workers take with `basic.get`, and the queue never shows them.
    pub polling: bool,
    /// How often the broker makes its management figures.
    pub statistics: Duration,
    /// Whether the fewest consumers run already when the first message comes.
    pub warm: bool,
    /// How long the run goes on after its last message, in seconds, so that the way back is seen.
    pub epilogue: f64,
    /// Seed of everything random that is not in the workload.
    pub seed: u64,
}

impl Default for Scenario {
    /// A goal of 10 s, up to 200 consumers that start in 2 s.
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(10),
            min: 0,
            max: 200,
            interval: Duration::from_secs(1),
            startup: 2.0,
            start_limit: u32::MAX,
            prefetch: 1,
            polling: false,
            statistics: Duration::from_secs(5),
            warm: false,
            epilogue: 0.0,
            seed: 1,
        }
    }
}

/// A stretch of time in which readings are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Its begin in seconds.
    pub from: f64,
    /// Its end in seconds.
    pub to: f64,
    /// What happens.
    pub kind: FaultKind,
}

/// What happens to readings. Messages flow all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// They fail, and that is told.
    Lost,
    /// Nothing comes at all.
    Silent,
    /// They say 0 messages and 0 consumers.
    Empty,
    /// The queue is said not to exist.
    NoQueue,
}
