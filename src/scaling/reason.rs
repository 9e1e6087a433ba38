//! The sentence of a decision: what was decided, and the numbers a person checks it with. It names no program, because
//! it is always shown beside one.

use std::time::Duration;

use super::decision::DataTrouble;
use crate::core::time::human;

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
            | Self::Flow
            | Self::FlowAtMaximum
            | Self::Waiting { .. }
            | Self::Window { .. }
            | Self::Down { .. }
            | Self::Minimum
            | Self::Asleep
            | Self::LastOne { .. } => None,
        }
    }
}

/// The numbers that sentences quote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) target: u32,
    pub(super) max: u32,
    pub(super) goal: Duration,
    pub(super) arrivals: f64,
    pub(super) service: Duration,
    pub(super) service_learned: bool,
    pub(super) startup: Duration,
    pub(super) starts_too_slowly: bool,
    pub(super) polling: bool,
}

/// The sentence.
pub(super) fn sentence(cause: &Cause, figures: &Figures) -> String {
    let target = figures.target;
    let goal = human(figures.goal);
    match cause {
        Cause::NotRead => format!("held at {target} until the queue is read for the first time"),
        Cause::Missing { why, last: Some(last) } => {
            format!("held at {target}: {why}, last reading {} ago", human(*last))
        }
        Cause::Missing { why, last: None } => format!("held at {target}: {why}, no reading yet"),
        Cause::Stale { last } => format!("held at {target}: no reading for {}", human(*last)),
        Cause::NoQueue => format!("the queue does not exist: {target} kept to declare it"),
        Cause::Backlog { ready, begun_in } => format!(
            "{}: {} {}{}",
            waiting(*ready, figures),
            consumers(target),
            begin_within(target, *begun_in, figures.goal),
            slow_start(figures)
        ),
        Cause::BacklogAtMaximum { ready, begun_in } => {
            let maximum = format!("{}: {} (the maximum)", waiting(*ready, figures), consumers(target));
            match begun_in {
                Some(time) if *time > figures.goal => {
                    format!("{maximum} {} {}, over the goal of {goal}", needs(target), human(*time))
                }
                Some(_) | None => format!("{maximum} {}", begin_within(target, *begun_in, figures.goal)),
            }
        }
        Cause::Draining { draining, wanted } => format!(
            "{} wanted, held at {target}: {draining} that {} still finishing count against the maximum of {}",
            grouped(u64::from(*wanted)),
            if *draining == 1 { "is" } else { "are" },
            figures.max
        ),
        Cause::Flow => format!(
            "about {} at {} each keep {} busy{}",
            per_second(figures.arrivals),
            service(figures),
            consumers(target),
            slow_start(figures)
        ),
        Cause::FlowAtMaximum => format!(
            "about {} at {} each are more than {} (the maximum) can keep within the goal of {goal}",
            per_second(figures.arrivals),
            service(figures),
            consumers(target)
        ),
        Cause::Waiting { ready } => {
            format!(
                "held at {target} while {}",
                if *ready == 1 {
                    "1 message waits".to_owned()
                } else {
                    format!("{} messages wait", grouped(*ready))
                }
            )
        }
        Cause::Window { left } => {
            format!(
                "held at {target} until the queue has been empty for {} more{}",
                human(whole(*left)),
                polling(figures)
            )
        }
        Cause::Down { empty, from, to } => {
            let onward = if *to < target { format!(", then on to {to}") } else { String::new() };
            format!("empty for {}: {from} -> {target}{onward}{}", human(whole(*empty)), polling(figures))
        }
        Cause::Minimum => format!(
            "little to do: {} {} the minimum",
            consumers(target),
            if target == 1 { "is" } else { "are" }
        ),
        Cause::Asleep => "nothing to do: none run until a message arrives".to_owned(),
        Cause::LastOne { left } => {
            format!("held at {target}: stopped if the queue stays empty for {} more", human(whole(*left)))
        }
    }
}

fn waiting(ready: u64, figures: &Figures) -> String {
    let service = service(figures);
    if ready == 1 {
        format!("1 message waits and takes about {service}")
    } else {
        format!("{} messages wait and each takes about {service}", grouped(ready))
    }
}

fn begin_within(target: u32, begun_in: Option<Duration>, goal: Duration) -> String {
    let verb = if target == 1 { "begins" } else { "begin" };
    match begun_in {
        Some(time) => format!("{verb} the last of them within {}, the goal is {}", human(time), human(goal)),
        None => format!("{verb} them"),
    }
}

fn slow_start(figures: &Figures) -> String {
    if figures.starts_too_slowly {
        format!(
            "; a start takes {}, too long for the goal of {}: only consumers that already run can keep it",
            human(figures.startup),
            human(figures.goal)
        )
    } else {
        String::new()
    }
}

fn polling(figures: &Figures) -> &'static str {
    if figures.polling { " (the workers poll: the queue never shows them as consumers)" } else { "" }
}

fn service(figures: &Figures) -> String {
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

fn consumers(count: u32) -> String {
    if count == 1 { "1 consumer".to_owned() } else { format!("{} consumers", grouped(u64::from(count))) }
}

fn needs(count: u32) -> &'static str {
    if count == 1 { "needs" } else { "need" }
}

fn per_second(rate: f64) -> String {
    if rate >= 9.5 {
        format!("{} messages/s", grouped(rate.round() as u64))
    } else if rate >= 0.1 {
        format!("{rate:.1} messages/s")
    } else {
        format!("{:.1} messages/min", rate * 60.0)
    }
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(target: u32) -> Figures {
        Figures {
            target,
            max: 20,
            goal: Duration::from_secs(2),
            arrivals: 12.2,
            service: Duration::from_millis(50),
            service_learned: true,
            startup: Duration::from_millis(300),
            starts_too_slowly: false,
            polling: false,
        }
    }

    #[test]
    fn sentences_quote_the_numbers() {
        let seconds = Duration::from_secs;
        let at_maximum = Cause::BacklogAtMaximum { ready: 2_000, begun_in: Some(seconds(5)) };
        let cases = [
            (
                at_maximum,
                20,
                "2,000 messages wait and each takes about 50ms: 20 consumers (the maximum) need 5s, over the goal of 2s",
            ),
            (Cause::Down { empty: seconds(20), from: 10, to: 1 }, 5, "empty for 20s: 10 -> 5, then on to 1"),
            (Cause::Flow, 2, "about 12 messages/s at 50ms each keep 2 consumers busy"),
            (
                Cause::Window { left: Duration::from_millis(13_200) },
                5,
                "held at 5 until the queue has been empty for 14s more",
            ),
            (
                Cause::Missing { why: "the broker is unreachable", last: Some(seconds(12)) },
                4,
                "held at 4: the broker is unreachable, last reading 12s ago",
            ),
            (Cause::NoQueue, 1, "the queue does not exist: 1 kept to declare it"),
            (Cause::Minimum, 1, "little to do: 1 consumer is the minimum"),
        ];
        for (cause, target, text) in cases {
            assert_eq!(sentence(&cause, &figures(target)), text);
        }
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
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
