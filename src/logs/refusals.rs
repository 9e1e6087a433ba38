//! Places that refuse output, as a full disk does: told once when that begins and once when it is over, however many
//! processes print there, with the number of bytes that were dropped meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::reason::reason;
use super::source::{PumpEvent, Sink, Source};
use crate::core::time::Time;
use crate::core::words::counted;
use crate::sys::shortage;

/// A place that has refused nothing for this long works again; a disk that is nearly full refuses every other line.
const CALM: Duration = Duration::from_secs(2);

/// How many bytes of each program were dropped, for the metrics.
#[derive(Clone, Debug, Default)]
pub(super) struct Dropped(Arc<Mutex<BTreeMap<String, u64>>>);

impl Dropped {
    pub(super) fn by_program(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, program: &str, bytes: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(program.to_owned()).or_default() += bytes;
    }
}

/// Where and why: two reasons at one place are told apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refused {
    /// The directory of the file; nothing for Leveret's own output.
    directory: Option<PathBuf>,
    reason: String,
}

impl Refused {
    pub(super) fn new(sink: &Sink, error: &io::Error) -> Self {
        let directory = match sink {
            Sink::Own(path) | Sink::Lines(path) => path.parent().map(Path::to_owned),
            Sink::Stdout | Sink::LastLine => None,
        };
        Self { directory, reason: reason(error) }
    }
}

/// All places that refuse output at present.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    places: BTreeMap<Refused, Place>,
    pub(super) dropped: Dropped,
}

#[derive(Debug, Default)]
struct Place {
    /// The processes whose output is dropped at present.
    dropping: BTreeSet<String>,
    /// All that were concerned since it began.
    concerned: BTreeSet<String>,
    /// The file, where it is one.
    sink: String,
    dropped_bytes: u64,
    /// Whether output was written there since.
    has_worked: bool,
    /// Since when nobody's output is dropped.
    calm_since: Option<Time>,
}

impl Refusals {
    /// The output of a source is dropped from now on: the sentence to be told, if that is news.
    pub(super) fn begin(
        &mut self,
        refused: &Refused,
        source: &Source,
        error: &io::Error,
    ) -> Option<PumpEvent> {
        let is_news = !self.places.contains_key(refused);
        let place = self.places.entry(refused.clone()).or_default();
        place.dropping.insert(source.label.clone());
        place.concerned.insert(source.label.clone());
        place.calm_since = None;
        place.has_worked = false;
        place.sink = sink_name(&source.sink);
        is_news.then(|| PumpEvent::Trouble(refusal(source, error)))
    }

    /// So much was dropped of a source.
    pub(super) fn count(&mut self, refused: &Refused, source: &Source, bytes: usize) {
        self.dropped.add(&source.program, bytes as u64);
        if let Some(place) = self.places.get_mut(refused) {
            place.dropping.insert(source.label.clone());
            place.calm_since = None;
            place.dropped_bytes += bytes as u64;
        }
    }

    /// Nothing of a source is dropped any more: it has ended, or it is written again. Then the place works, also for those
    /// that have nothing to write just now; whoever has, and is refused, says so.
    pub(super) fn end(&mut self, refused: &Refused, source: &Source, works: bool, now: Time) {
        let Some(place) = self.places.get_mut(refused) else { return };
        place.dropping.remove(&source.label);
        if works {
            place.has_worked = true;
            place.dropping.clear();
        }
        if place.dropping.is_empty() {
            place.calm_since = Some(now);
        }
    }

    /// When [`Refusals::over`] will have something to tell.
    pub(super) fn next_at(&self) -> Option<Time> {
        self.places.values().filter_map(|place| place.calm_since).min().map(|since| since + CALM)
    }

    /// What is over by now.
    pub(super) fn over(&mut self, now: Time) -> Vec<PumpEvent> {
        let is_over =
            |_: &Refused, place: &mut Place| place.calm_since.is_some_and(|since| since + CALM <= now);
        self.places.extract_if(.., is_over).map(|(_, place)| PumpEvent::Recovered(place.sentence())).collect()
    }
}

impl Place {
    fn sentence(&self) -> String {
        let who = match self.concerned.first() {
            Some(only) if self.concerned.len() == 1 => only.clone(),
            Some(_) | None => counted(self.concerned.len() as u64, "process", "processes"),
        };
        let dropped = counted(self.dropped_bytes, "byte was", "bytes were");
        match self.has_worked {
            true => {
                format!("the output of {who} is written to {} again; {dropped} dropped meanwhile", self.sink)
            }
            false => format!(
                "the output of {who} has ended before it could be written to {} again; {dropped} dropped",
                self.sink
            ),
        }
    }
}

/// Why output is not where it belongs.
pub(super) fn refusal(source: &Source, error: &io::Error) -> String {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
    let until = if full.contains(&error.kind()) { "there is room" } else { "that works" };
    let what = if shortage::is_of_descriptors(error) { "waits" } else { "is dropped" };
    format!(
        "the output of {} cannot be written to {}: {}; it {what} until {until}",
        source.label,
        sink_name(&source.sink),
        reason(error)
    )
}

fn sink_name(sink: &Sink) -> String {
    match sink {
        Sink::Own(path) | Sink::Lines(path) => path.display().to_string(),
        Sink::Stdout => "Leveret's own output".to_owned(),
        Sink::LastLine => "Leveret's memory".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::testing::source;

    #[test]
    fn a_full_disk_is_told_once_for_all_who_print_there_and_once_when_it_is_calm_again() {
        let at = |seconds: u64| Time::from_millis(seconds * 1_000);
        let [one, two] = [1, 2]
            .map(|number| source(number, "p".into(), Sink::Own(format!("/logs/{number}.log").into()), 0, 0));
        let error = || io::Error::from(io::ErrorKind::StorageFull);
        let mut refusals = Refusals::default();
        let refused = Refused::new(&one.sink, &error());
        assert!(refusals.begin(&refused, &one, &error()).is_some());
        assert_eq!(refusals.begin(&Refused::new(&two.sink, &error()), &two, &error()), None);
        refusals.count(&refused, &one, 1_000);
        refusals.end(&refused, &one, true, at(1));
        refusals.count(&refused, &two, 500);
        assert_eq!(
            (refusals.next_at(), refusals.over(at(100))),
            (None, vec![]),
            "the other is still refused"
        );
        refusals.end(&refused, &two, true, at(1));
        assert_eq!(refusals.over(at(2)), []);
        assert_eq!(
            refusals.begin(&refused, &one, &error()),
            None,
            "it was nearly full and is the same trouble"
        );
        refusals.end(&refused, &one, true, at(3));
        assert_eq!(refusals.next_at(), Some(at(5)));
        let sentence =
            "the output of 2 processes is written to /logs/1.log again; 1,500 bytes were dropped meanwhile";
        assert_eq!(refusals.over(at(5)), [PumpEvent::Recovered(sentence.to_owned())]);
        assert_eq!(refusals.dropped.by_program(), [("orders".to_owned(), 1_500)].into());
        assert!(refusals.begin(&refused, &one, &error()).is_some(), "and is told anew");
    }
}
