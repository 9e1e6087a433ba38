//! Where a step may lead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{errands, looks, preparations, recycling, rollouts};
use crate::core::budget;
use crate::core::command::{Command, Plan};
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::machine::Machine;
use crate::core::memory_left::MemoryLeft;
use crate::core::observed::Phase;
use crate::core::plan::plan;
use crate::core::readiness::ReadyBy;
use crate::core::spec::ProgramSpec;
use crate::core::time::Time;
use crate::core::world::Program;
use crate::simulation::machine::keeper::Child;
use crate::simulation::machine::run::{Check, Run, process_of, process_of_hook};

/// Every rule about where a step leads.
pub(in crate::simulation::machine) fn after_step(run: &mut Run, plan: &Plan) -> Check {
    one_life_in_a_slot(run)?;
    nothing_that_lives_is_forgotten(run)?;
    nobody_runs_who_has_not_said_so(run)?;
    the_maximum_holds(run, plan)?;
    the_start_limit_holds(run, plan)?;
    the_budgets_hold(run, plan)?;
    memory_is_left(run, plan)?;
    planning_again_gives_nothing(run)?;
    a_wake_lies_ahead(run, plan)?;
    time_alone_changes_nothing_before_the_wake(run, plan)?;
    every_gap_has_a_reason(run, plan)?;
    rollouts::after_step(run, plan)?;
    recycling::after_step(run, plan)?;
    looks::after_step(run, plan)?;
    preparations::after_step(run)?;
    errands::after_step(run)?;
    the_end_comes_in_time(run)
}

fn one_life_in_a_slot(run: &Run) -> Check {
    let mut living: BTreeMap<&ProcessId, Incarnation> = BTreeMap::new();
    for (incarnation, child) in run.keeper.children.iter().filter(|(_, child)| child.lives()) {
        let Some(process) = &child.process else { continue };
        if let Some(other) = living.insert(process, *incarnation) {
            return Err(format!("{process} has two living processes: lives {other} and {incarnation}"));
        }
    }
    Ok(())
}

/// Whatever has not ended with all that it left is in a slot, or beside one.
fn nothing_that_lives_is_forgotten(run: &Run) -> Check {
    let world = run.machine.world();
    for (incarnation, child) in &run.keeper.children {
        let (Some(process), false) = (&child.process, child.is_gone()) else { continue };
        let is_known = world.slot(process).is_some_and(|slot| {
            slot.phase.life().is_some_and(|life| life.incarnation == *incarnation)
                || slot.leftovers.contains_key(incarnation)
        });
        if !is_known {
            return Err(format!(
                "life {incarnation} of {process} is not gone and the machine does not know it"
            ));
        }
    }
    Ok(())
}

/// Where its own word counts, nothing else makes a process run; what an earlier keeper started may have said it unheard.
fn nobody_runs_who_has_not_said_so(run: &Run) -> Check {
    for spec in &run.programs {
        let name = &spec.name;
        if spec.ready.as_ref().is_none_or(|ready| ready.by != ReadyBy::Notify) {
            continue;
        }
        let Some(program) = run.machine.world().programs.get(name) else { continue };
        for (number, slot) in &program.slots {
            let Phase::Running(life, _) = &slot.phase else { continue };
            // What runs since before a reload that asks for its word is being replaced.
            let child = run.keeper.children.get(&life.incarnation).filter(|child| child.has_socket);
            if child.is_some_and(|child| !child.voice.ready && !child.is_adopted) {
                return Err(format!("{name}:{number} runs and has not said that it is ready: {child:?}"));
            }
        }
    }
    Ok(())
}

fn spawned<'a>(run: &'a Run, plan: &Plan) -> BTreeMap<&'a ProgramName, &'a Program> {
    let names: BTreeSet<_> = plan
        .commands
        .iter()
        .filter(|command| matches!(command, Command::Spawn { .. }))
        .filter_map(|command| process_of(command).map(|process| &process.program))
        .collect();
    run.machine.world().programs.iter().filter(|(name, _)| names.contains(name)).collect()
}

fn the_maximum_holds(run: &Run, plan: &Plan) -> Check {
    for (name, program) in spawned(run, plan) {
        let Some(scale) = run.spec(name).and_then(ProgramSpec::scale) else { continue };
        let is_of = |child: &&Child| child.process.as_ref().is_some_and(|process| process.program == *name);
        let living = run.keeper.children.values().filter(|child| child.lives()).filter(is_of).count() as u32;
        let most = living.max(program.alive());
        if most > scale.max {
            return Err(format!("{name} has {most} processes, {} at most", scale.max));
        }
    }
    Ok(())
}

/// The programs of which a process begins to start. A start begins with its hook; one whose hook has succeeded goes on
/// where a reload has lowered a limit since.
fn begun<'a>(run: &'a Run, plan: &'a Plan) -> impl Iterator<Item = &'a Program> {
    let process = |command: &'a Command| match command {
        Command::Prepare { process, .. } => Some(process),
        Command::Spawn { process, life } => {
            (!run.shadow.preparations.was_prepared(life.incarnation)).then_some(process)
        }
        Command::EndPreparation { .. }
        | Command::RunHook { .. }
        | Command::EndHook { .. }
        | Command::PrepareStop { .. }
        | Command::Stop { .. }
        | Command::StopNext { .. }
        | Command::StopLeft { .. }
        | Command::Limit { .. }
        | Command::Watch { .. }
        | Command::Check { .. }
        | Command::Kill { .. }
        | Command::SpawnAuxiliary { .. }
        | Command::KillAuxiliary { .. }
        | Command::KillStray { .. } => None,
    };
    let processes = plan.commands.iter().filter_map(process);
    processes.filter_map(|process| run.machine.world().programs.get(&process.program))
}

fn the_start_limit_holds(run: &Run, plan: &Plan) -> Check {
    if !begun(run, plan).any(|program| program.scaler.is_some()) {
        return Ok(());
    }
    let programs = run.machine.world().programs.values().filter(|program| program.scaler.is_some());
    let starting: usize = programs.map(|program| program.fleet().starting.len()).sum();
    let limit = run.limits.starting;
    if starting > limit as usize {
        return Err(format!("{starting} scaled processes are starting at one time, {limit} at most"));
    }
    Ok(())
}

/// Nothing starts for which there is no room, whatever lives: those that finish their work, and those of programs that
/// were removed.
fn the_budgets_hold(run: &Run, plan: &Plan) -> Check {
    let programs = &run.machine.world().programs;
    for budget in &run.limits.budgets {
        if !begun(run, plan).any(|program| budget.use_of(program) > 0) {
            continue;
        }
        let living = run.keeper.children.values().filter(|child| child.lives());
        let of = |child: &Child| {
            programs.get(&child.process.as_ref()?.program).map(|program| budget.use_of(program))
        };
        let used = living.filter_map(of).sum::<u64>().max(budget::used(run.machine.world(), budget));
        if used > budget.limit {
            return Err(format!("{used} is used of {}", budget.words()));
        }
    }
    Ok(())
}

/// Where memory is short, nobody begins whom nothing guarantees.
fn memory_is_left(run: &Run, plan: &Plan) -> Check {
    let is_told = |told: &MemoryLeft| run.now < told.counts_until() && told.left < told.reserve();
    let is_short = run.memory_left.as_ref().is_some_and(is_told);
    let unasked =
        |program: &&Program| program.scaler.is_some() && program.alive() > budget::guaranteed(program);
    match begun(run, plan).find(|program| is_short && unasked(program)) {
        Some(program) => Err(format!("{} starts a process although memory is short", program.spec.name)),
        None => Ok(()),
    }
}

pub(super) fn planning_again_gives_nothing(run: &Run) -> Check {
    let again = plan(run.machine.world(), run.now);
    match again.commands.first() {
        Some(command) => Err(format!("planning again at the same moment gives {command:?}")),
        None => Ok(()),
    }
}

fn a_wake_lies_ahead(run: &Run, plan: &Plan) -> Check {
    match plan.wake_at.filter(|wake_at| *wake_at <= run.now) {
        Some(wake_at) => Err(format!("the next wake, {}, is not ahead", wake_at.as_seconds())),
        None => Ok(()),
    }
}

/// Looked at now and then, because it plans once more.
fn time_alone_changes_nothing_before_the_wake(run: &mut Run, plan: &Plan) -> Check {
    if !run.dice.chance(0.2) {
        return Ok(());
    }
    let longest = Duration::from_secs(7_200);
    let until = plan.wake_at.map_or(longest, |wake_at| wake_at.since(run.now).min(longest));
    let micros = until.as_micros() as u32;
    if micros < 2 {
        return Ok(());
    }
    let moment = run.now + Duration::from_micros(u64::from(1 + run.dice.below(micros - 1)));
    let mut machine = run.machine.clone();
    let early = machine.step(moment);
    // Where the engine thinks anew as time passes, the next reading, at most a second away, would ask it as well.
    let target = |machine: &Machine, name: &ProgramName| {
        let program = machine.world().programs.get(name)?;
        program.scaler.as_ref().map(|scaler| scaler.target)
    };
    let by_engine = |command: &&Command| {
        process_of(command).or_else(|| process_of_hook(command)).is_some_and(|process| {
            target(&machine, &process.program) != target(&run.machine, &process.program)
        })
    };
    match early.commands.iter().find(|command| !by_engine(command)) {
        Some(command) => Err(format!(
            "{command:?} is due {:?} from now, and nobody would wake for it before {:?}",
            moment.since(run.now),
            plan.wake_at.map(Time::as_seconds)
        )),
        None => Ok(()),
    }
}

fn every_gap_has_a_reason(run: &Run, plan: &Plan) -> Check {
    let world = run.machine.world();
    for (name, program) in &world.programs {
        let wanted = program.wanted(world.shutdown.is_some()).slots;
        for number in wanted.iter() {
            let phase = program.slots.get(&number).map(|slot| &slot.phase);
            let is_there = matches!(phase, Some(Phase::Running(..)));
            let is_explained =
                plan.gaps.iter().any(|(program, slot, _)| program == name && *slot == Some(number));
            if !is_there && !is_explained {
                return Err(format!("{name}:{number} is wanted, is {phase:?}, and nothing says why"));
            }
        }
        let is_explained = || plan.gaps.iter().any(|(program, slot, _)| program == name && slot.is_none());
        let by_hand = program.wish.stopped_slots.len() as u32;
        if wanted.is_empty() && program.count() > by_hand && !program.retiring && !is_explained() {
            return Err(format!("{name} should have {} processes, has none, and no reason", program.count()));
        }
    }
    Ok(())
}

fn the_end_comes_in_time(run: &Run) -> Check {
    match run.shadow.gone_by.filter(|gone_by| *gone_by < run.now && !run.finished) {
        Some(gone_by) => Err(format!(
            "everything should have ended by {}, and there are still {:?}",
            gone_by.as_seconds(),
            run.keeper.children.iter().filter(|(_, child)| !child.is_gone()).collect::<Vec<_>>()
        )),
        None => Ok(()),
    }
}
