//! Profiles: what a user prefers where waiting and consumers are weighed against each other.

use serde::{Deserialize, Serialize};

/// What a program's scaling is to prefer. Every profile keeps the goal where it can be kept; they differ in how much they
/// pay for the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Messages are begun within about half the goal.
    #[default]
    Balanced,
    /// Fewer consumers: messages use most of the goal.
    Economy,
    /// Short waits: messages are begun within about a quarter of the goal, and consumers stay longer.
    Latency,
    /// Few changes: consumers stay longer.
    Calm,
}

/// A profile in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tuning {
    /// The share of the goal that is planned for; the rest absorbs the interval of readings and a service time that
    /// varies.
    pub(super) planned_share: f64,
    /// The share of messages that may wait longer than planned; they still wait within the goal as a rule.
    pub(super) tolerance: f64,
    /// The least share of the goal in which a backlog is to be drained, where starts are quick ...
    pub(super) drain_share: f64,
    /// ... and where they take half the goal or more.
    pub(super) drain_share_slow_start: f64,
    /// Gaps of no more than this share of the present number are not worth a stop and a start.
    pub(super) deadband: f64,
    /// The window before a step down, in times of one start and one message ...
    pub(super) window_factor: f64,
    /// ... and its most, in seconds.
    pub(super) window_most_seconds: f64,
}

const BALANCED: Tuning = Tuning {
    planned_share: 0.5,
    tolerance: 0.05,
    drain_share: 0.5,
    drain_share_slow_start: 0.3,
    deadband: 0.05,
    window_factor: 2.0,
    window_most_seconds: 30.0,
};

impl Profile {
    /// All of them, as they are listed to people.
    pub const ALL: [Self; 4] = [Self::Balanced, Self::Economy, Self::Latency, Self::Calm];

    /// The word in the configuration, on the page and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Economy => "economy",
            Self::Latency => "latency",
            Self::Calm => "calm",
        }
    }

    /// Its numbers.
    pub(super) fn tuning(self) -> Tuning {
        const LONG_WINDOW: Tuning = Tuning { window_factor: 5.0, window_most_seconds: 120.0, ..BALANCED };
        match self {
            Self::Balanced => BALANCED,
            Self::Economy => Tuning { planned_share: 0.8, tolerance: 0.2, deadband: 0.1, ..BALANCED },
            Self::Latency => Tuning {
                planned_share: 0.25,
                tolerance: 0.005,
                drain_share: 0.25,
                drain_share_slow_start: 0.15,
                ..LONG_WINDOW
            },
            Self::Calm => Tuning { deadband: 0.1, ..LONG_WINDOW },
        }
    }
}
