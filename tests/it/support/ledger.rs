//! The books: what the consumers of tests/fixtures wrote about the messages that they began and ended.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// The logs of all consumers of one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// By the name of the file without its extension: `orders:3-4242`.
    pub(crate) consumers: BTreeMap<String, Entries>,
}

/// What one consumer wrote. All times are milliseconds of the monotonic clock, the same for all processes of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    pub(crate) started_ms: Option<u64>,
    pub(crate) begun: Vec<Begun>,
    /// Message and time.
    pub(crate) ended: Vec<(u32, u64)>,
    /// When it left by its own will.
    pub(crate) stopped_ms: Option<u64>,
}

/// A message taken into work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) message: u32,
    /// The broker's mark: it had handed this message to somebody before.
    pub(crate) redelivered: bool,
    pub(crate) at_ms: u64,
}

impl Ledger {
    /// Reads all `*.log` of `directory`; a last line that is still being written is left out.
    pub(crate) fn read(directory: &Path) -> Self {
        let mut consumers = BTreeMap::new();
        for entry in fs::read_dir(directory).expect("the log directory can be read") {
            let path = entry.expect("the log directory can be read").path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let name = path.file_stem().expect("it has an extension").to_string_lossy().into_owned();
                let text = fs::read_to_string(&path).expect("a log can be read");
                consumers.insert(name, Entries::parse(&text));
            }
        }
        Self { consumers }
    }

    /// How many messages have been begun.
    pub(crate) fn count_begun(&self) -> usize {
        self.consumers.values().map(|entries| entries.begun.len()).sum()
    }

    /// How many messages have been ended.
    pub(crate) fn count_ended(&self) -> usize {
        self.consumers.values().map(|entries| entries.ended.len()).sum()
    }

    /// When each consumer began its first message, in milliseconds; those that began none are left out.
    pub(crate) fn first_begins(&self) -> BTreeMap<&str, u64> {
        let first = |entries: &Entries| entries.begun.first().map(|begun| begun.at_ms);
        self.consumers.iter().filter_map(|(name, entries)| Some((name.as_str(), first(entries)?))).collect()
    }

    /// Panics unless every one of `messages` was begun once, by one consumer, which ended it, and no other message was
    /// begun; none redelivered.
    pub(crate) fn assert_exactly_once(&self, messages: Range<u32>) {
        let faults = self.faults(messages);
        assert!(faults.is_empty(), "{} faults in the books:\n  {}", faults.len(), faults.join("\n  "));
    }

    /// What is wrong with the books, one sentence each; see [`Ledger::assert_exactly_once`].
    pub(crate) fn faults(&self, messages: Range<u32>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut begun_by: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        for (name, entries) in &self.consumers {
            faults.extend(entries.faults().into_iter().map(|fault| format!("{name}: {fault}")));
            for begun in &entries.begun {
                begun_by.entry(begun.message).or_default().push(name);
            }
        }
        for message in messages.clone() {
            match begun_by.get(&message).map(Vec::as_slice) {
                None | Some([]) => faults.push(format!("message {message} was never begun")),
                Some([_]) => {}
                Some(names) => faults.push(format!("message {message} was begun by {}", names.join(", "))),
            }
        }
        let unknown = begun_by.keys().filter(|message| !messages.contains(message));
        faults.extend(unknown.map(|message| format!("message {message} is none of ours")));
        faults
    }
}

impl Entries {
    fn parse(text: &str) -> Self {
        let mut entries = Self::default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            entries.add(line).unwrap_or_else(|| panic!("not a line of a consumer's log: {line:?}"));
        }
        entries
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["start", at_ms] => self.started_ms = Some(at_ms.parse().ok()?),
            ["begin", message, redelivered, at_ms] => self.begun.push(Begun {
                message: message.parse().ok()?,
                redelivered: redelivered == "1",
                at_ms: at_ms.parse().ok()?,
            }),
            ["end", message, at_ms] => self.ended.push((message.parse().ok()?, at_ms.parse().ok()?)),
            ["stop", at_ms] => self.stopped_ms = Some(at_ms.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let ends = |message: u32| self.ended.iter().filter(|(ended, _)| *ended == message).count();
        for begun in &self.begun {
            let message = begun.message;
            if ends(message) != 1 {
                faults.push(format!("message {message} was begun and ended {} times", ends(message)));
            }
            if begun.redelivered {
                faults.push(format!("message {message} was redelivered"));
            }
        }
        let begins = |message: u32| self.begun.iter().any(|begun| begun.message == message);
        let never_begun = self.ended.iter().filter(|(message, _)| !begins(*message));
        faults.extend(never_begun.map(|(message, _)| format!("message {message} was ended, but not begun")));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(logs: &[&str]) -> Ledger {
        let named = |(number, text): (usize, &&str)| (format!("orders:{number}-1"), Entries::parse(text));
        Ledger { consumers: logs.iter().enumerate().map(named).collect() }
    }

    #[test]
    fn the_books_of_two_consumers_that_did_all_once_have_no_fault() {
        let ledger = ledger(&["start 1\nbegin 0 0 5\nend 0 6\nstop 9\n", "start 2\nbegin 1 0 7\nend 1 8\n"]);
        ledger.assert_exactly_once(0..2);
        assert_eq!((ledger.count_begun(), ledger.count_ended()), (2, 2));
        let first = ledger.first_begins();
        assert_eq!(first.into_iter().collect::<Vec<_>>(), [("orders:0-1", 5), ("orders:1-1", 7)]);
        let entries = &ledger.consumers["orders:0-1"];
        assert_eq!((entries.started_ms, entries.stopped_ms), (Some(1), Some(9)));
    }

    #[test]
    fn every_kind_of_fault_is_found() {
        for (logs, messages, fault) in [
            (&["begin 0 0 5\n"][..], 0..1, "orders:0-1: message 0 was begun and ended 0 times"),
            (&["begin 0 1 5\nend 0 6\n"], 0..1, "orders:0-1: message 0 was redelivered"),
            (&["begin 0 0 5\nend 0 6\nend 0 7\n"], 0..1, "orders:0-1: message 0 was begun and ended 2 times"),
            (&["begin 0 0 5\nend 0 6\n"], 0..2, "message 1 was never begun"),
            (&["begin 7 0 5\nend 7 6\n"], 0..0, "message 7 is none of ours"),
            (
                &["end 0 6\n", "begin 0 0 5\nend 0 6\n"],
                0..1,
                "orders:0-1: message 0 was ended, but not begun",
            ),
            (
                &["begin 0 0 5\nend 0 6\n", "begin 0 0 5\nend 0 6\n"],
                0..1,
                "message 0 was begun by orders:0-1, orders:1-1",
            ),
        ] {
            assert_eq!(ledger(logs).faults(messages), [fault], "in {logs:?}");
        }
    }

    #[test]
    fn a_line_that_is_still_being_written_is_left_out() {
        assert_eq!(ledger(&["begin 0 0 5\nbegin 1 0"]).count_begun(), 1);
    }
}
