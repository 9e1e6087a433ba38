//! What the passing of time alone does: holds end, starts are over, the engine is asked, what is not needed is forgotten.

use super::{Machine, errands, schedules};
use crate::core::auxiliary::{Auxiliary, AuxiliaryPhase, AuxiliaryResult};
use crate::core::budget;
use crate::core::event::Notice;
use crate::core::observed::{Main, Phase, Slot, StopManners};
use crate::core::readiness::ReadyBy;
use crate::core::schedule::Wall;
use crate::core::spec::Kind;
use crate::core::time::Time;
use crate::core::world::{MANNERS_PROVEN, Program};
use crate::scaling::budget::within;
use crate::scaling::decision::{Decision, Limit};

impl Machine {
    pub(super) fn advance(&mut self, now: Time) {
        self.end_overdue_shutdown(now);
        self.advance_programs(now);
        self.advance_rollouts(now);
        if self.forget_what_was_prepared() {
            // A run of a schedule may have waited for just that to end.
            self.advance_programs(now);
        }
        let forgotten =
            |program: &Program| program.retiring && program.slots.is_empty() && program.errands.is_empty();
        self.world.programs.retain(|_, program| !forgotten(program));
        let programs = &self.world.programs;
        self.world.order.retain(|name| programs.contains_key(name));
        self.refuse_auxiliaries();
    }

    fn advance_programs(&mut self, now: Time) {
        let shutting_down = self.world.shutdown.is_some();
        let mut notices = Vec::new();
        let (wall, seed) = (self.world.wall, self.world.limits.seed);
        let decisions: Vec<Option<Decision>> = self
            .world
            .programs
            .values_mut()
            .map(|program| {
                end_hold(program, now, &mut notices);
                finish_startups(program, now);
                ask_engine(program, wall, now, shutting_down)
            })
            .collect();
        let grants =
            if shutting_down { Vec::new() } else { budget::shares(&mut self.world, &decisions, now) };
        let budgets = &self.world.limits.budgets;
        let mut grants = grants.into_iter();
        for (program, decision) in self.world.programs.values_mut().zip(decisions) {
            let grant = grants.next();
            let short_of = grant.and_then(|grant| Some((grant, budgets.get(grant.short_of?)?)));
            if let Some(decision) = decision {
                let decision = match short_of {
                    Some((grant, budget)) => {
                        within(decision, grant, program.standing, program.live(), now, &budget.words())
                    }
                    None => decision,
                };
                follow(program, decision, &mut notices);
            }
            note_surplus(program, now, shutting_down);
            schedules::advance(program, wall, (now, seed), shutting_down, &mut notices);
            errands::advance(program, self.world.shutdown, &mut notices);
            tidy(program, shutting_down);
        }
        self.notices.append(&mut notices);
    }

    /// A shutdown that has taken all its time goes on as if somebody had insisted.
    fn end_overdue_shutdown(&mut self, now: Time) {
        if self.world.shutdown_due().is_none_or(|due| now < due) {
            return;
        }
        if let (Some(shutdown), Some(limit)) = (&mut self.world.shutdown, self.world.limits.shutdown) {
            shutdown.at_once = true;
            self.notices.push(Notice::ShutdownOverdue(limit));
        }
    }

    /// Requests that can no longer be met are answered at once.
    fn refuse_auxiliaries(&mut self) {
        let shutting_down = self.world.shutdown.is_some();
        let refused = |auxiliary: &Auxiliary| match auxiliary.phase {
            AuxiliaryPhase::Running { .. } => None,
            AuxiliaryPhase::Wanted if shutting_down => Some("Leveret shuts down".to_owned()),
            AuxiliaryPhase::Wanted if !self.world.is_waited_for(auxiliary) => {
                Some("the process has ended or is about to".to_owned())
            }
            AuxiliaryPhase::Wanted => {
                let name = &auxiliary.program;
                (!self.world.programs.contains_key(name)).then(|| format!("there is no program \"{name}\""))
            }
        };
        let refused: Vec<_> = self
            .world
            .auxiliaries
            .iter()
            .filter_map(|(id, auxiliary)| refused(auxiliary).map(|why| (*id, why)))
            .collect();
        for (id, why) in refused {
            self.auxiliary_ended(id, AuxiliaryResult::CouldNotStart(why));
        }
    }
}

fn end_hold(program: &mut Program, now: Time, notices: &mut Vec<Notice>) {
    let over = |until: Option<Time>| until.is_some_and(|until| until <= now);
    if program.wish.hold.as_ref().is_some_and(|hold| over(hold.until)) {
        release_hold(program);
        notices.push(Notice::HoldEnded(program.spec.name.clone()));
    }
}

/// Gives the count back; the engine goes on from the number that was held.
pub(in crate::core) fn release_hold(program: &mut Program) {
    let held = program.count();
    program.wish.hold = None;
    if let Some((scaler, scale)) = program.scaler.as_mut().zip(program.spec.scale()) {
        scaler.resume_at(held, scale);
    }
}

fn finish_startups(program: &mut Program, now: Time) {
    let over = |program: &Program, main: &Main| program.of_use_at(main).is_some_and(|at| at <= now);
    let is_of_use = |slot: &Slot| matches!(&slot.phase, Phase::Starting(_, main) if slot.is_ready() || over(program, main));
    let of_use = program.slots.iter().filter(|(_, slot)| is_of_use(slot)).map(|(number, _)| *number);
    // Where the file says how long a start takes, the engine knows it as well.
    let said = match program.spec.ready.as_ref().map(|ready| &ready.by) {
        Some(ReadyBy::After(after)) => Some(*after),
        Some(ReadyBy::Notify | ReadyBy::Check(_) | ReadyBy::Log(_)) | None => None,
    };
    for number in of_use.collect::<Vec<u32>>() {
        if let Some(slot) = program.slots.get_mut(&number)
            && let Phase::Starting(life, main) = slot.phase
        {
            slot.phase = Phase::Running(life, main);
            if let (Some(after), Some(scaler)) = (said, &mut program.scaler) {
                scaler.engine.observe_started(main.started_at.since(life.ordered_at) + after);
            }
        }
    }
    for slot in program.slots.values_mut() {
        if let Phase::Stopping(_, _, stop) = &slot.phase
            && !stop.waits_for_hook
            && now.since(stop.since) >= MANNERS_PROVEN
            && program.manners == StopManners::Unknown
        {
            program.manners = StopManners::Finishes;
        }
    }
}

fn ask_engine(program: &mut Program, wall: Option<Wall>, now: Time, shutting_down: bool) -> Option<Decision> {
    if !program.follows_engine() || shutting_down {
        return None;
    }
    let fleet = program.fleet();
    let (scaler, scale) = program.scaler.as_mut().zip(program.spec.scale())?;
    let (floor, next) = scaler.floors.at(&scale.floors, wall, now);
    scaler.engine.set_floor(floor);
    let decision = match scale.share {
        None => scaler.engine.decide(&fleet, now),
        Some(share) => {
            let all = share.fleet_of_all(fleet, scaler.consumers);
            share.decision(scaler.engine.decide(&all, now))
        }
    };
    let review_at = [decision.review_at, next].into_iter().flatten().min();
    Some(Decision { review_at, ..decision })
}

fn follow(program: &mut Program, decision: Decision, notices: &mut Vec<Notice>) {
    let Some((scaler, scale)) = program.scaler.as_mut().zip(program.spec.scale()) else { return };
    if decision.target < decision.wanted {
        // What it did not get it is to ask for anew, by what is needed then.
        scaler.resume_engine_at(decision.target, scale);
    }
    let before = scaler.decision.as_ref();
    let was_held = before.is_some_and(|before| before.limit == Limit::Data);
    let newly_held = decision.limit == Limit::Data && !was_held;
    let resumed = was_held && decision.limit != Limit::Data;
    let newly_troubled = match decision.trouble {
        Some(trouble) => scaler.troubles_told.insert(trouble),
        None => {
            scaler.troubles_told.clear();
            false
        }
    };
    let told =
        decision.target != scaler.target || newly_troubled || newly_held || resumed || before.is_none();
    if decision.target > scaler.target {
        scaler.ups += 1;
    } else if decision.target < scaler.target {
        scaler.downs += 1;
    } else if newly_held {
        scaler.holds += 1;
    }
    if told {
        let told = Decision { before: scaler.target, ..decision.clone() };
        notices.push(Notice::Decided(program.spec.name.clone(), Box::new(told)));
    }
    scaler.target = decision.target;
    scaler.decision = Some(decision);
}

/// Who is idle is to be known of a moment after it was clear that somebody is not needed.
fn note_surplus(program: &mut Program, now: Time, shutting_down: bool) {
    if program.scaler.is_none() {
        return;
    }
    let wanted = program.wanted(shutting_down).slots;
    let is_surplus =
        |(number, slot): (&u32, &Slot)| matches!(slot.phase, Phase::Running(..)) && !wanted.contains(*number);
    let since = program.surplus_since;
    program.surplus_since = program.slots.iter().any(is_surplus).then(|| since.unwrap_or(now));
}

/// Forgets slots that are neither wanted nor occupied, and failures of those that are no longer wanted.
fn tidy(program: &mut Program, shutting_down: bool) {
    let wanted = program.wanted(shutting_down).slots;
    let is_scheduled = program.runs.is_some();
    let keeps_history = is_scheduled || matches!(program.spec.kind, Kind::Service { .. });
    let configured = program.count();
    program.slots.retain(|number, slot| {
        if !slot.is_vacant() || wanted.contains(*number) {
            return true;
        }
        // How the last run of a schedule ended is shown until the next one.
        if !(keeps_history && is_scheduled && matches!(slot.phase, Phase::Exited { .. })) {
            slot.phase = Phase::Empty;
        }
        slot.failures = 0;
        slot.again = None;
        keeps_history && *number < configured && !program.retiring
    });
    if !program.was_complete && !wanted.is_empty() {
        let there = |number: u32| {
            program.slots.get(&number).is_some_and(|slot| matches!(slot.phase, Phase::Running(..)))
        };
        program.was_complete = wanted.iter().all(there);
    }
}
