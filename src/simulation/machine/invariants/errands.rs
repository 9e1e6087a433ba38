//! Rules about the hooks about lives of processes.

use std::time::Duration;

use crate::core::hooks::Moment;
use crate::core::ids::{Incarnation, ProcessId};
use crate::simulation::machine::configuration::HOOK_MOST;
use crate::simulation::machine::errands::Errand;
use crate::simulation::machine::run::{Check, Run};

/// How long it may take until a controller that was away has noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// Each runs once for a life, one of a kind at a time for each process, and at its moment.
pub(super) fn begin(
    run: &mut Run,
    process: &ProcessId,
    (moment, about): (Moment, Incarnation),
    incarnation: Incarnation,
) -> Check {
    let key = moment.key();
    let goes_on = |life: &Incarnation| run.keeper.children.get(life).is_some_and(|child| child.lives());
    let errands = &run.shadow.errands;
    let mut same =
        errands.running.iter().filter(|(_, other)| other.process == *process && other.moment == moment);
    if let Some((other, _)) = same.find(|(other, _)| goes_on(other)) {
        return Err(format!("{key} of {process} begins while another one, {other}, goes on"));
    }
    let has_ended = errands.told_ended.contains(&about);
    match moment {
        Moment::PostReady | Moment::PreStop if has_ended => {
            return Err(format!("{key} of {process} begins although life {about} has ended"));
        }
        Moment::PostExit if goes_on(&about) => {
            return Err(format!("{key} of {process} begins although life {about} goes on"));
        }
        Moment::PostReady | Moment::PreStop | Moment::PostExit => {}
    }
    let now = run.now;
    let errands = &mut run.shadow.errands;
    if !errands.begun.insert((moment, about)) {
        return Err(format!("{key} of {process} runs a second time for life {about}"));
    }
    if moment == Moment::PostExit {
        errands.owed.remove(&about);
    }
    errands.running.insert(incarnation, Errand { process: process.clone(), moment, about, began: now });
    Ok(())
}

/// It has all its time, unless everything ends at once, or a process that was ready is not any more.
pub(super) fn end(run: &mut Run, incarnation: Incarnation) -> Check {
    let errands = &run.shadow.errands;
    if let Some(Errand { process, moment, about, began }) = errands.running.get(&incarnation) {
        let is_over = *began + HOOK_MOST <= run.now || run.looks.killed.contains(&incarnation);
        let at_once = is_at_once(run);
        let is_asked = run.keeper.children.get(about).is_none_or(|child| child.asked_at.is_some());
        let is_for_nothing = *moment == Moment::PostReady
            && (is_asked || errands.prepared.contains(about) || errands.told_ended.contains(about));
        if !is_over && !at_once && !is_for_nothing {
            let key = moment.key();
            return Err(format!("{key} {incarnation} of {process} is killed before its time is over"));
        }
    }
    run.looks.killed.insert(incarnation);
    Ok(())
}

/// The stop signal comes after the hook that runs before it: when that has ended, or was killed.
pub(super) fn signal(run: &Run, process: &ProcessId, incarnation: Incarnation) -> Check {
    let has_hook = run.spec(&process.program).is_some_and(|spec| spec.hooks.pre_stop.is_some());
    if !has_hook || is_at_once(run) {
        return Ok(());
    }
    let errands = &run.shadow.errands;
    let is_before_it = |errand: &Errand| errand.moment == Moment::PreStop && errand.about == incarnation;
    let running = errands.running.iter().find(|(_, errand)| is_before_it(errand));
    let is_killed = running.is_some_and(|(hook, _)| run.looks.killed.contains(hook));
    if is_killed || running.is_none() && errands.ended.contains(&(Moment::PreStop, incarnation)) {
        return Ok(());
    }
    Err(format!("life {incarnation} of {process} is asked to end although its pre_stop has not run"))
}

/// Everything is to end without waiting for anything.
fn is_at_once(run: &Run) -> bool {
    let overdue = run.shadow.shutdown.zip(run.limits.shutdown);
    run.shadow.shutdown_now || overdue.is_some_and(|(since, limit)| since + limit <= run.now)
}

/// One that takes longer than it may is killed.
pub(super) fn after_step(run: &Run) -> Check {
    for (incarnation, errand) in &run.shadow.errands.running {
        let goes_on = run.keeper.children.get(incarnation).is_some_and(|child| child.lives());
        let is_over = errand.began + HOOK_MOST + NOTICED_WITHIN < run.now;
        if goes_on && is_over && !run.looks.killed.contains(incarnation) {
            let key = errand.moment.key();
            return Err(format!("{key} {incarnation} of {} goes on and its time is over", errand.process));
        }
    }
    Ok(())
}

/// When everything has come to rest, nothing is owed to those that have ended.
pub(super) fn at_rest(run: &Run) -> Check {
    match run.shadow.errands.owed.first_key_value() {
        Some((life, process)) => {
            Err(format!("life {life} of {process} has ended and its post_exit never ran"))
        }
        None => Ok(()),
    }
}
