//! Budgets: of what there is only so much for all programs together. How much of it is in use, what is kept free for those
//! to whom it is guaranteed, and what is shared among those that scale.
//!
//! Two things hold a budget. The shares that are given out here decide how many each program should have; and no start is
//! planned for which there is no room at that moment ([`Room`]), whatever the shares say, so that a budget is never
//! exceeded while somebody still finishes its work.

use serde::{Deserialize, Serialize};

use super::observed::Life;
use super::spec::{Kind, ProgramSpec};
use super::time::Time;
use super::words::size;
use super::world::{Program, World};
use crate::scaling::budget::{Claim, Grant, Standing, Terms, share_in_turn};
use crate::scaling::decision::Decision;

/// Of what there is only so much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Of what.
    pub of: Resource,
    /// How much there is.
    pub limit: u64,
}

/// What there is only so much of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Processes.
    Processes,
    /// Bytes of resident memory.
    Memory,
    /// What the configuration gives a name, and of which processes say how much they use.
    Named(String),
}

impl Resource {
    /// The name in the API and in metrics.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Processes => "processes",
            Self::Memory => "memory",
            Self::Named(name) => name,
        }
    }

    /// The name that the configuration gives it.
    pub fn own_name(&self) -> Option<&str> {
        match self {
            Self::Processes | Self::Memory => None,
            Self::Named(name) => Some(name),
        }
    }
}

impl Budget {
    /// How much of it a process more of a program would use.
    pub fn use_of(&self, program: &Program) -> u64 {
        match &self.of {
            Resource::Processes => 1,
            Resource::Memory => program.memory_each,
            Resource::Named(_) => self.named_use_of(&program.spec),
        }
    }

    /// How much of it a program uses by what the file says of it, whatever its processes measure.
    pub fn named_use_of(&self, spec: &ProgramSpec) -> u64 {
        match &self.of {
            Resource::Processes => 1,
            Resource::Memory => 0,
            Resource::Named(name) => u64::from(spec.uses.get(name).copied().unwrap_or_default()),
        }
    }

    /// How much of it everything of a program uses that lives.
    pub fn used_by(&self, program: &Program) -> u64 {
        match &self.of {
            Resource::Processes | Resource::Named(_) => {
                self.use_of(program).saturating_mul(u64::from(program.alive()))
            }
            Resource::Memory => {
                let lives = program.slots.values().filter_map(|slot| slot.phase.life());
                // Who has only just started is going to use what the others do.
                let of = |life: &Life| program.resident.get(&life.incarnation).copied().unwrap_or_default();
                lives.map(|life| of(life).max(program.memory_each)).sum()
            }
        }
    }

    /// How it is called: `the budget of 64 processes`, `the memory budget of 8 GiB`, `the budget of 120 mysql`.
    pub fn words(&self) -> String {
        match &self.of {
            Resource::Processes => format!("the budget of {} processes", self.limit),
            Resource::Memory => format!("the memory budget of {}", size(self.limit)),
            Resource::Named(name) => format!("the budget of {} {name}", self.limit),
        }
    }
}

/// How many processes a program has whatever others need: those that the file fixes or names as its least, as far as they
/// are wanted.
pub fn guaranteed(program: &Program) -> u32 {
    if program.retiring || program.wish.stopped.is_some() {
        return 0;
    }
    let least = program.spec.least();
    match &program.spec.kind {
        Kind::Service { .. } => least.min(program.wanted(false).slots.len() as u32),
        Kind::Scheduled(_) => {
            if program.is_stopped() {
                0
            } else {
                least
            }
        }
        Kind::Scaled(_) => least.min(program.count()),
    }
}

/// How much of a budget all that lives uses.
pub fn used(world: &World, budget: &Budget) -> u64 {
    world.programs.values().map(|program| budget.used_by(program)).sum()
}

/// What room for starts there is.
#[derive(Clone, Debug, Default)]
pub struct Room<'a>(Vec<Space<'a>>);

#[derive(Clone, Debug)]
struct Space<'a> {
    budget: &'a Budget,
    used: u64,
    /// What those will use that are guaranteed and do not live.
    reserved: u64,
}

impl<'a> Room<'a> {
    /// The room that a world has.
    pub fn of(world: &'a World) -> Self {
        let space = |budget: &'a Budget| {
            let missing = |program: &Program| guaranteed(program).saturating_sub(program.alive());
            let of = |program: &Program| budget.use_of(program).saturating_mul(u64::from(missing(program)));
            Space { budget, used: used(world, budget), reserved: world.programs.values().map(of).sum() }
        };
        Self(world.limits.budgets.iter().map(space).collect())
    }

    /// Takes what a process more of a program uses, of which `alive` live. Gives the budget that has no room for it, and
    /// takes nothing then.
    pub fn take(&mut self, program: &Program, alive: u32) -> Option<&'a Budget> {
        if self.0.is_empty() {
            return None;
        }
        let is_guaranteed = alive < guaranteed(program);
        let short = self.0.iter().find(|space| {
            let uses = space.budget.use_of(program);
            let kept_free = if is_guaranteed { 0 } else { space.reserved };
            uses > 0 && space.used.saturating_add(kept_free).saturating_add(uses) > space.budget.limit
        });
        if let Some(short) = short {
            return Some(short.budget);
        }
        for space in &mut self.0 {
            let uses = space.budget.use_of(program);
            space.used = space.used.saturating_add(uses);
            if is_guaranteed {
                space.reserved = space.reserved.saturating_sub(uses);
            }
        }
        None
    }
}

/// What each program gets, in the order of their names; nothing where there are no budgets. `decisions` are what their
/// engines say, where they are asked.
pub(super) fn shares(world: &mut World, decisions: &[Option<Decision>], now: Time) -> Vec<Grant> {
    let budgets = &world.limits.budgets;
    if budgets.is_empty() {
        return Vec::new();
    }
    let limits: Vec<u64> = budgets.iter().map(|budget| budget.limit).collect();
    let programs = world.programs.values().zip(decisions);
    let claims = programs.map(|(program, decision)| claim(program, decision.as_ref(), budgets)).collect();
    let mut standings: Vec<Standing> = world.programs.values().map(|program| program.standing).collect();
    let grants = share_in_turn(claims, &mut standings, &limits, now);
    for (program, standing) in world.programs.values_mut().zip(standings) {
        program.standing = standing;
    }
    grants
}

fn claim(program: &Program, decision: Option<&Decision>, budgets: &[Budget]) -> Claim {
    let terms = Terms {
        guaranteed: guaranteed(program),
        has: program.live(),
        // What a person or the file says comes before what engines wish.
        priority: if decision.is_some() { priority(program) } else { i32::MAX },
        uses: budgets.iter().map(|budget| budget.use_of(program)).collect(),
    };
    match (decision, &program.spec.kind) {
        (Some(decision), _) => {
            let claim = Claim::of(decision, terms);
            let share = program.spec.scale().and_then(|scale| scale.share);
            let here = |count: u32| share.map_or(count, |share| share.part_of(count));
            // A floor is what a person says is needed.
            let least = program.scaler.as_ref().map_or(0, |scaler| here(scaler.engine.least()));
            claim.with_needs(here(decision.inputs.steady), least)
        }
        // Its place is kept for its next run.
        (None, Kind::Scheduled(_)) => Claim::fixed(terms.guaranteed, terms),
        (None, Kind::Service { .. } | Kind::Scaled(_)) => {
            Claim::fixed(program.wanted(false).slots.len() as u32, terms)
        }
    }
}

/// Higher ones come first.
pub fn priority(program: &Program) -> i32 {
    program.spec.scale().map_or(i32::MAX, |scale| scale.priority)
}
