//! What can be seen of a process from outside, the same way for everybody who is measured.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use leveret::core::time::Time;
use leveret::sys::{clock, process};
use rustix::event::{Timespec, poll};

/// The name that the kernel shows for the processes, once they are exec'd.
const NAME: &str = "sleep";

/// Memory of processes together, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident; pages that processes share count for each of them.
    pub(crate) resident: u64,
    /// Resident, shared pages divided by the number of processes that share them.
    pub(crate) proportional: u64,
}

/// Waits. The bench watches others, who do not tell it anything.
pub(crate) fn pause(duration: Duration) {
    let timeout = Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    };
    // A signal may end it early, which the loops around it bear.
    let _ = poll(&mut [], Some(&timeout));
}

/// The children of `parent` that are exec'd.
pub(crate) fn sleepers(parent: i32) -> Result<Vec<i32>> {
    Ok(process::children(parent)?.into_iter().filter(|pid| is_sleeper(*pid)).collect())
}

fn is_sleeper(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == NAME)
}

/// The children of `parent` that are not the processes that it supervises.
pub(crate) fn helpers(parent: i32) -> Result<Vec<i32>> {
    Ok(process::children(parent)?.into_iter().filter(|pid| !is_sleeper(*pid)).collect())
}

/// Waits until `count` children of `parent` are exec'd, with few looks, because they cost what is measured.
pub(crate) fn wait_for_sleepers(parent: i32, count: usize, limit: Duration) -> Result<()> {
    let deadline = clock::now() + limit;
    let mut seen = BTreeSet::new();
    loop {
        let children = process::children(parent).context("the supervisor has ended")?;
        if children.len() >= count {
            let unseen: Vec<i32> = children.into_iter().filter(|pid| !seen.contains(pid)).collect();
            seen.extend(unseen.into_iter().filter(|pid| is_sleeper(*pid)));
        }
        if seen.len() >= count {
            return Ok(());
        }
        within(deadline, "the processes do not start")?;
        let is_nearly_done = seen.len() + 50 > count;
        pause(Duration::from_millis(if is_nearly_done { 2 } else { 20 }));
    }
}

/// Waits until `parent` has only `count` children, dead ones included.
pub(crate) fn wait_for_children(parent: i32, count: usize, limit: Duration) -> Result<()> {
    let deadline = clock::now() + limit;
    while process::children(parent)?.len() > count {
        within(deadline, "the processes do not end")?;
        pause(Duration::from_millis(5));
    }
    Ok(())
}

/// An error once the deadline has passed.
pub(crate) fn within(deadline: Time, trouble: &str) -> Result<()> {
    if clock::now() > deadline {
        bail!("{trouble}");
    }
    Ok(())
}

/// Processor time of processes together since their start, exact to the microsecond: from the scheduler's own account,
/// because the ticks of `/proc/PID/stat` are as long as what is measured.
pub(crate) fn processor_time(pids: &[i32]) -> Result<Duration> {
    let mut nanoseconds = 0;
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let spent = text.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok());
            nanoseconds += spent.context("unreadable schedstat")?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Memory of processes together.
pub(crate) fn memory(pids: &[i32]) -> Result<Memory> {
    let mut memory = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let kilobytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
            number.with_context(|| format!("no {name} in smaps_rollup"))
        };
        memory.resident += kilobytes("Rss:")? * 1024;
        memory.proportional += kilobytes("Pss:")? * 1024;
    }
    Ok(memory)
}

/// How many processes wanted a core, over the last minute and the last quarter of an hour.
pub(crate) fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let words: Vec<&str> = text.split_ascii_whitespace().take(3).collect();
    Ok(format!("load over 1, 5 and 15 minutes: {}", words.join(", ")))
}

/// The machine, by cores and memory only.
pub(crate) fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let text = fs::read_to_string("/proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok());
    let gibibytes = kilobytes.context("unreadable meminfo")? / 1024.0 / 1024.0;
    Ok(format!("{cores} cores, {gibibytes:.0} GiB"))
}
