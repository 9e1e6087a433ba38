//! A workload from the journal of decisions that the daemon keeps: what arrived between two decisions, by what each knew.
//!
//! A decision is written down when the number changes, so between two of them the flow is the mean of both; what waits at
//! the second one and cannot have come of that flow came at once, just before it, because that is what made it decide.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::simulation::csv::Trace;

/// How long before a decision a burst is taken to have come, in seconds: a reading and the decision after it.
const BURST_SECONDS: f64 = 1.0;

/// No number of a decision is larger.
const NUMBER_MOST: f64 = 1e12;

/// What is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A line is no decision.
    #[error(
        "line {line}: this is no decision of a journal ({what}); decisions.jsonl is in the state directory of Leveret"
    )]
    Line {
        /// From 1.
        line: usize,
        /// What, with the column.
        what: String,
    },
    /// It is more than can be simulated.
    #[error("{0}")]
    TooMuch(String),
    /// No decision of that program knows what arrives.
    #[error("{}", nothing(.program.as_deref(), .known))]
    Nothing {
        /// The program that was asked for.
        program: Option<String>,
        /// Those that have decisions.
        known: Vec<String>,
    },
    /// There are several programs, and none was named.
    #[error("there are decisions of several programs; choose one with --program: {}", .0.join(", "))]
    Several(Vec<String>),
}

fn nothing(program: Option<&str>, known: &[String]) -> String {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    match program {
        Some(program) => format!(
            "there are not two decisions of \"{program}\" that say what arrives; the programs of this journal: {known}"
        ),
        None => format!(
            "there are not two decisions that say what arrives; the programs of this journal: {known}"
        ),
    }
}

/// What a journal tells of a program.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The program's name.
    pub program: String,
    /// What arrived.
    pub trace: Trace,
    /// Seconds of work per message, in the mean; absent where it was never learned.
    pub service: Option<f64>,
    /// Seconds that a start took, as it was known last.
    pub startup: f64,
}

/// The part of a decision that is of use here.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(deserialize_with = "moment")]
    at: jiff::Timestamp,
    program: String,
    inputs: Inputs,
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<jiff::Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Numbers by the names that they have in the journal.
#[derive(Debug, Deserialize)]
struct Inputs {
    arrivals_per_second: Option<f64>,
    #[serde(default)]
    ready_messages: f64,
    service_seconds: f64,
    #[serde(default)]
    service_learned: f64,
    startup_seconds: f64,
}

impl Inputs {
    /// Whether the numbers can be what they say.
    fn check(&self) -> Result<(), String> {
        let numbers = [
            ("arrivals_per_second", self.arrivals_per_second.unwrap_or_default()),
            ("ready_messages", self.ready_messages),
            ("service_seconds", self.service_seconds),
            ("startup_seconds", self.startup_seconds),
        ];
        let is_wrong = |(_, number): &&(&str, f64)| !(0.0..=NUMBER_MOST).contains(number);
        match numbers.iter().find(is_wrong) {
            Some((name, number)) => Err(format!("`{name}` is {number}")),
            None => Ok(()),
        }
    }
}

/// Reads the decisions of one program; which one need not be said where there is only one.
///
/// # Errors
/// A line that is no decision, several programs where none was named, or less than two decisions that say what arrives.
pub fn read(text: &str, program: Option<&str>) -> Result<Recorded, JournalError> {
    let mut entries = Vec::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let entry: Entry = serde_json::from_str(text)
            .map_err(|error| JournalError::Line { line, what: error.to_string() })?;
        entry.inputs.check().map_err(|what| JournalError::Line { line, what })?;
        entries.push(entry);
    }
    let mut known: Vec<String> = entries.iter().map(|entry| entry.program.clone()).collect();
    known.sort();
    known.dedup();
    let chosen = match (program, known.as_slice()) {
        (Some(program), _) => program.to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => return Err(JournalError::Nothing { program: None, known }),
        (None, _) => return Err(JournalError::Several(known)),
    };
    entries.retain(|entry| entry.program == chosen && entry.inputs.arrivals_per_second.is_some());
    entries.sort_by_key(|entry| entry.at);
    let rows = rows(&entries);
    let (Some(last), false) = (entries.last(), rows.is_empty()) else {
        return Err(JournalError::Nothing { program: program.map(str::to_owned), known });
    };
    let learned: Vec<f64> = entries
        .iter()
        .filter(|entry| entry.inputs.service_learned > 0.0)
        .map(|entry| entry.inputs.service_seconds)
        .collect();
    let service = (!learned.is_empty()).then(|| learned.iter().sum::<f64>() / learned.len() as f64);
    let startup = last.inputs.startup_seconds;
    let trace = Trace::of_rates(rows).map_err(|error| JournalError::TooMuch(error.what))?;
    Ok(Recorded { program: chosen, trace, service, startup })
}

/// Begins in seconds since the first decision, and how many messages came from each to the next.
fn rows(entries: &[Entry]) -> Vec<(f64, f64)> {
    let Some(first) = entries.first() else { return Vec::new() };
    let second = |entry: &Entry| (entry.at.as_millisecond() - first.at.as_millisecond()) as f64 / 1e3;
    let rate = |entry: &Entry| entry.inputs.arrivals_per_second.unwrap_or_default();
    let mut rows: Vec<(f64, f64)> = Vec::new();
    let waiting = first.inputs.ready_messages;
    if waiting > 0.0 {
        rows.push((0.0, waiting));
    }
    for pair in entries.windows(2) {
        let [before, after] = pair else { continue };
        let begin = second(before);
        let seconds = second(after) - begin;
        // Two decisions at one moment have nothing between them.
        if seconds <= 0.0 {
            continue;
        }
        let flow = (rate(before) + rate(after)) / 2.0 * seconds;
        let burst = (after.inputs.ready_messages - before.inputs.ready_messages - flow).max(0.0);
        let at = second(after) - BURST_SECONDS.min(seconds / 2.0);
        let part = (at - begin) / seconds;
        rows.push((begin, flow * part));
        rows.push((at, flow * (1.0 - part) + burst));
    }
    if let Some(last) = entries.last().filter(|_| !rows.is_empty()) {
        rows.push((second(last), 0.0));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(second: u32, program: &str, rate: &str, ready: u32) -> String {
        format!(
            "{{\"at\":\"2026-03-01T10:00:{second:02}.000Z\",\"program\":\"{program}\",\"to\":3,\"inputs\":{{{rate}\
             \"ready_messages\":{ready},\"service_learned\":1,\"service_seconds\":0.5,\"startup_seconds\":3}}}}\n"
        )
    }

    fn flow(rate: u32) -> String {
        format!("\"arrivals_per_second\":{rate},")
    }

    #[test]
    fn between_two_decisions_the_flow_is_their_mean_and_what_exceeds_it_came_at_once() {
        let text = entry(0, "orders", &flow(10), 5)
            + &entry(20, "orders", &flow(30), 5)
            + &entry(40, "orders", &flow(30), 1_605);
        let recorded = read(&text, None).expect("it is a journal");
        assert_eq!(
            (recorded.program.as_str(), recorded.service, recorded.startup),
            ("orders", Some(0.5), 3.0)
        );
        let workload = recorded.trace.workload(1, 0.5);
        let within = |begin: f64, end: f64| {
            workload.messages.iter().filter(|message| (begin..end).contains(&message.arrival)).count()
        };
        // 5 that waited, 20 s of 20 a second, 20 s of 30, and 1,000 more than that just before the last decision.
        assert_eq!(workload.messages.len(), 5 + 400 + 600 + 1_000);
        assert_eq!(within(0.0, 20.0), 405);
        assert!((1_025..=1_035).contains(&within(39.0, 40.0)), "{}", within(39.0, 40.0));
    }

    #[test]
    fn of_several_programs_one_is_to_be_chosen() {
        let text = entry(0, "a", &flow(1), 0) + &entry(1, "b", &flow(1), 0) + &entry(9, "b", &flow(1), 0);
        assert_eq!(
            read(&text, None).unwrap_err().to_string(),
            "there are decisions of several programs; choose one with --program: a, b"
        );
        assert_eq!(read(&text, Some("b")).expect("it is there").trace.workload(1, 1.0).messages.len(), 8);
        for program in ["a", "c"] {
            assert_eq!(
                read(&text, Some(program)).unwrap_err().to_string(),
                format!(
                    "there are not two decisions of \"{program}\" that say what arrives; the programs of this journal: a, b"
                )
            );
        }
    }

    #[test]
    fn what_cannot_be_is_told_and_no_memory_is_taken_for_it() {
        let error = |text: &str| read(text, None).unwrap_err().to_string();
        let much = entry(0, "a", &flow(4_000_000_000), 0) + &entry(59, "a", &flow(4_000_000_000), 0);
        assert!(error(&much).starts_with("there are more than 20 million messages"), "{}", error(&much));
        let negative = entry(0, "a", &flow(1), 0).replace("\"startup_seconds\":3", "\"startup_seconds\":-3");
        assert!(error(&negative).contains("`startup_seconds` is -3"), "{}", error(&negative));
    }

    #[test]
    fn what_is_no_journal_is_told_with_its_line() {
        let text = entry(0, "a", "", 0) + "second,messages\n";
        let error = read(&text, None).unwrap_err().to_string();
        assert!(
            error.starts_with("line 2: this is no decision of a journal (expected value at line 1 column 1)"),
            "{error}"
        );
    }
}
