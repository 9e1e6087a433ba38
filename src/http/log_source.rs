//! The files that output is in, as this room reads them: the only place here that opens one.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A place in a log: after this many bytes of this file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) inode: u64,
    pub(super) offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.inode, self.offset)
    }
}

/// The text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is the file's inode, a colon and the offset")]
pub(super) struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (inode, offset) = text.split_once(':').ok_or(PositionError)?;
        let number = |digits: &str| digits.parse().map_err(|_| PositionError);
        Ok(Self { inode: number(inode)?, offset: number(offset)? })
    }
}

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// Where the next line begins.
    pub(super) position: Position,
    /// Whether the line goes on.
    pub(super) cut: bool,
}

/// The end of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) lines: Vec<Line>,
    /// What stands after the last line's end: a line that may still grow. It begins at `position`.
    pub(super) unfinished: Option<Line>,
    /// Where the next line will begin.
    pub(super) position: Position,
}

/// How much of the end of a file is read for its last lines.
const TAIL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The last `count` whole lines of a log.
///
/// # Errors
/// When the file cannot be opened or read.
pub(super) fn last_lines(path: &Path, count: usize) -> io::Result<Tail> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let begin = metadata.len().saturating_sub(TAIL_BYTES_MAX);
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    let mut lines = whole_lines(&bytes, metadata.ino(), begin);
    let position =
        lines.last().map_or(Position { inode: metadata.ino(), offset: begin }, |line| line.position);
    let rest = &bytes[(position.offset - begin) as usize..];
    let end = Position { inode: metadata.ino(), offset: begin + bytes.len() as u64 };
    let unfinished = (!rest.is_empty()).then(|| Line {
        text: String::from_utf8_lossy(rest).into_owned(),
        position: end,
        cut: true,
    });
    // What the window begins with may be the end of a line.
    let partial = usize::from(begin > 0).min(lines.len());
    lines.drain(..partial.max(lines.len().saturating_sub(count)));
    Ok(Tail { lines, unfinished, position })
}

/// Reads a log from a position on.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    position: Position,
}

impl Follower {
    pub(super) fn new(path: impl Into<PathBuf>, position: Position) -> Self {
        Self { path: path.into(), position }
    }

    /// The whole lines that have come since, reading `max_bytes` at most. A file that is another one by now, or
    /// shorter, is read from its beginning.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub(super) fn read(&mut self, max_bytes: usize) -> io::Result<Vec<Line>> {
        let mut file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        if metadata.ino() != self.position.inode || metadata.len() < self.position.offset {
            self.position = Position { inode: metadata.ino(), offset: 0 };
        }
        let Position { inode, offset } = self.position;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(max_bytes as u64).read_to_end(&mut bytes)?;
        let mut lines = whole_lines(&bytes, inode, offset);
        if lines.is_empty() && bytes.len() == max_bytes {
            let position = Position { inode, offset: offset + max_bytes as u64 };
            lines.push(Line { text: String::from_utf8_lossy(&bytes).into_owned(), position, cut: true });
        }
        self.position = lines.last().map_or(self.position, |line| line.position);
        Ok(lines)
    }
}

fn whole_lines(bytes: &[u8], inode: u64, begin: u64) -> Vec<Line> {
    let mut offset = begin;
    let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let lines = whole.map(|line| {
        offset += line.len() as u64;
        let text = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
        Line { text, position: Position { inode, offset }, cut: false }
    });
    lines.collect()
}
