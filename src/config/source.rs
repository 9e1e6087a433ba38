//! The text of one configuration file and the places in it. What is shown of it is shown without its secrets.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::problem::{Excerpt, Problem};

/// The largest configuration file, and the largest file that a value may be read from, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How much of a line is shown before and after the beginning of a place, in bytes.
const SHOWN_BEFORE: usize = 200;
const SHOWN_AFTER: usize = 400;

/// What is shown in place of a secret; its length says nothing about the secret's.
const MASK: &str = "***";

/// A part of a file, in bytes from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The first byte.
    pub(super) start: usize,
    /// The byte after the last.
    pub(super) end: usize,
}

/// One configuration file as it is written.
#[derive(Debug)]
pub(super) struct Source {
    /// The file as the user named it.
    pub(super) name: PathBuf,
    /// The directory that the file is in, absolute: relative paths in the file begin here.
    pub(super) directory: PathBuf,
    text: String,
    line_starts: Vec<usize>,
    /// What is never shown, in order and without overlap.
    hidden: Vec<Range<usize>>,
}

/// `path` as it is meant in a file in `directory`: relative ones begin there, and parts that say nothing, such as `.`, are
/// left out. `..` stays, because what is before it may be a symbolic link.
pub(super) fn path_in(directory: &Path, path: &Path) -> PathBuf {
    directory.join(path).components().collect()
}

impl Source {
    /// Reads the file `name`.
    pub(super) fn read(name: &Path) -> Result<Self, Box<Problem>> {
        let failed =
            |error: io::Error| Box::new(Problem::of_file(name, format!("cannot read this file: {error}")));
        let directory = std::path::absolute(name)
            .map_err(failed)?
            .parent()
            .map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
        let mut bytes = Vec::new();
        File::open(name)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Box::new(Problem::of_file(name, "this file is larger than 1 MiB".to_owned())));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name.to_path_buf(), directory, text)),
            Err(error) => Err(Box::new(not_utf8(name, directory, &error))),
        }
    }

    /// A file with the given text.
    pub(super) fn new(name: PathBuf, directory: PathBuf, text: String) -> Self {
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { name, directory, text, line_starts, hidden: Vec::new() }
    }

    /// The whole text, secrets included: never to be shown.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Hides parts of the text from everything that is shown from now on.
    pub(super) fn hide(&mut self, parts: impl IntoIterator<Item = Range<usize>>) {
        self.hidden.extend(parts.into_iter().filter(|part| !part.is_empty()));
        self.hidden.sort_by_key(|part| (part.start, part.end));
        self.hidden.dedup_by(|later, earlier| {
            let overlaps = later.start <= earlier.end;
            if overlaps {
                earlier.end = earlier.end.max(later.end);
            }
            overlaps
        });
    }

    /// Whether any of `place` is hidden.
    pub(super) fn hides(&self, place: Place) -> bool {
        !self.hidden_in(place.start..place.end).is_empty()
    }

    /// The hidden parts that have something of `range`.
    fn hidden_in(&self, range: Range<usize>) -> &[Range<usize>] {
        let first = self.hidden.partition_point(|part| part.end <= range.start);
        let rest = &self.hidden[first..];
        &rest[..rest.partition_point(|part| part.start < range.end)]
    }

    /// The number of the line that `place` begins in, from 1.
    pub(super) fn line(&self, place: Place) -> usize {
        self.line_starts.partition_point(|start| *start <= place.start)
    }

    /// The line that `place` begins in, with the secrets masked, and where in it the place is.
    pub(super) fn excerpt(&self, place: Place) -> Excerpt {
        let place = self.onto_a_line(place);
        let number = self.line(place);
        let whole = self.line_range(number);
        let column = self.text[whole.start..place.start].chars().count() + 1;
        let line = self.around(whole, place);

        let mut text = String::new();
        let mut masks: Vec<(Range<usize>, usize)> = Vec::new();
        let mut at = line.start;
        for part in self.hidden_in(line.clone()) {
            let (start, end) = (part.start.max(line.start), part.end.min(line.end));
            text.push_str(&self.text[at..start]);
            masks.push((start..end, text.len()));
            text.push_str(MASK);
            at = end;
        }
        text.push_str(&self.text[at..line.end]);

        // Where a byte of the file is in the masked line; all of a secret is where its mask is.
        let moved = |byte: usize, end_of_mask: bool| {
            let mut moved = byte - line.start;
            for (part, mask) in &masks {
                if byte >= part.end {
                    moved = mask + MASK.len() + (byte - part.end);
                } else if byte > part.start {
                    moved = if end_of_mask { mask + MASK.len() } else { *mask };
                }
            }
            moved
        };
        let start = moved(place.start, false);
        let end = moved(place.end.min(line.end).max(place.start), true).max(start);
        Excerpt { line: number, column, text, span: start..end }
    }

    /// `place`, or the end of the last line with text where `place` is the empty end of the file.
    fn onto_a_line(&self, place: Place) -> Place {
        let written = self.text.trim_end().len();
        if place.start >= self.text.len() || place.start > written && !self.text[written..].is_empty() {
            return Place { start: written, end: written };
        }
        place
    }

    /// The part of a line that is shown, so that what is kept and shown of a very long line stays short.
    fn around(&self, line: Range<usize>, place: Place) -> Range<usize> {
        let mut start = line.start.max(place.start.saturating_sub(SHOWN_BEFORE));
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = line.end.min(place.start + SHOWN_AFTER);
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        start..end
    }

    /// Where a line is, without its line break.
    fn line_range(&self, number: usize) -> Range<usize> {
        let start = self.line_starts[number - 1];
        let end = self.line_starts.get(number).copied().unwrap_or(self.text.len());
        start..start + self.text[start..end].trim_end_matches(['\r', '\n']).len()
    }
}

fn not_utf8(name: &Path, directory: PathBuf, error: &std::string::FromUtf8Error) -> Problem {
    let start = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let mut source = Source::new(name.to_path_buf(), directory, text);
    let hidden = super::secrets::in_lines(source.text());
    source.hide(hidden);
    // Everything before the first invalid byte is the same in the lossy text, so the place is the same too.
    Problem::new(&source, Place { start, end: start }, "", "this is not valid UTF-8".to_owned())
        .suggest("save the file in UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("a.yaml".into(), "/".into(), text.to_owned())
    }

    #[test]
    fn an_excerpt_counts_lines_and_characters_from_one() {
        let excerpt = source("a: 1\r\nbä: cc\n").excerpt(Place { start: 11, end: 13 });
        assert_eq!((excerpt.line, excerpt.column), (2, 5));
        assert_eq!((excerpt.text.as_str(), excerpt.span), ("bä: cc", 5..7));
    }

    #[test]
    fn a_place_at_the_end_of_the_file_is_shown_on_the_last_line_with_text() {
        let excerpt = source("a: [1\n\n\n").excerpt(Place { start: 8, end: 8 });
        assert_eq!((excerpt.line, excerpt.column, excerpt.text.as_str()), (1, 6, "a: [1"));
        assert_eq!(source("").excerpt(Place::default()).line, 1);
    }

    #[test]
    fn a_hidden_part_is_masked_and_the_places_after_it_move_along() {
        let mut source = source("{password: hunter2, host: x}");
        source.hide(std::iter::once(11..18));
        let host = source.excerpt(Place { start: 26, end: 27 });
        assert_eq!(host.text, "{password: ***, host: x}");
        assert_eq!((&host.text[host.span.clone()], host.column), ("x", 27));
        let password = source.excerpt(Place { start: 13, end: 15 });
        assert_eq!(&password.text[password.span], "***");
    }

    #[test]
    fn of_a_very_long_line_only_what_is_around_the_place_is_kept() {
        let mut source = source(&format!("{}x: y{}", "ü".repeat(5_000), "ö".repeat(5_000)));
        source.hide(std::iter::once(9_700..9_900));
        let excerpt = source.excerpt(Place { start: 10_000, end: 10_001 });
        assert_eq!((excerpt.column, &excerpt.text[excerpt.span.clone()]), (5_001, "x"));
        assert!(excerpt.text.len() < 700 && excerpt.text.starts_with("***ü"), "{}", excerpt.text);
    }

    #[test]
    fn hidden_parts_that_overlap_become_one() {
        let mut source = source("0123456789");
        source.hide([4..8, 2..5]);
        source.hide([9..9, 7..9]);
        assert_eq!(source.excerpt(Place::default()).text, "01***9");
    }
}
