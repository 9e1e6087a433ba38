//! The lock that keeps two Leverets out of one directory. It belongs to an open file, so it lasts as long as anybody
//! holds that file: the keeper does, and controllers come and go.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The name of the lock's file within the directory.
pub const LOCK_FILE: &str = "leveret.lock";

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another Leveret has it.
    #[error("{} is in use by {}", directory.display(), holder(*pid))]
    Held {
        /// The directory.
        directory: PathBuf,
        /// The other's process id, where it could be read.
        pid: Option<i32>,
    },
    /// The directory does not exist and could not be made.
    #[error("failed to create the directory {}", directory.display())]
    Create {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The lock's file could not be opened, locked or written.
    #[error("failed to lock {}", file.display())]
    Lock {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn holder(pid: Option<i32>) -> String {
    pid.map_or_else(|| "another Leveret".to_owned(), |pid| format!("Leveret with pid {pid}"))
}

/// Locks a directory for `pid`, which a second Leveret will name; creates the directory (0750) where it is missing.
///
/// The lock lasts until the returned descriptor and all its copies are closed.
pub fn lock_directory(directory: &Path, pid: i32) -> Result<OwnedFd, LockError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)
        .map_err(|source| LockError::Create { directory: directory.to_owned(), source })?;
    let path = directory.join(LOCK_FILE);
    let failed = |source| LockError::Lock { file: path.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&path)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(LockError::Held { directory: directory.to_owned(), pid: written_pid(&mut file) });
        }
        Err(error) => return Err(failed(error.into())),
    }
    write_pid(&mut file, pid).map_err(failed)?;
    Ok(file.into())
}

fn write_pid(file: &mut File, pid: i32) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("pid {pid}\n").as_bytes())?;
    Ok(())
}

/// The holder's pid; none where the holder has not written it yet.
fn written_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.take(64).read_to_string(&mut text).ok()?;
    text.strip_prefix("pid ")?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_to_lock_a_directory_is_told_who_has_it() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("var/lib/leveret");
        let first = lock_directory(&directory, 4242).unwrap();
        let error = lock_directory(&directory, 1).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is in use by Leveret with pid 4242", directory.display()));

        let copy = first.try_clone().unwrap();
        drop(first);
        assert!(matches!(lock_directory(&directory, 1), Err(LockError::Held { pid: Some(4242), .. })));

        drop(copy);
        let second = lock_directory(&directory, 77).unwrap();
        assert_eq!(std::fs::read_to_string(directory.join(LOCK_FILE)).unwrap(), "pid 77\n");
        drop(second);
    }

    #[test]
    fn a_holder_that_did_not_write_its_pid_is_still_a_holder() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join(LOCK_FILE)).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        let error = lock_directory(directory.path(), 1).unwrap_err();
        assert!(error.to_string().ends_with("is in use by another Leveret"), "{error}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = lock_directory(&file.join("below"), 1).unwrap_err();
        assert!(matches!(error, LockError::Create { .. }), "{error}");
    }
}
