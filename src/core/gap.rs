//! Why what is wanted is not so: one enum, one sentence each, shown alike on the page, by `explain`, in the log.

use std::time::Duration;

use super::observed::StopCause;
use super::time::{Time, human};

/// One reason for a difference between wanted and actual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Waiting after a failure.
    Backoff {
        /// When the next start is.
        until: Time,
        /// What went wrong: `exit code 1`.
        trouble: String,
        /// Failures in a row.
        failures: u32,
    },
    /// Given up after so many failures in a row.
    GaveUp {
        /// What went wrong last.
        trouble: String,
        /// Failures in a row.
        failures: u32,
    },
    /// The restart policy lets it rest.
    Rests {
        /// How it ended.
        ended: String,
    },
    /// An operator stopped it.
    StoppedByOperator {
        /// How: `page`, `command line`.
        by: String,
    },
    /// `autostart: false`.
    NotStartedYet,
    /// An operator's count stands.
    HeldByOperator {
        /// The count.
        processes: u32,
        /// How it was set.
        by: String,
        /// When it ends by itself.
        until: Option<Time>,
    },
    /// It was asked to end and has not ended.
    Draining {
        /// Since when.
        since: Time,
        /// When it is killed.
        deadline: Option<Time>,
        /// On whose behalf.
        cause: StopCause,
    },
    /// The main process ended and left others behind.
    LeaderGone {
        /// How many; 0 while they are being looked for.
        left: u32,
        /// When they are killed.
        deadline: Option<Time>,
    },
    /// The configured most is reached, those that are draining included.
    AtMax {
        /// The configured most.
        max: u32,
        /// How many of them are draining.
        draining: u32,
    },
    /// So many are starting already that more would slow all of them down.
    StartLimit {
        /// How many may start at one time.
        limit: u32,
    },
    /// The broker cannot be reached, and a consumer would only fail.
    BrokerUnreachable {
        /// The broker's name.
        broker: String,
    },
    /// Its processes die of the stop signal in the middle of work, so that none is stopped that might be busy.
    NoStopHandler {
        /// The signal's name.
        signal: String,
        /// How many more run than are needed.
        surplus: u32,
    },
    /// Just started.
    Starting,
    /// Leveret shuts down.
    ShuttingDown,
}

impl Gap {
    /// One sentence for a person, without the process's name.
    pub fn sentence(&self, now: Time) -> String {
        let left = |moment: Time| human(round(moment.since(now)));
        match self {
            Self::Backoff { until, trouble, failures: 0 | 1 } => {
                format!("{trouble}; starts again in {}", left(*until))
            }
            Self::Backoff { until, trouble, failures } => {
                format!("{trouble}, {failures} times in a row; starts again in {}", left(*until))
            }
            Self::GaveUp { trouble, failures } => {
                format!(
                    "given up after {failures} failures in a row, the last one: {trouble}; start it to try again"
                )
            }
            Self::Rests { ended } => format!("ended with {ended} and is not started again (restart policy)"),
            Self::StoppedByOperator { by } => format!("stopped by an operator ({by})"),
            Self::NotStartedYet => "waits for a start by hand (autostart is off)".to_owned(),
            Self::HeldByOperator { processes, by, until: Some(until) } => {
                format!("held at {processes} by an operator ({by}) for another {}", left(*until))
            }
            Self::HeldByOperator { processes, by, until: None } => {
                format!("held at {processes} by an operator ({by}) until released")
            }
            Self::Draining { since, deadline, cause } => {
                let why = match cause {
                    StopCause::Operator => "stopping",
                    StopCause::Restart => "stopping for a restart",
                    StopCause::Changed => "draining, its configuration changed",
                    StopCause::Removed => "stopping, its program was removed",
                    StopCause::ScaleIn => "draining",
                    StopCause::Shutdown => "stopping, Leveret shuts down",
                    StopCause::LeaderEnded => "stopping",
                };
                let so_far = human(round(now.since(*since)));
                match deadline {
                    Some(deadline) => format!("{why} for {so_far}, killed in {}", left(*deadline)),
                    None => format!("{why} for {so_far}"),
                }
            }
            Self::LeaderGone { left: 0, .. } => "ended; looking for processes that it left behind".to_owned(),
            Self::LeaderGone { left: count, deadline } => {
                let processes = if *count == 1 { "process" } else { "processes" };
                match deadline {
                    Some(deadline) => {
                        format!(
                            "the main process is gone and left {count} {processes} behind, killed in {}",
                            left(*deadline)
                        )
                    }
                    None => format!("the main process is gone and left {count} {processes} behind"),
                }
            }
            Self::AtMax { max, draining: 0 } => format!("at the maximum of {max}"),
            Self::AtMax { max, draining } => {
                format!("at the maximum of {max}, of which {draining} are draining")
            }
            Self::StartLimit { limit } => format!("waits, because {limit} consumers are starting already"),
            Self::BrokerUnreachable { broker } => {
                format!("waits until the broker \"{broker}\" can be reached")
            }
            Self::NoStopHandler { signal, surplus } => format!(
                "{surplus} more than needed go on, because these processes die of {signal} in the middle of work; \
                 handle it, or set stop.signal"
            ),
            Self::Starting => "starting".to_owned(),
            Self::ShuttingDown => "Leveret shuts down".to_owned(),
        }
    }
}

/// Whole seconds from 10 s on, tenths below.
fn round(duration: Duration) -> Duration {
    let tenths = duration.as_millis().div_ceil(100) as u64;
    if tenths >= 100 { Duration::from_secs(tenths.div_ceil(10)) } else { Duration::from_millis(tenths * 100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_sentence_with_the_time_left() {
        let now = Time::from_millis(10_000);
        let backoff =
            Gap::Backoff { until: Time::from_millis(12_480), trouble: "exit code 1".into(), failures: 3 };
        assert_eq!(backoff.sentence(now), "exit code 1, 3 times in a row; starts again in 2.5s");
        let gone = Gap::LeaderGone { left: 2, deadline: Some(Time::from_millis(40_000)) };
        assert_eq!(gone.sentence(now), "the main process is gone and left 2 processes behind, killed in 30s");
    }
}
