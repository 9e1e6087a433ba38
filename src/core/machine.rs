//! The machine: facts and edits go in, time passes, plans come out. It owns the world and is its only writer.

mod adopt;
mod advance;
mod apply;
mod condition;
mod endings;
mod errands;
mod hooks;
mod rollouts;
mod schedules;
mod surroundings;

use std::time::Duration;

pub(super) use self::advance::release_hold;
pub(super) use self::rollouts::finish as finish_rollout;
use super::auxiliary::{Auxiliary, AuxiliaryId, AuxiliaryPhase, Purpose};
use super::command::Plan;
use super::event::{Fact, Notice};
use super::ids::{Incarnation, ProcessId, ProgramName};
use super::observed::{Main, Slot};
use super::plan::plan;
use super::time::Time;
use super::world::{Limits, Owner, World};

/// A stop whose limit is zero is followed by its kill; nothing takes more rounds of planning than that at one moment.
const ROUNDS_MAX: usize = 8;
const ROUNDS_SPACING: Duration = Duration::from_millis(100);

/// Whoever comes this much later than it wanted to be woken was halted.
const HALTED: Duration = Duration::from_secs(2);

/// The machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    world: World,
    notices: Vec<Notice>,
    /// When it wanted to be woken.
    wake_at: Option<Time>,
}

impl Machine {
    /// A machine that knows nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { world: World { limits, ..World::default() }, notices: Vec::new(), wake_at: None }
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
            Owner::Preparation(_) | Owner::Hook(..) | Owner::Auxiliary(_) | Owner::Stray => None,
        }
    }

    /// It begins at this moment: what happened before is about to be told.
    pub fn set_awake_since(&mut self, now: Time) {
        self.world.awake_since = now;
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
            Fact::Wall(wall) => self.wall(wall),
            Fact::Said { incarnation, voice, at } => self.said(incarnation, voice, at),
            Fact::Printed { incarnation, pattern, at } => self.printed(incarnation, &pattern, at),
            Fact::Checked { incarnation, purpose, check, result, at } => {
                self.checked(incarnation, (purpose, &check), result, at);
            }
            Fact::TellsWork { broker, tells } => self.tells_work(broker, tells),
            Fact::Takes { program, hands } => self.takes(&program, hands),
            Fact::AtWork { broker, read, at } => self.at_work(broker, read, at),
            Fact::Memory(read) => self.memory_was_read(read),
            Fact::MemoryLeft(told) => self.world.memory_left = Some(told),
            Fact::LastWords { program, rollout, words } => self.last_words(&program, rollout, words),
        }
    }

    /// Asks for an auxiliary process, for a program or about one of its processes. Its end is told as [`Notice::Auxiliary`].
    pub fn request_auxiliary(
        &mut self,
        program: ProgramName,
        about: Option<(ProcessId, Incarnation)>,
        purpose: Purpose,
        (argv, timeout): (Vec<String>, Duration),
    ) -> AuxiliaryId {
        self.world.last_auxiliary.0 += 1;
        let id = self.world.last_auxiliary;
        let phase = AuxiliaryPhase::Wanted;
        self.world.auxiliaries.insert(id, Auxiliary { program, about, purpose, argv, timeout, phase });
        id
    }

    /// Lets time pass up to `now`, and returns what is to be done. What it returns counts as ordered from now on; gaps and
    /// the next wake are those of the world after that.
    pub fn step(&mut self, now: Time) -> Plan {
        if self.wake_at.take().is_some_and(|wake_at| now.since(wake_at) > HALTED) {
            self.world.awake_since = now;
        }
        self.advance(now);
        let mut commands = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let mut round = plan(&self.world, now);
            if round.commands.is_empty() {
                self.wake_at = round.wake_at;
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

    fn memory_was_read(&mut self, read: Vec<(Incarnation, u64)>) {
        for program in self.world.programs.values_mut() {
            program.resident.clear();
        }
        for (incarnation, bytes) in read {
            let process = self.process_of(incarnation);
            let Some(name) = process.map(|process| process.program) else { continue };
            let counts =
                self.world.programs.get(&name).is_some_and(|program| self.world.learns_memory(program));
            if let Some(program) = self.world.programs.get_mut(&name).filter(|_| counts) {
                program.resident.insert(incarnation, bytes);
            }
        }
        for program in self.world.programs.values_mut().filter(|program| !program.resident.is_empty()) {
            program.memory_each = program.resident.values().sum::<u64>() / program.resident.len() as u64;
        }
    }

    fn slot_mut(&mut self, process: &ProcessId) -> Option<&mut Slot> {
        self.world.programs.get_mut(&process.program)?.slots.get_mut(&process.slot)
    }
}
