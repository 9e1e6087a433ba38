//! Leveret's own lines about a process, where its output goes: that it was started, how it ended. They are whole lines
//! between whole lines, and have a form of their own, so that nobody takes them for the program's.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::dress::Dress;
use super::source::{Format, Sink, Source};
use super::stream::Equipment;
use crate::core::time::Time;
use crate::sys::clock;

/// The token of chunks for Leveret's own output that come from no pipe; pipes have those above it.
const OF_NO_PIPE: u64 = 0;

/// Lines that wait until what was printed before them has been written.
#[derive(Debug, Default)]
pub(super) struct Remarks(VecDeque<(u64, String)>);

impl Remarks {
    /// Has a line wait until so many bytes in all have left the pipe.
    pub(super) fn push(&mut self, after_bytes: u64, text: String) {
        self.0.push_back((after_bytes, text));
    }

    /// The next line that is due when so many bytes have left the pipe.
    pub(super) fn next(&mut self, bytes: u64) -> Option<String> {
        self.0
            .front()
            .is_some_and(|(after_bytes, _)| *after_bytes <= bytes)
            .then(|| self.0.pop_front())?
            .map(|(_, text)| text)
    }
}

/// Writes such a line now, where lines have a format that tells it from those of the program. One that cannot be written
/// is given up: the log of Leveret has it as well, and what is wrong with the file is told by the output itself.
pub(super) fn remark(source: &Source, text: &str, equipment: &mut Equipment, now: Time) {
    match source.format {
        Format::Raw | Format::Labelled => return,
        Format::Prefixed | Format::Json => {}
    }
    let mut line = Vec::new();
    Dress::of(source, clock::wall_seconds()).put_remark(text, &mut line);
    match &source.sink {
        Sink::Own(_) | Sink::LastLine => {}
        Sink::Lines(path) => drop(append(path, line, source, equipment, now)),
        Sink::Stdout if equipment.stdout.room() > 0 => drop(equipment.stdout.write(OF_NO_PIPE, line)),
        // Somebody has halted the terminal: what waits for it is bounded.
        Sink::Stdout => {}
    }
}

fn append(
    path: &Path,
    mut line: Vec<u8>,
    source: &Source,
    equipment: &mut Equipment,
    now: Time,
) -> io::Result<()> {
    let bounds = equipment.files.bounds(path, source.keeping, now)?;
    if bounds.are_reached(equipment.files.file(path, now)?.size()?) {
        // What keeps it from being rotated is told when the next line of a program is written.
        equipment.files.rotate(path, source.keeping, now);
    }
    let file = equipment.files.file(path, now)?;
    let size = file.size()?;
    if !file.ends_line(size)? {
        line.insert(0, b'\n');
    }
    file.write_lines(&line, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_waits_for_what_was_printed_before_it() {
        let mut remarks = Remarks::default();
        remarks.push(10, "first".to_owned());
        remarks.push(10, "second".to_owned());
        remarks.push(20, "third".to_owned());
        assert_eq!(remarks.next(9), None);
        assert_eq!(remarks.next(15).as_deref(), Some("first"));
        assert_eq!(remarks.next(15).as_deref(), Some("second"));
        assert_eq!(remarks.next(15), None);
        assert_eq!(remarks.next(u64::MAX).as_deref(), Some("third"));
    }
}
