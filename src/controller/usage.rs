//! Processor time, memory and working directory of the processes, read from `/proc` now and then and when somebody looks: on a thread of its
//! own, because a thousand of them take longer than a crashed process should wait for the next one.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use super::control::Control;
use crate::core::event::Fact;
use crate::core::memory_left::MemoryLeft;
use crate::core::time::Time;
use crate::sys::{clock, memory, process};

/// How often processor time and memory are read when nobody looks.
pub(super) const USAGE_INTERVAL: Duration = Duration::from_secs(30);

/// The same where processes are recycled by their memory.
const USAGE_INTERVAL_WHERE_IT_COUNTS: Duration = Duration::from_secs(10);

/// How long after the start they are read for the first time.
pub(super) const FIRST_USAGE: Duration = Duration::from_secs(1);

/// How old a reading may be when somebody looks.
const FRESH: Duration = Duration::from_secs(5);

/// The same where there are processes of which nothing was read yet.
const FRESH_WITH_NEW: Duration = Duration::from_secs(1);

/// What one process uses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Usage {
    /// Processor time since its start, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Share of one core since the reading before, in percent.
    pub(crate) cpu_percent: Option<f64>,
    /// Resident memory.
    pub(crate) resident_bytes: u64,
    /// Where it runs, without symbolic links.
    pub(crate) directory: Option<PathBuf>,
}

/// The newest reading of every process.
#[derive(Debug, Default)]
pub(crate) struct Usages {
    by_pid: BTreeMap<i32, Usage>,
    read_at: Option<Time>,
    running: Option<JoinHandle<Reading>>,
}

#[derive(Debug)]
struct Reading {
    at: Time,
    by_pid: BTreeMap<i32, (process::Usage, Option<PathBuf>)>,
}

impl Usages {
    /// What the process `pid` uses, if it was alive at the newest reading.
    pub(crate) fn of(&self, pid: i32) -> Option<&Usage> {
        self.by_pid.get(&pid)
    }

    /// Whether a reading of `pids` is due because somebody looks: sooner where one of them is new.
    pub(crate) fn is_stale(&self, now: Time, mut pids: impl Iterator<Item = i32>) -> bool {
        if self.running.is_some() {
            return false;
        }
        let Some(age) = self.read_at.map(|read_at| now.since(read_at)) else { return true };
        age >= FRESH || age >= FRESH_WITH_NEW && pids.any(|pid| !self.by_pid.contains_key(&pid))
    }

    /// When the newest reading was done.
    pub(crate) fn read_at(&self) -> Option<Time> {
        self.read_at
    }

    /// Begins to read all `pids`, unless a reading is under way.
    pub(crate) fn begin(&mut self, pids: Vec<i32>) {
        if self.running.is_none() {
            self.running = Some(spawn_blocking(move || read(&pids)));
        }
    }

    /// Waits for the reading that is under way, for ever if there is none, and takes it over. Nothing is lost when it is
    /// dropped before its end.
    pub(crate) async fn read(&mut self) {
        let Some(task) = &mut self.running else { return pending().await };
        let joined = task.await;
        self.running = None;
        let reading = joined.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        self.take_over(reading);
    }

    fn take_over(&mut self, reading: Reading) {
        let elapsed = self.read_at.map(|before| reading.at.since(before).as_secs_f64());
        let before = std::mem::take(&mut self.by_pid);
        for (pid, (usage, directory)) in reading.by_pid {
            let (cpu_seconds, resident_bytes) = (usage.cpu_seconds, usage.resident_bytes);
            let used = before.get(&pid).map(|before| (cpu_seconds - before.cpu_seconds).max(0.0));
            let cpu_percent = match (used, elapsed) {
                (Some(used), Some(elapsed)) if elapsed > 0.0 => Some(100.0 * used / elapsed),
                _ => None,
            };
            self.by_pid.insert(pid, Usage { cpu_seconds, cpu_percent, resident_bytes, directory });
        }
        self.read_at = Some(reading.at);
    }
}

impl Control {
    pub(super) fn read_usage(&mut self, now: Time) {
        let world = self.machine.world();
        let counts = world.programs.values().any(|program| world.counts_memory(program));
        self.usage_at = now + if counts { USAGE_INTERVAL_WHERE_IT_COUNTS } else { USAGE_INTERVAL };
        let pids: Vec<i32> = self.main_pids().collect();
        self.usages.begin(pids);
    }

    /// Tells the core the memory of programs where it counts. The next controller reads it again, so that
    /// there is nothing to write down.
    pub(super) fn usage_was_read(&mut self) {
        let world = self.machine.world();
        let counts = world.programs.values().filter(|program| world.learns_memory(program));
        let read_at = self.usages.read_at();
        let read = counts.flat_map(|program| program.slots.values()).filter_map(|slot| {
            // A number that was another process's at that time says nothing.
            let main = slot.phase.main().filter(|main| Some(main.started_at) < read_at)?;
            let bytes = self.usages.of(main.pid)?.resident_bytes;
            Some((slot.phase.life()?.incarnation, bytes))
        });
        let read = read.collect();
        self.machine.observe(Fact::Memory(read));
    }

    /// Tells the core how much memory is left, where something scales. It is the system's own count, and quick to read.
    pub(super) fn tell_memory_left(&mut self) {
        if let (Some(left), Some(total)) = (memory::left(), memory::total()) {
            self.machine.observe(Fact::MemoryLeft(MemoryLeft { left, total, at: clock::now() }));
        }
    }

    /// The main processes that live.
    pub(super) fn main_pids(&self) -> impl Iterator<Item = i32> {
        let programs = self.machine.world().programs.values();
        let mains = programs.flat_map(|program| program.slots.values()).filter_map(|slot| slot.phase.main());
        mains.map(|main| main.pid)
    }
}

/// One that is gone by now is left out.
fn read(pids: &[i32]) -> Reading {
    // Another user's directory may be closed to Leveret; nothing else is missing then.
    let read = |pid: &i32| Some((*pid, (process::usage(*pid).ok()?, process::directory(*pid).ok())));
    let by_pid = pids.iter().filter_map(read).collect();
    Reading { at: clock::now(), by_pid }
}
