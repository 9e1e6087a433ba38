//! Pipes that could not be opened because there were no file descriptors. What is printed waits in them, so that nothing
//! is lost, and they are tried again until there are some.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::source::{PumpEvent, Source};
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::core::words::counted;
use crate::sys::shortage;

/// How often they are tried.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By life and pipe; true where the life is over and nothing more will be printed.
    sources: BTreeMap<(Incarnation, PathBuf), (Source, bool)>,
    retry_at: Option<Time>,
    /// All processes that have waited since the first that had to.
    waited: BTreeSet<String>,
}

impl Waiting {
    /// One more waits: the sentence to be told, if that is news.
    pub(super) fn add(&mut self, source: Source, error: io::Error, now: Time) -> Option<PumpEvent> {
        let is_first = self.waited.is_empty();
        let label = source.label.clone();
        let is_over = false;
        self.waited.insert(label.clone());
        self.sources.insert(key(&source), (source, is_over));
        self.retry_at.get_or_insert(now + RETRY_INTERVAL);
        is_first.then(|| {
            let cause = shortage::cause(error);
            PumpEvent::Trouble(format!(
                "the output of {label} cannot be read yet: {cause}; it waits in its pipe until there are file \
                 descriptors, as that of others may"
            ))
        })
    }

    /// Where its output goes, and how, from now on.
    pub(super) fn configure(&mut self, source: &Source) {
        if let Some((waiting, _)) = self.sources.get_mut(&key(source)) {
            *waiting = source.clone();
        }
    }

    /// Nothing more will be printed in this life; says whether something of it waits.
    pub(super) fn finish(&mut self, incarnation: Incarnation) -> bool {
        let mut any = false;
        for (_, (_, is_over)) in self.sources.range_mut(life(incarnation)) {
            (any, *is_over) = (true, true);
        }
        any
    }

    /// Whether something of this life waits.
    pub(super) fn has(&self, incarnation: Incarnation) -> bool {
        self.sources.range(life(incarnation)).next().is_some()
    }

    /// When they are to be tried.
    pub(super) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    /// All of them, once they are due, and whether their lives are over. Whoever has to wait further is added again.
    pub(super) fn take_due(&mut self, now: Time) -> Vec<(Source, bool)> {
        if self.retry_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.retry_at = None;
        std::mem::take(&mut self.sources).into_values().collect()
    }

    /// The sentence to be told when none of those that were taken had to wait further.
    pub(super) fn over(&mut self) -> Option<PumpEvent> {
        if self.waited.is_empty() || !self.sources.is_empty() {
            return None;
        }
        let who = counted(std::mem::take(&mut self.waited).len() as u64, "process", "processes");
        Some(PumpEvent::Recovered(format!(
            "the output of {who} that had to wait for file descriptors is read; nothing of it was lost"
        )))
    }
}

fn key(source: &Source) -> (Incarnation, PathBuf) {
    (source.incarnation, source.pipe.clone())
}

/// Everything of one life: no path is before the empty one.
fn life(incarnation: Incarnation) -> std::ops::Range<(Incarnation, PathBuf)> {
    (incarnation, PathBuf::new())..(Incarnation(incarnation.0 + 1), PathBuf::new())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::logs::source::Sink;
    use crate::logs::testing::source;

    #[test]
    fn a_shortage_is_told_once_and_its_end_once_with_the_number_of_those_who_waited() {
        let at = |seconds: u64| Time::from_millis(seconds * 1_000);
        let short = || io::Error::from(Errno::MFILE);
        let of = |number: u64| source(number, format!("pipe.{number}").into(), Sink::Stdout, 0, 0);
        let mut waiting = Waiting::default();
        let Some(PumpEvent::Trouble(told)) = waiting.add(of(1), short(), at(0)) else { panic!("it is told") };
        assert!(
            told.contains("cannot be read yet: Too many open files (`ulimit -n`, LimitNOFILE);"),
            "{told}"
        );
        assert_eq!(waiting.add(of(2), short(), at(0)), None);
        assert!(waiting.finish(Incarnation(2)) && !waiting.finish(Incarnation(3)));
        assert_eq!(waiting.take_due(at(0)), []);
        assert_eq!(waiting.take_due(at(1)), [(of(1), false), (of(2), true)]);
        assert_eq!(waiting.add(of(2), short(), at(1)), None);
        assert_eq!((waiting.over(), waiting.has(Incarnation(2))), (None, true));
        assert_eq!(waiting.take_due(at(2)), [(of(2), false)]);
        let Some(PumpEvent::Recovered(told)) = waiting.over() else { panic!("it is told") };
        assert!(told.starts_with("the output of 2 processes that had to wait"), "{told}");
        assert_eq!((waiting.over(), waiting.retry_at()), (None, None));
    }
}
