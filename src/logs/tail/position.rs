//! Where a reader is, and what it gets.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

use crate::logs::lines::next_piece;

/// A place in a log that stays right when the file is rotated: the file's inode and an offset in it.
///
/// It is written `inode:offset`. The default, `0:0`, is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The inode of the file.
    pub inode: u64,
    /// The offset in bytes.
    pub offset: u64,
}

/// A text that is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a position in a log: it is written as two numbers, inode:offset")]
pub struct PositionError(String);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.inode, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let numbers = text.split_once(':').and_then(|(inode, offset)| {
            // A plus sign, which parse() accepts, is not how a position is written.
            let number =
                |digits: &str| digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok());
            Some(Self { inode: number(inode)??, offset: number(offset)?? })
        });
        numbers.ok_or_else(|| PositionError(text.to_owned()))
    }
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The text without its newline; bytes that are not UTF-8 are shown as U+FFFD.
    pub text: String,
    /// The place after it: where to go on.
    pub position: Position,
    /// Whether the line goes on: it is longer than 16 KiB and the next piece follows, or its file ended in its
    /// middle.
    pub cut: bool,
}

/// The whole lines at the front of `bytes`, which lie at `offset` of the file `inode`; the last one's position says
/// how far they reach.
pub(super) fn whole_lines(bytes: &[u8], inode: u64, offset: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut consumed = 0;
    while let Some(piece) = next_piece(&bytes[consumed..]) {
        consumed += piece.bytes;
        let position = Position { inode, offset: offset + consumed as u64 };
        lines.push(Line { text: lossy(piece.text), position, cut: piece.cut });
    }
    lines
}

/// All of `bytes`, which reach up to `end`, as one line without an end.
pub(super) fn unfinished_line(bytes: &[u8], inode: u64, end: u64) -> Line {
    Line { text: lossy(bytes), position: Position { inode, offset: end }, cut: true }
}

pub(super) fn inode(metadata: &Metadata) -> u64 {
    metadata.ino()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
