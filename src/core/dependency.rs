//! The order of programs: what waits for whom at a start, and for whom at a stop. It is asked anew at every plan, so that
//! it holds after a crash of what others need as it does at the first start.

use std::collections::BTreeMap;

use super::exit::ExitStatus;
use super::gap::Gap;
use super::ids::ProgramName;
use super::observed::{Phase, Slot};
use super::spec::{Dependency, Kind, Until};
use super::world::{Program, World};

/// Why no process of `program` may start yet, as far as others are concerned.
pub fn missing(world: &World, program: &Program) -> Option<Gap> {
    program.spec.depends_on.iter().find_map(|dependency| {
        let needed = world.programs.get(&dependency.program).filter(|needed| !needed.retiring);
        let trouble = match needed {
            Some(needed) if is_met(needed, dependency.until) => return None,
            Some(needed) => trouble(needed, dependency),
            None => Some("which is not in the configuration any more".to_owned()),
        };
        let program = dependency.program.to_string();
        Some(Gap::Dependency { program, until: dependency.until, trouble })
    })
}

fn is_met(needed: &Program, until: Until) -> bool {
    let runs = |phase: &Phase| matches!(phase, Phase::Running(..));
    match until {
        Until::Started => {
            needed.slots.values().any(|slot| matches!(slot.phase, Phase::Starting(..) | Phase::Running(..)))
        }
        Until::Ready => {
            let wanted = needed.wanted(false).slots;
            let is_running = |number: u32| needed.slots.get(&number).is_some_and(|slot| runs(&slot.phase));
            match needed.spec.kind {
                _ if needed.wish.stopped.is_some() => false,
                Kind::Service { .. } | Kind::Scheduled(_) => {
                    !wanted.is_empty() && wanted.iter().all(is_running)
                }
                Kind::Scaled(_) => wanted.is_empty() || wanted.iter().any(is_running),
            }
        }
        Until::Completed => {
            // One that is about to be started once more has not come so far this time.
            let rests = |number: u32, phase: &Phase| matches!(phase, Phase::Exited { at } if !needed.wish.forgives(number, *at));
            let has_completed = |(number, slot): (&u32, &Slot)| {
                let ended_well = slot.last_exit.is_some_and(ExitStatus::is_clean) && slot.unfit.is_none();
                slot.is_vacant() && ended_well && rests(*number, &slot.phase)
            };
            !needed.slots.is_empty() && needed.slots.iter().all(has_completed)
        }
    }
}

/// What a person should know of it, where waiting alone does not help.
fn trouble(needed: &Program, dependency: &Dependency) -> Option<String> {
    if needed.wish.stopped.is_some() {
        return Some("which is stopped".to_owned());
    }
    needed.slots.values().find_map(|slot| match &slot.phase {
        Phase::Failed { .. } => Some("which is given up".to_owned()),
        Phase::Backoff { .. } => Some("which fails and is started again".to_owned()),
        Phase::Exited { .. } => match (dependency.until, slot.last_exit) {
            (Until::Completed, Some(status)) if status.is_clean() => None,
            (_, Some(status)) => Some(format!("which ended: {status}")),
            (_, None) => Some("which ended".to_owned()),
        },
        Phase::Empty
        | Phase::Preparing(..)
        | Phase::Spawning(_)
        | Phase::Starting(..)
        | Phase::Running(..)
        | Phase::Stopping(..)
        | Phase::LeaderGone(..) => None,
    })
}

/// The programs that need each program.
#[derive(Debug, Default)]
pub struct Dependents<'a>(BTreeMap<&'a ProgramName, Vec<&'a Program>>);

impl<'a> Dependents<'a> {
    /// Those of a world. A program that was removed is waited for by none: what it needed may need it in the new file.
    pub fn of(world: &'a World) -> Self {
        let mut dependents: BTreeMap<&ProgramName, Vec<&Program>> = BTreeMap::new();
        for program in world.programs.values().filter(|program| !program.retiring) {
            for dependency in &program.spec.depends_on {
                dependents.entry(&dependency.program).or_default().push(program);
            }
        }
        Self(dependents)
    }

    /// The program that must have ended before `program` as a whole is asked to: it needs `program`, is to end as well,
    /// and something of it lives.
    pub fn to_end_before(&self, program: &Program, shutting_down: bool) -> Option<&'a Program> {
        let dependents = self.0.get(&program.spec.name)?;
        let ends = |dependent: &&&Program| {
            dependent.wanted(shutting_down).slots.is_empty()
                && dependent.slots.values().any(|slot| slot.phase.life().is_some())
        };
        dependents.iter().find(ends).copied()
    }
}
