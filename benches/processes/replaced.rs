//! How long nobody answers while the controller is replaced: by a kill, and by an upgrade in place.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use leveret::core::time::Time;
use leveret::sys::clock;
use rustix::process::Signal;
use serde_json::Value;

use super::daemon::signal;
use super::leveret_run::Leveret;
use super::outside::{pause, within};

/// How often it is done, each.
const SAMPLES: usize = 20;

/// How long the controller lives between two of them.
const SPACING: Duration = Duration::from_millis(250);

/// How long one may take.
const LIMIT: Duration = Duration::from_secs(20);

/// How long all of one kind may take; fewer are done of one that is slow.
const ALL_LIMIT: Duration = Duration::from_secs(45);

/// From a SIGKILL of the controller to the whole status of all processes, asked for at that moment.
pub(crate) fn by_kill(leveret: &Leveret) -> Result<Vec<Duration>> {
    let all = clock::now() + ALL_LIMIT;
    let mut samples = Vec::new();
    while samples.len() < SAMPLES && clock::now() < all {
        pause(SPACING);
        let status = status(leveret)?;
        let controller = status["controller_pid"].as_i64().context("the controller has no pid")?;
        let killed = clock::now();
        signal(i32::try_from(controller)?, Signal::KILL);
        answered(leveret, killed + LIMIT)?;
        samples.push(clock::now().since(killed));
    }
    Ok(samples)
}

/// The slowest answer in the course of each upgrade, asked for again and again.
pub(crate) fn by_upgrade(leveret: &Leveret) -> Result<Vec<Duration>> {
    let all = clock::now() + ALL_LIMIT;
    let mut samples = Vec::new();
    while samples.len() < SAMPLES && clock::now() < all {
        pause(SPACING);
        let before = status(leveret)?["upgrade"]["number"].as_u64().unwrap_or_default();
        leveret.post("/api/v1/upgrade")?;
        let deadline = clock::now() + LIMIT;
        let mut slowest = Duration::ZERO;
        loop {
            let asked = clock::now();
            let status = answered(leveret, deadline)?;
            slowest = slowest.max(clock::now().since(asked));
            let upgrade = &status["upgrade"];
            if upgrade["number"].as_u64().is_some_and(|number| number > before) {
                match &upgrade["state"] {
                    state if state.get("done").is_some() => break,
                    state if state.get("refused").is_some() => bail!("an upgrade was refused: {state}"),
                    _ => {}
                }
            }
            within(deadline, "an upgrade does not end")?;
        }
        samples.push(slowest);
    }
    Ok(samples)
}

fn status(leveret: &Leveret) -> Result<Value> {
    leveret.get_json("/api/v1/status")
}

/// Asks until there is an answer: a connection that the killed one had accepted is closed without.
fn answered(leveret: &Leveret, deadline: Time) -> Result<Value> {
    loop {
        match status(leveret) {
            Ok(status) => return Ok(status),
            Err(error) if clock::now() > deadline => return Err(error),
            Err(_) => pause(Duration::from_millis(1)),
        }
    }
}
