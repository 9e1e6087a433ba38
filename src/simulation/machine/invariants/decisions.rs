//! What the engine may decide.

use crate::core::event::Notice;
use crate::core::ids::ProgramName;
use crate::scaling::input::Observation;
use crate::simulation::machine::run::{Check, Run};

/// How many readings may be lost before what is known is stale.
const STALE_INTERVALS: u32 = 3;

/// What the engine decided.
pub(in crate::simulation::machine) fn decisions(run: &Run, notices: &[Notice]) -> Check {
    for notice in notices {
        let Notice::Decided(name, decision) = notice else { continue };
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
