//! The files that output goes to: opened at the first byte, closed when idle, rotated, found again when somebody
//! replaced them.
//!
//! Where to write is asked of the file before each write and never remembered: somebody may have truncated it, and
//! a new controller must go on exactly where a killed one ended. Nobody else of Leveret writes to these files.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::compress::{Complain, Compressor, Names};
use super::rotate::rotate;
use super::source::Keeping;
use crate::core::time::Time;
use crate::sys::{clock, shortage};

/// How many files are held open; beyond it, the one that was not written to for the longest time is closed.
const OPEN_FILES_MAX: usize = 256;

/// How many of the process's file descriptors are left to others, at most; an eighth of them where there are few.
const LEFT_TO_OTHERS: u64 = 64;

/// A file that was not written to for this long is closed.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

/// How often it is checked whether the path still leads to the open file, and how often a failed rotation is tried.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What is in force for a file at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The size in bytes at which it is rotated; 0 never.
    pub(super) max_size: u64,
    /// Whether it is rotated because of its age, whatever its size.
    pub(super) is_old: bool,
}

impl Bounds {
    /// Whether a file of `size` bytes is to be rotated.
    pub(super) fn are_reached(self, size: u64) -> bool {
        size > 0 && (self.is_old || (self.max_size > 0 && size >= self.max_size))
    }

    /// The size that is not exceeded even by a line without an end.
    fn hard_cap(self) -> u64 {
        if self.max_size == 0 { u64::MAX } else { self.max_size.saturating_mul(2) }
    }
}

/// Where the next bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At `offset`, and at most `room` bytes.
    Here { offset: u64, room: u64 },
    /// At `offset`, up to the end of the line that is being written, and at most `room` bytes.
    ToLineEnd { offset: u64, room: u64 },
    /// The file is full.
    Rotate,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct LogFile {
    /// Open for reading and writing.
    pub(super) file: File,
    identity: (u64, u64),
    checked: Time,
    written: Time,
    /// The size after the last write of whole lines, which spares a look at the last byte.
    whole_until: u64,
    /// When its first line was written, in seconds since 1970.
    begun: f64,
}

impl LogFile {
    fn open(path: &Path, now: Time) -> io::Result<Self> {
        let options = {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o640);
            options
        };
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent() {
                    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
                }
                options.open(path)?
            }
            other => other?,
        };
        let metadata = file.metadata()?;
        let kind = metadata.file_type();
        if !kind.is_file() && !kind.is_char_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let (identity, begun) = (identity(&metadata), begun(&metadata));
        Ok(Self { file, identity, checked: now, written: now, whole_until: 0, begun })
    }

    /// The size in bytes, which is where to write; always 0 for a device.
    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Where bytes that are not cut into lines go next.
    pub(super) fn place(&self, bounds: Bounds) -> io::Result<Place> {
        let offset = self.size()?;
        if !bounds.are_reached(offset) {
            let room = if bounds.max_size == 0 { u64::MAX } else { bounds.max_size - offset };
            return Ok(Place::Here { offset, room });
        }
        let hard_cap = bounds.hard_cap();
        if offset >= hard_cap || self.ends_line(offset)? {
            return Ok(Place::Rotate);
        }
        Ok(Place::ToLineEnd { offset, room: hard_cap - offset })
    }

    /// Whether it has reached an age. An empty file has none: its first line is about to be written.
    fn is_old(&mut self, max_age: Option<Duration>) -> io::Result<bool> {
        let Some(max_age) = max_age else { return Ok(false) };
        let now = clock::wall_seconds();
        if self.size()? == 0 {
            self.begun = now;
        }
        Ok(now - self.begun >= max_age.as_secs_f64())
    }

    /// Whether the file, which has `size` bytes, ends with a whole line.
    pub(super) fn ends_line(&self, size: u64) -> io::Result<bool> {
        if size == 0 || size == self.whole_until {
            return Ok(true);
        }
        let mut last = [0];
        self.file.read_exact_at(&mut last, size - 1)?;
        Ok(last == *b"\n")
    }

    /// Writes whole lines at `offset`, the file's size; when that fails, what was written of them is taken back.
    pub(super) fn write_lines(&mut self, text: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(text, offset) {
            if self.size()? > offset {
                self.file.set_len(offset)?;
            }
            return Err(error);
        }
        self.whole_until = offset + text.len() as u64;
        Ok(())
    }

    /// Whether the path leads to another file by now, or to none.
    fn is_replaced(&self, path: &Path) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(identity(&metadata) != self.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for LogFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// When a file was begun: its birth where the file system knows it, else its last change.
fn begun(metadata: &Metadata) -> f64 {
    let moment = metadata.created().or_else(|_| metadata.modified()).ok();
    let since_1970 = moment.and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
    match since_1970 {
        Some(since_1970) if metadata.len() > 0 => since_1970.as_secs_f64(),
        Some(_) | None => clock::wall_seconds(),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// All files that output may go to.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Held while files are renamed.
    names: Names,
    /// What compresses rotated files; absent in tests that have none.
    compressor: Option<Compressor>,
    entries: BTreeMap<PathBuf, Entry>,
    open: usize,
}

#[derive(Debug, Default)]
struct Entry {
    users: usize,
    open: Option<LogFile>,
    /// Set while rotating fails: the next attempt, until which the file grows.
    rotation_after: Option<Time>,
}

/// What became of a rotation.
#[derive(Debug)]
pub(super) enum Rotation {
    /// The next write begins a new file.
    Done,
    /// It failed for the first time.
    Failed(io::Error),
    /// It failed again.
    StillFailing,
}

impl Files {
    /// No file yet; what cannot be compressed is told to `complain`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn new(complain: Complain) -> io::Result<Self> {
        let names = Names::default();
        let compressor = Some(Compressor::start(names.clone(), complain)?);
        Ok(Self { names, compressor, ..Self::default() })
    }

    /// Says that one more source writes to `path`.
    pub(super) fn attach(&mut self, path: &Path, keeping: Keeping) {
        self.entries.entry(path.to_owned()).or_default().users += 1;
        // An earlier controller may have been killed before it had compressed all.
        self.compress(path, keeping);
    }

    /// Says that one source fewer writes to `path`; the last one closes the file.
    pub(super) fn detach(&mut self, path: &Path) {
        let Some(entry) = self.entries.get_mut(path) else { return };
        entry.users = entry.users.saturating_sub(1);
        if entry.users == 0 && self.entries.remove(path).is_some_and(|entry| entry.open.is_some()) {
            self.open -= 1;
        }
    }

    /// How many sources write to `path`.
    pub(super) fn users(&self, path: &Path) -> usize {
        self.entries.get(path).map_or(0, |entry| entry.users)
    }

    /// The open file at `path`; it and the folders above it are made where they are missing.
    ///
    /// # Errors
    /// The file cannot be opened or is of a kind that cannot hold a log.
    pub(super) fn file(&mut self, path: &Path, now: Time) -> io::Result<&mut LogFile> {
        self.close_if_replaced(path, now)?;
        if !self.is_open(path) {
            if self.open >= OPEN_FILES_MAX {
                self.close_oldest_below(u64::MAX);
            }
            let file = self.with_room(|| LogFile::open(path, now))?;
            self.open += 1;
            self.entries.entry(path.to_owned()).or_default().open = Some(file);
        }
        let file = self.entries.get_mut(path).and_then(|entry| entry.open.as_mut());
        let file = file.expect("it was open or has just been opened");
        file.written = now;
        Ok(file)
    }

    /// What is in force for the file at `path`, which is opened: no bounds while rotating fails, so that nothing is lost.
    ///
    /// # Errors
    /// As for [`Files::file`].
    pub(super) fn bounds(&mut self, path: &Path, keeping: Keeping, now: Time) -> io::Result<Bounds> {
        let is_old = self.file(path, now)?.is_old(keeping.max_age)?;
        let after = self.entries.get(path).and_then(|entry| entry.rotation_after);
        if after.is_some_and(|after| now < after) {
            return Ok(Bounds::default());
        }
        Ok(Bounds { max_size: keeping.max_size, is_old })
    }

    /// Moves the file at `path` out of the way.
    pub(super) fn rotate(&mut self, path: &Path, keeping: Keeping, now: Time) -> Rotation {
        let done = {
            let _names = self.names.lock();
            rotate(path, keeping.keep)
        };
        self.close(path);
        let entry = self.entries.entry(path.to_owned()).or_default();
        match done {
            Ok(()) => {
                entry.rotation_after = None;
                self.compress(path, keeping);
                Rotation::Done
            }
            Err(error) => match entry.rotation_after.replace(now + CHECK_INTERVAL) {
                None => Rotation::Failed(error),
                Some(_) => Rotation::StillFailing,
            },
        }
    }

    fn compress(&self, path: &Path, keeping: Keeping) {
        if let Some(compressor) = self.compressor.as_ref().filter(|_| keeping.compress) {
            compressor.look_at(path, keeping.keep);
        }
    }

    /// Closes all files: the next line of each goes to whatever its path leads to by then.
    pub(super) fn reopen(&mut self) {
        for entry in self.entries.values_mut() {
            entry.open = None;
        }
        self.open = 0;
    }

    /// Closes what was not written to for a minute.
    pub(super) fn close_idle(&mut self, now: Time) {
        for entry in self.entries.values_mut() {
            if entry.open.as_ref().is_some_and(|file| now.since(file.written) >= IDLE_MAX) {
                entry.open = None;
                self.open -= 1;
            }
        }
    }

    /// How many files are open.
    pub(super) fn open_count(&self) -> usize {
        self.open
    }

    fn is_open(&self, path: &Path) -> bool {
        self.entries.get(path).is_some_and(|entry| entry.open.is_some())
    }

    fn close(&mut self, path: &Path) {
        if self.entries.get_mut(path).is_some_and(|entry| entry.open.take().is_some()) {
            self.open -= 1;
        }
    }

    fn close_if_replaced(&mut self, path: &Path, now: Time) -> io::Result<()> {
        let Some(file) = self.entries.get_mut(path).and_then(|entry| entry.open.as_mut()) else {
            return Ok(());
        };
        if now.since(file.checked) < CHECK_INTERVAL {
            return Ok(());
        }
        file.checked = now;
        if file.is_replaced(path)? {
            self.close(path);
        }
        Ok(())
    }

    /// Opens something, a log or what leads to one, and closes files that were not written to for long as far as that
    /// would leave too few descriptors to others.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn with_room<T: AsFd>(&mut self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let max = shortage::descriptors_max();
        let room = max - (max / 8).min(LEFT_TO_OTHERS);
        loop {
            let opened = open();
            // The kernel gives the lowest free number, so a high one means that few are free; and only a number below
            // that is worth giving back.
            let wanted = match &opened {
                Ok(opened) if opened.as_fd().as_raw_fd() as u64 >= room => room,
                Err(error) if shortage::is_of_descriptors(error) => max,
                Ok(_) | Err(_) => return opened,
            };
            if !self.close_oldest_below(wanted) {
                return opened;
            }
        }
    }

    /// Closes the one that was not written to for the longest time, of those whose descriptor is below this number.
    fn close_oldest_below(&mut self, number: u64) -> bool {
        let is_below = |log: &LogFile| (log.as_fd().as_raw_fd() as u64) < number;
        let open = self.entries.values_mut().filter(|entry| entry.open.as_ref().is_some_and(is_below));
        let oldest = open.min_by_key(|entry| entry.open.as_ref().map(|file| file.written));
        let Some(entry) = oldest else { return false };
        entry.open = None;
        self.open -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Time {
        Time::from_seconds(seconds)
    }

    #[test]
    fn folders_are_made_and_the_file_is_readable_by_the_group_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/web.log");
        let mut files = Files::default();
        files.attach(&path, Keeping::default());
        files.file(&path, at(1.0)).unwrap();
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn a_thousand_files_never_hold_more_than_the_bound_open() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::default();
        let path = |number: u32| folder.path().join(number.to_string());
        for number in 0..1_000 {
            files.attach(&path(number), Keeping::default());
            files.file(&path(number), at(f64::from(number) / 1e3)).unwrap();
        }
        assert_eq!(files.open_count(), OPEN_FILES_MAX);
        assert!(files.is_open(&path(999)) && !files.is_open(&path(0)), "the one used last stays open");
    }

    #[test]
    fn an_idle_file_is_closed_after_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("1"), folder.path().join("2"));
        let mut files = Files::default();
        files.file(&first, at(0.0)).unwrap();
        files.file(&second, at(10.0)).unwrap();
        files.close_idle(at(59.0));
        assert_eq!(files.open_count(), 2);
        files.close_idle(at(60.0));
        assert_eq!(files.open_count(), 1);
        files.close_idle(at(70.0));
        assert_eq!(files.open_count(), 0);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_at_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        let mut files = Files::default();
        files.attach(&path, Keeping::default());
        files.file(&path, at(0.0)).unwrap().write_lines(b"old\n", 0).unwrap();
        fs::rename(&path, folder.path().join("web.log-20260101")).unwrap();
        files.file(&path, at(0.5)).unwrap();
        assert!(!path.exists(), "it is looked at once a second");
        files.file(&path, at(1.0)).unwrap().write_lines(b"new\n", 0).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
    }

    #[test]
    fn a_full_file_is_rotated_at_the_end_of_a_line_or_at_twice_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        let mut files = Files::default();
        let mut place = |text: &str| {
            fs::write(&path, text).unwrap();
            files.file(&path, at(0.0)).unwrap().place(Bounds { max_size: 8, is_old: false }).unwrap()
        };
        assert_eq!(place(""), Place::Here { offset: 0, room: 8 });
        assert_eq!(place("1234567"), Place::Here { offset: 7, room: 1 });
        assert_eq!(place("12345678"), Place::ToLineEnd { offset: 8, room: 8 });
        assert_eq!(place("1234567\n"), Place::Rotate);
        assert_eq!(place("0123456789abcdef"), Place::Rotate);
    }

    #[test]
    fn an_old_file_is_rotated_at_the_end_of_a_line_and_an_empty_one_is_young() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        let mut files = Files::default();
        let keeping = Keeping { max_age: Some(Duration::from_secs(60)), keep: 1, ..Keeping::default() };
        fs::write(&path, "begun\n").unwrap();
        assert_eq!(files.bounds(&path, keeping, at(0.0)).unwrap(), Bounds::default());
        files.file(&path, at(0.0)).unwrap().begun -= 61.0;
        let bounds = files.bounds(&path, keeping, at(0.0)).unwrap();
        assert_eq!(files.file(&path, at(0.0)).unwrap().place(bounds).unwrap(), Place::Rotate);
        fs::write(&path, "half").unwrap();
        let place = files.file(&path, at(0.0)).unwrap().place(bounds).unwrap();
        assert_eq!(place, Place::ToLineEnd { offset: 4, room: u64::MAX - 4 });
        fs::write(&path, "").unwrap();
        assert_eq!(
            files.bounds(&path, keeping, at(0.0)).unwrap(),
            Bounds::default(),
            "somebody truncated it"
        );
        fs::write(&path, "anew\n").unwrap();
        assert_eq!(files.bounds(&path, keeping, at(0.0)).unwrap(), Bounds::default());
    }

    #[test]
    fn lines_that_did_not_fit_leave_nothing_behind() {
        let path = Path::new("/dev/full");
        let mut files = Files::default();
        let error = files.file(path, at(0.0)).unwrap().write_lines(b"text\n", 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_rotation_that_fails_is_told_once_and_tried_again_each_second_while_the_file_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        let keeping = Keeping { max_size: 1, keep: 1, ..Keeping::default() };
        fs::write(&path, "text\n").unwrap();
        let in_the_way = folder.path().join("web.log.1");
        fs::create_dir(&in_the_way).unwrap();
        let mut files = Files::default();
        files.attach(&path, Keeping::default());
        assert!(matches!(files.rotate(&path, keeping, at(0.0)), Rotation::Failed(_)));
        assert_eq!(files.bounds(&path, keeping, at(0.5)).unwrap().max_size, 0);
        assert_eq!(files.bounds(&path, keeping, at(1.0)).unwrap().max_size, 1);
        assert!(matches!(files.rotate(&path, keeping, at(1.0)), Rotation::StillFailing));
        fs::remove_dir(&in_the_way).unwrap();
        assert!(matches!(files.rotate(&path, keeping, at(2.0)), Rotation::Done));
        assert_eq!(fs::read(&in_the_way).unwrap(), b"text\n");
    }
}
