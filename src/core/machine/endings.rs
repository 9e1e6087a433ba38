//! What the keeper tells about lives: that they began, could not begin, ended, and what they left behind.

use std::time::Duration;

use super::Machine;
use crate::core::auxiliary::{Auxiliary, AuxiliaryId, AuxiliaryOutcome, AuxiliaryPhase, AuxiliaryResult};
use crate::core::event::{Notice, RestartReason};
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::lifecycle::{self, Change};
use crate::core::observed::{Gone, Main, Phase, Stop, StopCause, StopManners};
use crate::core::plan::signal_text;
use crate::core::readiness::Unfit;
use crate::core::restart::{Ending, after_ending};
use crate::core::time::Time;
use crate::core::world::{MANNERS_PROVEN, Owner, Shutdown, USEFUL_LIFE};

impl Machine {
    pub(super) fn spawned(&mut self, incarnation: Incarnation, main: Main) {
        if let Some(process) = self.process_of(incarnation)
            && let Some(slot) = self.slot_mut(&process)
        {
            lifecycle::spawned(slot, incarnation, main);
        }
    }

    pub(super) fn could_not_spawn(&mut self, incarnation: Incarnation, trouble: String, at: Time) {
        match self.world.lives.remove(&incarnation) {
            Some(Owner::Process(process)) => {
                let is_unproven = self.is_unproven(&process, incarnation);
                let Some(slot) = self.slot_mut(&process) else { return };
                slot.leftovers.remove(&incarnation);
                if lifecycle::could_not_spawn(slot, incarnation, trouble) == Change::NotStarted {
                    self.settle_ending(&process, incarnation, (None, None), Duration::ZERO, at);
                    if is_unproven {
                        self.unproven_ended(&process, incarnation, None, Duration::ZERO, at);
                    }
                }
            }
            Some(Owner::Preparation(process)) => {
                self.preparation_could_not_begin(&process, incarnation, &trouble, at);
            }
            Some(Owner::Hook(process, moment, about)) => {
                self.hook_could_not_begin(&process, (moment, about), &trouble);
            }
            Some(Owner::Auxiliary(id)) => self.auxiliary_ended(id, AuxiliaryResult::CouldNotStart(trouble)),
            Some(Owner::Stray) => drop(self.world.strays.remove(&incarnation)),
            None => {}
        }
    }

    pub(super) fn exited(&mut self, incarnation: Incarnation, status: ExitStatus, left: u32, at: Time) {
        let process = match self.world.lives.get(&incarnation).cloned() {
            Some(Owner::Process(process)) => process,
            Some(Owner::Preparation(process)) => {
                return self.preparation_exited(&process, incarnation, (status, left), at);
            }
            Some(Owner::Hook(process, moment, about)) => {
                return self.hook_exited(&process, (moment, about), incarnation, (status, left));
            }
            Some(Owner::Auxiliary(id)) => return self.auxiliary_exited(id, incarnation, status, left),
            Some(Owner::Stray) | None => return,
        };
        let is_unproven = self.is_unproven(&process, incarnation);
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let timeout = program.spec.stop.timeout;
        let Some(slot) = program.slots.get_mut(&process.slot) else { return };
        let manners = learn_manners(&slot.phase, incarnation, status, left, at, program.spec.stop.signal);
        let change = lifecycle::exited(slot, incarnation, status, left, at, timeout);
        if let Some(manners) = manners {
            self.note_manners(&process, manners);
        }
        match change {
            Change::EndedByItself(gone) => {
                self.settle_ending(&process, incarnation, (Some(gone.status), None), gone.lived, gone.at);
            }
            Change::None
            | Change::Started
            | Change::NotStarted
            | Change::LeaderGone(_)
            | Change::AllGone(..) => {}
        }
        if let Change::EndedByItself(gone) | Change::LeaderGone(gone) = change {
            self.want_hook_of_end(&process, incarnation, gone.status);
            if is_unproven {
                self.unproven_ended(&process, incarnation, Some(gone.status), gone.lived, gone.at);
            }
        }
    }

    pub(super) fn is_unproven(&self, process: &ProcessId, incarnation: Incarnation) -> bool {
        let Some(program) = self.world.programs.get(&process.program) else { return false };
        let life = program.slots.get(&process.slot).and_then(|slot| slot.phase.life());
        life.is_some_and(|life| life.incarnation == incarnation) && program.is_unproven(process.slot)
    }

    pub(super) fn left(&mut self, incarnation: Incarnation, left: u32, at: Time) {
        let owner = match left {
            0 => self.world.lives.remove(&incarnation),
            _ => self.world.lives.get(&incarnation).cloned(),
        };
        let process = match owner {
            Some(Owner::Process(process)) => process,
            Some(Owner::Stray) => return self.stray_left(incarnation, left),
            // An auxiliary process or a hook whose main process has ended is a stray.
            Some(Owner::Auxiliary(_) | Owner::Preparation(_) | Owner::Hook(..)) | None => return,
        };
        let Some(slot) = self.slot_mut(&process) else { return };
        if let Change::AllGone(gone, stop) = lifecycle::left(slot, incarnation, left) {
            self.settle_all_gone(&process, incarnation, gone, stop, at);
        }
    }

    fn stray_left(&mut self, incarnation: Incarnation, left: u32) {
        if left == 0 {
            self.world.strays.remove(&incarnation);
        } else {
            self.world.strays.entry(incarnation).or_default();
        }
    }

    fn settle_all_gone(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        gone: Gone,
        stop: Stop,
        at: Time,
    ) {
        // Somebody who asked for a new one meanwhile does not wait for a backoff.
        let restarted = self
            .world
            .programs
            .get(&process.program)
            .is_some_and(|program| program.wish.replace.covers(process.slot, incarnation));
        let unfit = match stop.cause {
            StopCause::Unfit(unfit) => Some(unfit),
            StopCause::Operator
            | StopCause::Restart
            | StopCause::Changed
            | StopCause::Removed
            | StopCause::ScaleIn
            | StopCause::Shutdown
            | StopCause::LeaderEnded
            | StopCause::Timeout
            | StopCause::Rollout
            | StopCause::Recycle
            | StopCause::Replaced => None,
        };
        if (!gone.asked || unfit.is_some()) && !restarted {
            return self.settle_ending(process, incarnation, (Some(gone.status), unfit), gone.lived, at);
        }
        if let Some(slot) = self.slot_mut(process) {
            slot.again = match stop.cause {
                _ if restarted => Some(RestartReason::Operator),
                StopCause::Restart => Some(RestartReason::Operator),
                StopCause::Changed => Some(RestartReason::Changed),
                StopCause::Rollout => Some(RestartReason::Rollout),
                StopCause::Recycle => Some(RestartReason::Recycle),
                StopCause::Operator
                | StopCause::Removed
                | StopCause::ScaleIn
                | StopCause::Shutdown
                | StopCause::LeaderEnded
                | StopCause::Timeout
                | StopCause::Replaced
                | StopCause::Unfit(_) => None,
            };
            slot.unfit = None;
            slot.failures = 0;
        }
        self.notices.push(Notice::Stopped(process.clone(), gone.status, at.since(stop.since)));
        self.settle_stopped_run(process, stop.cause, at);
    }

    pub(super) fn settle_ending(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        (status, unfit): (Option<ExitStatus>, Option<Unfit>),
        lived: Duration,
        at: Time,
    ) {
        let seed = self.world.limits.seed ^ incarnation.0;
        if let Some(program) = self.world.programs.get_mut(&process.program) {
            program.deaths.count(status, unfit, at);
        }
        let Some(program) = self.world.programs.get(&process.program) else { return };
        let excuse = self.world.excuse(program);
        let useful_life = USEFUL_LIFE.max(program.startup());
        let (policy, codes, backoff) =
            (program.spec.restart, program.spec.codes.clone(), program.spec.backoff);
        // What nobody wants any more is not missed.
        let is_critical = program.spec.critical && !program.retiring && program.wish.stopped.is_none();
        let is_run = program.runs.is_some();
        let (codes, backoff) = (&codes, &backoff);
        let ending = Ending { status, unfit, lived, at, useful_life, policy, codes, backoff, excuse, seed };
        if is_run {
            return self.settle_run(process, ending);
        }
        let Some(slot) = self.slot_mut(process) else { return };
        let sentence = after_ending(slot, ending);
        let is_for_good = matches!(slot.phase, Phase::Exited { .. } | Phase::Failed { .. });
        self.notices.push(Notice::Ended(process.clone(), sentence));
        if is_for_good && is_critical && self.world.shutdown.is_none() {
            let exit_code = exit_code(status);
            self.world.shutdown = Some(Shutdown { since: at, at_once: false, exit_code });
            self.notices.push(Notice::CriticalEnded(process.clone(), exit_code));
        }
    }

    fn note_manners(&mut self, process: &ProcessId, manners: StopManners) {
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        // Where nothing is scaled in, nobody was waiting for a message to be finished.
        if manners == StopManners::DiesOfIt && program.manners != manners && program.scaler.is_some() {
            let signal = signal_text(program.spec.stop.signal);
            self.notices.push(Notice::NoStopHandler(process.program.clone(), signal));
        }
        program.manners = manners;
    }

    /// Its answer is there; what it left behind is nobody's any more.
    fn auxiliary_exited(&mut self, id: AuxiliaryId, incarnation: Incarnation, status: ExitStatus, left: u32) {
        let killed = matches!(
            self.world.auxiliaries.get(&id),
            Some(Auxiliary { phase: AuxiliaryPhase::Running { killed_at: Some(_), .. }, .. })
        );
        let result = if killed { AuxiliaryResult::TimedOut } else { AuxiliaryResult::Ended(status) };
        self.auxiliary_ended(id, result);
        self.world.lives.insert(incarnation, Owner::Stray);
        if left > 0 {
            self.world.strays.insert(incarnation, None);
        }
    }

    pub(super) fn auxiliary_ended(&mut self, id: AuxiliaryId, result: AuxiliaryResult) {
        if let Some(auxiliary) = self.world.auxiliaries.remove(&id) {
            let Auxiliary { program, purpose, .. } = auxiliary;
            self.notices.push(Notice::Auxiliary(AuxiliaryOutcome { id, program, purpose, result }));
        }
    }
}

/// The exit code by which Leveret says how a critical process ended, as shells say it.
fn exit_code(status: Option<ExitStatus>) -> u8 {
    let code = match status {
        Some(ExitStatus::Code(code)) => code,
        Some(ExitStatus::Signal(number)) => 128 + number,
        Some(ExitStatus::Unknown) => 1,
        None => 127,
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// What an asked end says about how the stop signal is taken.
fn learn_manners(
    phase: &Phase,
    incarnation: Incarnation,
    status: ExitStatus,
    left: u32,
    at: Time,
    stop_signal: i32,
) -> Option<StopManners> {
    let Phase::Stopping(life, main, stop) = phase else { return None };
    // One that hangs or has not begun to work says nothing of those that work.
    let is_unfit = matches!(stop.cause, StopCause::Unfit(_));
    if life.incarnation != incarnation
        || stop.waits_for_hook
        || stop.killed_at.is_some()
        || status == ExitStatus::Unknown
        || is_unfit
    {
        return None;
    }
    // One that had hardly started may not have come to install its handler.
    let young = stop.since.since(main.started_at) < Duration::from_secs(1);
    let died_of_it = status == ExitStatus::Signal(stop_signal) && left == 0;
    match (died_of_it, young || at.since(stop.since) >= MANNERS_PROVEN) {
        (true, true) => None,
        (true, false) => Some(StopManners::DiesOfIt),
        (false, _) => Some(StopManners::Finishes),
    }
}
