//! What is measured of a supervisor whose processes all run.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use leveret::sys::clock;
use rustix::process::Signal;

use super::daemon::{LIMIT, Supervisor, signal};
use super::execs::Execs;
use super::outside::{Memory, memory, pause, processor_time, sleepers, wait_for_children};

/// How many respawns are measured.
pub(crate) const RESPAWN_SAMPLES: usize = 50;

/// The pause between two of them.
pub(crate) const RESPAWN_SPACING: Duration = Duration::from_millis(40);

/// How long one respawn may take.
pub(crate) const RESPAWN_LIMIT: Duration = Duration::from_secs(10);

/// How long the respawns may take together; fewer are measured of a supervisor that is slow.
const RESPAWNS_LIMIT: Duration = Duration::from_secs(30);

/// How often the status is asked for, at most, and how long all of it may take.
const STATUS_SAMPLES: usize = 31;
const STATUS_LIMIT: Duration = Duration::from_secs(10);

/// How long nothing happens while processor time is counted.
const IDLE: Duration = Duration::from_secs(10);

/// How long a supervisor has after the start to finish what it does then. supervisord calls a process running after 1 s.
const SETTLING: Duration = Duration::from_secs(3);

/// One round of starting everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) floor: Duration,
    pub(crate) leveret: Duration,
}

/// What was measured of another supervisor.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) start: Duration,
    pub(crate) figures: Figures,
}

/// What was measured with a number of processes.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    pub(crate) processes: usize,
    pub(crate) starts: Vec<Start>,
    pub(crate) figures: Figures,
}

/// How long nobody answered while the controller was replaced, one sample each.
#[derive(Clone, Debug)]
pub(crate) struct Replaced {
    pub(crate) by_kill: Vec<Duration>,
    pub(crate) by_upgrade: Vec<Duration>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Time for the full status, one sample each.
    pub(crate) status: Vec<Duration>,
    /// The length of its answer; nothing where it was not asked.
    pub(crate) status_bytes: usize,
    /// Memory of the supervisor itself.
    pub(crate) memory: Memory,
    /// Processor time of the supervisor itself while nothing happens, as a share of one core.
    pub(crate) idle: f64,
    /// From SIGKILL to the exec of the next process.
    pub(crate) respawn: Vec<Duration>,
    /// From the request to the moment when all have ended and are reaped.
    pub(crate) stop: Duration,
}

/// Measures a supervisor whose `count` processes have just been started, and stops them at the end.
pub(crate) fn measure(supervisor: &impl Supervisor, sleep: &Path, count: usize) -> Result<Figures> {
    pause(SETTLING);
    let own = supervisor.own()?;
    let idle = idle(&own)?;
    let memory = memory(&own)?;
    let (status, status_bytes) = status(supervisor)?;
    let respawn = respawn(supervisor, sleep, count)?;
    pause(SETTLING);
    let stop = stop(supervisor, &own)?;
    Ok(Figures { status, status_bytes, memory, idle, respawn, stop })
}

fn idle(own: &[i32]) -> Result<f64> {
    let (before, begun) = (processor_time(own)?, clock::now());
    pause(IDLE);
    let (after, ended) = (processor_time(own)?, clock::now());
    Ok((after.saturating_sub(before)).as_secs_f64() / ended.since(begun).as_secs_f64())
}

fn status(supervisor: &impl Supervisor) -> Result<(Vec<Duration>, usize)> {
    let deadline = clock::now() + STATUS_LIMIT;
    let (mut samples, mut bytes) = (Vec::new(), 0);
    while samples.len() < STATUS_SAMPLES && clock::now() < deadline {
        let begun = clock::now();
        let Some(length) = supervisor.status()? else { break };
        bytes = length;
        samples.push(clock::now().since(begun));
    }
    Ok((samples, bytes))
}

/// Kills processes from all over the list, each just once, as long as all others live.
fn respawn(supervisor: &impl Supervisor, sleep: &Path, count: usize) -> Result<Vec<Duration>> {
    let deadline = clock::now() + RESPAWNS_LIMIT;
    let execs = Execs::watch(sleep)?;
    let victims = sleepers(supervisor.parent())?.into_iter().step_by((count / RESPAWN_SAMPLES).max(1));
    let mut samples = Vec::new();
    for victim in victims.take(RESPAWN_SAMPLES) {
        if clock::now() > deadline {
            break;
        }
        pause(RESPAWN_SPACING);
        execs.forget()?;
        let killed = clock::now();
        signal(victim, Signal::KILL);
        samples.push(execs.next(RESPAWN_LIMIT)?.since(killed));
    }
    Ok(samples)
}

fn stop(supervisor: &impl Supervisor, own: &[i32]) -> Result<Duration> {
    let begun = clock::now();
    supervisor.stop_all()?;
    // Its own processes but the parent are children of the parent as well.
    wait_for_children(supervisor.parent(), own.len() - 1, LIMIT)?;
    Ok(clock::now().since(begun))
}
