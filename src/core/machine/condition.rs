//! What a process says of itself, and what that means for whether it is of use.

use super::Machine;
use crate::core::check::{Check, CheckFor};
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::observed::{Phase, Slot, Stop};
use crate::core::readiness::{AtWork, Extension, ReadyBy, Voice, Work};
use crate::core::time::Time;
use crate::core::world::Program;
use crate::scaling::hands::Hands;

impl Machine {
    /// All that a process has said so far. A word that came late counts all the same.
    pub(super) fn said(&mut self, incarnation: Incarnation, voice: Voice, at: Time) {
        let Some(process) = self.process_of(incarnation) else { return };
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let Some(slot) = program.slots.get_mut(&process.slot) else { return };
        let Some(condition) = slot.condition_mut(incarnation) else { return };
        let says_ready = voice.ready;
        condition.voice = voice;
        let asked = condition.voice.extension;
        if let (Phase::Stopping(life, _, stop), Some(asked)) = (&mut slot.phase, asked)
            && life.incarnation == incarnation
        {
            extend(stop, asked);
        }
        if says_ready && program.spec.ready.as_ref().is_some_and(|ready| ready.by == ReadyBy::Notify) {
            became_ready(program, process.slot, at);
        }
    }

    /// A broker tells of channels from now on, or does no longer.
    pub(super) fn tells_work(&mut self, broker: String, tells: bool) {
        if tells {
            self.world.work_told_at.entry(broker).or_default();
        } else {
            self.world.work_told_at.remove(&broker);
        }
    }

    /// How the processes of a program take messages.
    pub(super) fn takes(&mut self, program: &ProgramName, hands: Hands) {
        let program = self.world.programs.get_mut(program);
        if let Some((scaler, scale)) =
            program.and_then(|program| program.scaler.as_mut().zip(program.spec.scale()))
        {
            scaler.hands_told = Some(hands);
            scaler.set_hands(scale);
        }
    }

    /// What the channels of processes say of their work.
    pub(super) fn at_work(&mut self, broker: String, read: Vec<(Incarnation, Option<Work>)>, at: Time) {
        if let Some(told_at) = self.world.work_told_at.get_mut(&broker) {
            *told_at = Some(at);
        }
        for (incarnation, work) in read {
            let Some(process) = self.process_of(incarnation) else { continue };
            let slot = self.slot_mut(&process);
            if let Some(condition) = slot.and_then(|slot| slot.condition_mut(incarnation)) {
                condition.at_work = work.map(|work| AtWork { work, at });
            }
        }
    }

    /// A process has printed something that matches a pattern.
    pub(super) fn printed(&mut self, incarnation: Incarnation, pattern: &str, at: Time) {
        let Some(process) = self.process_of(incarnation) else { return };
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let is_awaited = program.spec.awaited_output() == Some(pattern);
        let slot = program.slots.get_mut(&process.slot).filter(|_| is_awaited);
        if slot.is_some_and(|slot| slot.condition_mut(incarnation).is_some()) {
            became_ready(program, process.slot, at);
        }
    }

    /// Whether a life is to be looked at in this way at present.
    pub fn is_checked(&self, incarnation: Incarnation, (purpose, check): (CheckFor, &Check)) -> bool {
        self.checked_process(incarnation, (purpose, check)).is_some()
    }

    fn checked_process(
        &self,
        incarnation: Incarnation,
        (purpose, check): (CheckFor, &Check),
    ) -> Option<ProcessId> {
        let process = self.process_of(incarnation)?;
        let program = self.world.programs.get(&process.program)?;
        let phase = &program.slots.get(&process.slot)?.phase;
        let is_meant = match purpose {
            CheckFor::Ready => matches!(phase, Phase::Starting(life, _) if life.incarnation == incarnation),
            CheckFor::Health => matches!(phase, Phase::Running(life, _) if life.incarnation == incarnation),
        };
        let is_asked_for = program.spec.check(purpose).is_some_and(|asked| asked.of(&process) == *check);
        (is_meant && is_asked_for).then_some(process)
    }

    /// What a look found. One that is not asked for any more says nothing.
    pub(super) fn checked(
        &mut self,
        incarnation: Incarnation,
        (purpose, check): (CheckFor, &Check),
        result: Result<(), String>,
        at: Time,
    ) {
        // What is ending anyway ends in its order.
        if self.world.shutdown.is_some() {
            return;
        }
        let Some(process) = self.checked_process(incarnation, (purpose, check)) else { return };
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let slot = program.slots.get_mut(&process.slot);
        let Some(condition) = slot.and_then(|slot| slot.condition_mut(incarnation)) else { return };
        condition.trouble = result.err();
        match (purpose, &condition.trouble) {
            (CheckFor::Ready, None) => became_ready(program, process.slot, at),
            (CheckFor::Health, Some(_)) => condition.failures += 1,
            (CheckFor::Health, None) => condition.failures = 0,
            (CheckFor::Ready, Some(_)) => {}
        }
    }
}

/// A stop is given more time: the next signal, or the kill where none is left, does not come before that, and what follows
/// moves with it. Heard again, also by another controller, it changes nothing more.
fn extend(stop: &mut Stop, asked: Extension) {
    let (Some(deadline), false) = (stop.deadline, stop.waits_for_hook) else { return };
    let next = stop.step_due.unwrap_or(deadline);
    let moved = Extension::extend(Some(&asked), stop.since, next).since(next);
    stop.deadline = Some(deadline + moved);
    stop.step_due = stop.step_due.map(|due| due + moved);
}

/// It is of use from now on, as something other than time tells.
fn became_ready(program: &mut Program, number: u32, at: Time) {
    let Some(slot) = program.slots.get_mut(&number) else { return };
    slot.condition.ready = true;
    // How long consumers take to begin is what the engine reckons with.
    if let (Phase::Starting(life, _), Some(scaler)) = (&slot.phase, &mut program.scaler) {
        scaler.engine.observe_started(at.since(life.ordered_at));
    }
    begin_running(slot);
}

/// Whoever is starting and is known to be of use runs.
pub(super) fn begin_running(slot: &mut Slot) {
    if let Phase::Starting(life, main) = slot.phase
        && slot.is_ready()
    {
        slot.phase = Phase::Running(life, main);
    }
}
