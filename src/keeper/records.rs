//! What is written down of every life, so that a keeper that was killed can be followed by another one that knows whose
//! processes go on. The shim writes a record just before it becomes the program; the keeper adds notes and removes it all
//! when the life is released. Nothing here may keep a program from being started: where a record cannot be written, the
//! program runs without one, and that is said.
//!
//! In the directory: `NUMBER`, a life; `NUMBER.note`, its latest note, if there was one after the order; `keeper.json`,
//! whose records these are; `lock`, held shared by every shim from before its record until exec closes it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{getpid, getppid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::protocol::{Predecessor, SpawnOrder};
use super::tree;
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::sys::{clock, process};

const LOCK_FILE: &str = "lock";
const KEEPER_FILE: &str = "keeper.json";
const NOTE_EXTENSION: &str = "note";

/// How many keepers that followed each other are remembered.
const PREDECESSORS_MAX: usize = 64;

/// One life as its shim wrote it down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) incarnation: Incarnation,
    pub(super) pid: i32,
    /// With the number it names the process for good, on this boot and in this pid namespace.
    pub(super) start_time_ticks: u64,
    pub(super) started_at: Time,
    pub(super) output: PathBuf,
    /// The pipe of its stderr, where that has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) errors: Option<PathBuf>,
    /// What every process of the life has in its environment unless it cleans that.
    pub(super) marks: Vec<String>,
    pub(super) note: Value,
    /// The control group of the life, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<PathBuf>,
}

/// Where a shim writes its record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    /// The number of the keeper that gave the order.
    pub(super) keeper: i32,
}

/// What a shim has of its record.
#[derive(Debug)]
pub(super) struct Written {
    /// To be held until exec.
    pub(super) _lock: Option<File>,
    pub(super) is_recorded: bool,
}

/// Writes the record of the process that calls this.
///
/// # Errors
/// The keeper that gave the order has ended. Then the program must not be started: the next keeper knows nothing of it. It
/// is certain in both directions, because a shim that has the lock and a living parent is waited for by the next keeper.
pub(super) fn write(place: &Place, spawn: &SpawnOrder, cgroup: Option<&Path>) -> io::Result<Written> {
    let lock = File::open(place.directory.join(LOCK_FILE)).ok();
    let locked = lock.as_ref().map(|lock| flock(lock, FlockOperation::NonBlockingLockShared));
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    if locked == Some(Err(Errno::WOULDBLOCK)) || parent != Some(place.keeper) {
        return Err(io::Error::other("the keeper that ordered it has ended"));
    }
    let path = place.directory.join(spawn.incarnation.to_string());
    let is_recorded = record(spawn, cgroup).and_then(|record| write_new(&path, &record)).is_ok();
    if !is_recorded {
        // Half a record is none.
        let _ = fs::remove_file(&path);
    }
    Ok(Written { _lock: lock, is_recorded })
}

fn record(spawn: &SpawnOrder, cgroup: Option<&Path>) -> io::Result<Record> {
    let pid = getpid().as_raw_nonzero().get();
    Ok(Record {
        incarnation: spawn.incarnation,
        pid,
        start_time_ticks: process::stat(pid)?.start_time_ticks,
        started_at: clock::now(),
        output: spawn.output.clone(),
        errors: spawn.errors.clone(),
        marks: tree::marks(&spawn.environment),
        note: spawn.note.clone(),
        cgroup: cgroup.map(Path::to_owned),
    })
}

/// In one write, so that nobody reads half of it while the lock is held; not synced, because a record is of no use to
/// another boot.
fn write_new(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(content)?;
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(&text)
}

/// Writes a note beside the record of this path.
pub(super) fn write_note(record: &Path, note: &Value) -> io::Result<()> {
    let path = record.with_extension(NOTE_EXTENSION);
    let new = record.with_extension("new");
    write_new(&new, note)?;
    fs::rename(new, path)
}

/// Removes a record and its note.
pub(super) fn remove(record: &Path) {
    // Neither has to be there; and what cannot be removed is found to be of a process that is gone.
    let _ = fs::remove_file(record);
    let _ = fs::remove_file(record.with_extension(NOTE_EXTENSION));
}

/// What keepers that follow each other in one directory have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lineage {
    /// Process numbers and start times mean something on one boot only.
    boot: String,
    /// And in one pid namespace.
    pid_namespace: String,
    /// The latest last.
    keepers: Vec<Predecessor>,
}

/// What an earlier keeper left in the directory.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// By number, each with its latest note.
    pub(super) records: Vec<Record>,
    /// The keepers whose records these are.
    pub(super) predecessors: Vec<Predecessor>,
    /// Numbers of processes that may live on where this keeper cannot see them: they are in another pid namespace.
    pub(super) out_of_sight: Vec<i32>,
}

/// Makes the directory, and opens its lock.
pub(super) fn open(directory: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let lock = directory.join(LOCK_FILE);
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(lock)
}

/// Takes the exclusive lock; false while a shim is on its way.
pub(super) fn try_lock(lock: &File) -> bool {
    // Where locks do not work at all there is nothing to wait for.
    flock(lock, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
}

/// Reads what is there and makes it `own`'s. Records that can prove nothing are removed.
pub(super) fn take_over(directory: &Path, own: Predecessor) -> io::Result<Left> {
    let (boot, pid_namespace) = here()?;
    // A file that is missing or not understood is no lineage: its records prove nothing.
    let before: Option<Lineage> =
        fs::read(directory.join(KEEPER_FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut left = Left::default();
    let found = read_all(directory)?;
    match before {
        Some(before) if before.boot == boot && before.pid_namespace == pid_namespace => {
            left = Left { records: found, predecessors: before.keepers, out_of_sight: Vec::new() };
        }
        other => {
            // The end of a namespace's first process is the end of all that are in it; so is the end of a boot.
            let may_live = other.is_some_and(|before| {
                before.boot == boot && before.keepers.last().is_some_and(|keeper| keeper.pid != 1)
            });
            if may_live {
                left.out_of_sight = found.iter().map(|record| record.pid).collect();
            }
            for record in found {
                remove(&directory.join(record.incarnation.to_string()));
            }
        }
    }
    let mut keepers = left.predecessors.clone();
    keepers.push(own);
    let surplus = keepers.len().saturating_sub(PREDECESSORS_MAX);
    let lineage = Lineage { boot, pid_namespace, keepers: keepers.split_off(surplus) };
    let new = directory.join("keeper.new");
    write_new(&new, &lineage)?;
    fs::rename(new, directory.join(KEEPER_FILE))?;
    Ok(left)
}

/// Removes all that is there, at the end of everything.
pub(super) fn remove_all(directory: &Path) {
    // What stays behind is understood by the next keeper: processes that are gone.
    let _ = fs::remove_dir_all(directory);
}

/// The boot and the pid namespace that this process lives in.
fn here() -> io::Result<(String, String)> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let pid_namespace = fs::read_link("/proc/self/ns/pid")?;
    Ok((boot.trim_end().to_owned(), pid_namespace.to_string_lossy().into_owned()))
}

fn read_all(directory: &Path) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
        if number.is_none() {
            continue;
        }
        match serde_json::from_slice::<Record>(&fs::read(&path)?) {
            Ok(mut record) if Some(record.incarnation.0) == number => {
                let note = fs::read(path.with_extension(NOTE_EXTENSION)).ok();
                if let Some(note) = note.and_then(|text| serde_json::from_slice(&text).ok()) {
                    record.note = note;
                }
                records.push(record);
            }
            // A shim that ended before it was done never became a program.
            Ok(_) | Err(_) => remove(&path),
        }
    }
    records.sort_by_key(|record| record.incarnation);
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Predecessor = Predecessor { pid: 77, started_at: Time::from_millis(5) };

    fn order(number: u64) -> SpawnOrder {
        let environment = [("LEVERET_INCARNATION", number.to_string()), ("PATH", "/bin".to_owned())];
        SpawnOrder {
            incarnation: Incarnation(number),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            output: format!("/pipes/{number}").into(),
            note: serde_json::json!({ "of": number }),
            ..SpawnOrder::default()
        }
    }

    fn place(directory: &Path) -> Place {
        Place { directory: directory.to_owned(), keeper: getppid().unwrap().as_raw_nonzero().get() }
    }

    fn own_pid() -> i32 {
        getpid().as_raw_nonzero().get()
    }

    #[test]
    fn a_record_is_read_by_the_next_keeper_with_its_latest_note() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("lives");
        drop(open(&directory).unwrap());
        assert!(take_over(&directory, OWN).unwrap().records.is_empty());
        for number in [10, 9] {
            assert!(write(&place(&directory), &order(number), None).unwrap().is_recorded);
        }
        write_note(&directory.join("9"), &serde_json::json!("later")).unwrap();
        let next = Predecessor { pid: 78, ..OWN };
        let left = take_over(&directory, next).unwrap();
        assert_eq!((left.predecessors, left.out_of_sight), (vec![OWN], vec![]));
        let [nine, ten] = left.records.as_slice() else { panic!("{:?}", left.records) };
        assert_eq!((nine.incarnation, &nine.note), (Incarnation(9), &serde_json::json!("later")));
        assert_eq!((ten.note.clone(), ten.pid), (serde_json::json!({ "of": 10 }), own_pid()));
        assert_eq!(ten.marks, ["LEVERET_INCARNATION=10"]);
        assert_eq!(ten.start_time_ticks, process::stat(own_pid()).unwrap().start_time_ticks);
        remove(&directory.join("9"));
        let left = take_over(&directory, OWN).unwrap();
        assert_eq!((left.records.len(), left.predecessors), (1, vec![OWN, next]));
    }

    #[test]
    fn a_shim_whose_keeper_has_ended_or_is_followed_already_writes_nothing_and_must_not_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let lock = open(directory.path()).unwrap();
        let orphan = Place { keeper: own_pid(), ..place(directory.path()) };
        assert!(write(&orphan, &order(1), None).is_err());
        assert!(try_lock(&lock));
        assert!(write(&place(directory.path()), &order(1), None).is_err());
        drop(lock);
        assert!(read_all(directory.path()).unwrap().is_empty());
        assert!(write(&place(directory.path()), &order(1), None).unwrap().is_recorded);
    }

    #[test]
    fn the_next_keeper_waits_while_a_shim_is_on_its_way() {
        let directory = tempfile::tempdir().unwrap();
        let lock = open(directory.path()).unwrap();
        let held = write(&place(directory.path()), &order(1), None).unwrap();
        assert!(!try_lock(&lock));
        drop(held);
        assert!(try_lock(&lock));
    }

    #[test]
    fn a_program_is_started_where_no_record_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("gone");
        assert!(!write(&place(&missing), &order(1), None).unwrap().is_recorded);
    }

    #[test]
    fn half_a_record_is_none() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        take_over(directory.path(), OWN).unwrap();
        fs::write(directory.path().join("3"), "{\"incarnation\": 3, \"pi").unwrap();
        assert!(take_over(directory.path(), OWN).unwrap().records.is_empty());
        assert!(!directory.path().join("3").exists());
    }

    #[test]
    fn records_of_another_boot_prove_nothing_and_those_of_another_namespace_are_named() {
        for (key, value, keeper, named) in [
            ("boot", "another", 77, vec![]),
            ("pid_namespace", "another", 77, vec![own_pid()]),
            ("pid_namespace", "another", 1, vec![]),
        ] {
            let directory = tempfile::tempdir().unwrap();
            drop(open(directory.path()).unwrap());
            take_over(directory.path(), Predecessor { pid: keeper, ..OWN }).unwrap();
            drop(write(&place(directory.path()), &order(1), None).unwrap());
            let file = directory.path().join(KEEPER_FILE);
            let mut lineage: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            lineage[key] = value.into();
            fs::write(&file, lineage.to_string()).unwrap();
            let left = take_over(directory.path(), OWN).unwrap();
            assert!(left.records.is_empty() && left.predecessors.is_empty());
            assert_eq!(left.out_of_sight, named, "{key} {keeper}");
            assert!(!directory.path().join("1").exists());
        }
    }

    #[test]
    fn what_earlier_versions_wrote_is_understood() {
        for (place, text) in crate::formats::each("record.json") {
            let record: Record = crate::formats::read(&place, &text);
            assert_eq!(record.marks.len(), 5, "{place}");
        }
        for (place, text) in crate::formats::each("keeper.json") {
            let lineage: Lineage = crate::formats::read(&place, &text);
            assert_eq!(lineage.keepers.len(), 1, "{place}");
        }
    }
}
