//! What was planned counts as ordered: each command changes the world as if it were carried out at once.

use super::Machine;
use crate::core::auxiliary::{Auxiliary, AuxiliaryPhase};
use crate::core::command::Command;
use crate::core::event::{Notice, RestartReason};
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::observed::{Life, Phase, Stop, StopCause};
use crate::core::readiness::{Condition, Unfit};
use crate::core::recycle;
use crate::core::time::Time;
use crate::core::world::{Owner, Program};

impl Machine {
    pub(super) fn apply(&mut self, command: &Command, now: Time) {
        match command {
            Command::Spawn { process, life } => self.apply_spawn(process, *life),
            Command::Prepare { process, life, deadline } => self.apply_preparation(process, *life, *deadline),
            Command::EndPreparation { process, incarnation, is_cancelled } => {
                self.apply_end_of_preparation(process, *incarnation, *is_cancelled, now);
            }
            Command::RunHook { process, moment, about, incarnation, deadline } => {
                self.apply_hook(process, (*moment, *about), *incarnation, *deadline);
            }
            Command::EndHook { process, moment, about, is_cancelled, .. } => {
                self.apply_end_of_hook(process, (*moment, *about), *is_cancelled, now);
            }
            Command::PrepareStop { process, incarnation, stop } => {
                self.apply_stop(process, *incarnation, *stop, now);
                self.want_hook_of_stop(process, *incarnation);
            }
            Command::Stop { process, incarnation, stop, .. }
            | Command::StopNext { process, incarnation, stop, .. }
            | Command::Limit { process, incarnation, stop } => {
                self.apply_stop(process, *incarnation, *stop, now);
            }
            Command::StopLeft { process, incarnation, stop, .. } => {
                let slot = self.slot_mut(process);
                match slot.map(|slot| (&mut slot.phase, &mut slot.leftovers)) {
                    Some((Phase::LeaderGone(life, _, present), _)) if life.incarnation == *incarnation => {
                        *present = *stop;
                    }
                    Some((_, leftovers)) => {
                        if let Some(leftover) = leftovers.get_mut(incarnation) {
                            leftover.stop = Some(*stop);
                        }
                    }
                    None => {}
                }
            }
            Command::Kill { process, incarnation } => {
                self.notices.push(Notice::Killed(process.clone()));
                if let Some(stop) = self.stop_mut(process, *incarnation) {
                    stop.killed_at = Some(now);
                }
            }
            Command::Watch { process, incarnation, .. } => {
                let slot = self.slot_mut(process);
                if let Some(condition) = slot.and_then(|slot| slot.condition_mut(*incarnation)) {
                    condition.is_watched = true;
                }
            }
            Command::Check { process, incarnation, purpose, .. } => {
                let slot = self.slot_mut(process);
                if let Some(condition) = slot.and_then(|slot| slot.condition_mut(*incarnation)) {
                    condition.checked_for = Some(*purpose);
                }
            }
            Command::SpawnAuxiliary { id, incarnation, deadline } => {
                self.world.last_incarnation = *incarnation;
                self.world.lives.insert(*incarnation, Owner::Auxiliary(*id));
                if let Some(auxiliary) = self.world.auxiliaries.get_mut(id) {
                    auxiliary.phase = AuxiliaryPhase::Running {
                        incarnation: *incarnation,
                        deadline: *deadline,
                        killed_at: None,
                    };
                }
            }
            Command::KillAuxiliary { id, .. } => {
                if let Some(Auxiliary { phase: AuxiliaryPhase::Running { killed_at, .. }, .. }) =
                    self.world.auxiliaries.get_mut(id)
                {
                    *killed_at = Some(now);
                }
            }
            Command::KillStray { incarnation } => {
                self.world.strays.insert(*incarnation, Some(now));
            }
        }
    }

    fn tell_recycled(&mut self, process: &ProcessId, now: Time) {
        let program = self.world.programs.get(&process.program);
        let due = program.and_then(|program| recycle::due(program, program.slots.get(&process.slot)?, now));
        if let Some(due) = due {
            self.notices.push(Notice::Recycled(process.clone(), due.words()));
        }
    }

    fn apply_spawn(&mut self, process: &ProcessId, life: Life) {
        self.world.last_incarnation = life.incarnation;
        self.world.lives.insert(life.incarnation, Owner::Process(process.clone()));
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let slot = program.slots.entry(process.slot).or_default();
        slot.phase = Phase::Spawning(life);
        slot.condition = Condition::of(life.incarnation);
        if let Some(reason) = count_restart(program, process.slot) {
            self.notices.push(Notice::Restarted(process.clone(), reason));
        }
    }

    fn apply_stop(&mut self, process: &ProcessId, incarnation: Incarnation, stop: Stop, now: Time) {
        let is_known = self.stop_mut(process, incarnation).is_some();
        if let StopCause::Unfit(unfit) = stop.cause
            && !is_known
        {
            self.unproven_is_unfit(process, incarnation, unfit, now);
        }
        if let Some(present) = self.stop_mut(process, incarnation) {
            *present = stop;
            return;
        }
        let Some(slot) = self.slot_mut(process) else { return };
        if let Phase::Starting(life, main) | Phase::Running(life, main) = slot.phase.clone()
            && life.incarnation == incarnation
        {
            slot.phase = Phase::Stopping(life, main, stop);
            if let StopCause::Unfit(unfit) = stop.cause {
                let found = slot.condition.trouble.clone().filter(|_| unfit != Unfit::Watchdog);
                self.notices.push(Notice::Unfit(process.clone(), unfit, found));
            } else if stop.cause == StopCause::Recycle {
                self.tell_recycled(process, now);
            }
        }
    }

    fn stop_mut(&mut self, process: &ProcessId, incarnation: Incarnation) -> Option<&mut Stop> {
        let slot = self.slot_mut(process)?;
        match &mut slot.phase {
            Phase::Stopping(life, _, stop) | Phase::LeaderGone(life, _, stop)
                if life.incarnation == incarnation =>
            {
                Some(stop)
            }
            Phase::Stopping(..)
            | Phase::LeaderGone(..)
            | Phase::Empty
            | Phase::Preparing(..)
            | Phase::Spawning(_)
            | Phase::Starting(..)
            | Phase::Running(..)
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Failed { .. } => slot.leftovers.get_mut(&incarnation)?.stop.as_mut(),
        }
    }
}

/// A start that follows an end is counted by the reason that the end gave.
pub(super) fn count_restart(program: &mut Program, slot: u32) -> Option<RestartReason> {
    let slot = program.slots.get_mut(&slot)?;
    let reason = slot.again.take()?;
    slot.restarts += 1;
    *program.restarts.entry(reason).or_default() += 1;
    Some(reason)
}
