//! The one place that decides what to do: from what is wanted and what there is to commands, without changing either.

mod condition;
mod errands;
mod hooks;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::auxiliary::AuxiliaryPhase;
use super::budget::{self, Room};
use super::check::CheckFor;
use super::command::{Command, Plan, Scope};
use super::dependency::{self, Dependents};
use super::desired::StoppedBy;
use super::exit::signal_name;
use super::gap::Gap;
use super::ids::{Incarnation, ProcessId};
use super::memory_left::Spare;
use super::observed::{Life, Phase, Slot, Stop, StopCause, StopManners};
use super::recycle;
use super::rollout;
use super::runs::{LastRun, next_words};
use super::slots::Slots;
use super::spec::{ProgramSpec, StopTarget};
use super::time::Time;
use super::world::{KILL_AGAIN, MANNERS_PROVEN, Program, World, rank_of};
use crate::scaling::budget::{KEEPS, SPARES_BUSY};

/// How often the wall clock is looked at while there are schedules.
const CLOCK_LOOK: std::time::Duration = std::time::Duration::from_secs(60);

/// How old what a broker tells of channels may be: these tell it every 5 s, it gathers that every 5 s, and a moment more.
/// Measured with RabbitMQ 3.10: up to 9.6 s.
const WORD_AGE: std::time::Duration = std::time::Duration::from_secs(11);

/// How long that is waited for.
const WORD_MOST: std::time::Duration = std::time::Duration::from_secs(25);

/// What to do now about the difference between what is wanted and what there is.
///
/// Calling it again without a new fact, edit or moment gives no commands once the first ones were applied.
pub fn plan(world: &World, now: Time) -> Plan {
    let mut planner = Planner::new(world, now);
    let programs = || world.order.iter().filter_map(|name| world.programs.get(name));
    let mut wanted: Vec<(&Program, Slots)> =
        programs().map(|program| (program, planner.program(program))).collect();
    // Where there is not room for all, who comes first has it first.
    wanted.sort_by_key(|(program, _)| Reverse(budget::priority(program)));
    for (program, slots) in &wanted {
        planner.starts(program, slots);
    }
    planner.auxiliaries();
    if let Some(due) = world.shutdown_due() {
        planner.wake(due);
    }
    planner.finish()
}

struct Planner<'a> {
    world: &'a World,
    dependents: Dependents<'a>,
    now: Time,
    plan: Plan,
    spawns: Vec<Command>,
    last_incarnation: Incarnation,
    may_start: u32,
    room: Room<'a>,
    spare: Spare,
}

impl<'a> Planner<'a> {
    fn new(world: &'a World, now: Time) -> Self {
        let starting: u32 = world
            .programs
            .values()
            .filter(|program| program.scaler.is_some())
            .map(|program| program.fleet().starting.len() as u32)
            .sum();
        Self {
            world,
            dependents: Dependents::of(world),
            now,
            plan: Plan::default(),
            spawns: Vec::new(),
            last_incarnation: world.last_incarnation,
            may_start: world.limits.starting.saturating_sub(starting),
            room: Room::of(world),
            spare: Spare::of(world, now),
        }
    }

    /// All but starts. Returns the slots that should have a process.
    fn program(&mut self, program: &Program) -> Slots {
        let wanted = program.wanted(self.world.shutdown.is_some());
        self.program_gaps(program);
        let may_scale_in = self.scale_in_allowance(program, &wanted.slots);
        let is_needed = wanted.slots.is_empty() && self.is_needed(program);
        let victims = self.rollout(program, &wanted.slots);
        let recycled = self.recycling(program, &wanted.slots);
        for (number, slot) in &program.slots {
            let stop_for = self.reason_to_stop(program, *number, slot, &wanted.slots, wanted.rest);
            let stop_for = match stop_for {
                None | Some(StopCause::ScaleIn) if victims.contains(number) => Some(StopCause::Rollout),
                None if recycled == Some(*number) => Some(StopCause::Recycle),
                stop_for => stop_for,
            };
            let stop_for = stop_for.filter(|_| !is_needed);
            self.slot(program, *number, slot, stop_for, may_scale_in);
            self.leftovers(program, *number, slot);
        }
        self.errands(program);
        self.schedule(program, &wanted.slots);
        wanted.slots
    }

    /// The process that makes room for a new one because it uses too much or is old, and why others do not yet.
    fn recycling(&mut self, program: &Program, wanted: &Slots) -> Option<u32> {
        if self.world.shutdown.is_some() {
            return None;
        }
        let recycling = recycle::recycling(program, wanted, self.now);
        if let Some(moment) = recycling.next_at {
            self.wake(moment);
        }
        for (number, due) in recycling.due {
            if recycling.victim != Some(number) {
                let would_lose = recycle::would_lose(program, number);
                let dies_of = would_lose.then(|| signal_text(program.spec.stop.signal));
                let gap = Gap::ToRecycle { why: due.words(), dies_of };
                self.gap(program, Some(number), gap);
            }
        }
        recycling.victim
    }

    /// The processes whose turn it is in a rolling restart, and why it is not that of others.
    fn rollout(&mut self, program: &Program, wanted: &Slots) -> BTreeSet<u32> {
        if self.world.shutdown.is_some() || program.wish.rollout.is_none() {
            return BTreeSet::new();
        }
        for (number, gap) in rollout::gaps(self.world, program, wanted) {
            self.gap(program, Some(number), gap);
        }
        if let Some(moment) = program.rollout().and_then(rollout::Rollout::canary_passes_at) {
            self.wake(moment);
        }
        rollout::victims(program, wanted)
    }

    /// When the next run is, and until when the present one may take. The clock is looked at now and then, so that one
    /// that was set is noticed.
    fn schedule(&mut self, program: &Program, wanted: &Slots) {
        let (Some(schedule), Some(runs)) = (program.spec.schedule(), &program.runs) else { return };
        if self.world.shutdown.is_some() || program.retiring || program.is_stopped() {
            return;
        }
        self.wake(self.now + CLOCK_LOOK);
        if let (Some(run), Some(timeout)) = (runs.current, schedule.timeout) {
            self.wake(run.began_at + timeout);
        }
        let next = self.world.wall.and_then(|wall| next_words(schedule, runs, wall, self.now));
        if let Some((_, at)) = &next {
            self.wake(*at);
        }
        if wanted.is_empty() {
            let last = runs.last.as_ref().map(LastRun::words);
            self.gap(program, None, Gap::WaitsForSchedule { next, last });
        }
    }

    /// Whether it may not end yet, because something that needs it is ending.
    fn is_needed(&mut self, program: &Program) -> bool {
        let shutdown = self.world.shutdown;
        if shutdown.is_some_and(|shutdown| shutdown.at_once) || program.live() == 0 {
            return false;
        }
        let Some(first) = self.dependents.to_end_before(program, shutdown.is_some()) else { return false };
        self.gap(program, None, Gap::NeededBy { program: first.spec.name.to_string() });
        true
    }

    /// Which running processes may be asked to end only because there are more than are wanted.
    fn scale_in_allowance(&mut self, program: &Program, wanted: &Slots) -> MayScaleIn {
        let draining = |slot: &Slot| matches!(&slot.phase, Phase::Stopping(_, _, stop) if stop.cause == StopCause::ScaleIn);
        if program.scaler.is_none() {
            return MayScaleIn::All;
        }
        let surplus = || {
            let is_surplus = |(number, slot): &(&u32, &Slot)| {
                matches!(slot.phase, Phase::Running(..)) && !wanted.contains(**number)
            };
            program.slots.iter().filter(is_surplus)
        };
        if let Some(since) = program.surplus_since
            && self.waits_for_word(
                program,
                since,
                wanted,
                surplus().any(|(_, slot)| slot.says_busy().is_none()),
            )
        {
            self.wake(since + WORD_MOST);
            return MayScaleIn::NotYet;
        }
        match program.manners {
            StopManners::Finishes => MayScaleIn::All,
            StopManners::Unknown if program.slots.values().any(draining) => MayScaleIn::One(None),
            StopManners::Unknown => {
                // The one that is kept last goes first.
                let first = surplus().max_by_key(|(_, slot)| rank_of(slot.busy()));
                MayScaleIn::One(first.map(|(number, _)| *number))
            }
            StopManners::DiesOfIt => {
                let surplus = surplus().filter(|(_, slot)| slot.says_busy() != Some(false)).count() as u32;
                let stopped =
                    program.wish.stopped.is_some() || program.retiring || self.world.shutdown.is_some();
                if surplus > 0 && !stopped {
                    let signal = signal_text(program.spec.stop.signal);
                    self.gap(program, None, Gap::NoStopHandler { signal, surplus });
                }
                MayScaleIn::Idle
            }
        }
    }

    /// What a broker tells of channels is some seconds old. So where more run than are wanted, nobody is asked to end before
    /// word has come of a moment after it became clear, unless all that might be know better or none is to go on.
    fn waits_for_word(&self, program: &Program, since: Time, wanted: &Slots, is_any_silent: bool) -> bool {
        let broker = program.spec.scale().map(|scale| scale.broker.as_str()).unwrap_or_default();
        let Some(told_at) = self.world.work_told_at.get(broker) else { return false };
        let is_choice = |(number, slot): (&u32, &Slot)| {
            matches!(slot.phase, Phase::Running(..)) && wanted.contains(*number)
        };
        is_any_silent
            && self.now < since + WORD_MOST
            && told_at.is_none_or(|told_at| told_at < since + WORD_AGE)
            && program.slots.iter().any(is_choice)
    }

    /// On whose behalf a live process should be asked to end, if it should.
    fn reason_to_stop(
        &self,
        program: &Program,
        number: u32,
        slot: &Slot,
        wanted: &Slots,
        rest: StopCause,
    ) -> Option<StopCause> {
        let life = slot.phase.life()?;
        if !wanted.contains(number) {
            let by_hand = program.wish.stopped_slots.contains(&number);
            // A run that is cut or stopped is in the first slot; what is in the others was another kind of program before a
            // reload, and means nothing to whoever stopped the run alone.
            let of_run = match rest {
                StopCause::Timeout | StopCause::Replaced | StopCause::Restart => true,
                StopCause::Operator => program.runs.is_some() && program.wish.stopped.is_none(),
                StopCause::Changed
                | StopCause::Removed
                | StopCause::ScaleIn
                | StopCause::Shutdown
                | StopCause::Rollout
                | StopCause::Recycle
                | StopCause::LeaderEnded
                | StopCause::Unfit(_) => false,
            };
            let rest = if of_run && number > 0 { StopCause::Changed } else { rest };
            return Some(if rest == StopCause::ScaleIn && by_hand { StopCause::Operator } else { rest });
        }
        // A run that was begun goes on to its end; the next one is made from what is configured then.
        if program.runs.is_some() {
            return None;
        }
        if program.wish.replace.covers(number, life.incarnation) {
            return Some(StopCause::Restart);
        }
        if program.replaces_one_by_one() {
            return None;
        }
        (life.fingerprint != program.fingerprint).then_some(StopCause::Changed)
    }

    fn slot(
        &mut self,
        program: &Program,
        number: u32,
        slot: &Slot,
        stop_for: Option<StopCause>,
        may_scale_in: MayScaleIn,
    ) {
        match &slot.phase {
            Phase::Preparing(life, preparation) => {
                self.preparing(program, number, life, preparation, stop_for);
            }
            // A start that is unanswered cannot be taken back; its answer is a matter of milliseconds.
            Phase::Spawning(_) => self.gap(program, Some(number), Gap::Starting),
            Phase::Starting(life, main) => {
                let unfit = self.starting(program, number, slot, main);
                match stop_for.or(unfit) {
                    Some(cause) => self.stop(program, number, life.incarnation, cause),
                    None => self.check(program, number, slot, CheckFor::Ready),
                }
            }
            Phase::Running(life, _) => {
                let stop_for = match stop_for {
                    Some(StopCause::ScaleIn) if !may_scale_in.allows(number, slot) => {
                        if matches!(may_scale_in, MayScaleIn::NotYet) {
                            self.gap(program, Some(number), Gap::WaitsForWord);
                        }
                        None
                    }
                    stop_for => stop_for,
                };
                let unfit = slot.unfit_now(program.spec.health.as_ref());
                match stop_for.or(unfit.map(StopCause::Unfit)) {
                    Some(cause) => self.stop(program, number, life.incarnation, cause),
                    None => self.running(program, number, slot, life),
                }
            }
            Phase::Stopping(life, _, stop) if stop.waits_for_hook => {
                self.waiting_for_hook(program, number, life.incarnation, stop, stop_for);
            }
            Phase::Stopping(life, _, stop) => {
                let due = recycle::due(program, slot, self.now);
                let since = stop.since;
                let gap = match due.filter(|_| stop.cause == StopCause::Recycle && stop.deadline.is_none()) {
                    Some(due) => Gap::Recycled { since, why: due.words() },
                    None => Gap::Draining { since, deadline: stop.deadline, cause: stop.cause },
                };
                self.gap(program, Some(number), gap);
                if program.scaler.is_some() && program.manners == StopManners::Unknown {
                    self.wake(stop.since + MANNERS_PROVEN);
                }
                let stop = self.pursue(program, number, life.incarnation, *stop, stop_for);
                self.climb(program, number, life.incarnation, stop);
            }
            Phase::LeaderGone(life, gone, stop) => {
                let gap = Gap::LeaderGone { left: gone.left, deadline: stop.deadline };
                self.gap(program, Some(number), gap);
                let asks = gone.left > 0 && !stop.left_asked;
                if asks {
                    self.stop_left(program, number, life.incarnation, *stop);
                }
                let stop = Stop { left_asked: stop.left_asked || asks, ..*stop };
                self.pursue(program, number, life.incarnation, stop, stop_for);
            }
            Phase::Empty | Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Failed { .. } => {}
        }
    }

    fn stop(&mut self, program: &Program, number: u32, incarnation: Incarnation, cause: StopCause) {
        let at_once = self.world.shutdown.is_some_and(|shutdown| shutdown.at_once);
        match program.spec.hooks.pre_stop.as_ref().filter(|_| !at_once) {
            Some(hook) => self.prepare_stop(program, number, incarnation, (cause, hook)),
            None => self.ask(program, number, incarnation, cause),
        }
    }

    fn ask(&mut self, program: &Program, number: u32, incarnation: Incarnation, cause: StopCause) {
        let stop = new_stop(&program.spec, cause, self.now);
        let (signal, scope) = (program.spec.stop.signal, scope(&program.spec));
        let process = process(program, number);
        self.plan.commands.push(Command::Stop { process, incarnation, stop, signal, scope });
    }

    /// A stop under way: give it a limit when somebody now insists, and kill the tree when the limit is over. Returns the
    /// stop as it is from now on.
    fn pursue(
        &mut self,
        program: &Program,
        number: u32,
        incarnation: Incarnation,
        stop: Stop,
        stop_for: Option<StopCause>,
    ) -> Stop {
        let insists = stop_for.filter(|cause| cause.has_limit() && stop.deadline.is_none());
        let stop = match insists {
            Some(cause) => {
                let Stop { deadline, step_due, .. } = new_stop(&program.spec, cause, self.now);
                let limited = Stop { cause, deadline, step_due, ..stop };
                let process = process(program, number);
                self.plan.commands.push(Command::Limit { process, incarnation, stop: limited });
                limited
            }
            None => stop,
        };
        if let Some(due) = self.kill_due(&stop) {
            if due <= self.now {
                self.plan.commands.push(Command::Kill { process: process(program, number), incarnation });
            } else {
                self.wake(due);
            }
        }
        stop
    }

    /// The next signal on the way to the kill, when its moment has come.
    fn climb(&mut self, program: &Program, number: u32, incarnation: Incarnation, stop: Stop) {
        let kill_is_due = self.kill_due(&stop).is_some_and(|due| due <= self.now);
        let Some(due) = stop.step_due.filter(|_| stop.killed_at.is_none() && !kill_is_due) else { return };
        if due > self.now {
            return self.wake(due);
        }
        let mut steps = program.spec.stop.then.iter().skip(stop.step as usize);
        // A reload may have taken it away.
        let Some(step) = steps.next() else { return };
        let step_due = steps.next().map(|next| due + next.after.saturating_sub(step.after));
        let stop = Stop { step: stop.step + 1, step_due, ..stop };
        let (signal, scope) = (step.signal, scope(&program.spec));
        let process = process(program, number);
        self.plan.commands.push(Command::StopNext { process, incarnation, stop, signal, scope });
    }

    fn leftovers(&mut self, program: &Program, number: u32, slot: &Slot) {
        for (incarnation, leftover) in &slot.leftovers {
            match leftover.stop {
                None if leftover.left == 0 => {}
                None => {
                    let stop = new_stop(&program.spec, StopCause::LeaderEnded, self.now);
                    self.stop_left(program, number, *incarnation, stop);
                }
                Some(stop) => {
                    let gap = Gap::LeaderGone { left: leftover.left, deadline: stop.deadline };
                    self.gap(program, Some(number), gap);
                    self.pursue(program, number, *incarnation, stop, None);
                }
            }
        }
    }

    fn stop_left(&mut self, program: &Program, number: u32, incarnation: Incarnation, stop: Stop) {
        let (process, signal) = (process(program, number), program.spec.stop.signal);
        let stop = Stop { left_asked: true, ..stop };
        self.plan.commands.push(Command::StopLeft { process, incarnation, stop, signal });
    }

    /// When the tree is to be killed, for the first time or again.
    fn kill_due(&self, stop: &Stop) -> Option<Time> {
        match stop.killed_at {
            Some(killed_at) => Some(killed_at + KILL_AGAIN),
            None if self.world.shutdown.is_some_and(|shutdown| shutdown.at_once) => Some(self.now),
            None => stop.deadline,
        }
    }

    fn starts(&mut self, program: &Program, wanted: &Slots) {
        let mut alive = program.alive();
        // The same for all of them, and not to be found out a thousand times.
        let missing = dependency::missing(self.world, program);
        // Both are in ascending order, so that one walk over the slots serves all.
        let mut slots = program.slots.iter().peekable();
        for number in wanted.iter() {
            while slots.next_if(|(at, _)| **at < number).is_some() {}
            let slot = slots.next_if(|(at, _)| **at == number).map(|(_, slot)| slot);
            if !self.may_begin(program, number, slot) {
                continue;
            }
            if let Some(gap) = &missing {
                self.gap(program, Some(number), gap.clone());
                continue;
            }
            if let Some(scale) = program.spec.scale() {
                if let Some(broker) = self.world.broker_unreachable(program) {
                    self.gap(program, Some(number), Gap::BrokerUnreachable { broker: broker.to_owned() });
                    continue;
                }
                if scale.ordered && program.has_leftovers() {
                    self.gap(program, Some(number), Gap::AfterTheOneBefore);
                    continue;
                }
                if alive >= scale.max {
                    let draining = program.fleet().draining;
                    self.gap(program, Some(number), Gap::AtMax { max: scale.max, draining });
                    continue;
                }
                if self.may_start == 0 {
                    self.gap(program, Some(number), Gap::StartLimit { limit: self.world.limits.starting });
                    continue;
                }
            }
            if let Some(budget) = self.room.take(program, alive) {
                self.gap(program, Some(number), Gap::Budget { budget: budget.words() });
                continue;
            }
            if program.spec.scale().is_some() {
                if let Some(short) = self.spare.take(program, alive) {
                    self.wake(short.counts_until());
                    self.gap(program, Some(number), Gap::MemoryShort { left: short.left });
                    continue;
                }
                self.may_start -= 1;
            }
            alive += 1;
            self.spawn(program, number);
        }
    }

    /// Whether nothing in the slot itself stands in the way of a start.
    fn may_begin(&mut self, program: &Program, number: u32, slot: Option<&Slot>) -> bool {
        let Some(slot) = slot else { return true };
        let forgiven = |moment| program.wish.forgives(number, moment);
        match &slot.phase {
            Phase::Empty => true,
            Phase::Backoff { since, until } => {
                if *until <= self.now || forgiven(*since) {
                    return true;
                }
                self.wake(*until);
                let gap = Gap::Backoff { until: *until, trouble: trouble(slot), failures: slot.failures };
                self.gap(program, Some(number), gap);
                false
            }
            Phase::Exited { at } => {
                if forgiven(*at) {
                    return true;
                }
                let ended = trouble(slot);
                self.gap(program, Some(number), Gap::Rests { ended });
                false
            }
            Phase::Failed { at } => {
                if forgiven(*at) {
                    return true;
                }
                let gap = Gap::GaveUp { trouble: trouble(slot), failures: slot.failures };
                self.gap(program, Some(number), gap);
                false
            }
            Phase::Preparing(..)
            | Phase::Spawning(_)
            | Phase::Starting(..)
            | Phase::Running(..)
            | Phase::Stopping(..)
            | Phase::LeaderGone(..) => false,
        }
    }

    /// Starts a process, or first what has to succeed before.
    fn spawn(&mut self, program: &Program, number: u32) {
        let Some(hook) = &program.spec.hooks.pre_start else { return self.begin(program, number) };
        let (process, life) = (process(program, number), self.next_life(program));
        let deadline = self.now + hook.timeout;
        self.spawns.push(Command::Prepare { process, life, deadline });
    }

    fn begin(&mut self, program: &Program, number: u32) {
        let (process, life) = (process(program, number), self.next_life(program));
        self.spawns.push(Command::Spawn { process, life });
    }

    fn next_life(&mut self, program: &Program) -> Life {
        self.last_incarnation = self.last_incarnation.next();
        let (incarnation, fingerprint) = (self.last_incarnation, program.fingerprint);
        Life { incarnation, fingerprint, ordered_at: self.now }
    }

    fn program_gaps(&mut self, program: &Program) {
        if self.world.shutdown.is_some() {
            self.gap(program, None, Gap::ShuttingDown);
            return;
        }
        match &program.wish.stopped {
            Some(StoppedBy::Autostart) => self.gap(program, None, Gap::NotStartedYet),
            Some(StoppedBy::Operator(by)) => {
                self.gap(program, None, Gap::StoppedByOperator { by: by.clone() });
            }
            None => {}
        }
        if let Some(hold) = program.wish.hold.as_ref().filter(|_| program.runs.is_none()) {
            if let Some(until) = hold.until {
                self.wake(until);
            }
            let gap =
                Gap::HeldByOperator { processes: hold.processes, by: hold.by.clone(), until: hold.until };
            self.gap(program, None, gap);
        }
        if let Some(since) = program.standing.over_since {
            self.wake(since + SPARES_BUSY);
            self.wake(since + KEEPS);
        }
        if program.follows_engine()
            && let Some(decision) = program.scaler.as_ref().and_then(|scaler| scaler.decision.as_ref())
            && let Some(review_at) = decision.review_at
        {
            self.wake(review_at);
        }
    }

    fn auxiliaries(&mut self) {
        for (id, auxiliary) in &self.world.auxiliaries {
            match auxiliary.phase {
                AuxiliaryPhase::Wanted => {
                    self.last_incarnation = self.last_incarnation.next();
                    let incarnation = self.last_incarnation;
                    let deadline = self.now + auxiliary.timeout;
                    self.spawns.push(Command::SpawnAuxiliary { id: *id, incarnation, deadline });
                }
                AuxiliaryPhase::Running { incarnation, deadline, killed_at } => {
                    let is_over = self.world.shutdown.is_some() || !self.world.is_waited_for(auxiliary);
                    let limit = if is_over { self.now } else { deadline };
                    if self.is_due(killed_at, limit) {
                        self.plan.commands.push(Command::KillAuxiliary { id: *id, incarnation });
                    }
                }
            }
        }
        for (incarnation, killed_at) in &self.world.strays {
            if self.is_due(*killed_at, self.now) {
                self.plan.commands.push(Command::KillStray { incarnation: *incarnation });
            }
        }
    }

    /// Whether a kill is due, for the first time at `limit` or again.
    fn is_due(&mut self, killed_at: Option<Time>, limit: Time) -> bool {
        let due = killed_at.map_or(limit, |killed_at| killed_at + KILL_AGAIN);
        self.wake(due);
        due <= self.now
    }

    fn gap(&mut self, program: &Program, slot: Option<u32>, gap: Gap) {
        self.plan.gaps.push((program.spec.name.clone(), slot, gap));
    }

    fn wake(&mut self, moment: Time) {
        if moment > self.now {
            self.plan.wake_at = Some(self.plan.wake_at.map_or(moment, |earlier| earlier.min(moment)));
        }
    }

    /// Ends make room before starts take it.
    fn finish(mut self) -> Plan {
        self.plan.commands.append(&mut self.spawns);
        self.plan.finished =
            self.world.shutdown.is_some() && self.world.lives.is_empty() && self.plan.commands.is_empty();
        self.plan
    }
}

/// Which processes may be asked to end only because there are more than are wanted.
#[derive(Clone, Copy)]
enum MayScaleIn {
    /// All of them.
    All,
    /// This one, because nobody knows yet how they take it.
    One(Option<u32>),
    /// Those that say themselves that they hold no message, because they die of it.
    Idle,
    /// Nobody before it is told who is idle.
    NotYet,
}

impl MayScaleIn {
    fn allows(self, number: u32, slot: &Slot) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == Some(number),
            Self::Idle => slot.says_busy() == Some(false),
            Self::NotYet => false,
        }
    }
}

fn process(program: &Program, number: u32) -> ProcessId {
    ProcessId::new(program.spec.name.clone(), number)
}

fn new_stop(spec: &ProgramSpec, cause: StopCause, now: Time) -> Stop {
    let deadline = cause.has_limit().then(|| now + spec.stop.timeout);
    // What an ended main process left behind is asked once.
    let climbs = deadline.is_some() && cause != StopCause::LeaderEnded;
    let step_due = spec.stop.then.first().filter(|_| climbs).map(|first| now + first.after);
    Stop {
        cause,
        since: now,
        deadline,
        killed_at: None,
        left_asked: false,
        step: 0,
        step_due,
        waits_for_hook: false,
    }
}

fn scope(spec: &ProgramSpec) -> Scope {
    match spec.stop.to {
        StopTarget::Main => Scope::Main,
        StopTarget::Group => Scope::Group,
    }
}

fn trouble(slot: &Slot) -> String {
    match (&slot.trouble, slot.unfit_words(), slot.last_exit) {
        (Some(trouble), ..) => format!("cannot start: {trouble}"),
        (None, Some(unfit), _) => unfit,
        (None, None, Some(status)) => status.to_string(),
        (None, None, None) => "ended".to_owned(),
    }
}

/// A signal as people write it.
pub fn signal_text(number: i32) -> String {
    signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned)
}
