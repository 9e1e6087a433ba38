//! The rules, each as a function with a sentence for whoever breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::keeper::{Child, State};
use super::run::{Check, Run, incarnation, process_of};
use crate::core::command::{Command, Plan};
use crate::core::configure::Changes;
use crate::core::desired::{StoppedBy, Wish};
use crate::core::event::Notice;
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::machine::Machine;
use crate::core::observed::{Phase, StopManners};
use crate::core::plan::plan;
use crate::core::spec::Kind;
use crate::core::time::Time;
use crate::core::world::Program;
use crate::scaling::input::Observation;

/// How many readings may be lost before what is known is stale.
const STALE_INTERVALS: u32 = 3;

// ---- before a command is carried out

/// Every rule about one command.
pub(super) fn command(run: &mut Run, command: &Command) -> Check {
    match command {
        Command::Spawn { process, life } => {
            never_an_old_number(run, life.incarnation)?;
            no_start_during_shutdown(run, command)?;
            no_start_of_what_an_operator_stopped(run, process)?;
            no_start_beside_another_life(run, process)?;
            no_start_over_what_is_not_known_to_be_left(run, process)?;
        }
        Command::SpawnAuxiliary { incarnation, .. } => {
            never_an_old_number(run, *incarnation)?;
            no_start_during_shutdown(run, command)?;
        }
        Command::Stop { incarnation, .. } => {
            nothing_is_sent_to_the_gone(run, command)?;
            asked_only_once(run, *incarnation)?;
        }
        Command::StopLeft { incarnation, .. } => {
            nothing_is_sent_to_the_gone(run, command)?;
            let is_new = run.shadow.asked_left.insert(*incarnation);
            if !is_new && !run.shadow.uncertain.contains(incarnation) {
                return Err(format!("what life {incarnation} left behind is asked to end a second time"));
            }
        }
        Command::Kill { incarnation, .. } => {
            nothing_is_sent_to_the_gone(run, command)?;
            killed_only_when_somebody_insists(run, *incarnation)?;
        }
        Command::KillAuxiliary { .. } | Command::KillStray { .. } => {
            nothing_is_sent_to_the_gone(run, command)?
        }
        Command::Limit { .. } => {}
    }
    Ok(())
}

fn never_an_old_number(run: &Run, incarnation: Incarnation) -> Check {
    let last = run.keeper.last_incarnation;
    if incarnation <= last {
        return Err(format!("life {incarnation} is ordered although lives up to {last} were"));
    }
    Ok(())
}

fn no_start_during_shutdown(run: &Run, command: &Command) -> Check {
    match run.shadow.shutdown {
        Some(_) => Err(format!("{command:?} is ordered although Leveret shuts down")),
        None => Ok(()),
    }
}

fn no_start_of_what_an_operator_stopped(run: &Run, process: &ProcessId) -> Check {
    let stopped = run.shadow.stops.get(&process.program);
    if stopped.is_some_and(|stopped| stopped.covers(process.slot)) {
        return Err(format!("{process} is started although an operator stopped it: {stopped:?}"));
    }
    Ok(())
}

fn of<'a>(run: &'a Run, process: &ProcessId) -> impl Iterator<Item = (Incarnation, &'a Child)> {
    let process = process.clone();
    run.keeper
        .children
        .iter()
        .filter(move |(_, child)| child.process.as_ref() == Some(&process))
        .map(|(incarnation, child)| (*incarnation, child))
}

fn no_start_beside_another_life(run: &Run, process: &ProcessId) -> Check {
    match of(run, process).find(|(_, child)| child.lives()) {
        Some((incarnation, _)) => {
            Err(format!("{process} is started although its life {incarnation} goes on"))
        }
        None => Ok(()),
    }
}

fn no_start_over_what_is_not_known_to_be_left(run: &Run, process: &ProcessId) -> Check {
    let slot = run.machine.world().slot(process);
    let is_known =
        |incarnation: &Incarnation| slot.is_some_and(|slot| slot.leftovers.contains_key(incarnation));
    let left = of(run, process)
        .filter(|(incarnation, child)| !child.is_gone() && !run.shadow.told_gone.contains(incarnation))
        .find(|(incarnation, _)| !is_known(incarnation));
    match left {
        Some((incarnation, _)) => Err(format!(
            "{process} is started although life {incarnation} is not gone and not written down as left over"
        )),
        None => Ok(()),
    }
}

fn nothing_is_sent_to_the_gone(run: &Run, command: &Command) -> Check {
    let Some(incarnation) = incarnation(command) else { return Ok(()) };
    if run.shadow.told_gone.contains(&incarnation) {
        return Err(format!("{command:?} although the keeper said that nothing of {incarnation} is left"));
    }
    Ok(())
}

fn asked_only_once(run: &Run, incarnation: Incarnation) -> Check {
    let asked = run.keeper.children.get(&incarnation).and_then(|child| child.asked_at);
    match asked.filter(|_| !run.shadow.uncertain.contains(&incarnation)) {
        Some(at) => Err(format!("life {incarnation} is asked to end again; it was at {}", at.as_seconds())),
        None => Ok(()),
    }
}

/// A drain takes as long as it takes. Only an operator, a removal, the shutdown, or a main process that ended by itself
/// lead to a kill, and never before the stop timeout.
fn killed_only_when_somebody_insists(run: &Run, incarnation: Incarnation) -> Check {
    let Some(child) = run.keeper.children.get(&incarnation) else { return Ok(()) };
    let ended_by_itself = match child.state {
        State::Exited { at, .. } => child.asked_at.is_none_or(|asked| asked >= at),
        State::Ordered | State::Running { .. } | State::CouldNotSpawn { .. } => false,
    };
    if ended_by_itself {
        return Ok(());
    }
    if let Some(insisted) = run.shadow.insisted.get(&incarnation) {
        if run.now < insisted.kill_from {
            let early = insisted.kill_from.since(run.now);
            return Err(format!("life {incarnation} is killed {early:?} before its stop timeout is over"));
        }
        return Ok(());
    }
    Err(format!("life {incarnation} is killed although nobody insisted on its end"))
}

// ---- after a step

/// Every rule about where a step leads.
pub(super) fn after_step(run: &mut Run, plan: &Plan) -> Check {
    one_life_in_a_slot(run)?;
    nothing_that_lives_is_forgotten(run)?;
    the_maximum_holds(run, plan)?;
    the_start_limit_holds(run, plan)?;
    planning_again_gives_nothing(run)?;
    a_wake_lies_ahead(run, plan)?;
    time_alone_changes_nothing_before_the_wake(run, plan)?;
    every_gap_has_a_reason(run, plan)?;
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
        let Some(scale) = program.spec.scale() else { continue };
        let is_of = |child: &&Child| child.process.as_ref().is_some_and(|process| process.program == *name);
        let living = run.keeper.children.values().filter(|child| child.lives()).filter(is_of).count() as u32;
        let most = living.max(program.alive());
        if most > scale.max {
            return Err(format!("{name} is started {most} times, {} at most", scale.max));
        }
    }
    Ok(())
}

fn the_start_limit_holds(run: &Run, plan: &Plan) -> Check {
    if !spawned(run, plan).values().any(|program| program.scaler.is_some()) {
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

fn planning_again_gives_nothing(run: &Run) -> Check {
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
        process_of(command).is_some_and(|process| {
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

/// What the engine decided.
pub(super) fn decisions(run: &Run, notices: &[Notice]) -> Check {
    for notice in notices {
        let Notice::Decided(name, decision) = notice else { continue };
        if decision.target < decision.before {
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

// ---- occasions

/// An equal configuration was taken over.
pub(super) fn equal_configuration(run: &Run, changes: &Changes) -> Check {
    if *changes != Changes::default() {
        return Err(format!("an equal configuration is said to change {changes:?}"));
    }
    planning_again_gives_nothing(run).map_err(|why| format!("after an equal configuration, {why}"))
}

/// The machine says that everything has ended.
pub(super) fn finished(run: &Run) -> Check {
    match run.keeper.children.iter().find(|(_, child)| !child.is_gone()) {
        Some((incarnation, child)) => {
            Err(format!("all is said to have ended and life {incarnation} goes on: {child:?}"))
        }
        None => Ok(()),
    }
}

/// What is wanted of each program.
pub(super) fn wishes(machine: &Machine) -> BTreeMap<ProgramName, Wish> {
    let programs = &machine.world().programs;
    programs.iter().map(|(name, program)| (name.clone(), program.wish.clone())).collect()
}

/// What a controller knew, for the one after it.
pub(super) struct Remembered {
    wishes: BTreeMap<ProgramName, Wish>,
    slots: BTreeMap<ProcessId, (u32, Phase)>,
    shutdown: bool,
    /// Whether what the brokers said last is written down; with their return failures are forgiven.
    brokers_saved: bool,
    /// When this was so, if the next controller should know all of it and find nothing new.
    all_known_at: Option<Time>,
}

impl Remembered {
    pub(super) fn of(run: &Run) -> Self {
        let world = run.machine.world();
        let mut slots = BTreeMap::new();
        for (name, program) in &world.programs {
            for (number, slot) in &program.slots {
                let process = ProcessId::new(name.clone(), *number);
                if !run.keeper.has_news_of(&process) {
                    slots.insert(process, (slot.failures, slot.phase.clone()));
                }
            }
        }
        let all_known = run.is_saved() && !run.keeper.has_news() && run.shadow.uncertain.is_empty();
        Self {
            wishes: wishes(&run.machine),
            slots,
            shutdown: world.shutdown.is_some(),
            brokers_saved: run.brokers_saved,
            all_known_at: all_known.then_some(run.now),
        }
    }

    /// Holds it against what the next controller knows after its first step, which gave these commands.
    pub(super) fn held_against(self, run: &Run, commands: &str) -> Check {
        if self.all_known_at == Some(run.now) {
            // Kills are repeated, and the inventory knows of one left process where it is not sure that there is none.
            let may_be = |line: &&str| line.contains(" Kill") || line.contains(" StopLeft");
            let new = commands.lines().find(|line| !may_be(line));
            if let Some(command) = new {
                return Err(format!("a new controller that knows everything does something: {command}"));
            }
        }
        if self.shutdown != run.machine.world().shutdown.is_some() {
            return Err("the new controller does not know of the shutdown".to_owned());
        }
        let now = wishes(&run.machine);
        for (name, wish) in &self.wishes {
            let Some(after) = now.get(name) else { continue };
            if wish != after && wish.hold == after.hold {
                return Err(format!("the new controller forgot about {name}: {wish:?} became {after:?}"));
            }
        }
        if self.brokers_saved { self.same_failures(run) } else { Ok(()) }
    }

    fn same_failures(&self, run: &Run) -> Check {
        for (process, (failures, phase)) in &self.slots {
            let (Phase::Backoff { since, .. } | Phase::Failed { at: since }) = phase else { continue };
            let Some(program) = run.machine.world().programs.get(&process.program) else { continue };
            let is_over = matches!(phase, Phase::Backoff { until, .. } if *until <= run.now);
            // What is not wanted any more has no past.
            let is_wanted = program.wanted(run.shadow.shutdown.is_some()).slots.contains(process.slot);
            if is_over || !is_wanted || program.wish.forgives(process.slot, *since) {
                continue;
            }
            let slot = program.slots.get(&process.slot);
            let is_kept = slot.is_some_and(|slot| {
                let same_kind = std::mem::discriminant(&slot.phase) == std::mem::discriminant(phase);
                // The keeper may not be sure yet that nothing is left; what follows comes when it is.
                (slot.failures == *failures && same_kind) || matches!(slot.phase, Phase::LeaderGone(..))
            });
            if !is_kept {
                return Err(format!(
                    "the new controller forgot that {process} failed: {failures}, {phase:?} became {slot:?}"
                ));
            }
        }
        Ok(())
    }
}

/// What people set survives a new start of Leveret.
pub(super) fn kept_over_daemon_restart(run: &Run, before: &BTreeMap<ProgramName, Wish>) -> Check {
    let now = wishes(&run.machine);
    for (name, wish) in before {
        let Some(after) = now.get(name) else { continue };
        // A hold whose end was not written down ends once more.
        if after.hold.as_ref().and_then(|hold| hold.until).is_some_and(|until| until <= run.now) {
            continue;
        }
        let by_operator = |wish: &Wish| match &wish.stopped {
            Some(StoppedBy::Operator(by)) => Some(by.clone()),
            Some(StoppedBy::Autostart) | None => None,
        };
        let count = |wish: &Wish| wish.hold.as_ref().map(|hold| hold.processes);
        let set = |wish: &Wish| (by_operator(wish), wish.stopped_slots.clone(), count(wish), wish.paused);
        if set(wish) != set(after) {
            return Err(format!("the new start forgot about {name}: {wish:?} became {after:?}"));
        }
    }
    Ok(())
}

/// Nothing disturbs any more and time enough has passed: what is wanted is what is.
pub(super) fn converged(run: &Run) -> Check {
    for (name, program) in &run.machine.world().programs {
        if program.retiring {
            return Err(format!("{name} was removed and is still ending: {:?}", program.slots));
        }
        let wanted = program.wanted(false).slots;
        for number in wanted.iter() {
            let phase = program.slots.get(&number).map(|slot| &slot.phase);
            let rests =
                matches!(phase, Some(Phase::Running(..) | Phase::Exited { .. } | Phase::Failed { .. }));
            if !rests {
                return Err(format!("{name}:{number} is wanted and is {phase:?}"));
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
        at_least_the_minimum(name, program)?;
    }
    nothing_is_imagined(run)
}

fn at_least_the_minimum(name: &ProgramName, program: &Program) -> Check {
    let Kind::Scaled(scale) = &program.spec.kind else { return Ok(()) };
    let rests = |phase: &Phase| matches!(phase, Phase::Exited { .. } | Phase::Failed { .. });
    let resting = program.slots.values().filter(|slot| rests(&slot.phase)).count() as u32;
    let held = program.wish.hold.is_some() || program.wish.stopped.is_some();
    if !held && program.live() + resting < scale.min {
        return Err(format!("{name} has {} processes and its minimum is {}", program.live(), scale.min));
    }
    Ok(())
}

/// The machine and the keeper agree on what lives.
fn nothing_is_imagined(run: &Run) -> Check {
    for (incarnation, owner) in &run.machine.world().lives {
        if run.keeper.children.get(incarnation).is_none_or(Child::is_gone) {
            return Err(format!("the machine believes in life {incarnation} of {owner:?}, and it is gone"));
        }
    }
    Ok(())
}
