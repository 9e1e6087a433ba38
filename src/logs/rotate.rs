//! Rotation: `FILE` becomes `FILE.1`, `FILE.1` becomes `FILE.2`, and the oldest goes.
//!
//! Every step leaves a state from which the next rotation, by this or by a later controller, goes on without losing
//! or overtaking a file: files move into the first gap, and never over one that is to be kept. A rotated file may be
//! there as it was written, or compressed (`FILE.2.gz`). Where both are there, somebody was killed while replacing the
//! one by the other; then what was written counts, and the other goes.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the `number`th rotated file of `path`; number 0 is the current one.
pub(super) fn rotated(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    with_ending(path, &format!(".{number}"))
}

/// The name of the same file once it is compressed.
pub(super) fn compressed(path: &Path, number: u32) -> PathBuf {
    with_ending(path, &format!(".{number}.gz"))
}

/// A path with more at the end of its name.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
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
    // Where there is no gap, the oldest makes room.
    remove(path, gap)?;
    for number in (0..gap).rev() {
        move_up(path, number)?;
    }
    Ok(())
}

/// Gives the file `number` the name of the next one, which is free.
fn move_up(path: &Path, number: u32) -> io::Result<()> {
    let as_written = found(fs::rename(rotated(path, number), rotated(path, number + 1)))?;
    if number == 0 {
        return Ok(());
    }
    if as_written {
        return found(fs::remove_file(compressed(path, number))).map(|_| ());
    }
    found(fs::rename(compressed(path, number), compressed(path, number + 1))).map(|_| ())
}

/// Where the chain of rotated files ends: the first number that is free, or `keep`, whose file is given up.
fn first_gap(path: &Path, keep: u32) -> io::Result<u32> {
    for number in 1..keep {
        let is_there = |path: PathBuf| found(fs::symlink_metadata(path).map(|_| ()));
        if !is_there(rotated(path, number))? && !is_there(compressed(path, number))? {
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
        if !remove(path, next)? {
            return Ok(());
        }
        number = next;
    }
}

/// Deletes the file `number`, however it is there; whether it was.
fn remove(path: &Path, number: u32) -> io::Result<bool> {
    let as_written = found(fs::remove_file(rotated(path, number)))?;
    let as_compressed = found(fs::remove_file(compressed(path, number)))?;
    Ok(as_written || as_compressed)
}

/// Whether there was a file to act on.
pub(super) fn found(done: io::Result<()>) -> io::Result<bool> {
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
    fn compressed_files_move_with_the_others_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for (name, text) in [
            (path.clone(), "new"),
            (rotated(&path, 1), "b"),
            (compressed(&path, 2), "a"),
            (compressed(&path, 3), "0"),
        ] {
            fs::write(name, text).unwrap();
        }
        rotate(&path, 3).unwrap();
        assert_eq!(contents(&path), ["", "new", "b", "", "", ""]);
        assert_eq!(fs::read_to_string(compressed(&path, 3)).unwrap(), "a");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn where_a_file_is_there_twice_what_was_written_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for (name, text) in
            [(path.clone(), "new"), (rotated(&path, 1), "whole"), (compressed(&path, 1), "old")]
        {
            fs::write(name, text).unwrap();
        }
        rotate(&path, 3).unwrap();
        assert_eq!(contents(&path), ["", "new", "whole", "", "", ""]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn files_beyond_a_smaller_number_are_dropped_and_none_is_kept_of_zero() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        for number in 0..5 {
            fs::write(rotated(&path, number), number.to_string()).unwrap();
        }
        fs::write(compressed(&path, 5), "5").unwrap();
        rotate(&path, 2).unwrap();
        assert_eq!(contents(&path), ["", "0", "1", "", "", ""]);
        fs::write(&path, "x").unwrap();
        rotate(&path, 0).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
