//! Why what is wanted is not so: one enum, one sentence each, shown alike on the page, by `explain`, in the log.

use std::time::Duration;

use super::observed::StopCause;
use super::spec::Until;
use super::time::{Time, human};
use super::words::{counted, size};

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
    /// Of something that it uses there is no more.
    Budget {
        /// Of what: `the budget of 64 processes`.
        budget: String,
    },
    /// The machine is about to run out of memory.
    MemoryShort {
        /// Bytes that are left.
        left: u64,
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
    /// Messages are to be done in order, and what the process before it started has not all ended.
    AfterTheOneBefore,
    /// More run than are needed, and the broker has not yet told who is idle since that became clear.
    WaitsForWord,
    /// Another program must come first.
    Dependency {
        /// Its name.
        program: String,
        /// How far it must have come.
        until: Until,
        /// Why it will not come that far by itself: `which is stopped`.
        trouble: Option<String>,
    },
    /// Another program that needs this one must end first.
    NeededBy {
        /// Its name.
        program: String,
    },
    /// Nothing is to run until the next moment of its schedule.
    WaitsForSchedule {
        /// `runs next at 03:00 Europe/Berlin`, and when that is; absent while the clock is not known.
        next: Option<(String, Time)>,
        /// `the last run took 3m and succeeded`.
        last: Option<String>,
    },
    /// It may finish its work, and then a new one takes its place.
    Recycled {
        /// Since when.
        since: Time,
        /// `memory 310 MiB > 256 MiB`.
        why: String,
    },
    /// A new one is to take its place, and it is not its turn yet.
    ToRecycle {
        /// `memory 310 MiB > 256 MiB`.
        why: String,
        /// The stop signal, where it would die of it in the middle of work.
        dies_of: Option<String>,
    },
    /// A rolling restart has not come to it.
    WaitsForRollout {
        /// `orders:2 is ready`.
        until: String,
        /// How many were replaced.
        replaced: u32,
        /// How many are to be.
        total: u32,
    },
    /// A rolling restart was halted before it came to it.
    RolloutHalted {
        /// Why.
        why: String,
    },
    /// Its stop signal waits for the hook that runs before it.
    WaitsForHook {
        /// When the hook is killed; absent while it waits for its turn.
        until: Option<Time>,
    },
    /// What has to succeed before its start runs.
    Prepares {
        /// When that is killed.
        until: Time,
    },
    /// Just started.
    Starting,
    /// Started, and not yet known to be of use.
    NotReady {
        /// What is waited for: `it says that it is ready (READY=1)`.
        awaited: String,
        /// What the newest look found: `http://127.0.0.1:8080/health answered 503`.
        found: Option<String>,
        /// When it is stopped as a failure.
        until: Option<Time>,
    },
    /// It runs, and looks at its health fail.
    Unwell {
        /// What the newest one found.
        found: String,
        /// How many have failed in a row.
        failures: u32,
        /// With how many it is started anew.
        of: u32,
    },
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
                format!(
                    "{failures} failures in a row, the last one: {trouble}; starts again in {}",
                    left(*until)
                )
            }
            Self::GaveUp { trouble, failures } => format!(
                "given up after {}: {trouble}; start it to try again",
                if *failures == 1 {
                    "1 failure".to_owned()
                } else {
                    format!("{failures} failures in a row, the last one")
                }
            ),
            Self::Rests { ended } => {
                format!("{ended}; its restart policy lets it rest until somebody starts it")
            }
            Self::StoppedByOperator { by } => format!("stopped by an operator ({by})"),
            Self::NotStartedYet => "waits for a start by hand (autostart is off)".to_owned(),
            Self::HeldByOperator { processes, by, until: Some(until) } => {
                format!("held at {processes} by an operator ({by}) for another {}", left(*until))
            }
            Self::HeldByOperator { processes, by, until: None } => {
                format!("held at {processes} by an operator ({by}) until released")
            }
            Self::Draining { since, deadline, cause } => {
                let so_far = human(round(now.since(*since)));
                let stopping = match cause {
                    StopCause::Operator => format!("asked to stop {so_far} ago by an operator"),
                    StopCause::Restart => format!("asked to stop {so_far} ago for a restart"),
                    StopCause::Changed => {
                        format!("draining for {so_far}, because its configuration changed")
                    }
                    StopCause::Removed => {
                        format!("asked to stop {so_far} ago, because its program was removed")
                    }
                    StopCause::ScaleIn => format!("draining for {so_far}, because fewer are needed"),
                    StopCause::Shutdown => {
                        format!("asked to stop {so_far} ago, because Leveret shuts down")
                    }
                    StopCause::LeaderEnded => {
                        format!("asked to stop {so_far} ago, because its main process ended")
                    }
                    StopCause::Timeout => {
                        format!("asked to stop {so_far} ago, because its run takes longer than it may")
                    }
                    StopCause::Replaced => {
                        format!("asked to stop {so_far} ago, because its next run is due")
                    }
                    StopCause::Unfit(unfit) => {
                        format!("asked to stop {so_far} ago, because it {}", unfit.words())
                    }
                    StopCause::Rollout => format!("draining for {so_far}, for a rolling restart"),
                    StopCause::Recycle => format!("draining for {so_far}, to be recycled"),
                };
                match deadline {
                    Some(deadline) => format!("{stopping}; {}", killed(*deadline, now)),
                    None => format!("{stopping}; it may finish its work"),
                }
            }
            Self::LeaderGone { left: 0, .. } => {
                "the main process ended; looking for processes that it left behind".to_owned()
            }
            Self::LeaderGone { left: count, deadline } => {
                let processes = counted(u64::from(*count), "process", "processes");
                let gone = format!("the main process ended and left {processes} behind");
                match deadline {
                    Some(deadline) => format!("{gone}; {}", killed(*deadline, now)),
                    None => gone,
                }
            }
            Self::AtMax { max, draining } => format!("waits {}", for_room(*max, *draining)),
            Self::StartLimit { limit } => format!("waits {}", for_turn(*limit)),
            Self::Budget { budget } => format!("waits because {budget} is used up"),
            Self::MemoryShort { left } => format!("waits {}", for_memory(*left)),
            Self::BrokerUnreachable { broker } => format!("waits {}", for_broker(broker)),
            Self::NoStopHandler { signal, surplus } => {
                let more = if *surplus == 1 {
                    "1 more than needed goes on".to_owned()
                } else {
                    format!("{surplus} more than needed go on")
                };
                format!(
                    "{more}, because these processes die of {signal} in the middle of work; handle it, or set \
                     stop.signal"
                )
            }
            Self::Dependency { program, until, trouble } => {
                format!("waits {}", for_dependency(program, *until, trouble.as_deref()))
            }
            Self::AfterTheOneBefore => {
                "waits until everything of the process before it has ended, because messages are done in order".to_owned()
            }
            Self::WaitsForWord => {
                "is more than is needed; waits some seconds for the broker to tell who is idle".to_owned()
            }
            Self::NeededBy { program } => format!("stops when {program}, which needs it, has ended"),
            Self::WaitsForSchedule { next, last } => {
                let next = match next {
                    Some((words, at)) => format!("{words} (in {})", left(*at)),
                    None => "waits for its schedule".to_owned(),
                };
                format!("{next}; {}", last.as_deref().unwrap_or("it has not run yet"))
            }
            Self::Recycled { since, why } => format!(
                "recycled: {why}; draining for {}, it may finish its work",
                human(round(now.since(*since)))
            ),
            Self::ToRecycle { why, dies_of: None } => {
                format!("to be recycled: {why}; waits until the others are ready")
            }
            Self::ToRecycle { why, dies_of: Some(signal) } => format!(
                "to be recycled: {why}; it goes on, because these processes die of {signal} in the middle of work"
            ),
            Self::WaitsForRollout { until, replaced, total } => {
                format!("waits until {until} ({replaced} of {total} replaced)")
            }
            Self::RolloutHalted { why } => {
                format!("goes on as before, because the rolling restart was halted: {why}")
            }
            Self::WaitsForHook { until: Some(until) } => format!(
                "stopping: pre_stop runs; the stop signal follows in {} if it has not ended",
                left(*until)
            ),
            Self::WaitsForHook { until: None } => "stopping: pre_stop waits for an earlier one".to_owned(),
            Self::Prepares { until } => {
                format!("starting: pre_start runs; it has failed in {} if it has not ended", left(*until))
            }
            Self::Starting => "starting".to_owned(),
            Self::NotReady { awaited, found, until } => {
                let waits = match found {
                    Some(found) => format!("not ready: {found}"),
                    None => format!("starting: waits until {awaited}"),
                };
                match until {
                    Some(until) => format!("{waits}; stopped in {} if not", left(*until)),
                    None => waits,
                }
            }
            Self::Unwell { found, failures, of } => {
                format!("failed {failures} of {of} health checks in a row: {found}")
            }
            Self::ShuttingDown => "Leveret shuts down".to_owned(),
        }
    }

    /// One sentence for several processes of one program, of which this is the gap of the one named `first`.
    pub fn sentence_of_several(&self, count: usize, first: &str, now: Time) -> String {
        let processes = counted(count as u64, "process", "processes");
        match self {
            Self::AtMax { max, draining } => format!("{processes} wait {}", for_room(*max, *draining)),
            Self::StartLimit { limit } => format!("{processes} wait {}", for_turn(*limit)),
            Self::Budget { budget } => format!("{processes} wait because {budget} is used up"),
            Self::MemoryShort { left } => format!("{processes} wait {}", for_memory(*left)),
            Self::BrokerUnreachable { broker } => format!("{processes} wait {}", for_broker(broker)),
            Self::Dependency { program, until, trouble } => {
                format!("{processes} wait {}", for_dependency(program, *until, trouble.as_deref()))
            }
            Self::NeededBy { program } => {
                format!("{processes} stop when {program}, which needs them, has ended")
            }
            Self::Backoff { .. } => {
                format!("{processes} failed and start again later; {first}: {}", self.sentence(now))
            }
            Self::GaveUp { .. } => format!("{processes} are given up; {first}: {}", self.sentence(now)),
            Self::LeaderGone { .. } => {
                format!("{processes} ended before those they started; {first}: {}", self.sentence(now))
            }
            Self::Rests { .. }
            | Self::StoppedByOperator { .. }
            | Self::NotStartedYet
            | Self::HeldByOperator { .. }
            | Self::Draining { .. }
            | Self::NoStopHandler { .. }
            | Self::AfterTheOneBefore
            | Self::WaitsForWord
            | Self::WaitsForSchedule { .. }
            | Self::Recycled { .. }
            | Self::ToRecycle { .. }
            | Self::WaitsForRollout { .. }
            | Self::RolloutHalted { .. }
            | Self::WaitsForHook { .. }
            | Self::Prepares { .. }
            | Self::Starting
            | Self::NotReady { .. }
            | Self::Unwell { .. }
            | Self::ShuttingDown => format!("{processes}; {first}: {}", self.sentence(now)),
        }
    }

    /// How much it troubles a program, most first; nothing where it is part of an ordinary day.
    pub fn trouble(&self) -> Option<u8> {
        match self {
            Self::GaveUp { .. } => Some(0),
            Self::Backoff { .. } => Some(1),
            Self::LeaderGone { .. } => Some(2),
            Self::BrokerUnreachable { .. } => Some(3),
            Self::NoStopHandler { .. } => Some(4),
            Self::AtMax { .. } => Some(5),
            Self::Budget { .. } | Self::MemoryShort { .. } => Some(6),
            Self::StartLimit { .. } => Some(7),
            Self::Dependency { .. } => Some(8),
            Self::NeededBy { .. } => Some(9),
            Self::Unwell { .. } => Some(10),
            Self::Rests { .. }
            | Self::StoppedByOperator { .. }
            | Self::NotStartedYet
            | Self::HeldByOperator { .. }
            | Self::Draining { .. }
            | Self::AfterTheOneBefore
            | Self::WaitsForWord
            | Self::WaitsForSchedule { .. }
            | Self::Recycled { .. }
            | Self::ToRecycle { .. }
            | Self::WaitsForRollout { .. }
            | Self::RolloutHalted { .. }
            | Self::WaitsForHook { .. }
            | Self::Prepares { .. }
            | Self::Starting
            | Self::NotReady { .. }
            | Self::ShuttingDown => None,
        }
    }
}

/// What those wait for that the maximum keeps from starting, after "waits" or "wait".
fn for_room(max: u32, draining: u32) -> String {
    match draining {
        0 => format!("because the maximum of {max} is reached"),
        1 => format!("until the one that is draining has ended: it counts against the maximum of {max}"),
        _ => format!("until those {draining} that are draining end: they count against the maximum of {max}"),
    }
}

fn for_memory(left: u64) -> String {
    format!("for memory: only {} of the machine's are left", size(left))
}

fn for_turn(limit: u32) -> String {
    match limit {
        1 => "for another consumer that is starting: one may at a time".to_owned(),
        _ => format!("for {limit} other consumers that are starting: no more may at a time"),
    }
}

fn for_broker(broker: &str) -> String {
    format!("until the broker \"{broker}\" can be reached")
}

fn for_dependency(program: &str, until: Until, trouble: Option<&str>) -> String {
    let comma = trouble.map_or_else(String::new, |trouble| format!(", {trouble},"));
    match until {
        Until::Started => format!("until {program}{comma} has started"),
        Until::Ready => format!("until {program}{comma} is ready"),
        Until::Completed => format!("until {program}{comma} has ended well"),
    }
}

fn killed(deadline: Time, now: Time) -> String {
    if deadline > now {
        format!("killed in {} if still there", human(round(deadline.since(now))))
    } else {
        "being killed now".to_owned()
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
    use crate::core::readiness::Unfit;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn draining(cause: StopCause, deadline: Option<Time>) -> Gap {
        Gap::Draining { since: at(7), deadline, cause }
    }

    fn backoff(failures: u32) -> Gap {
        Gap::Backoff { until: Time::from_millis(12_480), trouble: "exit code 1".into(), failures }
    }

    fn gave_up(failures: u32) -> Gap {
        Gap::GaveUp { trouble: "exit code 7".into(), failures }
    }

    /// Every reason, read as by somebody who is woken at night: what, why, until when.
    #[test]
    fn every_gap_is_one_plain_sentence_with_the_time_left() {
        let by = "page".to_owned();
        let signal = "SIGTERM".to_owned();
        let cases = [
            (backoff(1), "exit code 1; starts again in 2.5s"),
            (backoff(3), "3 failures in a row, the last one: exit code 1; starts again in 2.5s"),
            (gave_up(1), "given up after 1 failure: exit code 7; start it to try again"),
            (
                gave_up(5),
                "given up after 5 failures in a row, the last one: exit code 7; start it to try again",
            ),
            (
                Gap::Rests { ended: "exit code 0".into() },
                "exit code 0; its restart policy lets it rest until somebody starts it",
            ),
            (Gap::StoppedByOperator { by: by.clone() }, "stopped by an operator (page)"),
            (Gap::NotStartedYet, "waits for a start by hand (autostart is off)"),
            (
                Gap::HeldByOperator { processes: 3, by: by.clone(), until: Some(at(610)) },
                "held at 3 by an operator (page) for another 10m",
            ),
            (
                Gap::HeldByOperator { processes: 3, by, until: None },
                "held at 3 by an operator (page) until released",
            ),
            (
                draining(StopCause::Operator, Some(at(17))),
                "asked to stop 3s ago by an operator; killed in 7s if still there",
            ),
            (
                draining(StopCause::Operator, Some(at(10))),
                "asked to stop 3s ago by an operator; being killed now",
            ),
            (
                draining(StopCause::Restart, Some(at(17))),
                "asked to stop 3s ago for a restart; killed in 7s if still there",
            ),
            (
                draining(StopCause::Removed, Some(at(17))),
                "asked to stop 3s ago, because its program was removed; killed in 7s if still there",
            ),
            (
                draining(StopCause::Shutdown, Some(at(17))),
                "asked to stop 3s ago, because Leveret shuts down; killed in 7s if still there",
            ),
            (
                draining(StopCause::LeaderEnded, Some(at(17))),
                "asked to stop 3s ago, because its main process ended; killed in 7s if still there",
            ),
            (
                draining(StopCause::ScaleIn, None),
                "draining for 3s, because fewer are needed; it may finish its work",
            ),
            (
                draining(StopCause::Changed, None),
                "draining for 3s, because its configuration changed; it may finish its work",
            ),
            (
                Gap::WaitsForHook { until: Some(at(40)) },
                "stopping: pre_stop runs; the stop signal follows in 30s if it has not ended",
            ),
            (Gap::WaitsForHook { until: None }, "stopping: pre_stop waits for an earlier one"),
            (
                Gap::LeaderGone { left: 0, deadline: None },
                "the main process ended; looking for processes that it left behind",
            ),
            (Gap::LeaderGone { left: 1, deadline: None }, "the main process ended and left 1 process behind"),
            (
                Gap::LeaderGone { left: 2, deadline: Some(at(40)) },
                "the main process ended and left 2 processes behind; killed in 30s if still there",
            ),
            (Gap::AtMax { max: 5, draining: 0 }, "waits because the maximum of 5 is reached"),
            (
                Gap::AtMax { max: 5, draining: 1 },
                "waits until the one that is draining has ended: it counts against the maximum of 5",
            ),
            (
                Gap::AtMax { max: 5, draining: 2 },
                "waits until those 2 that are draining end: they count against the maximum of 5",
            ),
            (
                Gap::MemoryShort { left: 300 << 20 },
                "waits for memory: only 300 MiB of the machine's are left",
            ),
            (Gap::StartLimit { limit: 1 }, "waits for another consumer that is starting: one may at a time"),
            (
                Gap::StartLimit { limit: 4 },
                "waits for 4 other consumers that are starting: no more may at a time",
            ),
            (
                Gap::BrokerUnreachable { broker: "shop".into() },
                "waits until the broker \"shop\" can be reached",
            ),
            (
                Gap::NoStopHandler { signal: signal.clone(), surplus: 1 },
                "1 more than needed goes on, because these processes die of SIGTERM in the middle of work; handle it, or set stop.signal",
            ),
            (
                Gap::NoStopHandler { signal, surplus: 4 },
                "4 more than needed go on, because these processes die of SIGTERM in the middle of work; handle it, or set stop.signal",
            ),
            (
                Gap::WaitsForWord,
                "is more than is needed; waits some seconds for the broker to tell who is idle",
            ),
            (
                draining(StopCause::Timeout, Some(at(17))),
                "asked to stop 3s ago, because its run takes longer than it may; killed in 7s if still there",
            ),
            (
                draining(StopCause::Replaced, Some(at(17))),
                "asked to stop 3s ago, because its next run is due; killed in 7s if still there",
            ),
            (
                Gap::WaitsForSchedule {
                    next: Some(("runs next at 03:00 Europe/Berlin".into(), at(10 + 18_720))),
                    last: Some("the last run took 3m and succeeded".into()),
                },
                "runs next at 03:00 Europe/Berlin (in 5h 12m); the last run took 3m and succeeded",
            ),
            (Gap::WaitsForSchedule { next: None, last: None }, "waits for its schedule; it has not run yet"),
            (
                draining(StopCause::Unfit(Unfit::NotReady), Some(at(17))),
                "asked to stop 3s ago, because it was not ready in time; killed in 7s if still there",
            ),
            (
                draining(StopCause::Rollout, None),
                "draining for 3s, for a rolling restart; it may finish its work",
            ),
            (draining(StopCause::Recycle, None), "draining for 3s, to be recycled; it may finish its work"),
            (
                Gap::Recycled { since: at(7), why: "memory 310 MiB > 256 MiB".into() },
                "recycled: memory 310 MiB > 256 MiB; draining for 3s, it may finish its work",
            ),
            (
                Gap::ToRecycle { why: "age, 6h at most".into(), dies_of: None },
                "to be recycled: age, 6h at most; waits until the others are ready",
            ),
            (
                Gap::ToRecycle { why: "age, 6h at most".into(), dies_of: Some("SIGTERM".into()) },
                "to be recycled: age, 6h at most; it goes on, because these processes die of SIGTERM in the middle of work",
            ),
            (
                Gap::WaitsForRollout { until: "orders:2 is ready".into(), replaced: 3, total: 8 },
                "waits until orders:2 is ready (3 of 8 replaced)",
            ),
            (
                Gap::RolloutHalted { why: "orders:2 ended with exit code 1 after 40ms".into() },
                "goes on as before, because the rolling restart was halted: orders:2 ended with exit code 1 after 40ms",
            ),
            (Gap::Starting, "starting"),
            (
                Gap::NotReady {
                    awaited: "it says that it is ready (READY=1)".into(),
                    found: None,
                    until: Some(at(40)),
                },
                "starting: waits until it says that it is ready (READY=1); stopped in 30s if not",
            ),
            (
                Gap::NotReady {
                    awaited: "http://127.0.0.1:8080/health answers".into(),
                    found: Some("http://127.0.0.1:8080/health answered 503".into()),
                    until: Some(at(40)),
                },
                "not ready: http://127.0.0.1:8080/health answered 503; stopped in 30s if not",
            ),
            (
                Gap::Unwell { found: "127.0.0.1:80: Connection refused".into(), failures: 2, of: 3 },
                "failed 2 of 3 health checks in a row: 127.0.0.1:80: Connection refused",
            ),
            (Gap::ShuttingDown, "Leveret shuts down"),
        ];
        for (gap, text) in cases {
            assert_eq!(gap.sentence(at(10)), text);
        }
    }

    #[test]
    fn several_processes_share_one_sentence() {
        let cases = [
            (
                backoff(1),
                "6 processes failed and start again later; web:1: exit code 1; starts again in 2.5s",
            ),
            (
                gave_up(5),
                "6 processes are given up; web:1: given up after 5 failures in a row, the last one: exit code 7; start it to try again",
            ),
            (
                Gap::StartLimit { limit: 4 },
                "6 processes wait for 4 other consumers that are starting: no more may at a time",
            ),
            (Gap::AtMax { max: 5, draining: 0 }, "6 processes wait because the maximum of 5 is reached"),
            (
                Gap::BrokerUnreachable { broker: "shop".into() },
                "6 processes wait until the broker \"shop\" can be reached",
            ),
        ];
        for (gap, text) in cases {
            assert_eq!(gap.sentence_of_several(6, "web:1", at(10)), text);
        }
    }
}
