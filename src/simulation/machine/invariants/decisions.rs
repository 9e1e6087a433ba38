//! What the engine may decide.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::event::Notice;
use crate::core::ids::ProgramName;
use crate::core::spec::ProgramSpec;
use crate::core::world::Scaler;
use crate::scaling::decision::{Decision, Limit};
use crate::scaling::input::Observation;
use crate::simulation::machine::configuration::{FLOOR, FLOOR_LASTS};
use crate::simulation::machine::run::{Check, Run};

/// How many readings may be lost before what is known is stale.
const STALE_INTERVALS: u32 = 3;

/// The shortest time without need after which fewer will do.
const WINDOW_LEAST: Duration = Duration::from_secs(8);

/// What the engine decided.
pub(in crate::simulation::machine) fn decisions(run: &mut Run, notices: &[Notice]) -> Check {
    for notice in notices {
        let Notice::Decided(name, decision) = notice else { continue };
        not_up_and_down(run, name, decision)?;
        let program = run.machine.world().programs.get(name);
        // A target that nobody followed (the program was stopped) may be lowered by anything.
        let gives_up = program.is_some_and(|program| program.alive() > decision.target);
        if decision.target < decision.before && gives_up {
            never_in_without_data(run, name).map_err(|why| {
                format!("{name} goes from {} to {}: {why}", decision.before, decision.target)
            })?;
        }
    }
    run.shadow.short = short(run);
    floors_hold(run)
}

/// As many are wanted as a floor asks for, unless a budget leaves fewer.
fn floors_hold(run: &Run) -> Check {
    const EVERY: i64 = 600;
    let world = run.machine.world();
    let since = world.wall.map_or(0, |wall| wall.seconds_at(run.now).rem_euclid(EVERY));
    // Its first second and its last one may be on either side.
    let holds = since > 1 && since < FLOOR_LASTS.as_secs() as i64 - 1 && world.shutdown.is_none();
    let programs = world.programs.iter().filter(|(_, program)| holds && program.follows_engine());
    for (name, program) in programs {
        let has_floor =
            run.spec(name).and_then(ProgramSpec::scale).is_some_and(|scale| !scale.floors.is_empty());
        let wanted = program.scaler.as_ref().and_then(|scaler| scaler.decision.as_ref()).map(|it| it.wanted);
        if let Some(wanted) = wanted.filter(|wanted| has_floor && *wanted < FLOOR) {
            return Err(format!("{wanted} processes of {name} are wanted and its floor is {FLOOR}"));
        }
    }
    Ok(())
}

/// What was raised for a need stays for as long as a need may come back at the least, unless others come first where there
/// is not enough for all, or less is allowed.
fn not_up_and_down(run: &mut Run, name: &ProgramName, decision: &Decision) -> Check {
    let (before, target) = (decision.before, decision.target);
    let is_short = matches!(decision.limit, Limit::Budget | Limit::Rate);
    let was_short = run.shadow.short.contains(name);
    if target > before && !was_short {
        run.shadow.raised.insert(name.clone(), run.now);
    } else if target < before
        && !is_short
        && let Some(raised_at) = run.shadow.raised.get(name).filter(|at| run.now < **at + WINDOW_LEAST)
    {
        let after = run.now.since(*raised_at);
        return Err(format!("{name} goes from {before} to {target} only {after:?} after it was raised"));
    }
    Ok(())
}

/// Who gets less than it wants now.
fn short(run: &Run) -> BTreeSet<ProgramName> {
    let is_short = |scaler: &Scaler| scaler.decision.as_ref().is_some_and(|it| it.limit == Limit::Budget);
    let programs = run.machine.world().programs.iter();
    let short = programs.filter(|(_, program)| program.scaler.as_ref().is_some_and(is_short));
    short.map(|(name, _)| name.clone()).collect()
}

fn never_in_without_data(run: &Run, name: &ProgramName) -> Check {
    let program = run.machine.world().programs.get(name);
    let Some((program, scale)) = program.and_then(|program| Some((program, program.spec.scale()?))) else {
        return Ok(());
    };
    let of_program = run.shadow.readings.get(name);
    for (place, (queue, _)) in scale.queues().enumerate() {
        let readings = of_program.and_then(|queues| queues.get(queue)).copied().unwrap_or_default();
        let Some(Observation::Sample { at, ready, consumers }) = readings.last else {
            return Err(format!("{queue}: the newest reading is {:?}", readings.last));
        };
        let age = run.now.since(at);
        if age > run.limits.probe_interval * STALE_INTERVALS {
            return Err(format!("{queue}: the newest reading is {age:?} old"));
        }
        let is_polling = program.scaler.as_ref().is_some_and(|scaler| scaler.engine.is_polling(place));
        let oldest = program.fleet().oldest_running;
        let has_lived = oldest.zip(readings.consumers_seen_at).is_some_and(|(started, seen)| started < seen);
        if (ready, consumers) == (0, 0) && has_lived && !is_polling {
            return Err(format!("{queue} shows no consumers although the ones that it showed still run"));
        }
    }
    Ok(())
}
