//! Rotation: `FILE` becomes `FILE.1`, `FILE.1` becomes `FILE.2`, and the oldest goes.
//!
//! Every step leaves a state from which the next rotation, by this or by a later controller, goes on without losing
//! or overtaking a file: files move into the first gap, and never over one that is to be kept.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the `number`th rotated file of `path`; number 0 is the current one.
pub(super) fn rotated(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// Moves the file at `path` out of the way and keeps the `keep` newest; with 0 it is deleted.
///
/// # Errors
/// The first step that failed; what is done stays done, and calling again goes on.
pub(super) fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    drop_beyond(path, keep)?;
    if keep == 0 {
        return found(fs::remove_file(path)).map(|_| ());
    }
    let gap = first_gap(path, keep)?;
    for number in (0..gap).rev() {
        found(fs::rename(rotated(path, number), rotated(path, number + 1)))?;
    }
    Ok(())
}

/// Where the chain of rotated files ends: the first number that is free, or `keep`, whose file is overwritten.
fn first_gap(path: &Path, keep: u32) -> io::Result<u32> {
    for number in 1..keep {
        if !found(fs::symlink_metadata(rotated(path, number)).map(|_| ()))? {
            return Ok(number);
        }
    }
    Ok(keep)
}

/// Deletes files that an earlier configuration kept.
fn drop_beyond(path: &Path, keep: u32) -> io::Result<()> {
    let mut number = keep;
    loop {
        let Some(next) = number.checked_add(1) else { return Ok(()) };
        if !found(fs::remove_file(rotated(path, next)))? {
            return Ok(());
        }
        number = next;
    }
}

/// Whether there was a file to act on.
fn found(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(path: &Path) -> Vec<String> {
        (0..6).map(|number| fs::read_to_string(rotated(path, number)).unwrap_or_default()).collect()
    }

    #[test]
    fn the_newest_are_kept_in_order_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for text in ["a", "b", "c", "d"] {
            fs::write(&path, text).unwrap();
            rotate(&path, 3).unwrap();
        }
        assert_eq!(contents(&path), ["", "d", "c", "b", "", ""]);
    }

    #[test]
    fn a_rotation_that_was_cut_off_is_finished_without_losing_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for (number, text) in [(0, "new"), (2, "b"), (3, "a")] {
            fs::write(rotated(&path, number), text).unwrap();
        }
        rotate(&path, 3).unwrap();
        assert_eq!(contents(&path), ["", "new", "b", "a", "", ""], "1 was free, so nothing else moved");
    }

    #[test]
    fn files_beyond_a_smaller_number_are_dropped_and_none_is_kept_of_zero() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for number in 0..5 {
            fs::write(rotated(&path, number), number.to_string()).unwrap();
        }
        rotate(&path, 2).unwrap();
        assert_eq!(contents(&path), ["", "0", "1", "", "", ""]);
        fs::write(&path, "x").unwrap();
        rotate(&path, 0).unwrap();
        assert_eq!(contents(&path), ["", "", "", "", "", ""]);
    }
}
