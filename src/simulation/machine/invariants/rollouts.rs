//! What a rolling restart may do, and what it owes.

use crate::core::command::Plan;
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::observed::{Phase, StopCause};
use crate::core::rollout::Stage;
use crate::core::world::Program;
use crate::simulation::machine::run::{Check, Run};

/// A process is asked to end for a rolling restart: one that people asked for, and while a canary proves itself, only the
/// canary's predecessor.
pub(super) fn stop(run: &mut Run, process: &ProcessId, incarnation: Incarnation) -> Check {
    // A controller that died after the signal and before its note is followed by one that asks again.
    let is_asked_again = run.shadow.uncertain.contains(&incarnation);
    let Some(rolled) = run.shadow.rollouts.get_mut(&process.program) else {
        return Err(format!("{process} is replaced for a rolling restart that nobody asked for"));
    };
    rolled.stops += u32::from(!is_asked_again);
    let (stops, until) = (rolled.stops, rolled.until);
    let program = run.machine.world().programs.get(&process.program);
    let life = run.machine.world().slot(process).and_then(|slot| slot.phase.life());
    let is_changed =
        life.is_some_and(|life| program.is_some_and(|program| life.fingerprint != program.fingerprint));
    if incarnation > until && !is_changed {
        return Err(format!(
            "{process} is replaced for a rolling restart although its life {incarnation} is new"
        ));
    }
    let rollout = program.and_then(Program::rollout);
    let Some(rollout) = rollout else {
        return Err(format!("{process} is replaced for a rolling restart that is over"));
    };
    match &rollout.stage {
        Stage::Canary(canary)
            if canary.slot != Some(process.slot) || rollout.extra.is_some() || canary.passed =>
        {
            Err(format!("{process} is replaced although the canary has not proven itself: {rollout:?}"))
        }
        Stage::Canary(_) if stops > 1 && canary_chosen_once(run, process) => {
            Err(format!("{process} is the {stops}th that is replaced for a canary"))
        }
        Stage::Canary(_) | Stage::Rolling | Stage::Over(_) => Ok(()),
    }
}

/// A canary that people stop, or whose place they take away, is followed by another one.
fn canary_chosen_once(run: &Run, process: &ProcessId) -> bool {
    let Some(program) = run.machine.world().programs.get(&process.program) else { return true };
    program.wish.stopped_slots.is_empty() && program.wish.hold.is_none() && program.spec.scale().is_none()
}

/// Rules about where a step leads.
pub(super) fn after_step(run: &Run, plan: &Plan) -> Check {
    let programs = &run.machine.world().programs;
    for (name, program) in programs.iter().filter(|(_, program)| program.rollout().is_some()) {
        no_more_than_the_batch_are_away(run, plan, name, program)?;
        whoever_waits_says_why(run, plan, name, program)?;
    }
    Ok(())
}

/// When one is asked to end, so many others are of use as are wanted, less the batch.
fn no_more_than_the_batch_are_away(run: &Run, plan: &Plan, name: &ProgramName, program: &Program) -> Check {
    let stops = run.shadow.errands.begun_stops(plan);
    if !stops.iter().any(|(process, stop)| process.program == *name && stop.cause == StopCause::Rollout) {
        return Ok(());
    }
    let batch = run.shadow.rollouts.get(name).map_or(0, |rolled| rolled.rolling.batch) as usize;
    let wanted = program.wanted(false).slots;
    let is_away = |number: &u32| {
        program.slots.get(number).is_none_or(|slot| match &slot.phase {
            Phase::Running(..) | Phase::Exited { .. } | Phase::Failed { .. } => false,
            Phase::Starting(life, _) => !program.is_of_before(life),
            Phase::Empty
            | Phase::Preparing(..)
            | Phase::Spawning(_)
            | Phase::Stopping(..)
            | Phase::LeaderGone(..)
            | Phase::Backoff { .. } => true,
        })
    };
    let away = wanted.iter().filter(is_away).count();
    if away > batch {
        return Err(format!("{away} processes of {name} are away for a rolling restart, {batch} at most"));
    }
    Ok(())
}

fn whoever_waits_says_why(run: &Run, plan: &Plan, name: &ProgramName, program: &Program) -> Check {
    if run.shadow.shutdown.is_some() {
        return Ok(());
    }
    for (number, slot) in &program.slots {
        let waits = matches!(&slot.phase, Phase::Running(life, _) if program.is_of_before(life));
        let is_explained =
            plan.gaps.iter().any(|(program, slot, _)| program == name && *slot == Some(*number));
        if waits && !program.wish.stopped_slots.contains(number) && !is_explained {
            return Err(format!("{name}:{number} is to be replaced, is not, and nothing says why"));
        }
    }
    Ok(())
}
