//! `state.json` in the state directory: what people set and what the engine learned.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::memory::Memory;
use crate::core::time::Time;

/// The version of the file's form.
pub const VERSION: u32 = 1;

const FILE: &str = "state.json";

/// The file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The file's [`VERSION`].
    pub version: u32,
    /// The keeper whose processes the memory speaks of.
    pub keeper: KeeperIdentity,
    /// When it was written, on the monotonic clock of that boot.
    pub at: Time,
    /// When it was written, in seconds since 1970.
    pub wall_seconds: f64,
    /// What is remembered.
    pub memory: Memory,
}

/// Tells one keeper from every other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperIdentity {
    /// Its process id.
    pub pid: i32,
    /// When it started.
    pub started_at: Time,
}

impl Saved {
    /// Moves the moments that are kept over a restart of the machine or of Leveret from the clock they were written on to
    /// the present one. `now` and `wall_seconds` are the same moment.
    pub fn shift_to(&mut self, now: Time, wall_seconds: f64) {
        let elapsed = (wall_seconds - self.wall_seconds).max(0.0);
        for program in self.memory.programs.values_mut() {
            program.deaths.shift(self.at, now, Duration::try_from_secs_f64(elapsed).unwrap_or_default());
            if let Some(hold) = &mut program.wish.hold
                && let Some(until) = hold.until
            {
                let left = until.since(self.at).as_secs_f64() - elapsed;
                hold.until = Some(Time::from_seconds(now.as_seconds() + left.max(0.0)));
            }
        }
    }
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is there and cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what this version writes. It was moved aside, so that nothing is lost.
    #[error("cannot understand {path}, it was kept as {aside}; Leveret goes on without what it said")]
    Form {
        /// The file.
        path: PathBuf,
        /// Where it is now.
        aside: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The file is not what this version writes. It was left as it is.
    #[error("cannot understand {path}")]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}; what you set would be forgotten at the next start")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads the state, if there is any.
///
/// # Errors
/// [`StateError::Read`] and [`StateError::Form`]; after the latter the next call finds nothing.
pub fn load(directory: &Path) -> Result<Option<Saved>, StateError> {
    let path = directory.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Read { path, source }),
    };
    match parse(&bytes) {
        Ok(saved) => Ok(Some(saved)),
        Err(source) => {
            let aside = directory.join("state.json.unreadable");
            fs::rename(&path, &aside).map_err(|source| StateError::Write { path: aside.clone(), source })?;
            Err(StateError::Form { path, aside, source })
        }
    }
}

/// Whether the state, if there is any, is understood; it stays as it is.
///
/// # Errors
/// [`StateError::Read`] and [`StateError::NotUnderstood`].
pub fn check(directory: &Path) -> Result<(), StateError> {
    let path = directory.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => match parse(&bytes) {
            Ok(_) => Ok(()),
            Err(source) => Err(StateError::NotUnderstood { path, source }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StateError::Read { path, source }),
    }
}

/// What a file says. One of a later version is none, even if it looks the same.
fn parse(bytes: &[u8]) -> Result<Saved, serde_json::Error> {
    #[derive(Deserialize)]
    struct Form {
        version: u32,
    }
    let Form { version } = serde_json::from_slice(bytes)?;
    if version > VERSION {
        let text = format!("it is of version {version}, and this Leveret knows {VERSION}");
        return Err(serde::de::Error::custom(text));
    }
    serde_json::from_slice(bytes)
}

/// Replaces the state whole. With `durable` it is on the disk when this returns; otherwise it survives the end of any
/// process, but perhaps not that of the machine.
///
/// # Errors
/// [`StateError::Write`]; the earlier state is then still there.
pub fn save(directory: &Path, saved: &Saved, durable: bool) -> Result<(), StateError> {
    let path = directory.join(FILE);
    write(directory, &path, saved, durable).map_err(|source| StateError::Write { path, source })
}

fn write(directory: &Path, path: &Path, saved: &Saved, durable: bool) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(io::BufWriter::new(file.as_file_mut()), saved)?;
    file.flush()?;
    if durable {
        file.as_file().sync_all()?;
    }
    file.persist(path)?;
    if durable {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::desired::{Hold, Wish};
    use crate::core::ids::ProgramName;
    use crate::core::memory::ProgramMemory;

    fn saved() -> Saved {
        let hold = Hold { processes: 7, until: Some(Time::from_millis(160_000)), by: "command line".into() };
        let wish = Wish { hold: Some(hold), ..Wish::default() };
        let program = ProgramMemory { wish, ..ProgramMemory::default() };
        let mut memory = Memory::default();
        memory.programs.insert(ProgramName::new("orders").unwrap(), program);
        Saved {
            version: VERSION,
            keeper: KeeperIdentity { pid: 12, started_at: Time::from_millis(1) },
            at: Time::from_millis(100_000),
            wall_seconds: 1_000.0,
            memory,
        }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()).unwrap(), None);
        for durable in [false, true] {
            save(directory.path(), &saved(), durable).unwrap();
            assert_eq!(load(directory.path()).unwrap(), Some(saved()));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_file_that_is_not_understood_is_kept_aside() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "{\"version\": \"x\"").unwrap();
        assert!(matches!(load(directory.path()), Err(StateError::Form { .. })));
        assert_eq!(load(directory.path()).unwrap(), None);
        assert!(directory.path().join("state.json.unreadable").exists());
    }

    #[test]
    fn a_hold_keeps_its_end_over_a_restart_of_the_machine() {
        let mut state = saved();
        // 20 s of the remaining 60 passed; the new boot's clock stands at 5 s.
        state.shift_to(Time::from_millis(5_000), 1_020.0);
        let program = state.memory.programs.values().next().unwrap();
        assert_eq!(program.wish.hold.as_ref().unwrap().until, Some(Time::from_millis(45_000)));
    }

    #[test]
    fn a_state_directory_that_is_not_writable_is_an_error_with_its_path() {
        let missing = Path::new("/nonexistent/leveret");
        let error = save(missing, &saved(), false).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/leveret/state.json"), "{error}");
    }

    #[test]
    fn what_earlier_versions_wrote_is_understood() {
        for (place, text) in crate::formats::each("state.json") {
            let saved = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{place}: {error}"));
            let web = &saved.memory.programs[&ProgramName::new("orders").unwrap()];
            assert_eq!(web.wish.hold.as_ref().map(|hold| hold.processes), Some(2), "{place}");
        }
    }

    #[test]
    fn a_file_of_a_later_version_is_not_taken_for_one_of_this() {
        let later = Saved { version: VERSION + 1, ..saved() };
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), &later, false).unwrap();
        let error = check(directory.path()).unwrap_err();
        assert!(matches!(error, StateError::NotUnderstood { .. }), "{error}");
        assert!(matches!(load(directory.path()), Err(StateError::Form { .. })));
    }
}
