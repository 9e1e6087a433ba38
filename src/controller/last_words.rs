//! What a process wrote last before it failed, for the sentence that says why a rolling restart was halted. The file is read
//! by a task once all output of that life is in it.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use super::control::Control;
use crate::core::event::{Culprit, Fact};
use crate::core::ids::{Incarnation, ProgramName};
use crate::logs::source::{Sink, Source};
use crate::logs::tail::last_lines;
use crate::sys::clock;

/// The longest that is shown, in characters.
const LENGTH_MAX: usize = 200;

/// How exactly a file system says when a file was written.
const GRAIN: Duration = Duration::from_millis(20);

/// What is to be read, and what is being read.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    waiting: BTreeMap<Incarnation, Asked>,
    reading: JoinSet<Option<Fact>>,
}

#[derive(Debug)]
struct Asked {
    program: ProgramName,
    rollout: u64,
    /// The files that it may have written them to, the likelier one first.
    logs: Vec<PathBuf>,
    /// When the life began, in seconds since 1970.
    began: f64,
}

impl LastWords {
    /// All output of a life is in its file.
    pub(super) fn drained(&mut self, incarnation: Incarnation) {
        if let Some(asked) = self.waiting.remove(&incarnation) {
            self.begin(asked);
        }
    }

    fn begin(&mut self, asked: Asked) {
        self.reading.spawn_blocking(move || {
            let words = asked.logs.iter().find_map(|log| read(log, asked.began))?;
            Some(Fact::LastWords { program: asked.program, rollout: asked.rollout, words })
        });
    }

    /// Waits for the next one that is read, for ever if none is. Nothing is lost when it is dropped before its end.
    pub(super) async fn read(&mut self) -> Fact {
        while let Some(read) = self.reading.join_next().await {
            let read = read.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
            if let Some(fact) = read {
                return fact;
            }
        }
        pending().await
    }
}

impl Control {
    /// What a process wrote last is to be told to the core. Only a file of its own, in which there is nothing but what it
    /// printed, says whose words they are.
    pub(super) fn want_last_words(&mut self, program: ProgramName, rollout: u64, culprit: Culprit) {
        let Culprit { process, incarnation, began_at } = culprit;
        let Some(of) = self.machine.world().programs.get(&program) else { return };
        let own = |source: Source| match source.sink {
            Sink::Own(path) => Some(path),
            Sink::Lines(_) | Sink::Stdout | Sink::LastLine => None,
        };
        // Why it ends is as a rule on stderr, which comes last.
        let sources = self.executor.sources(of, process.slot, incarnation);
        let logs: Vec<PathBuf> = sources.into_iter().rev().filter_map(own).collect();
        let began = clock::wall_seconds() - clock::now().since(began_at).as_secs_f64();
        let asked = Asked { program, rollout, logs, began };
        if self.reading.contains(&incarnation) {
            self.last_words.waiting.insert(incarnation, asked);
        } else {
            self.last_words.begin(asked);
        }
    }
}

/// The last line, if it was written since then. Where nothing can be read, there is nothing to show.
fn read(log: &Path, began: f64) -> Option<String> {
    let began = UNIX_EPOCH + Duration::try_from_secs_f64(began).ok()?;
    let written: SystemTime = std::fs::metadata(log).ok()?.modified().ok()?;
    if written + GRAIN < began {
        return None;
    }
    let tail = last_lines(log, 20).ok()?;
    let mut lines = tail.lines.into_iter().chain(tail.unfinished).map(|line| line.text);
    let line = lines.rfind(|line| !line.trim().is_empty())?;
    let mut words: String = line.trim().chars().take(LENGTH_MAX).collect();
    if line.trim().chars().count() > LENGTH_MAX {
        words.push_str("...");
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_told_if_it_is_of_this_life() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("orders.0.log");
        assert_eq!(read(&log, 0.0), None, "it never wrote anything");
        std::fs::write(&log, "started\nClass \"Orders\" not found \n\n").unwrap();
        assert_eq!(read(&log, 0.0).as_deref(), Some("Class \"Orders\" not found"));
        assert_eq!(read(&log, clock::wall_seconds() + 60.0), None, "these are words of a life before");
        std::fs::write(&log, "x".repeat(500)).unwrap();
        assert_eq!(read(&log, 0.0).unwrap(), format!("{}...", "x".repeat(200)));
    }
}
