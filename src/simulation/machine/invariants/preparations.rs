//! Rules about the hooks that run before starts.

use std::time::Duration;

use crate::core::ids::{Incarnation, ProcessId};
use crate::simulation::machine::configuration::HOOK_MOST;
use crate::simulation::machine::run::{Check, Run};

/// How long it may take until a controller that was away has noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// No process is started while its hook has not succeeded for this very start.
pub(super) fn start(run: &mut Run, process: &ProcessId, incarnation: Incarnation) -> Check {
    one_at_a_time(run, process)?;
    let has_hook = run.spec(&process.program).is_some_and(|spec| spec.hooks.pre_start.is_some());
    let has_succeeded = run.shadow.preparations.started(process, incarnation);
    if has_hook && !has_succeeded {
        return Err(format!("{process} is started although its pre_start has not succeeded for this start"));
    }
    Ok(())
}

/// Never two hooks of one process at one time.
pub(super) fn begin(run: &mut Run, process: &ProcessId, incarnation: Incarnation) -> Check {
    one_at_a_time(run, process)?;
    let now = run.now;
    run.shadow.preparations.begun(process, incarnation, now);
    Ok(())
}

fn one_at_a_time(run: &Run, process: &ProcessId) -> Check {
    let goes_on =
        |incarnation: &Incarnation| run.keeper.children.get(incarnation).is_some_and(|child| child.lives());
    let running = run.shadow.preparations.running.iter();
    match running.filter(|(_, (whose, _))| whose == process).find(|(incarnation, _)| goes_on(incarnation)) {
        Some((incarnation, _)) => {
            Err(format!("{process}: another pre_start begins, or a start, and {incarnation} goes on"))
        }
        None => Ok(()),
    }
}

/// A hook that is waited for has all its time.
pub(super) fn end(run: &mut Run, process: &ProcessId, incarnation: Incarnation, is_cancelled: bool) -> Check {
    let began = run.shadow.preparations.running.get(&incarnation).map(|(_, began)| *began);
    let is_repeated = run.looks.killed.contains(&incarnation);
    if began.is_some_and(|began| !is_cancelled && !is_repeated && run.now < began + HOOK_MOST) {
        return Err(format!("the pre_start {incarnation} of {process} is killed before its time is over"));
    }
    run.looks.killed.insert(incarnation);
    Ok(())
}

/// One that takes longer than it may is killed.
pub(super) fn after_step(run: &Run) -> Check {
    for (incarnation, (process, began)) in &run.shadow.preparations.running {
        let goes_on = run.keeper.children.get(incarnation).is_some_and(|child| child.lives());
        let is_over = *began + HOOK_MOST + NOTICED_WITHIN < run.now;
        if goes_on && is_over && !run.looks.killed.contains(incarnation) {
            return Err(format!("the pre_start {incarnation} of {process} goes on and its time is over"));
        }
    }
    Ok(())
}
