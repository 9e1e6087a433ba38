//! The journal of decisions: the newest in memory, and a bounded file of JSON lines in the state directory.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How many entries are kept in memory.
pub const ENTRIES_MAX: usize = 1_000;

/// The size at which the file becomes `decisions.jsonl.1`, in bytes. One such file is kept.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A journal of `T`.
#[derive(Debug)]
pub struct Journal<T> {
    entries: VecDeque<T>,
    path: PathBuf,
    file: Option<File>,
    size_bytes: u64,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens the journal in `directory` and reads the newest entries. A line that is not understood, such as one cut off by
    /// a power failure, is left out.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("decisions.jsonl");
        let mut entries = VecDeque::new();
        for part in [rotated(&path), path.clone()] {
            let file = match File::open(&part) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for line in BufReader::new(file).lines() {
                if let Ok(entry) = serde_json::from_str(&line?) {
                    push(&mut entries, entry);
                }
            }
        }
        let size_bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Ok(Self { entries, path, file: None, size_bytes })
    }

    /// Adds an entry. It is in memory even when writing fails.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, entry: T) -> io::Result<()> {
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        push(&mut self.entries, entry);
        if self.size_bytes + line.len() as u64 > FILE_BYTES_MAX {
            self.file = None;
            self.size_bytes = 0;
            fs::rename(&self.path, rotated(&self.path))?;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().create(true).append(true).open(&self.path)?,
        };
        file.write_all(&line)?;
        self.size_bytes += line.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// The entries, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().rev()
    }
}

fn rotated(path: &Path) -> PathBuf {
    path.with_extension("jsonl.1")
}

fn push<T>(entries: &mut VecDeque<T>, entry: T) {
    if entries.len() == ENTRIES_MAX {
        entries.pop_front();
    }
    entries.push_back(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_outlive_the_process_and_the_file_stays_small() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::<String>::open(directory.path()).unwrap();
        for number in 0..30_000 {
            journal.append(format!("{number:0>80}")).unwrap();
        }
        drop(journal);
        let bytes: u64 = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= 2 * FILE_BYTES_MAX, "{bytes}");
        let journal = Journal::<String>::open(directory.path()).unwrap();
        assert_eq!(journal.newest().next(), Some(&format!("{:0>80}", 29_999)));
        assert_eq!(journal.newest().count(), ENTRIES_MAX);
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("decisions.jsonl"), "\"a\"\n\"b").unwrap();
        let journal = Journal::<String>::open(directory.path()).unwrap();
        assert_eq!(journal.newest().collect::<Vec<_>>(), ["a"]);
    }
}
