//! Processor time and memory of the processes, read from `/proc` now and then and when somebody looks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::time::Time;
use crate::sys::process;

/// How old a reading may be when somebody looks.
const FRESH: Duration = Duration::from_secs(5);

/// What one process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// Processor time since its start, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Share of one core since the reading before, in percent.
    pub(crate) cpu_percent: Option<f64>,
    /// Resident memory.
    pub(crate) resident_bytes: u64,
}

/// The newest reading of every process.
#[derive(Debug, Default)]
pub(crate) struct Usages {
    by_pid: BTreeMap<i32, Usage>,
    read_at: Option<Time>,
}

impl Usages {
    /// What the process `pid` uses, if it was alive at the newest reading.
    pub(crate) fn of(&self, pid: i32) -> Option<Usage> {
        self.by_pid.get(&pid).copied()
    }

    /// Whether a reading is due because somebody looks.
    pub(crate) fn is_stale(&self, now: Time) -> bool {
        self.read_at.is_none_or(|read_at| now.since(read_at) >= FRESH)
    }

    /// Reads all `pids`. One that is gone by now is left out.
    pub(crate) fn read(&mut self, pids: impl Iterator<Item = i32>, now: Time) {
        let elapsed = self.read_at.map(|before| now.since(before).as_secs_f64());
        let before = std::mem::take(&mut self.by_pid);
        for pid in pids {
            let Ok(usage) = process::usage(pid) else { continue };
            let (cpu_seconds, resident_bytes) = (usage.cpu_seconds, usage.resident_bytes);
            let used = before.get(&pid).map(|before| (cpu_seconds - before.cpu_seconds).max(0.0));
            let cpu_percent = match (used, elapsed) {
                (Some(used), Some(elapsed)) if elapsed > 0.0 => Some(100.0 * used / elapsed),
                _ => None,
            };
            self.by_pid.insert(pid, Usage { cpu_seconds, cpu_percent, resident_bytes });
        }
        self.read_at = Some(now);
    }
}
