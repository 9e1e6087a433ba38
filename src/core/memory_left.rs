//! Memory of the machine: no scaled process is started beyond its guarantee into a machine that is about to run out of it.
//!
//! The memory that is left is told about once a second. Whoever has begun since, or is still starting, has not taken yet what
//! it is going to use, and is charged with what the others of its program use.

use std::time::Duration;

use super::budget::guaranteed;
use super::observed::{Main, Phase};
use super::time::Time;
use super::world::{Program, World};

/// For how long what was told counts: where nobody tells any more, nobody waits for it.
const FRESH: Duration = Duration::from_secs(30);

/// This part of all memory stays free.
const RESERVE_PART: u64 = 20;

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLeft {
    /// Bytes that can be used without swapping.
    pub left: u64,
    /// Bytes of all.
    pub total: u64,
    /// When.
    pub at: Time,
}

impl MemoryLeft {
    /// Until when it counts.
    pub fn counts_until(&self) -> Time {
        self.at + FRESH
    }

    /// Bytes that stay free.
    pub fn reserve(&self) -> u64 {
        self.total / RESERVE_PART
    }
}

/// What is left for starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spare(Option<MemoryLeft>);

impl Spare {
    /// What a world has; of one that nothing was told of lately, enough.
    pub fn of(world: &World, now: Time) -> Self {
        let Some(told) = world.memory_left.filter(|told| now < told.counts_until()) else {
            return Self(None);
        };
        let charged: u64 = world.programs.values().map(|program| charged(program, told.at)).sum();
        Self(Some(MemoryLeft { left: told.left.saturating_sub(charged), ..told }))
    }

    /// Takes what a process more of a scaled program uses, of which `alive` live. Gives what is left where that is too little for
    /// it, and takes nothing then.
    pub fn take(&mut self, program: &Program, alive: u32) -> Option<MemoryLeft> {
        let told = self.0.as_mut()?;
        let uses = program.memory_each;
        let is_guaranteed = alive < guaranteed(program);
        if !is_guaranteed && told.left < told.reserve().saturating_add(uses) {
            return Some(*told);
        }
        told.left = told.left.saturating_sub(uses);
        None
    }
}

/// What those of a program are going to use that have not had the time for it.
fn charged(program: &Program, told_at: Time) -> u64 {
    let is_new = |phase: &Phase| match phase {
        Phase::Preparing(..) | Phase::Spawning(..) | Phase::Starting(..) => true,
        Phase::Running(_, Main { started_at, .. }) => *started_at > told_at,
        Phase::Empty
        | Phase::Stopping(..)
        | Phase::LeaderGone(..)
        | Phase::Backoff { .. }
        | Phase::Exited { .. }
        | Phase::Failed { .. } => false,
    };
    let new = program.slots.values().filter(|slot| is_new(&slot.phase)).count() as u64;
    new.saturating_mul(program.memory_each)
}
