//! When a process may be recycled.

use crate::core::command::Plan;
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::observed::{Phase, StopCause};
use crate::simulation::machine::configuration::{AGE_LIMIT, MEMORY_LIMIT};
use crate::simulation::machine::run::{Check, Run};

/// One that is recycled has grown too large or old, by the configuration that holds.
pub(super) fn stop(run: &Run, process: &ProcessId, incarnation: Incarnation) -> Check {
    let recycle = run.spec(&process.program).map(|spec| spec.recycle).unwrap_or_default();
    let child = run.keeper.children.get(&incarnation);
    // That it has ended may not have been told.
    let lived =
        child.and_then(|child| child.began_at()).map(|since| run.now.since(since)).unwrap_or_default();
    let memory = run.keeper.memory(run.now).into_iter().find(|(life, _)| *life == incarnation);
    let is_large =
        recycle.memory_bytes == Some(MEMORY_LIMIT) && memory.is_some_and(|(_, bytes)| bytes > MEMORY_LIMIT);
    let is_old = recycle.age == Some(AGE_LIMIT) && lived >= AGE_LIMIT.mul_f64(0.79);
    if is_large || is_old {
        return Ok(());
    }
    Err(format!("{process} is recycled after {lived:?}, with memory {memory:?}, by {recycle:?}"))
}

/// One at a time, and only while all others are of use.
pub(super) fn after_step(run: &Run, plan: &Plan) -> Check {
    let stops = run.shadow.errands.begun_stops(plan);
    for (process, _) in stops.into_iter().filter(|(_, stop)| stop.cause == StopCause::Recycle) {
        alone(run, &process.program)?;
    }
    Ok(())
}

fn alone(run: &Run, name: &ProgramName) -> Check {
    let Some(program) = run.machine.world().programs.get(name) else { return Ok(()) };
    let is_away = |number: &u32| {
        let phase = program.slots.get(number).map(|slot| &slot.phase);
        !matches!(phase, Some(Phase::Running(..) | Phase::Exited { .. }))
    };
    let away: Vec<u32> = program.wanted(false).slots.iter().filter(is_away).collect();
    let recycled = |stop: &&crate::core::observed::Stop| stop.cause == StopCause::Recycle;
    let recycled = program.slots.values().filter_map(|slot| slot.phase.stop()).filter(recycled).count();
    if away.len() > 1 || recycled > 1 {
        return Err(format!("{name}: one is recycled while {away:?} are away and {recycled} are recycled"));
    }
    Ok(())
}
