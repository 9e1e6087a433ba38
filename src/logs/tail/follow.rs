//! The lines that come after a position, through rotation and truncation.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::position::{Line, Position, inode, unfinished_line, whole_lines};
use crate::logs::lines::LINE_BYTES_MAX;
use crate::logs::rotate::rotated;

/// How many rotated files are looked through.
const ROTATED_MAX: u32 = 10_000;

/// How often a look at the rotated files is repeated when a rotation came in between; then the caller asks again.
const LOOKS_MAX: usize = 100;

/// Why lines may be missing between two that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The file became shorter: somebody truncated it. Reading goes on at its beginning.
    Truncated,
    /// The file of the position is gone: it was deleted, or rotated away before all of it was read. Reading goes on
    /// at the beginning of the current file.
    Replaced,
}

/// Reads a log from a position on. It waits for nothing: who wants more asks again.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    position: Position,
    file: Option<File>,
    gap: Option<Gap>,
}

impl Follower {
    /// Goes on at `position` of the log at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>, position: Position) -> Self {
        Self { path: path.into(), position, file: None, gap: None }
    }

    /// The place up to which lines were given.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Why lines may be missing before those of the last [`Follower::read`]; told once.
    pub fn gap(&mut self) -> Option<Gap> {
        self.gap.take()
    }

    /// The lines that are whole by now, from at most `bytes_max` bytes, or 16 KiB if that is less. None means that
    /// all was read.
    ///
    /// # Errors
    /// A file exists and cannot be read; asking again goes on at the same place.
    pub fn read(&mut self, bytes_max: usize) -> io::Result<Vec<Line>> {
        loop {
            let Some(file) = self.open()? else { return Ok(Vec::new()) };
            // Asked before the file is read: once it has a successor, nothing more is written to it.
            let successor = self.successor(&file)?;
            let size = file.metadata()?.len();
            if size < self.position.offset {
                self.gap = Some(Gap::Truncated);
                self.position.offset = 0;
            }
            let (lines, rest) = self.next_lines(&file, bytes_max)?;
            if let Some(line) = lines.last() {
                self.position = line.position;
                self.file = Some(file);
                return Ok(lines);
            }
            let Some(successor) = successor else {
                self.file = Some(file);
                return Ok(Vec::new());
            };
            let last = (!rest.is_empty()).then(|| {
                let end = self.position.offset + rest.len() as u64;
                unfinished_line(&rest, self.position.inode, end)
            });
            self.go_on_with(successor)?;
            if let Some(last) = last {
                return Ok(vec![last]);
            }
        }
    }

    /// The whole lines that come next, and what follows them if there are none.
    fn next_lines(&self, file: &File, bytes_max: usize) -> io::Result<(Vec<Line>, Vec<u8>)> {
        let mut bytes = vec![0; bytes_max.max(LINE_BYTES_MAX + 1)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], self.position.offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        let lines = whole_lines(&bytes, self.position.inode, self.position.offset);
        Ok((lines, bytes))
    }

    /// The file of the position, or where that is gone, the one to go on with; `None` while there is none at all.
    fn open(&mut self) -> io::Result<Option<File>> {
        if let Some(file) = self.file.take() {
            return Ok(Some(file));
        }
        if self.position == Position::default() {
            // Nothing existed when the position was taken, so everything is new: begin with the oldest.
            let Some((_, oldest)) = rotated_files(&self.path).last().transpose()? else { return Ok(None) };
            self.position.inode = inode(&oldest.metadata()?);
            return Ok(Some(oldest));
        }
        if let Some((_, file)) = find(&self.path, self.position.inode)? {
            return Ok(Some(file));
        }
        let Some(current) = open_if_there(&self.path)? else { return Ok(None) };
        self.gap = Some(Gap::Replaced);
        self.position = Position { inode: inode(&current.metadata()?), offset: 0 };
        Ok(Some(current))
    }

    /// What comes after `file`; `None` while it is the newest.
    fn successor(&self, file: &File) -> io::Result<Option<Successor>> {
        let ours = inode(&file.metadata()?);
        for _ in 0..LOOKS_MAX {
            let Some(current) = open_if_there(&self.path)? else { return Ok(None) };
            if inode(&current.metadata()?) == ours {
                return Ok(None);
            }
            let Some((number, _)) = find(&self.path, ours)? else {
                return Ok(Some(Successor { file: current, gap: Some(Gap::Replaced) }));
            };
            if let Some(file) = self.next_newer(number, ours)? {
                return Ok(Some(Successor { file, gap: None }));
            }
        }
        Ok(None)
    }

    /// The file that follows the one with the inode `ours`, which was at `number`; `None` if it moved meanwhile.
    ///
    /// A rotation that was cut off leaves a free name between the two; one that is under way fills it.
    fn next_newer(&self, number: u32, ours: u64) -> io::Result<Option<File>> {
        let is_free = |number| Ok::<_, io::Error>(open_if_there(&rotated(&self.path, number))?.is_none());
        for lower in (0..number).rev() {
            let Some(file) = open_if_there(&rotated(&self.path, lower))? else { continue };
            for between in lower + 1..number {
                if !is_free(between)? {
                    return Ok(None);
                }
            }
            let still = open_if_there(&rotated(&self.path, number))?;
            let still = still.map(|file| file.metadata()).transpose()?;
            return Ok(still.is_some_and(|metadata| inode(&metadata) == ours).then_some(file));
        }
        Ok(None)
    }

    fn go_on_with(&mut self, successor: Successor) -> io::Result<()> {
        self.position = Position { inode: inode(&successor.file.metadata()?), offset: 0 };
        self.gap = self.gap.or(successor.gap);
        self.file = Some(successor.file);
        Ok(())
    }
}

struct Successor {
    file: File,
    gap: Option<Gap>,
}

/// The file with this inode among the current and the rotated ones, and its number.
///
/// Files move to higher numbers only, so one look from below meets each.
fn find(path: &Path, wanted: u64) -> io::Result<Option<(u32, File)>> {
    for found in rotated_files(path) {
        let (number, file) = found?;
        if inode(&file.metadata()?) == wanted {
            return Ok(Some((number, file)));
        }
    }
    Ok(None)
}

/// The current file, number 0, and the rotated ones that are there. The names end where two in a row are free: one
/// may be, while a rotation is under way.
fn rotated_files(path: &Path) -> impl Iterator<Item = io::Result<(u32, File)>> {
    let mut missing = 0;
    (0..ROTATED_MAX)
        .map(move |number| (number, open_if_there(&rotated(path, number))))
        .take_while(move |(_, opened)| {
            missing = if matches!(opened, Ok(None)) { missing + 1 } else { 0 };
            missing < 2
        })
        .filter_map(|(number, opened)| match opened {
            Ok(file) => file.map(|file| Ok((number, file))),
            Err(error) => Some(Err(error)),
        })
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
