//! Hooks about lives of processes: what wants one to run, and what becomes of those that do. That one fails changes nothing.

use std::time::Duration;

use super::Machine;
use crate::core::event::{AdoptedHook, Notice};
use crate::core::exit::ExitStatus;
use crate::core::hooks::{Errand, ErrandMemory, ErrandState, Moment, failure};
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::observed::{Main, Phase};
use crate::core::readiness::Condition;
use crate::core::time::Time;
use crate::core::world::{Owner, Program, Shutdown};

/// How many hooks of a kind wait for each other at most, of one process.
const WAITING_MAX: usize = 8;

type Key = (Moment, Incarnation);

impl Machine {
    /// A process has ended.
    pub(super) fn want_hook_of_end(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        status: ExitStatus,
    ) {
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        // The keeper tells it again to the next controller as long as something of it is left.
        let slot = program.slots.get_mut(&process.slot);
        let condition = slot.and_then(|slot| condition_of(&mut slot.condition, incarnation));
        if condition.is_some_and(|condition| std::mem::replace(&mut condition.has_ended, true)) {
            return;
        }
        let ended = Some(status);
        want(program, (Moment::PostExit, incarnation), Errand { ended, ..of_life(process.slot, None) });
    }

    /// A process is about to be sent its stop signal.
    pub(super) fn want_hook_of_stop(&mut self, process: &ProcessId, incarnation: Incarnation) {
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let main = program.slots.get(&process.slot).and_then(|slot| slot.phase.main());
        let pid = main.map(|main| main.pid);
        want(program, (Moment::PreStop, incarnation), of_life(process.slot, pid));
    }

    pub(super) fn apply_hook(
        &mut self,
        process: &ProcessId,
        key: Key,
        incarnation: Incarnation,
        deadline: Time,
    ) {
        self.world.last_incarnation = incarnation;
        self.world.lives.insert(incarnation, Owner::Hook(process.clone(), key.0, key.1));
        if let Some(errand) = self.errand_mut(process, key) {
            errand.state =
                ErrandState::Running { incarnation, deadline, killed_at: None, is_cancelled: false };
        }
    }

    pub(super) fn apply_end_of_hook(&mut self, process: &ProcessId, key: Key, cancelled: bool, now: Time) {
        if let Some(Errand { state: ErrandState::Running { killed_at, is_cancelled, .. }, .. }) =
            self.errand_mut(process, key)
        {
            // Why it was killed first is why it ended.
            *is_cancelled |= cancelled && killed_at.is_none();
            *killed_at = Some(now);
        }
    }

    /// What it left behind is nobody's any more.
    pub(super) fn hook_exited(
        &mut self,
        process: &ProcessId,
        key: Key,
        incarnation: Incarnation,
        (status, left): (ExitStatus, u32),
    ) {
        self.world.lives.insert(incarnation, Owner::Stray);
        if left > 0 {
            self.world.strays.insert(incarnation, None);
        }
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let timeout = program.spec.hooks.at(key.0).map_or(Duration::ZERO, |hook| hook.timeout);
        let Some(Errand { state: ErrandState::Running { killed_at, is_cancelled: false, .. }, .. }) =
            program.errands.remove(&key)
        else {
            return;
        };
        if let Some(why) = failure(key.0.key(), status, killed_at.map(|_| timeout)) {
            self.notices.push(Notice::HookFailed(process.clone(), why));
        }
    }

    pub(super) fn hook_could_not_begin(&mut self, process: &ProcessId, key: Key, trouble: &str) {
        let program = self.world.programs.get_mut(&process.program);
        if program.and_then(|program| program.errands.remove(&key)).is_some() {
            let why = format!("{} cannot be run: {trouble}", key.0.key());
            self.notices.push(Notice::HookFailed(process.clone(), why));
        }
    }

    /// Takes over a hook that was there before this machine, before the life that it is about is: so that it is not run
    /// again for it.
    pub fn adopt_hook(&mut self, adopted: AdoptedHook) {
        let AdoptedHook { process, moment, about, incarnation, deadline } = adopted;
        let Some(program) = self.world.programs.get_mut(&process.program) else {
            return self.adopt_auxiliary(incarnation);
        };
        let state = ErrandState::Running { incarnation, deadline, killed_at: None, is_cancelled: false };
        program.errands.insert((moment, about), Errand { state, ..of_life(process.slot, None) });
        if moment == Moment::PostReady {
            let slot = program.slots.entry(process.slot).or_default();
            if let Some(condition) = condition_of(&mut slot.condition, about) {
                condition.was_running = true;
            }
        }
        self.world.last_incarnation = self.world.last_incarnation.max(incarnation);
        self.world.lives.insert(incarnation, Owner::Hook(process, moment, about));
    }

    fn errand_mut(&mut self, process: &ProcessId, key: Key) -> Option<&mut Errand> {
        self.world.programs.get_mut(&process.program)?.errands.get_mut(&key)
    }
}

/// What is known of a life, unless a newer one is in its slot.
fn condition_of(condition: &mut Condition, incarnation: Incarnation) -> Option<&mut Condition> {
    if condition.incarnation < incarnation {
        *condition = Condition::of(incarnation);
    }
    (condition.incarnation == incarnation).then_some(condition)
}

/// A hook about a life in a slot that is to run.
pub(super) fn of_life(slot: u32, pid: Option<i32>) -> Errand {
    Errand { slot, pid, ended: None, state: ErrandState::Wanted }
}

/// Has a hook run, if there is one and it does not run already.
pub(super) fn want(program: &mut Program, key: Key, errand: Errand) {
    if program.spec.hooks.at(key.0).is_some() {
        program.errands.entry(key).or_insert(errand);
    }
}

/// What the passing of time does: whoever runs now is ready, and what is for nothing any more is not run.
pub(super) fn advance(program: &mut Program, shutdown: Option<Shutdown>, notices: &mut Vec<Notice>) {
    let mut ready = Vec::new();
    for (number, slot) in &mut program.slots {
        if let Phase::Running(life, Main { pid, .. }) = slot.phase
            && let Some(condition) = slot.condition_mut(life.incarnation)
            && !std::mem::replace(&mut condition.was_running, true)
        {
            ready.push((life.incarnation, *number, pid));
        }
    }
    for (incarnation, number, pid) in ready.into_iter().filter(|_| shutdown.is_none()) {
        want(program, (Moment::PostReady, incarnation), of_life(number, Some(pid)));
    }
    let at_once = shutdown.is_some_and(|shutdown| shutdown.at_once);
    let keys: Vec<Key> = program
        .errands
        .iter()
        .filter(|(_, errand)| errand.state == ErrandState::Wanted)
        .filter(|(key, errand)| {
            at_once || program.spec.hooks.at(key.0).is_none() || !program.is_errand_of_use(**key, errand)
        })
        .map(|(key, _)| *key)
        .collect();
    for key in keys {
        program.errands.remove(&key);
    }
    leave_out_what_is_too_much(program, notices);
}

/// Processes that end faster than their hooks do not make them pile up.
fn leave_out_what_is_too_much(program: &mut Program, notices: &mut Vec<Notice>) {
    if program.errands.len() <= WAITING_MAX {
        return;
    }
    let mut waiting: std::collections::BTreeMap<(Moment, u32), Vec<Incarnation>> = Default::default();
    for ((moment, about), errand) in &program.errands {
        if errand.state == ErrandState::Wanted {
            waiting.entry((*moment, errand.slot)).or_default().push(*about);
        }
    }
    for ((moment, slot), lives) in waiting {
        let too_many = lives.len().saturating_sub(WAITING_MAX);
        for about in lives.into_iter().take(too_many) {
            program.errands.remove(&(moment, about));
            let why = format!("{} is left out once: {WAITING_MAX} of them wait already", moment.key());
            notices.push(Notice::HookFailed(ProcessId::new(program.spec.name.clone(), slot), why));
        }
    }
}

impl Program {
    /// Whether what a hook is for is not over: a process that is ready, or waits to be sent its stop signal. What ended has
    /// ended for good.
    pub fn is_errand_of_use(&self, (moment, about): Key, errand: &Errand) -> bool {
        let phase = self.slots.get(&errand.slot).map(|slot| &slot.phase);
        let present = phase.filter(|phase| phase.life().is_some_and(|life| life.incarnation == about));
        match moment {
            Moment::PostReady => present.is_some_and(Phase::is_live),
            // One whose process ends of what it does may do the rest.
            Moment::PreStop => {
                errand.state != ErrandState::Wanted
                    || matches!(present, Some(Phase::Stopping(_, _, stop)) if stop.waits_for_hook)
            }
            Moment::PostExit => true,
        }
    }

    /// The slots and lives of the hooks that run about lives of its processes.
    pub fn hooks_that_run(&self) -> impl Iterator<Item = (u32, Incarnation)> {
        self.errands.values().filter_map(|errand| match errand.state {
            ErrandState::Running { incarnation, .. } => Some((errand.slot, incarnation)),
            ErrandState::Wanted => None,
        })
    }

    pub(in crate::core) fn errands_to_remember(&self) -> Vec<ErrandMemory> {
        let wanted = self.errands.iter().filter(|(_, errand)| errand.state == ErrandState::Wanted);
        wanted
            .map(|((moment, about), errand)| {
                let Errand { slot, pid, ended, .. } = *errand;
                ErrandMemory { moment: *moment, about: *about, slot, pid, ended }
            })
            .collect()
    }

    pub(in crate::core) fn recall_errands(&mut self, errands: &[ErrandMemory]) {
        for ErrandMemory { moment, about, slot, pid, ended } in errands.iter().copied() {
            let state = ErrandState::Wanted;
            self.errands.insert((moment, about), Errand { slot, pid, ended, state });
        }
    }
}
