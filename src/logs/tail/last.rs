//! The last lines of a log, read from its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::position::{Line, Position, inode, unfinished_line, whole_lines};
use crate::logs::rotate::rotated;

/// The most lines that are given.
pub const LINES_MAX: usize = 10_000;

/// The most that is read for them, in bytes.
const BYTES_MAX: usize = 1024 * 1024;

/// How much is read at once, in bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// The end of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Whole lines, the oldest first.
    pub lines: Vec<Line>,
    /// What stands after the last newline, if anything: a line that may still grow. It begins at `position`, so a
    /// follower tells it again when it is whole.
    pub unfinished: Option<Line>,
    /// The place after the last whole line: where a [`super::Follower`] goes on.
    pub position: Position,
}

/// The last `lines` lines of the log at `path`, at most [`LINES_MAX`]; older ones come from the rotated files. At most
/// 1 MiB is read. A file that does not exist is an empty one.
///
/// # Errors
/// A file exists and cannot be read.
pub fn last_lines(path: &Path, lines: usize) -> io::Result<Tail> {
    let wanted = lines.min(LINES_MAX);
    let mut budget = BYTES_MAX;
    let mut tail = Tail::default();
    let mut seen = Vec::new();
    // Two names in a row may be free: one where a rotation is under way, one where the newest is not there yet.
    let mut missing = 0;
    for number in 0.. {
        if missing == 2 || (!seen.is_empty() && (tail.lines.len() >= wanted || budget == 0)) {
            break;
        }
        let file = match File::open(rotated(path, number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        missing = 0;
        let inode = inode(&file.metadata()?);
        if seen.contains(&inode) {
            // It was rotated to this name while we read it.
            continue;
        }
        let part = end_of_file(&file, inode, wanted - tail.lines.len(), &mut budget)?;
        if seen.is_empty() {
            tail = part;
        } else {
            let mut older = part.lines;
            older.extend(part.unfinished);
            let surplus = (older.len() + tail.lines.len()).saturating_sub(wanted).min(older.len());
            older.drain(..surplus);
            older.append(&mut tail.lines);
            tail.lines = older;
        }
        seen.push(inode);
    }
    Ok(tail)
}

/// The last `wanted` lines of one file, as far as `budget` allows.
fn end_of_file(file: &File, inode: u64, wanted: usize, budget: &mut usize) -> io::Result<Tail> {
    let size = file.metadata()?.len();
    let (start, bytes) = read_backwards(file, size, wanted, budget)?;
    let skipped = if start == 0 { 0 } else { rest_of_line(&bytes) };
    let offset = start + skipped as u64;
    let mut lines = whole_lines(&bytes[skipped..], inode, offset);
    let position = lines.last().map_or(Position { inode, offset }, |line| line.position);
    let rest = &bytes[(position.offset - start) as usize..];
    let unfinished = (!rest.is_empty()).then(|| unfinished_line(rest, inode, start + bytes.len() as u64));
    lines.drain(..lines.len().saturating_sub(wanted));
    Ok(Tail { lines, unfinished, position })
}

/// Reads blocks from the end of the file until `wanted` lines are in them: where they begin, and the bytes.
fn read_backwards(file: &File, size: u64, wanted: usize, budget: &mut usize) -> io::Result<(u64, Vec<u8>)> {
    let mut start = size;
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut newlines = 0;
    // The newline before the first line counts, too: only it tells that the line is whole.
    while start > 0 && *budget > 0 && newlines <= wanted {
        let length = usize::try_from(start).unwrap_or(usize::MAX).min(BLOCK_BYTES).min(*budget);
        let mut block = vec![0; length];
        match file.read_exact_at(&mut block, start - length as u64) {
            Ok(()) => (),
            // Somebody truncated it in this moment: what is gone is not among the last lines.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok((0, Vec::new())),
            Err(error) => return Err(error),
        }
        start -= length as u64;
        *budget -= length;
        newlines += block.iter().filter(|byte| **byte == b'\n').count();
        blocks.push(block);
    }
    blocks.reverse();
    Ok((start, blocks.concat()))
}

/// How many bytes belong to a line that began before; none if they are all there is.
fn rest_of_line(bytes: &[u8]) -> usize {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end + 1 < bytes.len() => end + 1,
        Some(_) | None => 0,
    }
}
