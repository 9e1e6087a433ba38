//! What the machine itself needs: a loop that spawns, and one that spawns again what has ended. Nobody can be faster.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use leveret::sys::clock;
use rustix::process::Signal;

use super::daemon::{pid_of, reap, signal};
use super::execs::Execs;
use super::measure::{RESPAWN_LIMIT, RESPAWN_SAMPLES, RESPAWN_SPACING};
use super::outside::pause;

/// Processes without a supervisor. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Floor {
    children: Vec<Child>,
}

impl Floor {
    /// Spawns `count` processes one after another; std does it by `posix_spawn`, which returns when they are exec'd.
    pub(crate) fn start(sleep: &Path, count: usize) -> Result<(Self, Duration)> {
        let mut floor = Self { children: Vec::with_capacity(count) };
        let begun = clock::now();
        for _ in 0..count {
            floor.children.push(spawn(sleep)?);
        }
        Ok((floor, clock::now().since(begun)))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        for child in &self.children {
            signal(pid_of(child), Signal::KILL);
        }
        for child in &mut self.children {
            reap(child);
        }
    }
}

/// From a kill to the exec of the next one, by a loop that waits for nothing but this.
pub(crate) fn respawn(sleep: &Path) -> Result<Vec<Duration>> {
    let mut floor = Floor::start(sleep, 1)?.0;
    let execs = Execs::watch(sleep)?;
    let mut samples = Vec::new();
    for _ in 0..RESPAWN_SAMPLES {
        pause(RESPAWN_SPACING);
        execs.forget()?;
        let killed = clock::now();
        for child in &mut floor.children {
            signal(pid_of(child), Signal::KILL);
            reap(child);
            *child = spawn(sleep)?;
        }
        samples.push(execs.next(RESPAWN_LIMIT)?.since(killed));
    }
    Ok(samples)
}

fn spawn(sleep: &Path) -> Result<Child> {
    let mut command = Command::new(sleep);
    command.arg("100000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn()?)
}
