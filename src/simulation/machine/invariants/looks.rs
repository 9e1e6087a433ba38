//! Rules about those who are looked at from outside.

use crate::core::auxiliary::AuxiliaryPhase;
use crate::core::check::CheckFor;
use crate::core::command::{Command, Plan};
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::observed::Phase;
use crate::core::spec::ProgramSpec;
use crate::simulation::machine::run::{Check, Run};

/// Where a look or the output tells, nothing else makes a process that starts run; and whoever has failed too many looks does
/// not go on.
pub(super) fn after_step(run: &mut Run, plan: &Plan) -> Check {
    let mut unproven = std::mem::take(&mut run.looks.unproven);
    let world = run.machine.world();
    for (name, program) in &world.programs {
        let spec = run.spec(name).unwrap_or(&program.spec);
        let failures_max = spec.health.as_ref().map(|health| health.failures);
        for (number, slot) in &program.slots {
            // What an earlier keeper started may have printed it unread.
            let child = slot.phase.life().and_then(|life| run.keeper.children.get(&life.incarnation));
            let is_unread = child.is_some_and(|child| child.is_adopted);
            let is_printed = spec.awaited_output().is_some() && !is_unread;
            let has_to_be_shown = spec.check(CheckFor::Ready).is_some() || is_printed;
            match &slot.phase {
                Phase::Starting(life, _) => {
                    if has_to_be_shown && !slot.is_ready() {
                        unproven.insert(life.incarnation);
                    } else {
                        unproven.remove(&life.incarnation);
                    }
                }
                Phase::Running(life, _) => {
                    if unproven.contains(&life.incarnation) && has_to_be_shown {
                        return Err(format!("{name}:{number} runs and nothing has shown it to be of use"));
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
                Phase::Preparing(..)
                | Phase::Spawning(_)
                | Phase::Stopping(..)
                | Phase::LeaderGone(..)
                | Phase::Empty
                | Phase::Backoff { .. }
                | Phase::Exited { .. }
                | Phase::Failed { .. } => {}
            }
        }
    }
    nobody_is_asked_about_the_gone(run, plan)?;
    unproven.retain(|incarnation| world.lives.contains_key(incarnation));
    run.looks.unproven = unproven;
    Ok(())
}

/// A command about a process goes on only while that does.
fn nobody_is_asked_about_the_gone(run: &Run, plan: &Plan) -> Check {
    // A controller that dies meanwhile is followed by one that kills whatever is left of them.
    let is_planned = |life: Incarnation| {
        let kills = |command: &Command| matches!(command, Command::KillAuxiliary { incarnation, .. } if *incarnation == life);
        plan.commands.iter().any(kills)
    };
    let world = run.machine.world();
    for auxiliary in world.auxiliaries.values() {
        let (AuxiliaryPhase::Running { incarnation, .. }, Some((process, about))) =
            (auxiliary.phase, &auxiliary.about)
        else {
            continue;
        };
        let goes_on = world.slot(process).is_some_and(|slot| match &slot.phase {
            Phase::Preparing(life, _)
            | Phase::Spawning(life)
            | Phase::Starting(life, _)
            | Phase::Running(life, _) => life.incarnation == *about,
            Phase::Stopping(..)
            | Phase::LeaderGone(..)
            | Phase::Empty
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Failed { .. } => false,
        });
        if !goes_on && !run.looks.killed.contains(&incarnation) && !is_planned(incarnation) {
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
