//! Edits of what is desired. An edit touches wishes only; what follows is for the plan.

use std::collections::BTreeSet;

use super::desired::{Hold, StoppedBy};
use super::event::{Edit, EditError};
use super::ids::{Incarnation, ProcessId, ProgramName, Target};
use super::machine::{Machine, finish_rollout, release_hold};
use super::observed::{Phase, Slot, StopCause};
use super::rollout::{Canary, Rolling, Rollout, RolloutResult, Stage};
use super::runs::Origin;
use super::spec::Kind;
use super::time::Time;
use super::words;
use super::world::{Program, Shutdown, World};

impl Machine {
    /// Changes what is desired, and returns the programs that it concerns. `by` says how the person asked: `page`, `API`,
    /// `command line`.
    ///
    /// # Errors
    /// Nothing is changed when the edit is refused.
    pub fn edit(&mut self, edit: &Edit, by: &str, now: Time) -> Result<BTreeSet<ProgramName>, EditError> {
        let world = self.world_mut();
        if world.shutdown.is_some() && !matches!(edit, Edit::Shutdown | Edit::ShutdownNow) {
            return Err(EditError::Conflict("Leveret is shutting down".to_owned()));
        }
        match edit {
            Edit::Start(target) => each(world, target, |program, slot, _| {
                start(program, slot, now);
                if is_by_name(target) {
                    run_now(program);
                }
            }),
            Edit::Stop(target) => each(world, target, |program, slot, _| stop(program, slot, by)),
            Edit::Restart(target) => each(world, target, |program, slot, last| {
                start(program, slot, now);
                match slot {
                    // A run goes on to its end unless it is meant itself: the next one is a new process anyway.
                    _ if program.runs.is_some() => {
                        if is_by_name(target) {
                            run_anew(program);
                        }
                    }
                    Some(slot) => drop(program.wish.replace.slots.insert(slot, last)),
                    None => {
                        let why = "all processes are restarted at once".to_owned();
                        finish_rollout(program, RolloutResult::Ended, why, now);
                        program.wish.replace.all = last;
                    }
                }
            }),
            Edit::Roll(target, rolling) => roll(world, target, *rolling, by, now),
            Edit::Copy(target) => copy(world, target, by, now),
            Edit::Scale(name, processes, until) => {
                let program = find_mut(world, name)?;
                set_count(program, *processes, *until, by, now)?;
                Ok(BTreeSet::from([name.clone()]))
            }
            Edit::Auto(target) => each(world, target, |program, _, _| auto(program)),
            Edit::Pause(target) => each(world, target, |program, _, _| program.wish.paused = true),
            Edit::Resume(target) => each(world, target, |program, _, _| {
                program.wish.paused = false;
                go_on_from_the_target(program);
            }),
            Edit::Shutdown | Edit::ShutdownNow => {
                let shutdown =
                    world.shutdown.get_or_insert(Shutdown { since: now, at_once: false, exit_code: 0 });
                shutdown.at_once |= *edit == Edit::ShutdownNow;
                Ok(world.programs.keys().cloned().collect())
            }
        }
    }

    /// The processes that a target names at present, in the order of the configuration.
    ///
    /// # Errors
    /// [`EditError::NoSuchName`].
    pub fn resolve(&self, target: &Target) -> Result<Vec<ProcessId>, EditError> {
        let world = self.world();
        let names = names(world, target)?;
        let only = match target {
            Target::Process(process) => Some(process.slot),
            Target::All | Target::Project(_) | Target::Program(_) => None,
        };
        let mut processes = Vec::new();
        for name in world.order.iter().filter(|name| names.contains(*name)) {
            let slots =
                world.programs[name].slots.keys().filter(|slot| only.is_none_or(|only| only == **slot));
            processes.extend(slots.map(|slot| ProcessId::new(name.clone(), *slot)));
        }
        Ok(processes)
    }
}

fn each(
    world: &mut World,
    target: &Target,
    mut edit: impl FnMut(&mut Program, Option<u32>, Incarnation),
) -> Result<BTreeSet<ProgramName>, EditError> {
    let names = names(world, target)?;
    let slot = match target {
        Target::Process(process) => Some(slot_of(&world.programs[&process.program], process)?),
        Target::All | Target::Project(_) | Target::Program(_) => None,
    };
    let last = world.last_incarnation;
    for name in &names {
        if let Some(program) = world.programs.get_mut(name) {
            edit(program, slot, last);
        }
    }
    Ok(names)
}

/// The programs that a target names.
fn names(world: &World, target: &Target) -> Result<BTreeSet<ProgramName>, EditError> {
    match target {
        Target::All => Ok(world.programs.keys().cloned().collect()),
        Target::Project(project) => {
            let of_project = |program: &&Program| program.spec.project.as_deref() == Some(project);
            let members: BTreeSet<_> =
                world.programs.values().filter(of_project).map(|program| program.spec.name.clone()).collect();
            if members.is_empty() {
                return Err(EditError::NoSuchName(format!("there is no project \"{project}\"")));
            }
            Ok(members)
        }
        Target::Program(name) => {
            find(world, name)?;
            Ok(BTreeSet::from([name.clone()]))
        }
        Target::Process(process) => {
            slot_of(find(world, &process.program)?, process)?;
            Ok(BTreeSet::from([process.program.clone()]))
        }
    }
}

fn find<'a>(world: &'a World, name: &ProgramName) -> Result<&'a Program, EditError> {
    world.programs.get(name).ok_or_else(|| no_such_program(name))
}

fn find_mut<'a>(world: &'a mut World, name: &ProgramName) -> Result<&'a mut Program, EditError> {
    world.programs.get_mut(name).ok_or_else(|| no_such_program(name))
}

fn no_such_program(name: &ProgramName) -> EditError {
    EditError::NoSuchName(format!("there is no program \"{name}\""))
}

/// The slot of a process that exists, or that is kept empty by hand and may be started again.
fn slot_of(program: &Program, process: &ProcessId) -> Result<u32, EditError> {
    let slot = process.slot;
    let fixed = program.scaler.is_none() && slot < program.count();
    if fixed || program.slots.contains_key(&slot) || program.wish.stopped_slots.contains(&slot) {
        return Ok(slot);
    }
    Err(EditError::NoSuchName(format!("there is no process \"{process}\"")))
}

/// Whether a target names one program, and not several by a word for them.
fn is_by_name(target: &Target) -> bool {
    match target {
        Target::Program(_) | Target::Process(_) => true,
        Target::All | Target::Project(_) => false,
    }
}

/// A program with a schedule runs now, unless it does already.
fn run_now(program: &mut Program) {
    if let Some(runs) = program.runs.as_mut().filter(|runs| runs.current.is_none() || runs.cut.is_some()) {
        runs.waiting = Some(Origin::Hand);
    }
}

/// A program with a schedule runs now; a run under way makes room.
fn run_anew(program: &mut Program) {
    if let Some(runs) = &mut program.runs {
        runs.waiting = Some(Origin::Hand);
        if runs.current.is_some() {
            runs.cut.get_or_insert(StopCause::Restart);
        }
    }
}

/// Replaces processes one after another. Whoever names several programs by one word does not mean those that are stopped,
/// that run by a schedule, or that rest.
fn roll(
    world: &mut World,
    target: &Target,
    rolling: Rolling,
    by: &str,
    now: Time,
) -> Result<BTreeSet<ProgramName>, EditError> {
    if rolling.batch == 0 {
        return Err(EditError::Invalid("at least one process at a time can be replaced, not 0".to_owned()));
    }
    let mut names = names(world, target)?;
    match target {
        Target::Process(process) => {
            return Err(EditError::Invalid(format!(
                "a rolling restart is of a whole program; restart {process} without it"
            )));
        }
        Target::Program(name) => {
            let program = find(world, name)?;
            if program.retiring {
                return Err(removed(name));
            }
            if program.runs.is_some() {
                return Err(EditError::Invalid(format!(
                    "\"{name}\" runs by its schedule, and its next run is a new process anyway"
                )));
            }
        }
        Target::All | Target::Project(_) => {
            names.retain(|name| {
                let program = &world.programs[name];
                !program.retiring && program.runs.is_none() && program.wish.stopped.is_none()
            });
            if names.is_empty() {
                return Err(EditError::Conflict(format!(
                    "nothing of \"{target}\" can be restarted: its programs are stopped or run by a schedule"
                )));
            }
        }
    }
    let used = world.programs.values().filter_map(|program| program.wish.rollout.as_ref());
    let id = 1 + used.map(|rollout| rollout.id).max().unwrap_or(0);
    let until = world.last_incarnation;
    for name in &names {
        let program = find_mut(world, name)?;
        if is_by_name(target) {
            start(program, None, now);
        }
        let is_failing = |slot: &Slot| matches!(slot.phase, Phase::Backoff { .. } | Phase::Failed { .. });
        let failing = program.slots.iter().filter(|(_, slot)| is_failing(slot)).map(|(number, _)| *number);
        program.wish.forgiven_slots.extend(failing.map(|number| (number, now)).collect::<Vec<_>>());
        let stage = match rolling.canary {
            Some(lasting) => Stage::Canary(Canary { lasting, slot: None, ready: None, passed: false }),
            None => Stage::Rolling,
        };
        let (by, batch, total) = (by.to_owned(), rolling.batch, program.alive());
        program.wish.rollout = Some(Rollout { id, by, since: now, until, batch, total, extra: None, stage });
    }
    Ok(names)
}

/// Lets the engine go on from the count that is shown.
fn go_on_from_the_target(program: &mut Program) {
    if let (Some(scaler), Some(scale)) = (&mut program.scaler, program.spec.scale()) {
        scaler.resume_engine_at(scaler.target, scale);
    }
}

fn start(program: &mut Program, slot: Option<u32>, now: Time) {
    // The engine was not asked meanwhile, and the file may have changed: it goes on from the count that is shown.
    if program.wish.stopped.is_some() {
        go_on_from_the_target(program);
    }
    match slot {
        None => {
            program.wish.stopped = None;
            if program.scaler.is_none() {
                program.wish.stopped_slots.clear();
            }
            program.wish.forgiven_at = Some(now);
        }
        Some(slot) => {
            // Starting one process of a stopped program starts that one only.
            if program.wish.stopped.take().is_some() && program.scaler.is_none() {
                program.wish.stopped_slots = (0..program.count()).collect();
            }
            program.wish.forgiven_slots.insert(slot, now);
            if program.wish.stopped_slots.remove(&slot)
                && program.scaler.is_some()
                && let Some(hold) = &mut program.wish.hold
            {
                hold.processes += 1;
            }
        }
    }
}

/// Stopping a process of a scaled program holds the program at one less, so that no other takes its place. One that is not
/// wanted any more has no place.
fn stop(program: &mut Program, slot: Option<u32>, by: &str) {
    let Some(slot) = slot else {
        program.wish.stopped = Some(StoppedBy::Operator(by.to_owned()));
        return;
    };
    let has_place = program.wish.stopped.is_some() || program.wanted(false).slots.contains(slot);
    if has_place && !program.wish.stopped_slots.contains(&slot) && program.scaler.is_some() {
        let processes = program.count().saturating_sub(1);
        program.wish.hold = Some(Hold { processes, until: None, by: by.to_owned() });
    }
    program.wish.stopped_slots.insert(slot);
}

/// Gives the count back to the engine or the file. Stopping one process of a scaled program was a way to say how many; one
/// of a service was meant itself.
fn auto(program: &mut Program) {
    release_hold(program);
    let fixed = if program.scaler.is_some() { 0 } else { program.count() };
    program.wish.stopped_slots.retain(|slot| *slot < fixed);
}

fn copy(world: &mut World, target: &Target, by: &str, now: Time) -> Result<BTreeSet<ProgramName>, EditError> {
    let mut names = names(world, target)?;
    // Whoever asks for one more of all does not mean those that run one at a time.
    names.retain(|name| is_by_name(target) || world.programs[name].runs.is_none());
    for name in &names {
        let program = &world.programs[name];
        check_count(program, program.count() + 1)?;
    }
    for name in &names {
        let program = find_mut(world, name)?;
        let processes = program.count() + 1;
        set_count(program, processes, None, by, now)?;
    }
    Ok(names)
}

/// A count above the engine's wish ends by itself; one at or below it stays, because somebody had a reason.
fn set_count(
    program: &mut Program,
    processes: u32,
    until: Option<Time>,
    by: &str,
    now: Time,
) -> Result<(), EditError> {
    check_count(program, processes)?;
    let until = match (&program.scaler, until) {
        (Some(scaler), None) if processes > scaler.target => Some(now + HOLD_ABOVE),
        (_, until) => until,
    };
    if program.wish.stopped.take().is_some() {
        program.wish.forgiven_at = Some(now);
    }
    if let Kind::Service { processes: configured } = program.spec.kind {
        // A place that is added now was not meant by an earlier stop; one that the file has was, whatever the count is by
        // hand just now.
        let present = program.count().max(configured);
        program.wish.stopped_slots.retain(|slot| *slot < present);
    }
    program.wish.hold = Some(Hold { processes, until, by: by.to_owned() });
    Ok(())
}

/// How long a hold above the engine's wish lasts when nobody says how long.
pub const HOLD_ABOVE: std::time::Duration = std::time::Duration::from_secs(15 * 60);

/// The most processes that a service may be set to by hand.
pub const SERVICE_PROCESSES_MAX: u32 = 1_000;

fn removed(name: &ProgramName) -> EditError {
    EditError::Conflict(format!("\"{name}\" was removed from the configuration and is ending"))
}

fn check_count(program: &Program, processes: u32) -> Result<(), EditError> {
    let name = &program.spec.name;
    if program.retiring {
        return Err(removed(name));
    }
    match &program.spec.kind {
        Kind::Scaled(scale) if processes > scale.max => Err(EditError::Invalid(format!(
            "\"{name}\" may have {} at most; raise scale.max to allow {processes}",
            words::processes(scale.max)
        ))),
        Kind::Service { .. } if processes > SERVICE_PROCESSES_MAX => Err(EditError::Invalid(format!(
            "\"{name}\" cannot be set to {processes} processes; the most is {SERVICE_PROCESSES_MAX}"
        ))),
        Kind::Scheduled(_) => Err(EditError::Invalid(format!(
            "\"{name}\" runs by its schedule, one process at a time; start it to run it now"
        ))),
        Kind::Scaled(_) | Kind::Service { .. } => Ok(()),
    }
}
