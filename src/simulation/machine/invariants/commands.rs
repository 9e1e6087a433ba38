//! What a command may do, before it is carried out.

use super::{errands, looks, preparations, recycling, rollouts};
use crate::core::command::Command;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::observed::{Phase, Slot, Stop, StopCause, StopManners};
use crate::core::readiness::Unfit;
use crate::core::runs::Origin;
use crate::core::spec::Until;
use crate::core::world::Program;
use crate::simulation::machine::keeper::{Child, State};
use crate::simulation::machine::run::{Check, Run, incarnation};

/// Every rule about one command.
pub(in crate::simulation::machine) fn command(run: &mut Run, command: &Command) -> Check {
    match command {
        Command::Spawn { process, life } => {
            never_an_old_number(run, life.incarnation)?;
            no_start_during_shutdown(run, command)?;
            no_start_of_what_an_operator_stopped(run, process)?;
            no_start_beside_another_life(run, process)?;
            no_start_of_a_schedule_before_its_time(run, process)?;
            no_start_over_what_is_not_known_to_be_left(run, process)?;
            no_start_out_of_order(run, process)?;
            no_start_before_what_it_needs(run, process)?;
            preparations::start(run, process, life.incarnation)?;
        }
        Command::Prepare { process, life, .. } => {
            never_an_old_number(run, life.incarnation)?;
            no_start_during_shutdown(run, command)?;
            no_start_of_what_an_operator_stopped(run, process)?;
            no_start_beside_another_life(run, process)?;
            no_start_over_what_is_not_known_to_be_left(run, process)?;
            no_start_before_what_it_needs(run, process)?;
            preparations::begin(run, process, life.incarnation)?;
        }
        Command::EndPreparation { process, incarnation, is_cancelled } => {
            nothing_is_sent_to_the_gone(run, command)?;
            preparations::end(run, process, *incarnation, *is_cancelled)?;
        }
        Command::SpawnAuxiliary { incarnation, .. } => {
            never_an_old_number(run, *incarnation)?;
            no_start_during_shutdown(run, command)?;
        }
        Command::RunHook { process, moment, about, incarnation, .. } => {
            never_an_old_number(run, *incarnation)?;
            errands::begin(run, process, (*moment, *about), *incarnation)?;
        }
        Command::EndHook { incarnation, .. } => {
            nothing_is_sent_to_the_gone(run, command)?;
            errands::end(run, *incarnation)?;
        }
        Command::PrepareStop { process, incarnation, stop } => {
            nothing_is_sent_to_the_gone(run, command)?;
            asked_only_once(run, *incarnation)?;
            a_stop_begins(run, process, *incarnation, stop)?;
            run.shadow.errands.prepared.insert(*incarnation);
        }
        Command::Stop { process, incarnation, stop, .. } => {
            nothing_is_sent_to_the_gone(run, command)?;
            asked_only_once(run, *incarnation)?;
            if !run.shadow.errands.prepared.contains(incarnation) {
                a_stop_begins(run, process, *incarnation, stop)?;
            }
            errands::signal(run, process, *incarnation)?;
        }
        Command::StopNext { incarnation, stop, .. } => {
            nothing_is_sent_to_the_gone(run, command)?;
            a_ladder_is_climbed_step_by_step_when_somebody_insists(run, *incarnation, stop)?;
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
        Command::Limit { .. } | Command::Watch { .. } | Command::Check { .. } => {}
    }
    Ok(())
}

/// Who may be asked to end, and what for.
fn a_stop_begins(run: &mut Run, process: &ProcessId, incarnation: Incarnation, stop: &Stop) -> Check {
    if stop.cause == StopCause::Shutdown {
        no_end_before_those_that_need_it(run, process)?;
    }
    nobody_busy_goes_while_another_could(run, process, stop.cause)?;
    unfit_only_when_it_is(run, process, incarnation, stop.cause)?;
    if stop.cause == StopCause::Recycle {
        recycling::stop(run, process, incarnation)?;
    }
    if stop.cause == StopCause::Rollout {
        rollouts::stop(run, process, incarnation)?;
    }
    a_run_is_cut_only_where_that_is_configured(run, process, incarnation, stop.cause)?;
    replaced_only_when_made_from_something_else(run, process, incarnation, stop.cause)
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

/// As far as the machine can know: what has ended a moment ago may not have been told.
fn no_start_before_what_it_needs(run: &Run, process: &ProcessId) -> Check {
    let world = run.machine.world();
    let Some(spec) = run.spec(&process.program) else { return Ok(()) };
    for needed in &spec.depends_on {
        // Consumers of which none is needed at present are as ready as they are to be.
        let rests = |program: &Program| program.scaler.is_some() && program.wanted(false).slots.is_empty();
        if needed.until == Until::Ready && world.programs.get(&needed.program).is_some_and(rests) {
            continue;
        }
        let mut slots =
            world.programs.get(&needed.program).into_iter().flat_map(|program| program.slots.values());
        let is_met = match needed.until {
            Until::Started | Until::Ready => slots.any(|slot| slot.phase.main().is_some()),
            Until::Completed => slots.all(Slot::is_vacant),
        };
        if !is_met {
            return Err(format!("{process} is started although it needs {needed:?}"));
        }
    }
    Ok(())
}

fn no_end_before_those_that_need_it(run: &Run, process: &ProcessId) -> Check {
    let world = run.machine.world();
    if world.shutdown.is_some_and(|shutdown| shutdown.at_once) {
        return Ok(());
    }
    for (name, program) in world.programs.iter().filter(|(_, program)| !program.retiring) {
        let needs = program.spec.depends_on.iter().any(|needed| needed.program == process.program);
        if needs && program.slots.values().any(|slot| slot.phase.life().is_some()) {
            return Err(format!("{process} is asked to end before {name}, which needs it"));
        }
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

/// Where messages are done in order, everything of the process before has ended, whatever slot it was in.
fn no_start_out_of_order(run: &Run, process: &ProcessId) -> Check {
    let scale = run.spec(&process.program).and_then(|program| program.scale());
    if !scale.is_some_and(|scale| scale.ordered) {
        return Ok(());
    }
    let others = run.keeper.children.iter().filter(|(_, child)| {
        !child.is_hook() && child.process.as_ref().is_some_and(|other| other.program == process.program)
    });
    let mut left =
        others.filter(|(incarnation, child)| !child.is_gone() && !run.shadow.told_gone.contains(incarnation));
    match left.next() {
        Some((incarnation, _)) => {
            Err(format!("{process} is started although not all of life {incarnation} has ended before it"))
        }
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

/// Never while a process may take as long as it takes, and no signal twice.
fn a_ladder_is_climbed_step_by_step_when_somebody_insists(
    run: &mut Run,
    incarnation: Incarnation,
    stop: &Stop,
) -> Check {
    if !run.shadow.insisted.contains_key(&incarnation) {
        return Err(format!(
            "life {incarnation} is sent a further signal although nobody insists on its end"
        ));
    }
    let before = run.shadow.climbed.insert(incarnation, stop.step).unwrap_or(0);
    let is_uncertain = run.shadow.uncertain.contains(&incarnation);
    if stop.step != before + 1 && !(is_uncertain && stop.step == before) {
        return Err(format!("life {incarnation} is sent signal {} after signal {before}", stop.step));
    }
    Ok(())
}

/// Of consumers that are too many, one that holds a message is the last to be asked. The places of a service have numbers,
/// and the highest go.
fn nobody_busy_goes_while_another_could(run: &Run, process: &ProcessId, cause: StopCause) -> Check {
    let world = run.machine.world();
    let is_scaled_in = |program: &&Program| program.scaler.is_some() && cause == StopCause::ScaleIn;
    let Some(program) = world.programs.get(&process.program).filter(is_scaled_in) else { return Ok(()) };
    let is_busy = |slot: &Slot| {
        let child = slot.phase.life().and_then(|life| run.keeper.children.get(&life.incarnation));
        child.is_some_and(|child| child.heard.busy == Some(true))
    };
    let Some(slot) = world.slot(process).filter(|slot| is_busy(slot)) else { return Ok(()) };
    // One of before a rolling restart finishes what it holds, and goes before those that have just been started.
    let is_rolled = slot.phase.life().is_some_and(|life| program.is_rolled_out_over(life));
    if is_rolled && program.manners != StopManners::DiesOfIt {
        return Ok(());
    }
    // The canary of a rolling restart is what the others wait for.
    let canary = program.extra_slot().or(program.canary_in_place());
    let could_go = |(number, slot): &(&u32, &Slot)| {
        matches!(slot.phase, Phase::Starting(..) | Phase::Running(..))
            && !is_busy(slot)
            // Channels may tell of it what it does not say itself.
            && slot.busy() != Some(true)
            && canary != Some(**number)
    };
    match program.slots.iter().find(could_go) {
        Some((_, other)) => Err(format!("{process}, which is busy, is asked to end, and {other:?} goes on")),
        None => Ok(()),
    }
}

/// A process is stopped for not being ready only when it has not said so within its time; then somebody insists.
fn unfit_only_when_it_is(
    run: &mut Run,
    process: &ProcessId,
    incarnation: Incarnation,
    cause: StopCause,
) -> Check {
    let StopCause::Unfit(unfit) = cause else { return Ok(()) };
    let Some(spec) = run.programs.iter().find(|spec| spec.name == process.program) else { return Ok(()) };
    if unfit == Unfit::Unhealthy {
        looks::unhealthy_only_when_it_is(run, process, incarnation, spec)?;
        let limit = spec.stop.timeout;
        run.shadow.insist(incarnation, run.now, limit);
        return Ok(());
    }
    if unfit == Unfit::Watchdog {
        let child = run.keeper.children.get(&incarnation);
        if !child.is_some_and(|child| child.heard.hung) {
            return Err(format!("life {incarnation} of {process} is stopped as hung: {child:?}"));
        }
        let limit = spec.stop.timeout;
        run.shadow.insist(incarnation, run.now, limit);
        return Ok(());
    }
    let timeout = spec.ready.as_ref().and_then(|ready| ready.timeout);
    let child = run.keeper.children.get(&incarnation);
    let is_late = child
        .zip(timeout)
        .is_some_and(|(child, timeout)| child.runs_since().is_none_or(|at| at + timeout <= run.now));
    if !is_late || child.is_some_and(|child| child.voice.ready) {
        return Err(format!("life {incarnation} of {process} is stopped as not ready: {child:?}"));
    }
    let limit = spec.stop.timeout;
    run.shadow.insist(incarnation, run.now, limit);
    Ok(())
}

/// A run ends its predecessor, or is ended, only where the configuration says so; then somebody insists.
fn a_run_is_cut_only_where_that_is_configured(
    run: &mut Run,
    process: &ProcessId,
    incarnation: Incarnation,
    cause: StopCause,
) -> Check {
    let program = run.machine.world().programs.get(&process.program);
    let Some(program) = program else { return Ok(()) };
    let schedule = program.spec.schedule();
    let may_be = match cause {
        StopCause::Timeout => schedule.is_some_and(|schedule| schedule.timeout.is_some()),
        StopCause::Replaced => schedule.is_some(),
        StopCause::Operator
        | StopCause::Restart
        | StopCause::Changed
        | StopCause::Removed
        | StopCause::ScaleIn
        | StopCause::Shutdown
        | StopCause::Rollout
        | StopCause::Recycle
        | StopCause::LeaderEnded
        | StopCause::Unfit(_) => return Ok(()),
    };
    if !may_be {
        return Err(format!("the run {incarnation} of {process} is cut by {cause:?} without a reason"));
    }
    let timeout = program.spec.stop.timeout;
    run.shadow.insist(incarnation, run.now, timeout);
    Ok(())
}

/// Keys that do not concern what a process is made from never replace it.
fn replaced_only_when_made_from_something_else(
    run: &Run,
    process: &ProcessId,
    incarnation: Incarnation,
    cause: StopCause,
) -> Check {
    let configured = run.programs.iter().find(|program| program.name == process.program);
    let (StopCause::Changed, Some(configured)) = (cause, configured) else { return Ok(()) };
    let made_from = run.keeper.children.get(&incarnation).and_then(Child::made_from);
    let is_the_same = made_from == Some(configured.run.fingerprint());
    // What was not started for a run has no place in a program with a schedule.
    if is_the_same && configured.schedule().is_none() {
        return Err(format!(
            "life {incarnation} of {process} is replaced although it would be made from the same"
        ));
    }
    Ok(())
}

/// A process of a schedule belongs to a run, and a run that is due has come to its moment, and no moment comes twice.
fn no_start_of_a_schedule_before_its_time(run: &mut Run, process: &ProcessId) -> Check {
    let program = run.machine.world().programs.get(&process.program);
    let Some((program, schedule)) = program.and_then(|program| Some((program, program.spec.schedule()?)))
    else {
        return Ok(());
    };
    let Some(current) = program.runs.as_ref().and_then(|runs| runs.current) else {
        return Err(format!("{process} is started outside of any run"));
    };
    let (name, shown) = (process.program.clone(), run.wall.seconds_at(run.now));
    let Origin::Due(moment) = current.origin else { return Ok(()) };
    if current.began_at == run.now {
        if moment > shown.max(run.shadow.latest_shown) {
            return Err(format!("{process} runs for {moment}, and it is {shown}"));
        }
        if schedule.timezone.next(&schedule.cron, moment - 1) != Some(moment) {
            return Err(format!("{process} runs for {moment}, which its schedule does not name"));
        }
    }
    match run.shadow.runs.insert(name, (moment, current.began_at)) {
        Some((before, began_at)) if before == moment && began_at != current.began_at => {
            Err(format!("{process} runs twice for {moment}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// A drain takes as long as it takes. Only an operator, a removal, the shutdown, or a main process that ended by itself
/// lead to a kill, and never before the stop timeout.
fn killed_only_when_somebody_insists(run: &Run, incarnation: Incarnation) -> Check {
    let Some(child) = run.keeper.children.get(&incarnation) else { return Ok(()) };
    // Whoever does not know that it was asked, because a controller died before it wrote that down, takes it for such an end.
    let is_uncertain = run.shadow.uncertain.contains(&incarnation);
    let ended_by_itself = match child.state {
        State::Exited { at, .. } => is_uncertain || child.asked_at.is_none_or(|asked| asked >= at),
        State::Ordered | State::Running { .. } | State::CouldNotSpawn { .. } => false,
    };
    // Of the gone nothing is killed; the word may be on its way.
    if ended_by_itself || child.is_gone() {
        return Ok(());
    }
    if let Some(insisted) = run.shadow.insisted.get(&incarnation) {
        let overdue = run.shadow.shutdown.zip(run.limits.shutdown);
        if overdue.is_some_and(|(since, limit)| since + limit <= run.now) {
            return Ok(());
        }
        if run.now < insisted.kill_from {
            let early = insisted.kill_from.since(run.now);
            return Err(format!("life {incarnation} is killed {early:?} before its stop timeout is over"));
        }
        return Ok(());
    }
    Err(format!("life {incarnation} is killed although nobody insisted on its end"))
}
