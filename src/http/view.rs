//! What the templates show: the snapshot in words, made here so that a template contains no rule.

use std::time::Duration;

use crate::controller::snapshot::{BrokerView, ProcessView, ProgramView, QueueView, Snapshot};
use crate::core::edit::SERVICE_PROCESSES_MAX;
use crate::core::time::human;

/// A program with more processes than this shows them folded up.
const UNFOLDED_MAX: usize = 20;

/// The changing part of the page.
#[derive(Debug)]
pub(super) struct Overview<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) uptime: String,
    /// `6 programs, 23 processes running`
    pub(super) summary: String,
    pub(super) brokers: Vec<Broker<'a>>,
    pub(super) programs: Vec<Program<'a>>,
}

#[derive(Debug)]
pub(super) struct Broker<'a> {
    pub(super) view: &'a BrokerView,
    /// A CSS class: `good`, `bad` or `busy`.
    pub(super) tone: &'static str,
}

#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) view: &'a ProgramView,
    /// Whether it has what it should have and its queues can be read.
    pub(super) tone: &'static str,
    /// The sides of the capacity bar, in percent.
    pub(super) running_percent: f64,
    pub(super) desired_percent: f64,
    /// `1 to 40`, or nothing where there is nothing to choose.
    pub(super) range: Option<String>,
    /// Why this many, unless the hold says just that.
    pub(super) reason: Option<&'a str>,
    pub(super) hold: Option<&'a str>,
    /// The most processes that a person may set.
    pub(super) most: u32,
    pub(super) queues: Vec<Queue<'a>>,
    pub(super) processes: Vec<Process<'a>>,
    pub(super) is_folded: bool,
    /// `38 running, 2 backoff`
    pub(super) states: String,
    pub(super) can_start: bool,
    pub(super) can_stop: bool,
    /// Which of its processes run in which directory, where that is not the same.
    pub(super) releases: Option<String>,
    /// Whether its processes can be restarted one after another.
    pub(super) can_roll: bool,
}

#[derive(Debug)]
pub(super) struct Queue<'a> {
    pub(super) view: &'a QueueView,
    pub(super) ready: String,
    pub(super) unacked: Option<String>,
    /// Where workers poll, none is visible.
    pub(super) consumers: String,
    pub(super) age: Option<String>,
    pub(super) wait: Option<String>,
    /// What else is to be known of it at once.
    pub(super) note: Option<String>,
}

#[derive(Debug)]
pub(super) struct Process<'a> {
    pub(super) view: &'a ProcessView,
    pub(super) tone: &'static str,
    pub(super) uptime: Option<String>,
    pub(super) cpu: Option<String>,
    pub(super) memory: Option<String>,
    /// Where it runs.
    pub(super) directory: Option<String>,
    pub(super) can_start: bool,
    pub(super) can_stop: bool,
}

impl<'a> Overview<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let running: u32 = snapshot.programs.iter().map(|program| program.running).sum();
        let programs = count(snapshot.programs.len() as u64, "program");
        let processes = if running == 1 {
            "1 process".to_owned()
        } else {
            format!("{} processes", thousands(running.into()))
        };
        Self {
            snapshot,
            uptime: duration(snapshot.uptime_seconds),
            summary: format!("{programs}, {processes} running"),
            brokers: snapshot.brokers.iter().map(Broker::new).collect(),
            programs: snapshot.programs.iter().map(Program::new).collect(),
        }
    }
}

impl<'a> Broker<'a> {
    fn new(view: &'a BrokerView) -> Self {
        let tone = match view.state.as_str() {
            "connected" => "good",
            "connecting" => "busy",
            _ => "bad",
        };
        Self { view, tone }
    }
}

impl<'a> Program<'a> {
    fn new(view: &'a ProgramView) -> Self {
        let most = view.max.max(view.desired).max(view.running).max(1);
        let percent = |count: u32| f64::from(count) * 100.0 / f64::from(most);
        let processes: Vec<Process<'_>> = view.processes.iter().map(Process::new).collect();
        let hold = view.hold.as_ref().map(|hold| hold.sentence.as_str());
        Self {
            view,
            tone: tone_of(view),
            running_percent: percent(view.running),
            desired_percent: percent(view.desired),
            range: (view.min != view.max).then(|| format!("{} to {}", view.min, view.max)),
            reason: Some(view.reason.as_str()).filter(|reason| hold != Some(*reason)),
            hold,
            most: if view.kind == "scaled" { view.max } else { SERVICE_PROCESSES_MAX },
            queues: view.queues.iter().map(Queue::new).collect(),
            is_folded: processes.len() > UNFOLDED_MAX,
            states: states(view),
            can_start: processes.is_empty() || processes.iter().any(|process| process.can_start),
            releases: view.different_directories(),
            can_roll: view.kind != "scheduled" && view.processes.len() > 1,
            can_stop: view.desired > 0 || processes.iter().any(|process| process.can_stop),
            processes,
        }
    }
}

fn tone_of(view: &ProgramView) -> &'static str {
    let is_bad = |process: &ProcessView| matches!(process.state.as_str(), "backoff" | "failed");
    let is_blind = view.queues.iter().any(|queue| queue.error.is_some());
    if is_blind || view.processes.iter().any(is_bad) {
        "bad"
    } else if view.desired == 0 && view.running == 0 {
        "idle"
    } else if view.desired != view.running {
        "busy"
    } else {
        "good"
    }
}

fn wait(view: &QueueView) -> Option<String> {
    let goal = view.wait_goal_seconds?;
    Some(match view.wait_predicted_seconds {
        Some(predicted) => format!("{} expected, goal {}", duration(predicted), duration(goal)),
        None => format!("goal {}", duration(goal)),
    })
}

fn states(view: &ProgramView) -> String {
    let mut counts: Vec<(&str, u32)> = Vec::new();
    for process in &view.processes {
        match counts.iter_mut().find(|(state, _)| *state == process.state) {
            Some((_, count)) => *count += 1,
            None => counts.push((&process.state, 1)),
        }
    }
    let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    counts.join(", ")
}

impl<'a> Queue<'a> {
    fn new(view: &'a QueueView) -> Self {
        let or_unknown = |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), thousands);
        Self {
            view,
            ready: or_unknown(view.ready),
            unacked: view.unacked.map(thousands),
            consumers: if view.polling { "polling".to_owned() } else { or_unknown(view.consumers) },
            age: view.age_seconds.map(duration),
            wait: wait(view),
            note: match &view.starved_by {
                Some(by) => Some(format!("starved by {by}, which comes first")),
                None => match view.delayed_seconds {
                    Some(delay) => Some(format!("come back after {}", duration(delay))),
                    None => view.observed.then(|| "only observed".to_owned()),
                },
            },
        }
    }
}

impl<'a> Process<'a> {
    fn new(view: &'a ProcessView) -> Self {
        let tone = match view.state.as_str() {
            "running" => "good",
            "starting" | "stopping" => "busy",
            "backoff" | "failed" => "bad",
            _ => "idle",
        };
        let can_stop = matches!(view.state.as_str(), "starting" | "running" | "backoff");
        Self {
            view,
            tone,
            uptime: view.uptime_seconds.map(duration),
            cpu: view.cpu_percent.map(|percent| format!("{percent:.1} %")),
            memory: view.memory_bytes.map(bytes),
            directory: view.directory.as_ref().map(|directory| directory.display().to_string()),
            can_start: matches!(view.state.as_str(), "stopped" | "backoff" | "exited" | "failed"),
            can_stop,
        }
    }
}

/// Seconds as a person writes them; below a second they are all alike.
fn duration(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    if duration < Duration::from_secs(1) {
        "under 1s".to_owned()
    } else {
        human(Duration::from_secs(duration.as_secs()))
    }
}

fn count(number: u64, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {word}{plural}", thousands(number))
}

/// `12 345`, with a space that does not break.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `18.0 MiB`
fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::snapshot::HoldView;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(bytes(18 * 1024 * 1024), "18.0 MiB");
        assert_eq!(bytes(512), "0.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(duration(0.4), "under 1s");
        assert_eq!(duration(-1.0), "under 1s");
        assert_eq!(duration(150.7), "2m 30s");
        assert_eq!(count(1, "program"), "1 program");
        assert_eq!(count(0, "program"), "0 programs");
    }

    #[test]
    fn a_queue_that_was_never_read_is_unknown_and_not_empty() {
        let view = QueueView::default();
        assert_eq!(Queue::new(&view).ready, "unknown");
        assert_eq!(Queue::new(&view).consumers, "unknown");
    }

    #[test]
    fn a_hold_that_is_the_reason_is_told_once() {
        let hold = HoldView { sentence: "held at 3".to_owned(), ..HoldView::default() };
        let mut view =
            ProgramView { hold: Some(hold), reason: "held at 3".to_owned(), ..ProgramView::default() };
        let program = Program::new(&view);
        assert_eq!((program.reason, program.hold), (None, Some("held at 3")));
        view.reason = "stopped by an operator (page)".to_owned();
        assert_eq!(Program::new(&view).reason, Some("stopped by an operator (page)"));
    }

    #[test]
    fn the_bar_never_runs_over_when_more_run_than_the_maximum() {
        let view = ProgramView { max: 4, running: 8, desired: 4, ..ProgramView::default() };
        let program = Program::new(&view);
        assert_eq!((program.running_percent, program.desired_percent), (100.0, 50.0));
    }

    #[test]
    fn processes_are_folded_up_when_there_are_many() {
        let view =
            |count| ProgramView { processes: vec![ProcessView::default(); count], ..ProgramView::default() };
        assert!(!Program::new(&view(20)).is_folded);
        assert!(Program::new(&view(21)).is_folded);
    }

    #[test]
    fn a_process_that_backs_off_can_be_started_at_once_and_be_stopped() {
        let view = ProcessView { state: "backoff".to_owned(), ..ProcessView::default() };
        let process = Process::new(&view);
        assert!(process.can_start && process.can_stop);
        let view = ProcessView { state: "stopping".to_owned(), ..ProcessView::default() };
        let process = Process::new(&view);
        assert!(!process.can_start && !process.can_stop);
    }
}
