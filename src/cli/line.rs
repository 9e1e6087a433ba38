//! The one line on stderr that says how far something has come.

use std::time::Duration;

use super::console::{Colour, Console};
use super::patience::POLL_INTERVAL;
use super::progress::Assessment;

/// How many waiting processes are named in the line.
const NAMED_MAX: usize = 3;

/// How often the line is repeated where it cannot be written over.
const REPEAT_INTERVAL: Duration = Duration::from_secs(5);

/// A line that is written over on a terminal, and written again now and then elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Line {
    shown: String,
    polls: u32,
}

impl Line {
    /// Shows how far it has come.
    pub(crate) fn show(&mut self, doing: &str, assessment: &Assessment, console: &mut Console<'_>) {
        self.show_text(&describe(doing, assessment), console);
    }

    /// Shows a text.
    pub(crate) fn show_text(&mut self, text: &str, console: &mut Console<'_>) {
        self.polls += 1;
        if console.live {
            if text != self.shown {
                let width = usize::from(console.style.width.unwrap_or(80)).saturating_sub(1);
                let fitting: String = text.chars().take(width).collect();
                // Progress that cannot be shown is no reason to give up.
                drop(write!(console.err, "\r{}\x1b[K", console.style.paint(Colour::Dim, &fitting)));
                drop(console.err.flush());
                self.shown = text.to_owned();
            }
        } else if self.polls.is_multiple_of((REPEAT_INTERVAL.as_millis() / POLL_INTERVAL.as_millis()) as u32)
        {
            console.note(text);
        }
    }

    /// Takes the line away again.
    pub(crate) fn clear(&mut self, console: &mut Console<'_>) {
        if console.live && !self.shown.is_empty() {
            self.shown.clear();
            drop(write!(console.err, "\r\x1b[K"));
            drop(console.err.flush());
        }
    }
}

/// `restarting: 3 of 8 done, waiting for orders:5 (stopping), orders:6 (stopping) and 3 more`
pub(crate) fn describe(doing: &str, assessment: &Assessment) -> String {
    let done = assessment.done.len();
    let total = done + assessment.waiting.len() + assessment.failed.len();
    let mut text = format!("{doing}: {done} of {total} done");
    let named: Vec<String> =
        assessment.waiting.iter().take(NAMED_MAX).map(|(id, why)| format!("{id} ({why})")).collect();
    if !named.is_empty() {
        text.push_str(", waiting for ");
        text.push_str(&named.join(", "));
    }
    let more = assessment.waiting.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_a_few_and_counts_the_rest() {
        let waiting =
            |count: usize| (0..count).map(|slot| (format!("a:{slot}"), "stopping".to_owned())).collect();
        let assessment = Assessment { done: vec!["b".to_owned()], waiting: waiting(5), failed: Vec::new() };
        assert_eq!(
            describe("restarting", &assessment),
            "restarting: 1 of 6 done, waiting for a:0 (stopping), a:1 (stopping), a:2 (stopping) and 2 more"
        );
        let done = Assessment { done: vec!["b".to_owned()], ..Assessment::default() };
        assert_eq!(describe("stopping", &done), "stopping: 1 of 1 done");
    }
}
