//! What has to be so on certain occasions: a configuration taken over, the end, and when everything has settled.

use super::errands;
use super::steps::planning_again_gives_nothing;
use crate::core::budget;
use crate::core::configure::{Changes, Class};
use crate::core::dependency;
use crate::core::gap::Gap;
use crate::core::ids::ProgramName;
use crate::core::observed::{Phase, StopManners};
use crate::core::plan::plan;
use crate::core::spec::ProgramSpec;
use crate::core::world::Program;
use crate::simulation::machine::keeper::Child;
use crate::simulation::machine::run::{Check, Run};

/// An equal configuration was taken over.
pub(in crate::simulation::machine) fn equal_configuration(run: &Run, changes: &Changes) -> Check {
    if changes.0.iter().any(|change| change.class != Class::Unchanged) {
        return Err(format!("an equal configuration is said to change {changes:?}"));
    }
    planning_again_gives_nothing(run).map_err(|why| format!("after an equal configuration, {why}"))
}

/// The machine says that everything has ended.
pub(in crate::simulation::machine) fn finished(run: &Run) -> Check {
    match run.keeper.children.iter().find(|(_, child)| !child.is_gone()) {
        Some((incarnation, child)) => {
            Err(format!("all is said to have ended and life {incarnation} goes on: {child:?}"))
        }
        None => Ok(()),
    }
}

/// Nothing disturbs any more and time enough has passed: what is wanted is what is.
pub(in crate::simulation::machine) fn converged(run: &Run) -> Check {
    nothing_is_imagined(run)?;
    errands::at_rest(run)?;
    for (name, program) in &run.machine.world().programs {
        if program.retiring {
            return Err(format!("{name} was removed and is still ending: {:?}", program.slots));
        }
        // What is recycled by its age never comes to rest either.
        if program.spec.recycle.age.is_some() {
            continue;
        }
        // A schedule never comes to rest: a run may have begun this moment, or be ending.
        if program.runs.is_some() {
            continue;
        }
        let wanted = program.wanted(false).slots;
        for number in wanted.iter() {
            let phase = program.slots.get(&number).map(|slot| &slot.phase);
            let rests =
                matches!(phase, Some(Phase::Running(..) | Phase::Exited { .. } | Phase::Failed { .. }));
            let waits = dependency::missing(run.machine.world(), program).is_some();
            let may_wait = matches!(phase, None | Some(Phase::Empty | Phase::Backoff { .. }));
            // Whoever has what it is sure to have may wait for room for ever.
            let has_no_room = program.alive() >= budget::guaranteed(program) && lacks_room(run, name, number);
            if !(rests || (waits || has_no_room) && may_wait) {
                let gap = gap_of(run, name, number);
                return Err(format!("{name}:{number} is wanted and is {phase:?}, because {gap:?}"));
            }
        }
        let is_spared = program.scaler.is_some() && program.manners == StopManners::DiesOfIt;
        for (number, slot) in &program.slots {
            if !wanted.contains(*number) && !slot.is_vacant() && !is_spared {
                return Err(format!("{name}:{number} is not wanted and is {:?}", slot.phase));
            }
            if !slot.leftovers.is_empty() {
                return Err(format!("{name}:{number} has leftovers: {:?}", slot.leftovers));
            }
        }
        a_rollout_has_ended(run, name, program)?;
        at_least_the_minimum(run, name, program)?;
    }
    Ok(())
}

fn lacks_room(run: &Run, name: &ProgramName, number: u32) -> bool {
    matches!(gap_of(run, name, number), Some(Gap::Budget { .. }))
}

/// What keeps a process from being what is wanted.
fn gap_of(run: &Run, name: &ProgramName, number: u32) -> Option<Gap> {
    let gaps = plan(run.machine.world(), run.now).gaps;
    let is_it =
        |(program, slot, _): &(ProgramName, Option<u32>, Gap)| program == name && *slot == Some(number);
    gaps.into_iter().find(is_it).map(|(_, _, gap)| gap)
}

/// Unless a program that is restarted together with it waits for another one that never comes, or for room that there never is.
fn a_rollout_has_ended(run: &Run, name: &ProgramName, program: &Program) -> Check {
    let world = run.machine.world();
    let Some(rollout) = program.rollout() else { return Ok(()) };
    let waits = |other: &Program| {
        let lacks = |number: u32| lacks_room(run, &other.spec.name, number);
        other.rollout().is_some_and(|other| other.id == rollout.id)
            && (dependency::missing(world, other).is_some() || other.wanted(false).slots.iter().any(lacks))
    };
    if world.programs.values().any(waits) {
        return Ok(());
    }
    Err(format!("the rolling restart of {name} never ends: {rollout:?}"))
}

fn at_least_the_minimum(run: &Run, name: &ProgramName, program: &Program) -> Check {
    let world = run.machine.world();
    let Some(scale) = run.spec(name).and_then(ProgramSpec::scale) else { return Ok(()) };
    let rests = |phase: &Phase| matches!(phase, Phase::Exited { .. } | Phase::Failed { .. });
    let resting = program.slots.values().filter(|slot| rests(&slot.phase)).count() as u32;
    let held = program.wish.hold.is_some() || program.wish.stopped.is_some();
    let waits = dependency::missing(world, program).is_some();
    if !held && !waits && program.live() + resting < scale.min {
        return Err(format!("{name} has {} processes and its minimum is {}", program.live(), scale.min));
    }
    Ok(())
}

/// The machine and the keeper agree on what lives, but for what the keeper has just told.
fn nothing_is_imagined(run: &Run) -> Check {
    for (incarnation, owner) in &run.machine.world().lives {
        let is_gone = run.keeper.children.get(incarnation).is_none_or(Child::is_gone);
        if is_gone && !run.keeper.has_news_of_life(*incarnation) {
            return Err(format!("the machine believes in life {incarnation} of {owner:?}, and it is gone"));
        }
    }
    Ok(())
}
