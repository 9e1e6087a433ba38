//! What the engine may decide.

use std::time::Duration;

use crate::core::event::Notice;
use crate::core::ids::ProgramName;
use crate::scaling::input::Observation;
use crate::simulation::machine::run::{Check, Run};

/// How many readings may be lost before what is known is stale.
const STALE_INTERVALS: u32 = 3;

/// The shortest time without need after which fewer will do.
const WINDOW_LEAST: Duration = Duration::from_secs(10);

/// What the engine decided.
pub(in crate::simulation::machine) fn decisions(run: &mut Run, notices: &[Notice]) -> Check {
    for notice in notices {
        let Notice::Decided(name, decision) = notice else { continue };
        not_up_and_down(run, name, (decision.before, decision.target))?;
        let program = run.machine.world().programs.get(name);
        // A target that nobody followed (the program was stopped) may be lowered by anything.
        let gives_up = program.is_some_and(|program| program.alive() > decision.target);
        if decision.target < decision.before && gives_up {
            never_in_without_data(run, name).map_err(|why| {
                format!("{name} goes from {} to {}: {why}", decision.before, decision.target)
            })?;
        }
    }
    Ok(())
}

/// What was raised for a need stays for as long as a need may come back at the least.
fn not_up_and_down(run: &mut Run, name: &ProgramName, (before, target): (u32, u32)) -> Check {
    if target > before {
        run.shadow.raised.insert(name.clone(), run.now);
    } else if target < before
        && let Some(raised_at) = run.shadow.raised.get(name).filter(|at| run.now < **at + WINDOW_LEAST)
    {
        let after = run.now.since(*raised_at);
        return Err(format!("{name} goes from {before} to {target} only {after:?} after it was raised"));
    }
    Ok(())
}

fn never_in_without_data(run: &Run, name: &ProgramName) -> Check {
    let readings = run.shadow.readings.get(name).copied().unwrap_or_default();
    let Some(Observation::Sample { at, ready, consumers }) = readings.last else {
        return Err(format!("the newest reading is {:?}", readings.last));
    };
    let age = run.now.since(at);
    if age > run.limits.probe_interval * STALE_INTERVALS {
        return Err(format!("the newest reading is {age:?} old"));
    }
    let Some(program) = run.machine.world().programs.get(name) else { return Ok(()) };
    let is_polling = program.scaler.as_ref().is_some_and(|scaler| scaler.engine.is_polling());
    let oldest = program.fleet().oldest_running;
    let has_lived = oldest.zip(readings.consumers_seen_at).is_some_and(|(started, seen)| started < seen);
    if (ready, consumers) == (0, 0) && has_lived && !is_polling {
        return Err("the queue shows no consumers although the ones that it showed still run".to_owned());
    }
    Ok(())
}
