//! What a machine needs to remember for the machine that comes after it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::deaths::Deaths;
use super::desired::Wish;
use super::event::RestartReason;
use super::hooks::ErrandMemory;
use super::ids::{Incarnation, ProgramName};
use super::learned::LearnedOfQueues;
use super::machine::Machine;
use super::observed::{BrokerHealth, Phase, Slot, StopManners};
use super::runs::Runs;
use super::spec::ScaleSpec;
use super::time::Time;
use super::world::{Program, Scaler, Shutdown};

/// What a machine needs to remember for the machine that comes after it. Lives are not in it: the keeper tells those.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// By program.
    pub programs: BTreeMap<ProgramName, ProgramMemory>,
    /// The shutdown, once it was asked for.
    #[serde(default)]
    pub shutdown: Option<Shutdown>,
    /// How the brokers stood.
    #[serde(default)]
    pub brokers: BTreeMap<String, BrokerHealth>,
    /// The highest number that a life had. A keeper knows those of its own; one that follows a killed keeper does not.
    #[serde(default)]
    pub last_incarnation: Incarnation,
}

/// What is remembered of a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgramMemory {
    /// What was wanted.
    pub wish: Wish,
    /// The engine's target.
    #[serde(default)]
    pub target: Option<u32>,
    /// What the engine had learned.
    #[serde(default)]
    pub learned: LearnedOfQueues,
    /// How its processes take their stop signal.
    #[serde(default)]
    pub manners: StopManners,
    /// Slots with a past: failures, restarts, backoff.
    #[serde(default)]
    pub slots: BTreeMap<u32, Slot>,
    /// Restarts by reason.
    #[serde(default)]
    pub restarts: BTreeMap<RestartReason, u64>,
    /// Ends that nobody asked for, by cause.
    #[serde(default)]
    pub deaths: Deaths,
    /// Decisions that raised the target, lowered it, or held it for lack of data.
    #[serde(default)]
    pub decisions: (u64, u64, u64),
    /// Whether it once had all that it wanted.
    #[serde(default)]
    pub was_complete: bool,
    /// What there was of its schedule.
    #[serde(default)]
    pub runs: Option<Runs>,
    /// Hooks that were to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errands: Vec<ErrandMemory>,
}

impl Machine {
    /// What to remember.
    pub fn memory(&self) -> Memory {
        let (shutdown, brokers) = (self.world().shutdown, self.world().brokers.clone());
        let last_incarnation = self.world().last_incarnation;
        let mut memory = Memory { programs: BTreeMap::new(), shutdown, brokers, last_incarnation };
        for (name, program) in &self.world().programs {
            let scaler = program.scaler.as_ref();
            let slots = program.slots.iter().map(|(number, slot)| (*number, past(slot)));
            let decisions = scaler.map(|scaler| (scaler.ups, scaler.downs, scaler.holds));
            memory.programs.insert(
                name.clone(),
                ProgramMemory {
                    wish: program.wish.clone(),
                    target: scaler.map(|scaler| scaler.target),
                    learned: learned(program),
                    manners: program.manners,
                    slots: slots.filter(|(_, slot)| *slot != Slot::default()).collect(),
                    restarts: program.restarts.clone(),
                    deaths: program.deaths.clone(),
                    decisions: decisions.unwrap_or_default(),
                    was_complete: program.was_complete,
                    runs: program.runs.as_ref().map(Runs::to_remember),
                    errands: program.errands_to_remember(),
                },
            );
        }
        memory
    }

    /// Remembers. With `same_processes` the processes of before go on, and so do their clocks and counts; otherwise Leveret
    /// itself was started anew, and only what people set, what the engine learned and how processes ended is taken over.
    pub fn recall(&mut self, memory: Memory, same_processes: bool, now: Time) {
        let world = self.world_mut();
        let limits = world.limits.clone();
        if same_processes {
            world.shutdown = both(world.shutdown, memory.shutdown);
            world.brokers = memory.brokers;
            world.last_incarnation = world.last_incarnation.max(memory.last_incarnation);
        }
        for (name, past) in memory.programs {
            let Some(program) = world.programs.get_mut(&name) else { continue };
            if let (Some(scaler), Some(scale)) = (&mut program.scaler, program.spec.scale()) {
                scaler.engine = past.learned.engine(scale, &limits);
                if same_processes {
                    restore_scaler(scaler, scale, past.target, past.decisions);
                    scaler.target = scaler.target.clamp(scale.min, scale.max);
                }
            }
            program.deaths = past.deaths;
            if let (Some(mut runs), Some(schedule)) = (past.runs, program.spec.schedule()) {
                let now = world.wall.map_or(0.0, |wall| wall.micros_at(now) as f64 / 1e6);
                if same_processes {
                    runs.reschedule(schedule);
                } else {
                    runs = runs.over_restart(schedule, now);
                }
                program.runs = Some(runs);
            }
            if same_processes {
                program.wish = past.wish;
                program.manners = past.manners;
                program.slots = past.slots;
                program.restarts = past.restarts;
                program.was_complete = past.was_complete;
                program.recall_errands(&past.errands);
            } else {
                let configured = program.wish.stopped.take();
                program.wish = wish_over_restart(&past.wish);
                program.wish.stopped = match program.wish.stopped.take() {
                    Some(super::desired::StoppedBy::Operator(by)) => {
                        Some(super::desired::StoppedBy::Operator(by))
                    }
                    Some(super::desired::StoppedBy::Autostart) | None => configured,
                };
            }
        }
    }
}

fn learned(program: &Program) -> LearnedOfQueues {
    let both = program.scaler.as_ref().zip(program.spec.scale());
    both.map(|(scaler, scale)| LearnedOfQueues::of(&scaler.engine, scale)).unwrap_or_default()
}

/// A shutdown that was asked for again keeps why it began.
fn both(now: Option<Shutdown>, before: Option<Shutdown>) -> Option<Shutdown> {
    match (now, before) {
        (Some(now), Some(before)) => Some(Shutdown { at_once: now.at_once || before.at_once, ..before }),
        (now, before) => now.or(before),
    }
}

fn restore_scaler(scaler: &mut Scaler, scale: &ScaleSpec, target: Option<u32>, decisions: (u64, u64, u64)) {
    (scaler.ups, scaler.downs, scaler.holds) = decisions;
    if let Some(target) = target {
        scaler.resume_at(target, scale);
    }
}

/// A slot without the life in it.
fn past(slot: &Slot) -> Slot {
    let phase = match &slot.phase {
        Phase::Preparing(..)
        | Phase::Spawning(_)
        | Phase::Starting(..)
        | Phase::Running(..)
        | Phase::Stopping(..)
        | Phase::LeaderGone(..)
        | Phase::Empty => Phase::Empty,
        Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Failed { .. } => slot.phase.clone(),
    };
    Slot { phase, leftovers: BTreeMap::new(), ..slot.clone() }
}

/// What a wish keeps over a restart of Leveret itself: not the processes, which are new, nor failures.
fn wish_over_restart(wish: &Wish) -> Wish {
    Wish {
        stopped: wish.stopped.clone(),
        stopped_slots: wish.stopped_slots.clone(),
        hold: wish.hold.clone(),
        paused: wish.paused,
        ..Wish::default()
    }
}
