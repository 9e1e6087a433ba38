//! Output that somebody waits for: what a process prints is looked at before it leaves the pipe, until a pattern is found.

use regex_automata::meta::Regex;

use super::lines::LINE_BYTES_MAX;
use crate::core::pattern::compile;

/// A pattern that was not found yet.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) pattern: String,
    regex: Regex,
}

/// What a look at the front of a pipe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// The pattern.
    Match,
    /// So many bytes do not have it and may go; nothing that comes after them can make them have it.
    Clear(usize),
    /// A part of a line, which may still come to have it.
    Unfinished,
}

impl Awaited {
    /// Nothing where the pattern is none, which the configuration did not let pass.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        Some(Self { pattern: pattern.to_owned(), regex: compile(pattern).ok()? })
    }

    /// Looks at the front of a pipe. `is_all` says that the last line cannot become longer.
    pub(super) fn look(&self, seen: &[u8], is_all: bool) -> Sight {
        if self.regex.is_match(seen) {
            return Sight::Match;
        }
        match seen.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => Sight::Clear(end + 1),
            None if is_all || seen.len() > LINE_BYTES_MAX => Sight::Clear(seen.len()),
            None => Sight::Unfinished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_when_they_are_whole_and_a_pattern_is_seen_before_its_line_ends() {
        let awaited = Awaited::new("is ready").unwrap();
        let cases: [(&[u8], bool, Sight); 6] = [
            (b"one\ntwo\nit is", false, Sight::Clear(8)),
            (b"it is", false, Sight::Unfinished),
            (b"it is", true, Sight::Clear(5)),
            (b"it is ready", false, Sight::Match),
            (b"one\nit is ready\ntwo\n", false, Sight::Match),
            (&[b'x'; LINE_BYTES_MAX + 1], false, Sight::Clear(LINE_BYTES_MAX + 1)),
        ];
        for (seen, is_all, sight) in cases {
            assert_eq!(
                awaited.look(seen, is_all),
                sight,
                "{:?}",
                String::from_utf8_lossy(&seen[..seen.len().min(30)])
            );
        }
        assert!(Awaited::new("(").is_none());
    }
}
