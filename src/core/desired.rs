//! What people, schedules and the engine want. Everything that an action can change is here, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ids::Incarnation;
use super::rollout::Rollout;
use super::time::Time;

/// What is wanted of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Why the whole program should not run, if so.
    pub stopped: Option<StoppedBy>,
    /// Slots that should stay empty.
    pub stopped_slots: BTreeSet<u32>,
    /// An operator's count.
    pub hold: Option<Hold>,
    /// Scaling is frozen: the count stays where it is.
    pub paused: bool,
    /// Processes up to this life should be replaced by new ones.
    #[serde(default)]
    pub replace: Watermark,
    /// Processes should be replaced one after another, or were: the newest such request.
    #[serde(default)]
    pub rollout: Option<Rollout>,
    /// Failures before this moment are forgiven: no backoff, no giving up.
    #[serde(default)]
    pub forgiven_at: Option<Time>,
    /// The same for single slots.
    #[serde(default)]
    pub forgiven_slots: BTreeMap<u32, Time>,
}

impl Wish {
    /// Whether what went wrong in `slot` at `moment` should no longer count.
    pub fn forgives(&self, slot: u32, moment: Time) -> bool {
        let latest = self.forgiven_slots.get(&slot).copied().max(self.forgiven_at);
        latest.is_some_and(|forgiven| forgiven >= moment)
    }
}

/// Why a program should not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// `autostart: false`, and nobody has started it.
    Autostart,
    /// An operator; the text says how: `page`, `command line`.
    Operator(String),
}

/// Lives that should be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// In every slot, lives up to this one.
    pub all: Incarnation,
    /// In single slots, lives up to these.
    pub slots: BTreeMap<u32, Incarnation>,
}

impl Watermark {
    /// Whether the life `incarnation` of `slot` should be replaced.
    pub fn covers(&self, slot: u32, incarnation: Incarnation) -> bool {
        incarnation <= self.all || self.slots.get(&slot).is_some_and(|last| incarnation <= *last)
    }
}

/// An operator's count, which the engine and the file leave alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// How many processes.
    pub processes: u32,
    /// When it ends by itself; absent when it lasts until it is released.
    pub until: Option<Time>,
    /// How it was set: `page`, `command line`, `API`.
    pub by: String,
}
