//! How rolling restarts go on: canaries are chosen and prove themselves, failures halt, and those that are complete end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Machine;
use crate::core::budget::Room;
use crate::core::event::{Culprit, Notice};
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::observed::Phase;
use crate::core::readiness::Unfit;
use crate::core::restart::{Excuse, how_it_ended};
use crate::core::rollout::{
    Canary, End, Rollout, RolloutResult, Stage, Standing, replaced, room_for_one_more, sentence,
};
use crate::core::spec::Kind;
use crate::core::time::Time;
use crate::core::world::Program;

impl Machine {
    /// Lets rolling restarts go on as far as they can at this moment.
    pub(super) fn advance_rollouts(&mut self, now: Time) {
        let is_going = |program: &Program| program.rollout().is_some();
        if self.world.shutdown.is_some() || !self.world.programs.values().any(is_going) {
            return;
        }
        let room = Room::of(&self.world);
        let going = self.world.programs.values().filter(|program| is_going(program));
        let with_room: BTreeSet<ProgramName> = going
            .filter(|program| room.clone().take(program, program.alive()).is_none())
            .map(|program| program.spec.name.clone())
            .collect();
        for program in self.world.programs.values_mut().filter(|program| is_going(program)) {
            end_what_is_overtaken(program, now);
            let has_room = with_room.contains(&program.spec.name);
            prove_canary(program, has_room, now);
            if !has_room {
                give_way_to_what_is_wanted(program);
            }
        }
        let given_up: Vec<_> = self.world.programs.values().filter_map(given_up).collect();
        for (process, why) in given_up {
            self.halt_rollout(&process.program, None, why, now);
        }
        self.go_on_together();
        for program in self.world.programs.values_mut() {
            end_what_is_complete(program, now, &mut self.notices);
        }
    }

    /// A process ended that should have proven that the new ones live.
    pub(super) fn unproven_ended(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        status: Option<ExitStatus>,
        lived: Duration,
        at: Time,
    ) {
        let Some(program) = self.world.programs.get(&process.program) else { return };
        // What fails for the lack of its broker says nothing about what is new in it.
        if self.world.excuse(program) == Excuse::BrokerAway {
            return;
        }
        // A job that has ended well and rests has done what it is for.
        let slot = program.slots.get(&process.slot);
        let rests_well = slot.is_some_and(|slot| {
            matches!(slot.phase, Phase::Exited { .. }) && status.is_some_and(ExitStatus::is_clean)
        });
        if let Some(slot) = slot.filter(|_| !rests_well) {
            let how = how_it_ended(slot, status, lived);
            let why = format!("{} {how}", program.label(process.slot));
            let began_at = at.earlier_by(lived);
            let culprit = Culprit { process: process.clone(), incarnation, began_at };
            self.halt_rollout(&process.program, Some(culprit), why, at);
        }
    }

    /// A process is stopped that should have proven that the new ones are of use.
    pub(super) fn unproven_is_unfit(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        unfit: Unfit,
        now: Time,
    ) {
        if !self.is_unproven(process, incarnation) {
            return;
        }
        let Some(program) = self.world.programs.get(&process.program) else { return };
        if self.world.excuse(program) == Excuse::BrokerAway {
            return;
        }
        let why = format!("{} {}", program.label(process.slot), unfit.words());
        let main = program.slots.get(&process.slot).and_then(|slot| slot.phase.main());
        let began_at = main.map_or(now, |main| main.started_at);
        let culprit = Culprit { process: process.clone(), incarnation, began_at };
        self.halt_rollout(&process.program, Some(culprit), why, now);
    }

    /// The last line that a process wrote, for whose sake a rolling restart was halted.
    pub(super) fn last_words(&mut self, program: &ProgramName, id: u64, words: String) {
        let rollout = self.world.programs.get_mut(program).and_then(|program| program.wish.rollout.as_mut());
        if let Some(Rollout { id: present, stage: Stage::Over(end), .. }) = rollout
            && *present == id
        {
            end.last_words = Some(words);
        }
    }

    /// Halts the rolling restart of a program, and with it those of the programs that were named together with it.
    fn halt_rollout(&mut self, first: &ProgramName, culprit: Option<Culprit>, why: String, at: Time) {
        let id = self.world.programs.get(first).and_then(|program| Some(program.rollout()?.id));
        for (name, program) in &mut self.world.programs {
            if program.rollout().map(|rollout| rollout.id) != id || id.is_none() {
                continue;
            }
            let (why, culprit) = match name == first {
                true => (why.clone(), culprit.clone()),
                false => (format!("that of {first} was halted"), None),
            };
            finish(program, RolloutResult::Halted, why, at);
            if let Some(rollout) = &program.wish.rollout {
                let told = sentence(program, rollout, 0, at);
                self.notices.push(Notice::RolloutHalted(name.clone(), rollout.id, culprit, told));
            }
        }
    }

    /// Canaries wait for each other; then all programs go on that were named together.
    fn go_on_together(&mut self) {
        let mut waiting: BTreeMap<u64, bool> = BTreeMap::new();
        for rollout in self.world.programs.values().filter_map(Program::rollout) {
            let has_passed = match rollout.stage {
                Stage::Canary(canary) => canary.passed,
                Stage::Rolling | Stage::Over(_) => true,
            };
            *waiting.entry(rollout.id).or_insert(true) &= has_passed;
        }
        for (name, program) in &mut self.world.programs {
            let is_scaled = matches!(program.spec.kind, Kind::Scaled(_));
            let Some(rollout) = program.wish.rollout.as_mut() else { continue };
            if matches!(rollout.stage, Stage::Canary(_)) && waiting.get(&rollout.id) == Some(&true) {
                rollout.stage = Stage::Rolling;
                if is_scaled {
                    // It is one of them now, and one of before is more than are needed.
                    rollout.extra = None;
                }
                self.notices.push(Notice::RolloutGoesOn(name.clone()));
            }
        }
    }
}

/// Ends the rolling restart of a program, if one goes on.
pub(in crate::core) fn finish(program: &mut Program, result: RolloutResult, why: String, at: Time) {
    let Some(rollout) = program.rollout() else { return };
    let replaced = replaced(program, rollout);
    if let Some(rollout) = &mut program.wish.rollout {
        rollout.extra = None;
        rollout.stage = Stage::Over(End { at, result, replaced, why, last_words: None });
    }
}

/// Something else is wanted of the program than that its processes are replaced.
fn end_what_is_overtaken(program: &mut Program, now: Time) {
    let why = if program.retiring {
        "the program was removed from the configuration"
    } else if program.wish.stopped.is_some() {
        "the program was stopped"
    } else if program.runs.is_some() {
        "the program has a schedule now"
    } else {
        return;
    };
    finish(program, RolloutResult::Ended, why.to_owned(), now);
}

/// One in addition ends where a budget has no room for those that are to stay.
fn give_way_to_what_is_wanted(program: &mut Program) {
    let Some(Rollout { stage: Stage::Rolling, extra: Some(extra), .. }) = program.rollout() else { return };
    let (extra, wanted) = (*extra, program.wanted(false).slots);
    let waits = |number: u32| {
        let phase = program.slots.get(&number).map(|slot| &slot.phase);
        matches!(phase, None | Some(Phase::Empty | Phase::Backoff { .. }))
    };
    if wanted.iter().any(|number| number != extra && waits(number))
        && let Some(rollout) = &mut program.wish.rollout
    {
        rollout.extra = None;
    }
}

/// Chooses a canary where there is none that can be one, and notes since when it is ready. `has_room` says whether the
/// budgets have room for one in addition.
fn prove_canary(program: &mut Program, has_room: bool, now: Time) {
    let Some(Rollout { stage: Stage::Canary(before), extra, .. }) = program.wish.rollout.clone() else {
        return;
    };
    if before.passed {
        return;
    }
    if !can_be_canary(program, before.slot, extra, has_room) {
        let (slot, extra) = choose_canary(program, has_room);
        let canary = Canary { slot, ready: None, passed: slot.is_none(), ..before };
        set_canary(program, canary, extra);
        return;
    }
    let phase = before.slot.and_then(|slot| program.slots.get(&slot)).map(|slot| &slot.phase);
    let ready = match phase {
        Some(Phase::Running(life, _)) if !program.is_of_before(life) => match before.ready {
            Some((incarnation, since)) if incarnation == life.incarnation => Some((incarnation, since)),
            Some(_) | None => Some((life.incarnation, now)),
        },
        Some(_) | None => None,
    };
    let rests = matches!(phase, Some(Phase::Exited { at }) if before.slot.is_some_and(|slot| !program.wish.forgives(slot, *at)));
    let passed = rests || ready.is_some_and(|(_, since)| since + before.lasting <= now);
    set_canary(program, Canary { ready, passed, ..before }, extra);
}

fn set_canary(program: &mut Program, canary: Canary, extra: Option<u32>) {
    if let Some(rollout) = &mut program.wish.rollout {
        rollout.stage = Stage::Canary(canary);
        rollout.extra = extra;
    }
}

/// Whether the chosen one is one still: nobody stopped it, it is wanted, and there is room for it.
fn can_be_canary(program: &Program, slot: Option<u32>, extra: Option<u32>, has_room: bool) -> bool {
    let Some(number) = slot.filter(|slot| !program.wish.stopped_slots.contains(slot)) else { return false };
    if extra != Some(number) {
        return program.wanted(false).slots.contains(number);
    }
    let lives = program.slots.get(&number).is_some_and(|slot| slot.phase.life().is_some());
    lives || has_room && program.spec.scale().is_none_or(|scale| program.alive() < scale.max)
}

/// One that is about to start anyway, else one in addition, else one that takes the place of another.
fn choose_canary(program: &Program, has_room: bool) -> (Option<u32>, Option<u32>) {
    let mut without = program.clone();
    if let Some(rollout) = &mut without.wish.rollout {
        rollout.extra = None;
        rollout.stage = Stage::Rolling;
    }
    let wanted = without.wanted(false).slots;
    let standing = Standing::of(&without, &wanted);
    let is_coming = |number: &&u32| {
        without.slots.get(number).is_none_or(|slot| match &slot.phase {
            Phase::Empty | Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Failed { .. } => true,
            Phase::Preparing(life, _) | Phase::Spawning(life) | Phase::Starting(life, _) => {
                !without.is_of_before(life)
            }
            Phase::Running(..) | Phase::Stopping(..) | Phase::LeaderGone(..) => false,
        })
    };
    if let Some(coming) = standing.away.iter().find(is_coming) {
        return (Some(*coming), None);
    }
    if standing.next.is_empty() {
        return (None, None);
    }
    match room_for_one_more(&without).filter(|_| has_room) {
        Some(extra) => (Some(extra), Some(extra)),
        None => (standing.next.iter().find(|number| wanted.contains(**number)).copied(), None),
    }
}

/// A wanted process that is not tried any more.
fn given_up(program: &Program) -> Option<(ProcessId, String)> {
    program.rollout()?;
    let wanted = program.wanted(false).slots;
    let is_given_up = |number: u32, phase: &Phase| match phase {
        Phase::Failed { at } => wanted.contains(number) && !program.wish.forgives(number, *at),
        Phase::Empty
        | Phase::Preparing(..)
        | Phase::Spawning(_)
        | Phase::Starting(..)
        | Phase::Running(..)
        | Phase::Stopping(..)
        | Phase::LeaderGone(..)
        | Phase::Backoff { .. }
        | Phase::Exited { .. } => false,
    };
    let (number, _) = program.slots.iter().find(|(number, slot)| is_given_up(**number, &slot.phase))?;
    let process = ProcessId::new(program.spec.name.clone(), *number);
    Some((process, format!("{} is given up", program.label(*number))))
}

fn end_what_is_complete(program: &mut Program, now: Time, notices: &mut Vec<Notice>) {
    let Some(Rollout { stage: Stage::Rolling, total, .. }) = program.rollout() else { return };
    let (wanted, total) = (program.wanted(false).slots, *total);
    if !Standing::of(program, &wanted).is_complete() {
        return;
    }
    finish(program, RolloutResult::Done, String::new(), now);
    notices.push(Notice::RolloutDone(program.spec.name.clone(), total));
}
