//! What is done about hooks that run beside the lives of processes, and about the stops that wait for one.

use super::{Planner, new_stop, process};
use crate::core::command::Command;
use crate::core::gap::Gap;
use crate::core::hooks::{Errand, ErrandState, Hook, Moment};
use crate::core::ids::Incarnation;
use crate::core::observed::{Stop, StopCause};
use crate::core::world::Program;

impl Planner<'_> {
    /// Hooks that are to run are run, one of a kind at a time for each process, and those that take too long, or are for
    /// nothing any more, are killed.
    pub(super) fn errands(&mut self, program: &Program) {
        let at_once = self.world.shutdown.is_some_and(|shutdown| shutdown.at_once);
        for (key @ (moment, about), errand) in &program.errands {
            match errand.state {
                ErrandState::Wanted if at_once || !is_first(program, *key, errand) => {}
                ErrandState::Wanted => {
                    let Some(hook) = program.spec.hooks.at(*moment) else { continue };
                    self.last_incarnation = self.last_incarnation.next();
                    self.spawns.push(Command::RunHook {
                        process: process(program, errand.slot),
                        moment: *moment,
                        about: *about,
                        incarnation: self.last_incarnation,
                        deadline: self.now + hook.timeout,
                    });
                }
                ErrandState::Running { incarnation, deadline, killed_at, .. } => {
                    let is_cancelled = at_once || !program.is_errand_of_use(*key, errand);
                    let limit = if is_cancelled { self.now } else { deadline };
                    if self.is_due(killed_at, limit) {
                        self.plan.commands.push(Command::EndHook {
                            process: process(program, errand.slot),
                            moment: *moment,
                            about: *about,
                            incarnation,
                            is_cancelled,
                        });
                    }
                }
            }
        }
    }

    /// A stop whose signal comes once the hook has run that is to run before.
    pub(super) fn prepare_stop(
        &mut self,
        program: &Program,
        number: u32,
        incarnation: Incarnation,
        (cause, hook): (StopCause, &Hook),
    ) {
        let stop = new_stop(&program.spec, cause, self.now);
        // Were it to end meanwhile and leave something behind, that has its limit.
        let deadline = stop.deadline.map(|deadline| deadline + hook.timeout);
        let stop = Stop { deadline, step_due: None, waits_for_hook: true, ..stop };
        let process = process(program, number);
        self.plan.commands.push(Command::PrepareStop { process, incarnation, stop });
    }

    /// A stop whose signal waits: it is sent when the hook has ended or was killed. Whoever insists meanwhile is remembered.
    pub(super) fn waiting_for_hook(
        &mut self,
        program: &Program,
        number: u32,
        incarnation: Incarnation,
        stop: &Stop,
        stop_for: Option<StopCause>,
    ) {
        if self.world.shutdown.is_some_and(|shutdown| shutdown.at_once) {
            self.pursue(program, number, incarnation, *stop, stop_for);
            return;
        }
        let insists = stop_for.filter(|cause| cause.has_limit() && !stop.cause.has_limit());
        let cause = insists.unwrap_or(stop.cause);
        let until = match program.errands.get(&(Moment::PreStop, incarnation)).map(|errand| errand.state) {
            Some(ErrandState::Wanted) => Some(None),
            Some(ErrandState::Running { deadline, killed_at: None, .. }) => Some(Some(deadline)),
            Some(ErrandState::Running { killed_at: Some(_), .. }) | None => None,
        };
        match until {
            Some(until) => self.gap(program, Some(number), Gap::WaitsForHook { until }),
            None => self.ask(program, number, incarnation, cause),
        }
    }
}

/// Whether no hook of its kind runs for its process or is to run before it.
fn is_first(program: &Program, (moment, about): (Moment, Incarnation), errand: &Errand) -> bool {
    let same = program.errands.range((moment, Incarnation::default())..);
    let mut others =
        same.take_while(|((other, _), _)| *other == moment).filter(|(_, other)| other.slot == errand.slot);
    !others.any(|((_, other), state)| {
        *other < about || *other > about && matches!(state.state, ErrandState::Running { .. })
    })
}
