//! The machine: facts and edits go in, time passes, plans come out. It owns the world and is its only writer.

use std::time::Duration;

use super::auxiliary::{Auxiliary, AuxiliaryId, AuxiliaryOutcome, AuxiliaryPhase, AuxiliaryResult, Purpose};
use super::command::{Command, Plan};
use super::desired::Wish;
use super::event::{Adopted, Fact, Notice, RestartReason};
use super::exit::ExitStatus;
use super::ids::{Incarnation, ProcessId, ProgramName};
use super::lifecycle::{self, Change};
use super::observed::{BrokerHealth, Gone, Leftover, Life, Main, Phase, Slot, Stop, StopCause, StopManners};
use super::plan::{plan, signal_text};
use super::random::Random;
use super::restart::{Ending, after_ending};
use super::time::Time;
use super::world::{Limits, MANNERS_PROVEN, Owner, Program, USEFUL_LIFE, World};
use crate::scaling::decision::Limit;
use crate::scaling::input::Observation;

/// A stop whose limit is zero is followed by its kill; nothing takes more rounds of planning than that at one moment.
const ROUNDS_MAX: usize = 8;
const ROUNDS_SPACING: Duration = Duration::from_millis(100);

/// A consumer that failed this shortly before its broker was found to be gone, failed because of that: consumers often
/// notice first.
const SIGN_OF_LOSS: Duration = Duration::from_secs(5);

/// When a broker is back, its consumers start again within this time, spread evenly.
const BROKER_RETURN_SPREAD: Duration = Duration::from_secs(1);

/// The machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    world: World,
    notices: Vec<Notice>,
}

impl Machine {
    /// A machine that knows nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { world: World { limits, ..World::default() }, notices: Vec::new() }
    }

    /// Everything it knows.
    pub fn world(&self) -> &World {
        &self.world
    }

    pub(super) fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// Whose life `incarnation` is, if it is a process's and something of it may be left.
    pub fn process_of(&self, incarnation: Incarnation) -> Option<ProcessId> {
        match self.world.lives.get(&incarnation)? {
            Owner::Process(process) => Some(process.clone()),
            Owner::Auxiliary(_) | Owner::Stray => None,
        }
    }

    /// Numbers up to `incarnation` were used before this machine.
    pub fn set_last_incarnation(&mut self, incarnation: Incarnation) {
        self.world.last_incarnation = self.world.last_incarnation.max(incarnation);
    }

    /// What it has to tell since this was last asked.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Takes note of a fact.
    pub fn observe(&mut self, fact: Fact) {
        match fact {
            Fact::Spawned { incarnation, pid, at } => self.spawned(incarnation, Main { pid, started_at: at }),
            Fact::CouldNotSpawn { incarnation, step, cause, at } => {
                self.could_not_spawn(incarnation, format!("{step}: {cause}"), at);
            }
            Fact::Exited { incarnation, status, left, at } => self.exited(incarnation, status, left, at),
            Fact::Left { incarnation, left, at } => self.left(incarnation, left, at),
            Fact::Broker { broker, health, at } => self.broker(broker, health, at),
            Fact::Queue { broker, queue, observation } => self.queue(&broker, &queue, observation),
        }
    }

    /// Takes over a life that was there before this machine. Exits that it had meanwhile are told as facts afterwards, but
    /// before the life that followed it in its slot is taken over: that one then counts as the restart that it was.
    pub fn adopt(&mut self, adopted: Adopted) {
        let Adopted { process, incarnation, fingerprint, ordered_at, stop, main } = adopted;
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
        if let Some(older) = slot.phase.life().copied() {
            let stop = slot.phase.stop().copied();
            leave_beside(slot, older, stop);
        }
        slot.phase = match (main, stop) {
            (None, _) => Phase::Spawning(life),
            (Some((pid, started_at)), None) => Phase::Starting(life, Main { pid, started_at }),
            (Some((pid, started_at)), Some(stop)) => Phase::Stopping(life, Main { pid, started_at }, stop),
        };
        count_restart(program, process.slot);
        keep_what_lives(program);
    }

    /// Takes over an auxiliary process that was there before this machine. Nobody waits for its answer any more: it is
    /// killed.
    pub fn adopt_auxiliary(&mut self, incarnation: Incarnation) {
        self.world.last_incarnation = self.world.last_incarnation.max(incarnation);
        self.world.lives.insert(incarnation, Owner::Stray);
        self.world.strays.insert(incarnation, None);
    }

    /// Asks for an auxiliary process. Its end is told as [`Notice::Auxiliary`].
    pub fn request_auxiliary(
        &mut self,
        program: ProgramName,
        purpose: Purpose,
        argv: Vec<String>,
        timeout: Duration,
    ) -> AuxiliaryId {
        self.world.last_auxiliary.0 += 1;
        let id = self.world.last_auxiliary;
        let phase = AuxiliaryPhase::Wanted;
        self.world.auxiliaries.insert(id, Auxiliary { program, purpose, argv, timeout, phase });
        id
    }

    /// Lets time pass up to `now`, and returns what is to be done. What it returns counts as ordered from now on; gaps and
    /// the next wake are those of the world after that.
    pub fn step(&mut self, now: Time) -> Plan {
        self.advance(now);
        let mut commands = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let mut round = plan(&self.world, now);
            if round.commands.is_empty() {
                return Plan { commands, ..round };
            }
            for command in &round.commands {
                self.apply(command, now);
            }
            commands.append(&mut round.commands);
        }
        // Not reached as long as every command leads to a state that does not ask for it again; if it is, time goes on.
        Plan { commands, wake_at: Some(now + ROUNDS_SPACING), ..Plan::default() }
    }

    fn advance(&mut self, now: Time) {
        let shutting_down = self.world.shutdown.is_some();
        let mut notices = Vec::new();
        for program in self.world.programs.values_mut() {
            end_hold(program, now, &mut notices);
            finish_startups(program, now);
            ask_engine(program, now, shutting_down, &mut notices);
            tidy(program, shutting_down);
        }
        self.notices.append(&mut notices);
        let forgotten = |program: &Program| program.retiring && program.slots.is_empty();
        self.world.programs.retain(|_, program| !forgotten(program));
        let programs = &self.world.programs;
        self.world.order.retain(|name| programs.contains_key(name));
        self.refuse_auxiliaries();
    }

    /// Requests that can no longer be met are answered at once.
    fn refuse_auxiliaries(&mut self) {
        let shutting_down = self.world.shutdown.is_some();
        let refused = |auxiliary: &Auxiliary| match auxiliary.phase {
            AuxiliaryPhase::Running { .. } => None,
            AuxiliaryPhase::Wanted if shutting_down => Some("Leveret shuts down".to_owned()),
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

    fn apply(&mut self, command: &Command, now: Time) {
        match command {
            Command::Spawn { process, life } => self.apply_spawn(process, *life),
            Command::Stop { process, incarnation, stop, .. }
            | Command::Limit { process, incarnation, stop } => {
                self.apply_stop(process, *incarnation, *stop);
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

    fn apply_spawn(&mut self, process: &ProcessId, life: Life) {
        self.world.last_incarnation = life.incarnation;
        self.world.lives.insert(life.incarnation, Owner::Process(process.clone()));
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let slot = program.slots.entry(process.slot).or_default();
        slot.phase = Phase::Spawning(life);
        if let Some(reason) = count_restart(program, process.slot) {
            self.notices.push(Notice::Restarted(process.clone(), reason));
        }
    }

    fn apply_stop(&mut self, process: &ProcessId, incarnation: Incarnation, stop: Stop) {
        if let Some(present) = self.stop_mut(process, incarnation) {
            *present = stop;
            return;
        }
        let Some(slot) = self.slot_mut(process) else { return };
        if let Phase::Starting(life, main) | Phase::Running(life, main) = slot.phase.clone()
            && life.incarnation == incarnation
        {
            slot.phase = Phase::Stopping(life, main, stop);
        }
    }

    fn slot_mut(&mut self, process: &ProcessId) -> Option<&mut Slot> {
        self.world.programs.get_mut(&process.program)?.slots.get_mut(&process.slot)
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
            | Phase::Spawning(_)
            | Phase::Starting(..)
            | Phase::Running(..)
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Failed { .. } => slot.leftovers.get_mut(&incarnation)?.stop.as_mut(),
        }
    }

    fn spawned(&mut self, incarnation: Incarnation, main: Main) {
        if let Some(process) = self.process_of(incarnation)
            && let Some(slot) = self.slot_mut(&process)
        {
            lifecycle::spawned(slot, incarnation, main);
        }
    }

    fn could_not_spawn(&mut self, incarnation: Incarnation, trouble: String, at: Time) {
        match self.world.lives.remove(&incarnation) {
            Some(Owner::Process(process)) => {
                let Some(slot) = self.slot_mut(&process) else { return };
                slot.leftovers.remove(&incarnation);
                if lifecycle::could_not_spawn(slot, incarnation, trouble) == Change::NotStarted {
                    self.settle_ending(&process, incarnation, None, Duration::ZERO, at);
                }
            }
            Some(Owner::Auxiliary(id)) => self.auxiliary_ended(id, AuxiliaryResult::CouldNotStart(trouble)),
            Some(Owner::Stray) => drop(self.world.strays.remove(&incarnation)),
            None => {}
        }
    }

    fn exited(&mut self, incarnation: Incarnation, status: ExitStatus, left: u32, at: Time) {
        let process = match self.world.lives.get(&incarnation).cloned() {
            Some(Owner::Process(process)) => process,
            Some(Owner::Auxiliary(id)) => return self.auxiliary_exited(id, incarnation, status, left),
            Some(Owner::Stray) | None => return,
        };
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
                self.settle_ending(&process, incarnation, Some(gone.status), gone.lived, gone.at);
            }
            Change::None
            | Change::Started
            | Change::NotStarted
            | Change::LeaderGone(_)
            | Change::AllGone(..) => {}
        }
    }

    fn left(&mut self, incarnation: Incarnation, left: u32, at: Time) {
        let owner = match left {
            0 => self.world.lives.remove(&incarnation),
            _ => self.world.lives.get(&incarnation).cloned(),
        };
        let process = match owner {
            Some(Owner::Process(process)) => process,
            Some(Owner::Stray) => return self.stray_left(incarnation, left),
            // An auxiliary process whose main process has ended is a stray.
            Some(Owner::Auxiliary(_)) | None => return,
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
        if !gone.asked && !restarted {
            return self.settle_ending(process, incarnation, Some(gone.status), gone.lived, at);
        }
        if let Some(slot) = self.slot_mut(process) {
            slot.again = match stop.cause {
                _ if restarted => Some(RestartReason::Operator),
                StopCause::Restart => Some(RestartReason::Operator),
                StopCause::Changed => Some(RestartReason::Changed),
                StopCause::Operator
                | StopCause::Removed
                | StopCause::ScaleIn
                | StopCause::Shutdown
                | StopCause::LeaderEnded => None,
            };
            slot.failures = 0;
        }
        self.notices.push(Notice::Stopped(process.clone(), at.since(stop.since)));
    }

    fn settle_ending(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        status: Option<ExitStatus>,
        lived: Duration,
        at: Time,
    ) {
        let seed = self.world.limits.seed ^ incarnation.0;
        let Some(program) = self.world.programs.get(&process.program) else { return };
        let excuse = self.world.excuse(program);
        let useful_life = USEFUL_LIFE.max(program.startup());
        let (policy, backoff) = (program.spec.restart, program.spec.backoff);
        let Some(slot) = self.slot_mut(process) else { return };
        let ending = Ending { status, lived, at, useful_life, policy, backoff: &backoff, excuse, seed };
        let sentence = after_ending(slot, ending);
        self.notices.push(Notice::Ended(process.clone(), sentence));
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

    fn auxiliary_ended(&mut self, id: AuxiliaryId, result: AuxiliaryResult) {
        if let Some(auxiliary) = self.world.auxiliaries.remove(&id) {
            let Auxiliary { program, purpose, .. } = auxiliary;
            self.notices.push(Notice::Auxiliary(AuxiliaryOutcome { id, program, purpose, result }));
        }
    }

    /// The failures that the absence of a broker causes do not count. When it is back, or begins to answer, its consumers
    /// start again one by one.
    fn broker(&mut self, broker: String, health: BrokerHealth, at: Time) {
        let before = self.world.brokers.insert(broker.clone(), health).unwrap_or_default();
        let consumers = self
            .world
            .programs
            .values_mut()
            .filter(|program| program.spec.scale().is_some_and(|scale| scale.broker == broker));
        let seed = self.world.limits.seed ^ at.as_micros();
        match (before, health) {
            (BrokerHealth::Unknown | BrokerHealth::Refused | BrokerHealth::Up, BrokerHealth::Unreachable) => {
                consumers.flat_map(|program| program.slots.values_mut()).for_each(|slot| excuse(slot, at));
            }
            (BrokerHealth::Unreachable, BrokerHealth::Unknown | BrokerHealth::Refused | BrokerHealth::Up)
            | (BrokerHealth::Refused, BrokerHealth::Unknown | BrokerHealth::Up) => {
                for program in consumers {
                    for (number, slot) in &mut program.slots {
                        let chance = Random::new(seed ^ u64::from(*number)).unit();
                        forgive(slot, at + BROKER_RETURN_SPREAD.mul_f64(chance));
                    }
                }
            }
            (BrokerHealth::Unreachable, BrokerHealth::Unreachable)
            | (BrokerHealth::Refused, BrokerHealth::Refused)
            | (
                BrokerHealth::Unknown | BrokerHealth::Up,
                BrokerHealth::Unknown | BrokerHealth::Refused | BrokerHealth::Up,
            ) => {}
        }
    }

    fn queue(&mut self, broker: &str, queue: &str, observation: Observation) {
        for program in self.world.programs.values_mut() {
            let reads =
                program.spec.scale().is_some_and(|scale| scale.broker == broker && scale.queue == queue);
            if reads {
                observe_queue(program, observation);
            }
        }
    }
}

/// A life whose slot has moved on is kept beside it until nothing of it is left.
fn leave_beside(slot: &mut Slot, life: Life, stop: Option<Stop>) {
    let stop = stop.filter(|stop| stop.left_asked);
    slot.leftovers.insert(life.incarnation, Leftover { stop, ..Leftover::unknown(life) });
}

/// Its broker was found to be gone `at`: a failure of shortly before was the first sign of that.
fn excuse(slot: &mut Slot, at: Time) {
    if let Phase::Backoff { since, .. } | Phase::Failed { at: since } = slot.phase
        && at.since(since) <= SIGN_OF_LOSS
    {
        slot.failures = slot.failures.saturating_sub(1);
        slot.phase = Phase::Backoff { since, until: since };
    }
}

/// Its broker is back: it starts again at `until` and has never failed.
fn forgive(slot: &mut Slot, until: Time) {
    slot.failures = 0;
    if let Phase::Backoff { since, .. } = slot.phase {
        slot.phase = Phase::Backoff { since, until };
    }
}

/// A start that follows an end is counted by the reason that the end gave.
fn count_restart(program: &mut Program, slot: u32) -> Option<RestartReason> {
    let slot = program.slots.get_mut(&slot)?;
    let reason = slot.again.take()?;
    slot.restarts += 1;
    *program.restarts.entry(reason).or_default() += 1;
    Some(reason)
}

/// What is remembered may be older than the processes: those that live and were not asked to end are wanted until readings
/// say otherwise.
fn keep_what_lives(program: &mut Program) {
    let live = program.live();
    let (Some(scaler), Some(scale)) = (&mut program.scaler, program.spec.scale()) else { return };
    let kept = live.min(scale.max);
    if scaler.target < kept {
        scaler.target = kept;
        scaler.engine.resume_at(kept);
    }
}

/// A rise of the visible consumers is the oldest starting ones having begun to consume.
fn observe_queue(program: &mut Program, observation: Observation) {
    let Some(scaler) = &mut program.scaler else { return };
    scaler.engine.observe(observation);
    let Observation::Sample { at, consumers, .. } = observation else { return };
    let before = scaler.consumers.replace(consumers);
    let Some(mut risen) = before.map(|before| consumers.saturating_sub(before)) else { return };
    let mut starting: Vec<(Time, u32)> = program
        .slots
        .iter()
        .filter_map(|(number, slot)| match &slot.phase {
            Phase::Starting(life, _) => Some((life.ordered_at, *number)),
            Phase::Empty
            | Phase::Spawning(_)
            | Phase::Running(..)
            | Phase::Stopping(..)
            | Phase::LeaderGone(..)
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Failed { .. } => None,
        })
        .collect();
    starting.sort_unstable();
    for (ordered_at, number) in starting {
        if risen == 0 {
            break;
        }
        risen -= 1;
        scaler.engine.observe_started(at.since(ordered_at));
        if let Some(slot) = program.slots.get_mut(&number)
            && let Phase::Starting(life, main) = slot.phase.clone()
        {
            slot.phase = Phase::Running(life, main);
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
pub(super) fn release_hold(program: &mut Program) {
    let held = program.count();
    program.wish.hold = None;
    if let Some(scaler) = &mut program.scaler {
        scaler.target = held;
        scaler.engine.resume_at(held);
    }
}

fn finish_startups(program: &mut Program, now: Time) {
    let startup = program.startup();
    for slot in program.slots.values_mut() {
        if let Phase::Starting(life, main) = slot.phase
            && main.started_at + startup <= now
        {
            slot.phase = Phase::Running(life, main);
        }
        if let Phase::Stopping(_, _, stop) = &slot.phase
            && now.since(stop.since) >= MANNERS_PROVEN
            && program.manners == StopManners::Unknown
        {
            program.manners = StopManners::Finishes;
        }
    }
}

fn ask_engine(program: &mut Program, now: Time, shutting_down: bool, notices: &mut Vec<Notice>) {
    if !program.follows_engine() || shutting_down {
        return;
    }
    let fleet = program.fleet();
    let Some(scaler) = &mut program.scaler else { return };
    let decision = scaler.engine.decide(&fleet, now);
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
        let told = crate::scaling::decision::Decision { before: scaler.target, ..decision.clone() };
        notices.push(Notice::Decided(program.spec.name.clone(), Box::new(told)));
    }
    scaler.target = decision.target;
    scaler.decision = Some(decision);
}

/// Forgets slots that are neither wanted nor occupied, and failures of those that are no longer wanted.
fn tidy(program: &mut Program, shutting_down: bool) {
    let wanted = program.wanted(shutting_down).slots;
    let keeps_history = matches!(program.spec.kind, super::spec::Kind::Service { .. });
    let configured = program.count();
    program.slots.retain(|number, slot| {
        if !slot.is_vacant() || wanted.contains(*number) {
            return true;
        }
        slot.phase = Phase::Empty;
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
    if life.incarnation != incarnation || stop.killed_at.is_some() {
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

/// What a wish keeps over a restart of Leveret itself: not the processes, which are new, nor failures.
pub fn wish_over_restart(wish: &Wish) -> Wish {
    Wish {
        stopped: wish.stopped.clone(),
        stopped_slots: wish.stopped_slots.clone(),
        hold: wish.hold.clone(),
        paused: wish.paused,
        ..Wish::default()
    }
}
