//! The sentence of a decision: what was decided, and the numbers a person checks it with. It names no program, because
//! it is always shown beside one.

use std::time::Duration;

use super::decision::DataTrouble;
use crate::core::time::human;
use crate::core::words::{counted, grouped};

/// Why a target is what it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cause {
    /// The queue has not been read yet.
    NotRead,
    /// Readings fail.
    Missing {
        /// Why, as the end of a sentence.
        why: &'static str,
        /// Age of the last good reading.
        last: Option<Duration>,
    },
    /// No reading came for a while.
    Stale {
        /// Age of the last reading.
        last: Duration,
    },
    /// The queue does not exist.
    NoQueue,
    /// A backlog decides.
    Backlog {
        /// Messages ready.
        ready: u64,
        /// When the last of them is begun.
        begun_in: Option<Duration>,
    },
    /// The maximum decides, and a backlog is there.
    BacklogAtMaximum {
        /// Messages ready.
        ready: u64,
        /// When the last of them is begun.
        begun_in: Option<Duration>,
    },
    /// Those that are still finishing take up the maximum.
    Draining {
        /// How many.
        draining: u32,
        /// How many there should be.
        wanted: u32,
    },
    /// Messages that are about to come back decide.
    Due {
        /// How many.
        due: u64,
        /// Whether more than the maximum would be needed.
        is_all: bool,
    },
    /// The flow decides.
    Flow,
    /// The flow asks for more than the maximum.
    FlowAtMaximum,
    /// Fewer would do, and messages wait.
    Waiting {
        /// Messages ready.
        ready: u64,
    },
    /// Fewer would do, and the window has not passed.
    Window {
        /// What is left of it.
        left: Duration,
    },
    /// A step down.
    Down {
        /// How long the queue has been empty.
        empty: Duration,
        /// The count before.
        from: u32,
        /// The count at the end of further steps.
        to: u32,
    },
    /// Fewer would do, as far as it can be seen, and what consumers hold cannot.
    Hidden,
    /// Fewer would do, some are idle, and the window has not passed.
    Surplus {
        /// What is left of it.
        left: Duration,
    },
    /// Those that are idle and not needed go.
    Idle {
        /// How many.
        idle: u32,
        /// The count at the end of further steps.
        to: u32,
    },
    /// Fewer would do, and all are at work.
    Busy {
        /// How many are at work.
        busy: u32,
        /// How many would do.
        enough: u32,
    },
    /// More are asked for and were found to do no more.
    Downstream {
        /// How many are of use.
        useful: u32,
        /// Messages a second that are done.
        throughput: f64,
        /// Whether a few more are tried now.
        tried: bool,
    },
    /// No more may run than do the messages that are allowed.
    Rate {
        /// Messages a second.
        rate: f64,
        /// What one takes.
        service: Duration,
    },
    /// So little is to do that a floor decides.
    Floor {
        /// Until when it holds.
        until: String,
    },
    /// So little is to do that the minimum decides.
    Minimum,
    /// None are needed, and none run.
    Asleep,
    /// The last one waits for a longer silence.
    LastOne {
        /// What is left of it.
        left: Duration,
    },
}

impl Cause {
    /// What is wrong with the data, where that is the cause.
    pub(super) fn trouble(&self) -> Option<DataTrouble> {
        match self {
            Self::NotRead => Some(DataTrouble::NotRead),
            Self::Missing { .. } => Some(DataTrouble::Lost),
            Self::Stale { .. } => Some(DataTrouble::Stale),
            Self::NoQueue => Some(DataTrouble::NoQueue),
            Self::Backlog { .. }
            | Self::BacklogAtMaximum { .. }
            | Self::Draining { .. }
            | Self::Due { .. }
            | Self::Flow
            | Self::FlowAtMaximum
            | Self::Waiting { .. }
            | Self::Window { .. }
            | Self::Down { .. }
            | Self::Hidden
            | Self::Surplus { .. }
            | Self::Idle { .. }
            | Self::Busy { .. }
            | Self::Downstream { .. }
            | Self::Rate { .. }
            | Self::Floor { .. }
            | Self::Minimum
            | Self::Asleep
            | Self::LastOne { .. } => None,
        }
    }
}

/// The numbers that sentences quote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures<'a> {
    pub(super) target: u32,
    pub(super) max: u32,
    pub(super) goal: Duration,
    pub(super) arrivals: f64,
    pub(super) service: Duration,
    pub(super) service_learned: bool,
    pub(super) startup: Duration,
    pub(super) starts_too_slowly: bool,
    pub(super) polling: bool,
    /// How many messages a consumer holds, and how long one may wait there.
    pub(super) hands: (u32, Duration),
    /// Of several queues, the one that the numbers are of.
    pub(super) queue: Option<&'a str>,
    /// A queue that is starved, and the one that takes what it would need.
    pub(super) starved: Option<(&'a str, &'a str)>,
}

/// The sentence. It reads well alone, and after `1 -> 13: ` or `stays at 4: `: it repeats neither.
pub(super) fn sentence(cause: &Cause, figures: &Figures<'_>) -> String {
    let sentence = match figures.queue {
        None => of_one(cause, figures),
        Some(queue) => of_several(cause, figures, queue),
    };
    match figures.starved {
        None => sentence,
        Some((starved, by)) => {
            format!(
                "{sentence}; \"{starved}\" is starved by \"{by}\", which comes first and takes what it would need"
            )
        }
    }
}

/// Where there are several: what is about one of them names it.
fn of_several(cause: &Cause, figures: &Figures<'_>, queue: &str) -> String {
    match cause {
        Cause::NotRead => format!("\"{queue}\" has not been read yet: none is stopped before it is"),
        Cause::Missing { why, last: Some(last) } => {
            format!("\"{queue}\": {why}, last reading {} ago; {NONE_IS_STOPPED}", human(*last))
        }
        Cause::Missing { why, last: None } => {
            format!("\"{queue}\": {why}, no reading yet; {NONE_IS_STOPPED}")
        }
        Cause::Stale { last } => format!("no reading of \"{queue}\" for {}; {NONE_IS_STOPPED}", human(*last)),
        Cause::NoQueue => {
            let (are_kept, they) = kept(figures.target);
            format!(
                "\"{queue}\" does not exist: {} {are_kept} so that {they} can declare it",
                consumers(figures.target)
            )
        }
        Cause::Backlog { .. }
        | Cause::BacklogAtMaximum { .. }
        | Cause::Flow
        | Cause::FlowAtMaximum
        | Cause::Downstream { .. } => format!("\"{queue}\" decides: {}", of_one(cause, figures)),
        Cause::Draining { .. }
        | Cause::Waiting { .. }
        | Cause::Window { .. }
        | Cause::Down { .. }
        | Cause::Due { .. }
        | Cause::Hidden
        | Cause::Surplus { .. }
        | Cause::Idle { .. }
        | Cause::Busy { .. }
        | Cause::Rate { .. }
        | Cause::Floor { .. }
        | Cause::Minimum
        | Cause::Asleep
        | Cause::LastOne { .. } => of_one(cause, figures),
    }
}

fn of_one(cause: &Cause, figures: &Figures<'_>) -> String {
    let (queue_is, has_been, it_stays) = match figures.queue {
        None => ("the queue is", "the queue has been", "it stays"),
        Some(_) => ("all queues are", "all queues have been", "they stay"),
    };
    let target = figures.target;
    let goal = human(figures.goal);
    match cause {
        Cause::NotRead => {
            "no consumer is added or stopped until the queue is read for the first time".to_owned()
        }
        Cause::Missing { why, last: Some(last) } => {
            format!("{why}, last reading {} ago; {UNTIL_READ}", human(*last))
        }
        Cause::Missing { why, last: None } => format!("{why}, no reading yet; {UNTIL_READ}"),
        Cause::Stale { last } => format!("no reading of the queue for {}; {UNTIL_READ}", human(*last)),
        Cause::NoQueue => {
            let (are_kept, they) = kept(target);
            format!(
                "the queue does not exist: {} {are_kept} so that {they} can declare it",
                consumers(target)
            )
        }
        Cause::Backlog { ready, begun_in } => format!(
            "{}: {} {}{}",
            waiting(*ready, figures),
            consumers(target),
            begin_within(*ready, *begun_in, figures),
            slow_start(figures)
        ),
        Cause::BacklogAtMaximum { ready, begun_in } => format!(
            "{}: {} (the maximum) {}",
            waiting(*ready, figures),
            consumers(target),
            begin_within(*ready, *begun_in, figures)
        ),
        Cause::Draining { draining, wanted } => {
            let (finish, they_end) = if *draining == 1 {
                ("is still finishing its work and counts", "when it has ended")
            } else {
                ("are still finishing their work and count", "as they end")
            };
            format!(
                "{} {} needed, but {draining} {finish} against the maximum of {}: more start {they_end}",
                consumers(*wanted),
                if *wanted == 1 { "is" } else { "are" },
                figures.max
            )
        }
        Cause::Due { due, is_all } => format!(
            "{} {} back from delayed queues within {}, as long as a start takes: {}{} {} there when {}",
            messages(*due),
            if *due == 1 { "comes" } else { "come" },
            human(figures.startup),
            consumers(target),
            if *is_all { " (the maximum)" } else { "" },
            if target == 1 { "is" } else { "are" },
            if *due == 1 { "it is due" } else { "they are due" },
        ),
        Cause::Flow => format!(
            "{}: {} {} within the goal of {goal}{}",
            arriving(figures),
            consumers(target),
            if target == 1 { "begins them" } else { "begin them" },
            slow_start(figures)
        ),
        Cause::FlowAtMaximum => format!(
            "{}: more than {} (the maximum) can begin within the goal of {goal}",
            arriving(figures),
            consumers(target)
        ),
        Cause::Waiting { ready } => format!(
            "fewer consumers would do, but {} {} and none is stopped before {queue_is} empty",
            messages(*ready),
            if *ready == 1 { "waits" } else { "wait" }
        ),
        Cause::Window { left } => format!(
            "{queue_is} empty; if {it_stays} so for another {}, fewer consumers run{}",
            human(whole(*left)),
            polling(figures)
        ),
        Cause::Down { empty, from, to } => {
            let enough = enough(*to);
            let stopped = if *to < target {
                let stop = from.saturating_sub(target);
                format!(": {stop} {} now, more if {it_stays} empty", if stop == 1 { "stops" } else { "stop" })
            } else {
                String::new()
            };
            let polling = polling(figures);
            format!("{has_been} empty for {} and {enough}{stopped}{polling}", human(whole(*empty)))
        }
        Cause::Hidden => "fewer consumers would do as far as the queue shows, but they take messages without a limit \
                          (prefetch 0), so what waits in their hands is not to be seen: none is stopped; a prefetch of 1, or a \
                          few, is what helps"
            .to_owned(),
        Cause::Surplus { left } => format!(
            "fewer consumers would do; if that stays so for another {}, idle ones stop",
            human(whole(*left))
        ),
        Cause::Idle { idle, to } => {
            let (ones, stop) = if *idle == 1 { ("idle one", "stops") } else { ("idle ones", "stop") };
            let more = if *to < target { ", more as they become idle" } else { "" };
            format!("{}: {idle} {ones} {stop} now{more}", enough(*to))
        }
        Cause::Busy { busy, enough: count } => {
            let at_work = if *busy == 1 { "is at work: it is not" } else { "are at work: none is" };
            format!("{}, but {busy} {at_work} stopped before its message is done", enough(*count))
        }
        Cause::Downstream { useful, throughput, tried } => {
            let done = per_second(*throughput);
            let then = if *tried { "a few more are tried now" } else { "none is added" };
            format!(
                "more consumers do not help: {done} are done, as many as {useful} would do; \
                 what they use is at its limit, {then}"
            )
        }
        Cause::Rate { rate, service } => {
            let do_them = if target == 1 { "does" } else { "do" };
            format!(
                "{} are allowed by the rate, which {} {do_them} at about {} each: no more run",
                per_second(*rate),
                consumers(target),
                rounded(*service)
            )
        }
        Cause::Floor { until } => {
            format!("a floor holds: at least {} until {until}", consumers(target))
        }
        Cause::Minimum => format!("little to do: the minimum of {} is enough", consumers(target)),
        Cause::Asleep => format!("{queue_is} empty: no consumer runs until a message arrives"),
        Cause::LastOne { left } => {
            format!(
                "{queue_is} empty; if {it_stays} so for another {}, the last consumer stops",
                human(whole(*left))
            )
        }
    }
}

/// What missing data means.
const UNTIL_READ: &str = "no consumer is added or stopped until the queue can be read";
/// The same of one of several queues.
const NONE_IS_STOPPED: &str = "none is stopped until it can be read";

fn kept(target: u32) -> (&'static str, &'static str) {
    if target == 1 { ("is kept", "it") } else { ("are kept", "they") }
}

fn enough(count: u32) -> String {
    match count {
        0 => "no consumer is needed".to_owned(),
        1 => "1 consumer is enough".to_owned(),
        _ => format!("{} are enough", consumers(count)),
    }
}

fn waiting(ready: u64, figures: &Figures<'_>) -> String {
    let service = service(figures);
    if ready == 1 {
        format!("1 message waits and takes about {service}")
    } else {
        format!("{} wait and each takes about {service}", messages(ready))
    }
}

fn begin_within(ready: u64, begun_in: Option<Duration>, figures: &Figures<'_>) -> String {
    let goal = human(figures.goal);
    let what = if ready == 1 { "it" } else { "the last of them" };
    let singular = figures.target == 1;
    match begun_in {
        Some(time) if time > figures.goal => {
            let need = if singular { "needs" } else { "need" };
            format!("{need} {} to begin {what}, over the goal of {goal}", human(time))
        }
        Some(time) => {
            let begin = if singular { "begins" } else { "begin" };
            format!("{begin} {what} within {}, the goal is {goal}", human(time))
        }
        None => format!("{} {what}", if singular { "begins" } else { "begin" }),
    }
}

fn arriving(figures: &Figures<'_>) -> String {
    format!("about {} arrive and each takes about {}", per_second(figures.arrivals), service(figures))
}

fn slow_start(figures: &Figures<'_>) -> String {
    if figures.starts_too_slowly {
        format!(
            "; a start takes {}, too long for the goal of {}: only consumers that already run can keep it",
            human(figures.startup),
            human(figures.goal)
        )
    } else {
        in_hands(figures)
    }
}

/// Where what a consumer takes ahead may wait there for more than half of the goal.
fn in_hands(figures: &Figures<'_>) -> String {
    let (prefetch, waits) = figures.hands;
    if waits * 2 <= figures.goal {
        return String::new();
    }
    format!(
        "; each takes {prefetch} messages ahead, the last of which waits about {} in its hands: a smaller prefetch is what helps",
        human(whole(waits))
    )
}

fn polling(figures: &Figures<'_>) -> &'static str {
    if figures.polling { " (the workers poll: the queue never shows them as consumers)" } else { "" }
}

fn service(figures: &Figures<'_>) -> String {
    let assumed = if figures.service_learned { "" } else { " (assumed)" };
    format!("{}{assumed}", rounded(figures.service))
}

/// A duration without digits that nobody believes.
fn rounded(duration: Duration) -> String {
    if duration < Duration::from_millis(1) { "under 1ms".to_owned() } else { human(duration) }
}

/// A duration in whole seconds, rounded up.
fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

/// The sentence where `of`, as in `the budget of 64 processes`, leaves fewer than are needed.
pub(super) fn limited(needed: u32, left: u32, of: &str) -> String {
    let are_needed = if needed == 1 { "is needed" } else { "are needed" };
    let leaves = if left == 0 { "none".to_owned() } else { left.to_string() };
    format!("{} {are_needed}, and {of}, which is shared, leaves {leaves}", consumers(needed))
}

fn consumers(count: u32) -> String {
    counted(u64::from(count), "consumer", "consumers")
}

fn messages(count: u64) -> String {
    counted(count, "message", "messages")
}

fn per_second(rate: f64) -> String {
    if rate >= 9.5 {
        format!("{} messages a second", grouped(rate.round() as u64))
    } else if rate >= 0.1 {
        format!("{rate:.1} messages a second")
    } else {
        format!("{:.1} messages a minute", rate * 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn figures(target: u32) -> Figures<'static> {
        Figures {
            target,
            max: 20,
            goal: 2 * SECOND,
            arrivals: 12.2,
            service: Duration::from_millis(50),
            service_learned: true,
            startup: Duration::from_millis(300),
            starts_too_slowly: false,
            polling: false,
            hands: (1, Duration::ZERO),
            queue: None,
            starved: None,
        }
    }

    /// Every sentence that the engine can say, read as by somebody who is woken at night: what, why, until when.
    #[test]
    fn every_cause_is_one_plain_sentence_with_its_numbers() {
        let whole_seconds = |seconds| seconds * SECOND;
        let backlog = |ready, seconds| Cause::Backlog { ready, begun_in: Some(whole_seconds(seconds)) };
        let unreachable = |last| Cause::Missing { why: "the broker is unreachable", last };
        let down = |from, to| Cause::Down { empty: whole_seconds(20), from, to };
        let cases = [
            (Cause::NotRead, 1, "no consumer is added or stopped until the queue is read for the first time"),
            (
                unreachable(Some(whole_seconds(12))),
                4,
                "the broker is unreachable, last reading 12s ago; no consumer is added or stopped until the queue can be read",
            ),
            (
                unreachable(None),
                4,
                "the broker is unreachable, no reading yet; no consumer is added or stopped until the queue can be read",
            ),
            (
                Cause::Stale { last: Duration::from_micros(3_000_001) },
                4,
                "no reading of the queue for 3s; no consumer is added or stopped until the queue can be read",
            ),
            (Cause::NoQueue, 1, "the queue does not exist: 1 consumer is kept so that it can declare it"),
            (Cause::NoQueue, 3, "the queue does not exist: 3 consumers are kept so that they can declare it"),
            (
                backlog(1, 1),
                1,
                "1 message waits and takes about 50ms: 1 consumer begins it within 1s, the goal is 2s",
            ),
            (
                backlog(267, 1),
                13,
                "267 messages wait and each takes about 50ms: 13 consumers begin the last of them within 1s, the goal is 2s",
            ),
            (
                backlog(9, 3),
                4,
                "9 messages wait and each takes about 50ms: 4 consumers need 3s to begin the last of them, over the goal of 2s",
            ),
            (
                Cause::Backlog { ready: 2, begun_in: None },
                2,
                "2 messages wait and each takes about 50ms: 2 consumers begin the last of them",
            ),
            (
                Cause::BacklogAtMaximum { ready: 2_000, begun_in: Some(whole_seconds(5)) },
                20,
                "2,000 messages wait and each takes about 50ms: 20 consumers (the maximum) need 5s to begin the last of them, over the goal of 2s",
            ),
            (
                Cause::BacklogAtMaximum { ready: 600, begun_in: Some(2 * SECOND) },
                20,
                "600 messages wait and each takes about 50ms: 20 consumers (the maximum) begin the last of them within 2s, the goal is 2s",
            ),
            (
                Cause::Draining { draining: 8, wanted: 20 },
                12,
                "20 consumers are needed, but 8 are still finishing their work and count against the maximum of 20: more start as they end",
            ),
            (
                Cause::Draining { draining: 1, wanted: 20 },
                19,
                "20 consumers are needed, but 1 is still finishing its work and counts against the maximum of 20: more start when it has ended",
            ),
            (
                Cause::Flow,
                2,
                "about 12 messages a second arrive and each takes about 50ms: 2 consumers begin them within the goal of 2s",
            ),
            (
                Cause::Due { due: 300, is_all: false },
                6,
                "300 messages come back from delayed queues within 300ms, as long as a start takes: 6 consumers are there when they are due",
            ),
            (
                Cause::Due { due: 1, is_all: true },
                1,
                "1 message comes back from delayed queues within 300ms, as long as a start takes: 1 consumer (the maximum) is there when it is due",
            ),
            (
                Cause::FlowAtMaximum,
                20,
                "about 12 messages a second arrive and each takes about 50ms: more than 20 consumers (the maximum) can begin within the goal of 2s",
            ),
            (
                Cause::Waiting { ready: 1 },
                5,
                "fewer consumers would do, but 1 message waits and none is stopped before the queue is empty",
            ),
            (
                Cause::Waiting { ready: 1_200 },
                5,
                "fewer consumers would do, but 1,200 messages wait and none is stopped before the queue is empty",
            ),
            (
                Cause::Window { left: Duration::from_millis(13_200) },
                5,
                "the queue is empty; if it stays so for another 14s, fewer consumers run",
            ),
            (
                down(13, 1),
                7,
                "the queue has been empty for 20s and 1 consumer is enough: 6 stop now, more if it stays empty",
            ),
            (
                down(4, 2),
                3,
                "the queue has been empty for 20s and 2 consumers are enough: 1 stops now, more if it stays empty",
            ),
            (down(3, 2), 2, "the queue has been empty for 20s and 2 consumers are enough"),
            (down(1, 0), 0, "the queue has been empty for 20s and no consumer is needed"),
            (
                Cause::Surplus { left: Duration::from_millis(13_200) },
                5,
                "fewer consumers would do; if that stays so for another 14s, idle ones stop",
            ),
            (Cause::Idle { idle: 3, to: 5 }, 5, "5 consumers are enough: 3 idle ones stop now"),
            (
                Cause::Idle { idle: 1, to: 5 },
                8,
                "5 consumers are enough: 1 idle one stops now, more as they become idle",
            ),
            (
                Cause::Busy { busy: 8, enough: 5 },
                8,
                "5 consumers are enough, but 8 are at work: none is stopped before its message is done",
            ),
            (
                Cause::Busy { busy: 1, enough: 0 },
                1,
                "no consumer is needed, but 1 is at work: it is not stopped before its message is done",
            ),
            (
                Cause::Downstream { useful: 22, throughput: 100.2, tried: false },
                51,
                "more consumers do not help: 100 messages a second are done, as many as 22 would do; what they use is at its limit, none is added",
            ),
            (
                Cause::Downstream { useful: 22, throughput: 100.2, tried: true },
                76,
                "more consumers do not help: 100 messages a second are done, as many as 22 would do; what they use is at its limit, a few more are tried now",
            ),
            (
                Cause::Rate { rate: 10.0, service: Duration::from_millis(500) },
                5,
                "10 messages a second are allowed by the rate, which 5 consumers do at about 500ms each: no more run",
            ),
            (
                Cause::Rate { rate: 0.05, service: Duration::from_secs(20) },
                1,
                "3.0 messages a minute are allowed by the rate, which 1 consumer does at about 20s each: no more run",
            ),
            (
                Cause::Floor { until: "18:00 Europe/Berlin".to_owned() },
                8,
                "a floor holds: at least 8 consumers until 18:00 Europe/Berlin",
            ),
            (Cause::Minimum, 1, "little to do: the minimum of 1 consumer is enough"),
            (Cause::Minimum, 3, "little to do: the minimum of 3 consumers is enough"),
            (Cause::Asleep, 0, "the queue is empty: no consumer runs until a message arrives"),
            (
                Cause::LastOne { left: whole_seconds(45) },
                1,
                "the queue is empty; if it stays so for another 45s, the last consumer stops",
            ),
        ];
        for (cause, target, text) in cases {
            assert_eq!(sentence(&cause, &figures(target)), text);
        }
    }

    #[test]
    fn of_several_queues_the_one_that_a_sentence_is_about_is_named() {
        let several = |target| Figures { queue: Some("low"), ..figures(target) };
        let cases = [
            (Cause::NotRead, "\"low\" has not been read yet: none is stopped before it is"),
            (
                Cause::Missing { why: "the broker is unreachable", last: Some(12 * SECOND) },
                "\"low\": the broker is unreachable, last reading 12s ago; none is stopped until it can be read",
            ),
            (
                Cause::Missing { why: "the broker is unreachable", last: None },
                "\"low\": the broker is unreachable, no reading yet; none is stopped until it can be read",
            ),
            (
                Cause::Stale { last: 3 * SECOND },
                "no reading of \"low\" for 3s; none is stopped until it can be read",
            ),
            (Cause::NoQueue, "\"low\" does not exist: 7 consumers are kept so that they can declare it"),
            (
                Cause::Backlog { ready: 267, begun_in: Some(SECOND) },
                "\"low\" decides: 267 messages wait and each takes about 50ms: 7 consumers begin the last of them within 1s, the goal is 2s",
            ),
            (
                Cause::Flow,
                "\"low\" decides: about 12 messages a second arrive and each takes about 50ms: 7 consumers begin them within the goal of 2s",
            ),
            (
                Cause::Waiting { ready: 2 },
                "fewer consumers would do, but 2 messages wait and none is stopped before all queues are empty",
            ),
            (
                Cause::Window { left: 13 * SECOND },
                "all queues are empty; if they stay so for another 13s, fewer consumers run",
            ),
            (
                Cause::Down { empty: 20 * SECOND, from: 13, to: 1 },
                "all queues have been empty for 20s and 1 consumer is enough: 6 stop now, more if they stay empty",
            ),
            (Cause::Asleep, "all queues are empty: no consumer runs until a message arrives"),
        ];
        for (cause, text) in cases {
            assert_eq!(sentence(&cause, &several(7)), text);
        }
        let starved = Figures { starved: Some(("low", "high")), ..several(7) };
        assert_eq!(
            sentence(&Cause::Minimum, &starved),
            "little to do: the minimum of 7 consumers is enough; \"low\" is starved by \"high\", which comes first and takes what it would need"
        );
    }

    #[test]
    fn an_assumed_service_time_is_called_so() {
        let assumed = Figures { service_learned: false, ..figures(4) };
        let text = sentence(&Cause::Backlog { ready: 1, begun_in: None }, &assumed);
        assert!(text.starts_with("1 message waits and takes about 50ms (assumed): 4 consumers"), "{text}");
    }

    #[test]
    fn a_goal_that_no_start_can_keep_is_said() {
        let slow = Figures { starts_too_slowly: true, startup: Duration::from_secs(20), ..figures(4) };
        let text = sentence(&Cause::Backlog { ready: 9, begun_in: Some(Duration::from_secs(21)) }, &slow);
        assert!(text.contains("a start takes 20s, too long for the goal of 2s"), "{text}");
    }

    #[test]
    fn workers_that_poll_are_called_so() {
        let polling = Figures { polling: true, ..figures(4) };
        let text = sentence(&Cause::Window { left: Duration::from_secs(9) }, &polling);
        assert!(text.ends_with("(the workers poll: the queue never shows them as consumers)"), "{text}");
    }

    #[test]
    fn a_thin_flow_is_told_by_the_minute() {
        assert_eq!(per_second(0.05), "3.0 messages a minute");
        assert_eq!(per_second(0.5), "0.5 messages a second");
        assert_eq!(per_second(1_234.5), "1,235 messages a second");
    }
}
