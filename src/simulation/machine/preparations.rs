//! What is known of the hooks before starts, noted beside the machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::command::Command;
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::time::Time;
use crate::keeper::protocol::Fact;

/// Hooks that run, and processes for whose next start one has succeeded.
#[derive(Debug, Default)]
pub(super) struct Preparations {
    /// Whose start each hook is for, and when it was ordered.
    pub(super) running: BTreeMap<Incarnation, (ProcessId, Time)>,
    pub(super) succeeded: BTreeSet<ProcessId>,
    /// Processes that were started without a hook, because none was configured.
    without: BTreeSet<Incarnation>,
}

impl Preparations {
    /// A hook is ordered: what one before it found counts no more.
    pub(super) fn begun(&mut self, process: &ProcessId, incarnation: Incarnation, now: Time) {
        self.succeeded.remove(process);
        self.running.insert(incarnation, (process.clone(), now));
    }

    /// A process is started. Says whether a hook has succeeded for just this start.
    pub(super) fn started(&mut self, process: &ProcessId, incarnation: Incarnation) -> bool {
        let has_succeeded = self.succeeded.remove(process);
        if !has_succeeded {
            self.without.insert(incarnation);
        }
        has_succeeded
    }

    /// Whether a start was ordered after its hook, and began with it.
    pub(super) fn was_prepared(&self, incarnation: Incarnation) -> bool {
        !self.without.contains(&incarnation)
    }

    /// The controller died before it gave this order.
    pub(super) fn not_carried_out(&mut self, command: &Command) {
        if let Command::Prepare { life, .. } = command {
            self.running.remove(&life.incarnation);
        }
        if let Command::Spawn { process, life } = command
            && !self.without.remove(&life.incarnation)
        {
            self.succeeded.insert(process.clone());
        }
    }

    /// What the keeper tells, for the first time or again.
    pub(super) fn told(&mut self, fact: &Fact) {
        if let Fact::Exited { incarnation, status, .. } = fact
            && let Some((process, _)) = self.running.remove(incarnation)
            && *status == ExitStatus::Code(0)
        {
            self.succeeded.insert(process);
        }
    }

    /// A keeper was killed, and these lives were taken over by the next one.
    pub(super) fn taken_over(&mut self, is_kept: &impl Fn(&Incarnation) -> bool) {
        self.running.retain(|incarnation, _| is_kept(incarnation));
    }
}
