//! Recycling: a process that uses too much memory or has lived for long enough is replaced by a new one, one at a time, while
//! all others are of use. It may finish its work, however long that takes.

use std::cmp::Reverse;
use std::time::Duration;

use super::observed::{Main, Phase, Slot, StopCause, StopManners};
use super::random::Random;
use super::slots::Slots;
use super::time::{Time, human};
use super::world::Program;

/// The share of the age by which a process may go earlier, so that those that started together do not go together.
const AGE_JITTER: f64 = 0.2;

/// One that uses too much from its very start would be replaced all the time; it is left in peace for so long.
const LEAST_LIFE: Duration = Duration::from_secs(60);

/// Why a process is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It uses too much memory.
    Memory {
        /// Resident memory at the newest reading.
        bytes: u64,
        /// How much it may be.
        limit: u64,
    },
    /// It has lived for long enough.
    Age {
        /// About how long a process may live.
        limit: Duration,
    },
}

impl Due {
    /// `memory 310 MiB > 256 MiB`.
    pub fn words(&self) -> String {
        match self {
            Self::Memory { bytes, limit } => {
                let (unit, name) =
                    if limit.is_multiple_of(1 << 20) { (1 << 20, "MiB") } else { (1 << 10, "KiB") };
                format!("memory {} {name} > {} {name}", bytes.div_ceil(unit), limit / unit)
            }
            Self::Age { limit } => format!("age, {} at most", human(*limit)),
        }
    }
}

/// What recycling finds to do in a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recycling {
    /// Those that are due, in the order in which they go.
    pub due: Vec<(u32, Due)>,
    /// The first of them, if it may go now.
    pub victim: Option<u32>,
    /// When the next one becomes due by its age.
    pub next_at: Option<Time>,
}

/// Why the process in `slot` is to be replaced, if it is.
pub fn due(program: &Program, slot: &Slot, now: Time) -> Option<Due> {
    let (life, main) = (slot.phase.life()?, slot.phase.main()?);
    if let Some(limit) = program.spec.recycle.memory_bytes
        && now.since(main.started_at) >= LEAST_LIFE
        && let Some(bytes) = program.resident.get(&life.incarnation).copied().filter(|bytes| *bytes > limit)
    {
        return Some(Due::Memory { bytes, limit });
    }
    let limit = program.spec.recycle.age?;
    (due_at(limit, life.incarnation.0, main) <= now).then_some(Due::Age { limit })
}

/// The same for every controller, because it follows from the life alone.
fn due_at(limit: Duration, seed: u64, main: &Main) -> Time {
    main.started_at + (limit - limit.mul_f64(AGE_JITTER * Random::new(seed).unit()))
}

/// Which processes of `program`, of which these are wanted, are due, and who may go now.
pub fn recycling(program: &Program, wanted: &Slots, now: Time) -> Recycling {
    let spec = &program.spec.recycle;
    if spec.memory_bytes.is_none() && spec.age.is_none() || program.runs.is_some() {
        return Recycling::default();
    }
    let mut found = Vec::new();
    let mut next_at: Option<Time> = None;
    let mut are_others_ready = true;
    for number in wanted.iter() {
        let Some(slot) = program.slots.get(&number) else {
            are_others_ready = false;
            continue;
        };
        match &slot.phase {
            // It is about to be stopped for that.
            Phase::Running(..) if slot.unfit_now(program.spec.health.as_ref()).is_some() => {
                are_others_ready = false;
            }
            Phase::Running(life, main) => match due(program, slot, now) {
                Some(due) => {
                    let is_age = matches!(due, Due::Age { .. });
                    let bytes = program.resident.get(&life.incarnation).copied().unwrap_or(0);
                    found.push(((is_age, Reverse(bytes), main.started_at, number), due));
                }
                None => {
                    let at = spec.age.map(|limit| due_at(limit, life.incarnation.0, main));
                    next_at = next_at.into_iter().chain(at).min();
                }
            },
            Phase::Exited { .. } => {}
            Phase::Empty
            | Phase::Preparing(..)
            | Phase::Spawning(_)
            | Phase::Starting(..)
            | Phase::Stopping(..)
            | Phase::LeaderGone(..)
            | Phase::Backoff { .. }
            | Phase::Failed { .. } => are_others_ready = false,
        }
    }
    found.sort_unstable_by_key(|(turn, _)| *turn);
    let due: Vec<_> = found.into_iter().map(|((.., number), due)| (number, due)).collect();
    let is_recycled = |slot: &Slot| slot.phase.stop().is_some_and(|stop| stop.cause == StopCause::Recycle);
    let may_one = are_others_ready && program.rollout().is_none() && !program.slots.values().any(is_recycled);
    let may_go = |number: &u32| may_one && !would_lose(program, *number);
    let victim = due.iter().map(|(number, _)| *number).find(may_go);
    Recycling { due, victim, next_at }
}

/// Whether a process is not asked to end, because it would die in the middle of work: consumers that do not handle their
/// stop signal, unless they say themselves that they hold nothing.
pub fn would_lose(program: &Program, number: u32) -> bool {
    let is_idle = program.slots.get(&number).is_some_and(|slot| slot.says_busy() == Some(false));
    program.scaler.is_some() && program.manners == StopManners::DiesOfIt && !is_idle
}
