//! What is done about how a process is: whom to watch and to look at, and who has waited for too long to be ready.

use super::{Planner, process};
use crate::core::check::CheckFor;
use crate::core::command::Command;
use crate::core::gap::Gap;
use crate::core::observed::{Life, Main, Slot, StopCause};
use crate::core::readiness::{ReadyBy, Unfit};
use crate::core::world::Program;

impl Planner<'_> {
    /// What a process that is starting waits for, and whether it has waited for it too long.
    pub(super) fn starting(
        &mut self,
        program: &Program,
        number: u32,
        slot: &Slot,
        main: &Main,
    ) -> Option<StopCause> {
        let until = program.ready_by(slot, main, self.world.awake_since);
        let gap = match (&program.spec.ready, program.of_use_at(main)) {
            (Some(ready), None) => {
                let awaited = match &ready.by {
                    ReadyBy::Check(check) => check.of(&process(program, number)).probe.awaited(),
                    ReadyBy::After(_) | ReadyBy::Notify | ReadyBy::Log(_) => ready.by.awaited(),
                };
                Gap::NotReady { awaited, found: slot.condition.trouble.clone(), until }
            }
            (_, of_use_at) => {
                of_use_at.into_iter().for_each(|at| self.wake(at));
                Gap::Starting
            }
        };
        self.gap(program, Some(number), gap);
        let until = until?;
        self.wake(until);
        (until <= self.now).then_some(StopCause::Unfit(Unfit::NotReady))
    }

    /// What is done about a process that runs and may go on.
    pub(super) fn running(&mut self, program: &Program, number: u32, slot: &Slot, life: &Life) {
        self.watch(program, number, slot, life);
        self.check(program, number, slot, CheckFor::Health);
        if let (Some(health), Some(found)) = (&program.spec.health, &slot.condition.trouble)
            && slot.failed_checks() > 0
        {
            let (failures, of) = (slot.failed_checks(), health.failures);
            self.gap(program, Some(number), Gap::Unwell { found: found.clone(), failures, of });
        }
    }

    /// Has somebody watch over a process that has a watchdog, once.
    fn watch(&mut self, program: &Program, number: u32, slot: &Slot, life: &Life) {
        let is_new = slot.condition.incarnation == life.incarnation && !slot.condition.is_watched;
        if let Some(watchdog) = program.spec.run.watchdog.filter(|_| is_new) {
            let (process, incarnation) = (process(program, number), life.incarnation);
            self.plan.commands.push(Command::Watch { process, incarnation, watchdog });
        }
    }

    /// Has somebody look at a process, once.
    pub(super) fn check(&mut self, program: &Program, number: u32, slot: &Slot, purpose: CheckFor) {
        let (Some(life), Some(check)) = (slot.phase.life(), program.spec.check(purpose)) else { return };
        let is_known = slot.condition.incarnation == life.incarnation;
        if is_known && slot.condition.checked_for == Some(purpose) {
            return;
        }
        let (process, incarnation) = (process(program, number), life.incarnation);
        let check = check.of(&process);
        self.plan.commands.push(Command::Check { process, incarnation, purpose, check });
    }
}
