//! Rules about those who are looked at from outside.

use crate::core::auxiliary::AuxiliaryPhase;
use crate::core::check::CheckFor;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::observed::Phase;
use crate::core::spec::ProgramSpec;
use crate::simulation::machine::run::{Check, Run};

/// Where a look tells, nothing else makes a process that starts run; and whoever has failed too many looks does not go on.
pub(super) fn after_step(run: &mut Run) -> Check {
    let mut unproven = std::mem::take(&mut run.looks.unproven);
    let world = run.machine.world();
    for (name, program) in &world.programs {
        let spec = run.spec(name).unwrap_or(&program.spec);
        let failures_max = spec.health.as_ref().map(|health| health.failures);
        for (number, slot) in &program.slots {
            match &slot.phase {
                Phase::Starting(life, _) => {
                    if spec.check(CheckFor::Ready).is_some() && !slot.is_ready() {
                        unproven.insert(life.incarnation);
                    } else {
                        unproven.remove(&life.incarnation);
                    }
                }
                Phase::Running(life, _) => {
                    if unproven.contains(&life.incarnation) && spec.check(CheckFor::Ready).is_some() {
                        return Err(format!("{name}:{number} runs and no look has found it well"));
                    }
                    let failed = run.looks.at.get(&life.incarnation).map_or(0, |looked| looked.failed);
                    // What ends anyway ends in its order.
                    let is_ending = run.shadow.shutdown.is_some();
                    if failures_max.is_some_and(|most| failed >= most) && !is_ending {
                        return Err(format!(
                            "{name}:{number} goes on although {failed} looks found it unwell"
                        ));
                    }
                }
                Phase::Spawning(_)
                | Phase::Stopping(..)
                | Phase::LeaderGone(..)
                | Phase::Empty
                | Phase::Backoff { .. }
                | Phase::Exited { .. }
                | Phase::Failed { .. } => {}
            }
        }
    }
    nobody_is_asked_about_the_gone(run)?;
    unproven.retain(|incarnation| world.lives.contains_key(incarnation));
    run.looks.unproven = unproven;
    Ok(())
}

/// A command about a process goes on only while that does.
fn nobody_is_asked_about_the_gone(run: &Run) -> Check {
    let world = run.machine.world();
    for auxiliary in world.auxiliaries.values() {
        let (AuxiliaryPhase::Running { incarnation, .. }, Some((process, about))) =
            (auxiliary.phase, &auxiliary.about)
        else {
            continue;
        };
        let goes_on = world.slot(process).is_some_and(|slot| match &slot.phase {
            Phase::Spawning(life) | Phase::Starting(life, _) | Phase::Running(life, _) => {
                life.incarnation == *about
            }
            Phase::Stopping(..)
            | Phase::LeaderGone(..)
            | Phase::Empty
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Failed { .. } => false,
        });
        if !goes_on && !run.looks.killed.contains(&incarnation) {
            return Err(format!("{process} has ended or is about to, and a command about it goes on"));
        }
    }
    Ok(())
}

/// A process is stopped as unhealthy only after so many looks in a row.
pub(super) fn unhealthy_only_when_it_is(
    run: &Run,
    process: &ProcessId,
    incarnation: Incarnation,
    spec: &ProgramSpec,
) -> Check {
    let failed = run.looks.at.get(&incarnation).map_or(0, |looked| looked.failed);
    if spec.health.as_ref().is_none_or(|health| failed < health.failures) {
        return Err(format!(
            "life {incarnation} of {process} is stopped as unhealthy, and {failed} looks in a row have failed"
        ));
    }
    Ok(())
}
