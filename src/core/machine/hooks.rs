//! What becomes of the hook that runs before a process is started: the process is started, or has failed to.

use std::time::Duration;

use super::Machine;
use super::adopt::leave_beside;
use crate::core::dependency;
use crate::core::event::AdoptedPreparation;
use crate::core::exit::ExitStatus;
use crate::core::hooks::{Preparation, failure};
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::observed::{Life, Phase};
use crate::core::time::Time;
use crate::core::world::{Owner, Program};

/// The key of the hook.
const NAME: &str = "pre_start";

impl Machine {
    /// Which process a life is about, if it is that of a hook.
    pub fn hook_of(&self, incarnation: Incarnation) -> Option<ProcessId> {
        match self.world.lives.get(&incarnation)? {
            Owner::Preparation(process) | Owner::Hook(process, ..) => Some(process.clone()),
            Owner::Process(_) | Owner::Auxiliary(_) | Owner::Stray => None,
        }
    }

    pub(super) fn apply_preparation(&mut self, process: &ProcessId, life: Life, deadline: Time) {
        self.world.last_incarnation = life.incarnation;
        self.world.lives.insert(life.incarnation, Owner::Preparation(process.clone()));
        if let Some(program) = self.world.programs.get_mut(&process.program) {
            let slot = program.slots.entry(process.slot).or_default();
            slot.phase = Phase::Preparing(life, Preparation::until(deadline));
        }
    }

    pub(super) fn apply_end_of_preparation(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        is_cancelled: bool,
        now: Time,
    ) {
        if let Some(preparation) = self.preparation_mut(process, incarnation) {
            // Why it was killed first is why it ended.
            preparation.is_cancelled |= is_cancelled && preparation.killed_at.is_none();
            preparation.killed_at = Some(now);
        }
    }

    /// The hook has ended. What it left behind is nobody's any more.
    pub(super) fn preparation_exited(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        (status, left): (ExitStatus, u32),
        at: Time,
    ) {
        self.world.lives.insert(incarnation, Owner::Stray);
        if left > 0 {
            self.world.strays.insert(incarnation, None);
        }
        let hook = self
            .world
            .programs
            .get(&process.program)
            .and_then(|program| program.spec.hooks.pre_start.as_ref());
        let timeout = hook.map(|hook| hook.timeout);
        let Some(preparation) = self.preparation_mut(process, incarnation) else { return };
        let limit = timeout.or(Some(Duration::ZERO)).filter(|_| preparation.killed_at.is_some());
        match failure(NAME, status, limit) {
            _ if preparation.is_cancelled => self.forget_preparation(process, incarnation),
            None => preparation.has_succeeded = true,
            Some(why) => self.preparation_failed(process, incarnation, why, at),
        }
    }

    /// The process could not be started, because of its hook.
    pub(super) fn preparation_failed(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        why: String,
        at: Time,
    ) {
        if self.preparation_mut(process, incarnation).is_none() {
            return;
        }
        let is_unproven = self.is_unproven(process, incarnation);
        self.forget_preparation(process, incarnation);
        if let Some(slot) = self.slot_mut(process) {
            slot.trouble = Some(why);
            slot.last_exit = None;
        }
        self.settle_ending(process, incarnation, (None, None), Duration::ZERO, at);
        if is_unproven {
            self.unproven_ended(process, incarnation, None, Duration::ZERO, at);
        }
    }

    pub(super) fn preparation_could_not_begin(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        trouble: &str,
        at: Time,
    ) {
        match self.preparation_mut(process, incarnation) {
            Some(preparation) if preparation.is_cancelled => self.forget_preparation(process, incarnation),
            Some(_) => self.preparation_failed(process, incarnation, format!("{NAME}: {trouble}"), at),
            None => {}
        }
    }

    /// A hook that has succeeded does so for a start now: where something has come in between, it runs again. Says whether
    /// there was one.
    pub(super) fn forget_what_was_prepared(&mut self) -> bool {
        let mut vain = Vec::new();
        for (name, program) in &self.world.programs {
            let prepared: Vec<_> = program
                .slots
                .iter()
                .filter_map(|(number, slot)| Some((*number, prepared(&slot.phase)?)))
                .collect();
            if prepared.is_empty() {
                continue;
            }
            let wanted = program.wanted(self.world.shutdown.is_some()).slots;
            let waits = dependency::missing(&self.world, program).is_some()
                || self.world.broker_unreachable(program).is_some()
                || program.spec.scale().is_some_and(|scale| program.alive() > scale.max);
            for (number, life) in prepared {
                let is_replaced = life.fingerprint != program.fingerprint
                    || program.wish.replace.covers(number, life.incarnation);
                if waits || is_replaced || !wanted.contains(number) {
                    vain.push((ProcessId::new(name.clone(), number), life.incarnation));
                }
            }
        }
        for (process, incarnation) in &vain {
            self.forget_preparation(process, *incarnation);
        }
        !vain.is_empty()
    }

    /// Takes over a hook that was there before this machine. One whose process was started or tried since is nobody's any more.
    pub fn adopt_preparation(&mut self, adopted: AdoptedPreparation) {
        let AdoptedPreparation { process, incarnation, fingerprint, ordered_at, preparation, run } = adopted;
        let slot = self
            .world
            .programs
            .get_mut(&process.program)
            .map(|program| program.slots.entry(process.slot).or_default());
        let is_newest = |slot: &&mut crate::core::observed::Slot| {
            slot.last_ended < incarnation
                && slot.phase.life().is_none_or(|life| life.incarnation < incarnation)
        };
        let Some(slot) = slot.filter(is_newest) else { return self.adopt_auxiliary(incarnation) };
        let older = slot.phase.life().filter(|_| !matches!(slot.phase, Phase::Preparing(..)));
        if let Some(older) = older.copied() {
            let stop = slot.phase.stop().copied();
            leave_beside(slot, older, stop);
        }
        slot.phase = Phase::Preparing(Life { incarnation, fingerprint, ordered_at }, preparation);
        self.world.last_incarnation = self.world.last_incarnation.max(incarnation);
        self.world.lives.insert(incarnation, Owner::Preparation(process.clone()));
        let program = self.world.programs.get_mut(&process.program);
        if let (Some(Program { runs: Some(runs), .. }), Some(run)) = (program, run) {
            runs.adopt(run);
        }
    }

    fn forget_preparation(&mut self, process: &ProcessId, incarnation: Incarnation) {
        if let Some(slot) = self.slot_mut(process) {
            slot.phase = Phase::Empty;
            slot.last_ended = incarnation;
        }
    }

    fn preparation_mut(&mut self, process: &ProcessId, incarnation: Incarnation) -> Option<&mut Preparation> {
        match &mut self.slot_mut(process)?.phase {
            Phase::Preparing(life, preparation) if life.incarnation == incarnation => Some(preparation),
            Phase::Preparing(..)
            | Phase::Spawning(_)
            | Phase::Starting(..)
            | Phase::Running(..)
            | Phase::Stopping(..)
            | Phase::LeaderGone(..)
            | Phase::Empty
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Failed { .. } => None,
        }
    }
}

fn prepared(phase: &Phase) -> Option<Life> {
    match phase {
        Phase::Preparing(life, preparation) if preparation.has_succeeded => Some(*life),
        Phase::Preparing(..)
        | Phase::Spawning(_)
        | Phase::Starting(..)
        | Phase::Running(..)
        | Phase::Stopping(..)
        | Phase::LeaderGone(..)
        | Phase::Empty
        | Phase::Backoff { .. }
        | Phase::Exited { .. }
        | Phase::Failed { .. } => None,
    }
}
