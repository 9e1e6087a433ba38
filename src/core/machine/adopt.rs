//! What was there before this machine: lives that a controller before it ordered are taken over, never started again.

use super::Machine;
use super::apply::count_restart;
use super::condition::begin_running;
use super::errands::{of_life, want};
use crate::core::event::Adopted;
use crate::core::hooks::Moment;
use crate::core::ids::Incarnation;
use crate::core::observed::{Leftover, Life, Main, Phase, Slot, Stop};
use crate::core::world::{Owner, Program};

impl Machine {
    /// Takes over a life that was there before this machine. Exits that it had meanwhile are told as facts afterwards, but
    /// before the life that followed it in its slot is taken over: that one then counts as the restart that it was.
    pub fn adopt(&mut self, adopted: Adopted) {
        let Adopted { process, incarnation, fingerprint, ordered_at, stop, main, run, unheard } = adopted;
        self.world.last_incarnation = self.world.last_incarnation.max(incarnation);
        self.world.lives.insert(incarnation, Owner::Process(process.clone()));
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let slot = program.slots.entry(process.slot).or_default();
        let life = Life { incarnation, fingerprint, ordered_at };
        let newer = slot.phase.life().is_some_and(|present| present.incarnation > incarnation);
        if newer || slot.last_ended >= incarnation {
            leave_beside(slot, life, stop);
            return;
        }
        // The hook that ran before it is no life of the process.
        let older = slot.phase.life().filter(|_| !matches!(slot.phase, Phase::Preparing(..)));
        if let Some(older) = older.copied() {
            let stop = slot.phase.stop().copied();
            leave_beside(slot, older, stop);
        }
        slot.phase = match (main, stop) {
            (None, _) => Phase::Spawning(life),
            (Some((pid, started_at)), None) => Phase::Starting(life, Main { pid, started_at }),
            (Some((pid, started_at)), Some(stop)) => Phase::Stopping(life, Main { pid, started_at }, stop),
        };
        if let Some(condition) = slot.condition_mut(incarnation) {
            // It may have said or printed it while there was nobody to take note, and does so once.
            let is_said_once = program.spec.run.notify || program.spec.awaited_output().is_some();
            condition.ready |= unheard && is_said_once;
        }
        begin_running(slot);
        let waits_for_hook = stop.is_some_and(|stop| stop.waits_for_hook);
        if waits_for_hook {
            want(program, (Moment::PreStop, incarnation), of_life(process.slot, main.map(|(pid, _)| pid)));
        }
        count_restart(program, process.slot);
        if let (Some(runs), Some(run)) = (&mut program.runs, run) {
            runs.adopt(run);
        }
        keep_what_lives(program);
    }

    /// Takes over an auxiliary process that was there before this machine. Nobody waits for its answer any more: it is
    /// killed.
    pub fn adopt_auxiliary(&mut self, incarnation: Incarnation) {
        self.world.last_incarnation = self.world.last_incarnation.max(incarnation);
        self.world.lives.insert(incarnation, Owner::Stray);
        self.world.strays.insert(incarnation, None);
    }
}

/// A life whose slot has moved on is kept beside it until nothing of it is left.
pub(super) fn leave_beside(slot: &mut Slot, life: Life, stop: Option<Stop>) {
    let stop = stop.filter(|stop| stop.left_asked);
    slot.leftovers.insert(life.incarnation, Leftover { stop, ..Leftover::unknown(life) });
}

/// What is remembered may be older than the processes: those that live and were not asked to end are wanted until readings
/// say otherwise.
fn keep_what_lives(program: &mut Program) {
    let is_live = |slot: u32| program.slots.get(&slot).is_some_and(|slot| slot.phase.is_live());
    let extra = program.extra_slot().is_some_and(is_live);
    let live = program.live() - u32::from(extra);
    let (Some(scaler), Some(scale)) = (&mut program.scaler, program.spec.scale()) else { return };
    let kept = live.min(scale.max);
    if scaler.target < kept {
        scaler.resume_at(kept, scale);
    }
}
