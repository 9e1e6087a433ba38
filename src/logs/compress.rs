//! Compressing rotated files, on a thread of its own: the pump renames files and never waits for one to be compressed.
//!
//! The newest rotated file stays as it was written, because readers may not be through with it. The others are written to
//! `FILE.gz.part`, put on the disk, and only then given their name, and only then the original goes: whoever is killed
//! here leaves the original, and a half-written file never has the name of a whole one.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::reason::reason;
use super::rotate::{compressed, found, rotated, with_ending};

/// Held by whoever renames rotated files, for the moment that it takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Arc<Mutex<()>>);

impl Names {
    pub(super) fn lock(&self) -> MutexGuard<'_, ()> {
        // There is nothing behind it that a panic could have left half done: every rename leaves a good state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is told when a file cannot be compressed.
pub(super) type Complain = Box<dyn Fn(String) + Send>;

/// The pump's side.
#[derive(Debug)]
pub(super) struct Compressor {
    jobs: Sender<(PathBuf, u32)>,
}

impl Compressor {
    /// Starts the thread, which ends with this value, after the file that it is at.
    pub(super) fn start(names: Names, complain: Complain) -> io::Result<Self> {
        let (jobs, receiver) = channel();
        thread::Builder::new()
            .name("leveret-gzip".to_owned())
            .spawn(move || work(&receiver, &names, &complain))?;
        Ok(Self { jobs })
    }

    /// Has the rotated files of `path` compressed, of which `keep` are kept.
    pub(super) fn look_at(&self, path: &Path, keep: u32) {
        // A thread that has ended did so by a panic that has said so; files then stay as they were written.
        drop(self.jobs.send((path.to_owned(), keep)));
    }
}

fn work(jobs: &Receiver<(PathBuf, u32)>, names: &Names, complain: &Complain) {
    for (path, keep) in jobs {
        if let Err(error) = compress_all(&path, keep, names) {
            complain(format!(
                "the rotated files of {} cannot be compressed: {}; they stay as they are until the next rotation",
                path.display(),
                reason(&error)
            ));
        }
    }
}

/// Compresses what is not, the oldest first.
fn compress_all(path: &Path, keep: u32, names: &Names) -> io::Result<()> {
    let part = with_ending(path, ".gz.part");
    let done = (2..=keep).rev().try_for_each(|number| compress(path, number, keep, &part, names));
    // What an earlier one left half written, or what this one gave up.
    found(fs::remove_file(&part))?;
    done
}

fn compress(path: &Path, number: u32, keep: u32, part: &Path, names: &Names) -> io::Result<()> {
    let original = match File::open(rotated(path, number)) {
        Ok(original) => original,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let metadata = original.metadata()?;
    if !metadata.is_file() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let output = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(part)?;
    let mut encoder = GzEncoder::new(output, Compression::default());
    io::copy(&mut &original, &mut encoder)?;
    let output = encoder.finish()?;
    output.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
    output.sync_all()?;
    let _names = names.lock();
    // A rotation may have given it another number meanwhile, or have deleted it.
    for number in 2..=keep {
        let now = rotated(path, number);
        let is_it = match fs::symlink_metadata(&now) {
            Ok(found) => (found.dev(), found.ino()) == (metadata.dev(), metadata.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_it {
            fs::rename(part, compressed(path, number))?;
            return fs::remove_file(now);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::logs::rotate::rotate;
    use crate::logs::testing::wait_until;

    fn unpacked(path: &Path) -> String {
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn all_but_the_newest_rotated_file_are_compressed_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for number in 0..4 {
            fs::write(rotated(&path, number), format!("text {number}").repeat(1_000)).unwrap();
        }
        fs::set_permissions(rotated(&path, 2), PermissionsExt::from_mode(0o640)).unwrap();
        let modified = fs::metadata(rotated(&path, 2)).unwrap().modified().unwrap();
        fs::write(with_ending(&path, ".gz.part"), "half").unwrap();
        compress_all(&path, 5, &Names::default()).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["web.log", "web.log.1", "web.log.2.gz", "web.log.3.gz"]);
        assert_eq!(unpacked(&compressed(&path, 3)), "text 3".repeat(1_000));
        let metadata = fs::metadata(compressed(&path, 2)).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.modified().unwrap()), (0o640, modified));
    }

    #[test]
    fn a_file_that_was_compressed_before_a_kill_and_not_removed_is_compressed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        fs::write(rotated(&path, 2), "the whole text").unwrap();
        fs::write(compressed(&path, 2), "half").unwrap();
        compress_all(&path, 5, &Names::default()).unwrap();
        assert_eq!(unpacked(&compressed(&path, 2)), "the whole text");
        assert!(!rotated(&path, 2).exists());
    }

    #[test]
    fn nothing_is_lost_or_overtaken_when_files_are_rotated_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        let names = Names::default();
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&complaints);
        let complain = move |sentence| heard.lock().unwrap().push(sentence);
        let compressor = Compressor::start(names.clone(), Box::new(complain)).unwrap();
        for number in 0..200 {
            fs::write(&path, format!("file {number}\n").repeat(2_000)).unwrap();
            {
                let _names = names.lock();
                rotate(&path, 300).unwrap();
            }
            compressor.look_at(&path, 300);
        }
        wait_until("all are compressed", || {
            (2..=200).all(|number| compressed(&path, number).exists() && !rotated(&path, number).exists())
        });
        for number in 2..=200 {
            let text = unpacked(&compressed(&path, number));
            assert_eq!(text, format!("file {}\n", 200 - number).repeat(2_000));
            assert!(!rotated(&path, number).exists());
        }
        assert_eq!(*complaints.lock().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_compressed_stays_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        fs::write(rotated(&path, 2), "text").unwrap();
        fs::create_dir(with_ending(&path, ".gz.part")).unwrap();
        assert!(compress_all(&path, 5, &Names::default()).is_err());
        assert_eq!(fs::read_to_string(rotated(&path, 2)).unwrap(), "text");
        assert!(!compressed(&path, 2).exists());
    }
}
