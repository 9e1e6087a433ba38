//! What is known of the hooks about lives of processes, noted beside the machine.

use std::collections::{BTreeMap, BTreeSet};

use super::keeper::Keeper;
use crate::core::command::{Command, Plan};
use crate::core::hooks::Moment;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::observed::Stop;
use crate::core::spec::ProgramSpec;
use crate::core::time::Time;
use crate::keeper::protocol::Fact;

/// A hook that runs.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) process: ProcessId,
    pub(super) moment: Moment,
    /// The life that it is about.
    pub(super) about: Incarnation,
    /// When it was ordered.
    pub(super) began: Time,
}

/// Hooks about lives.
#[derive(Debug, Default)]
pub(super) struct Errands {
    /// By their own lives.
    pub(super) running: BTreeMap<Incarnation, Errand>,
    pub(super) begun: BTreeSet<(Moment, Incarnation)>,
    pub(super) ended: BTreeSet<(Moment, Incarnation)>,
    /// Lives whose stop signal waits for a hook, or waited.
    pub(super) prepared: BTreeSet<Incarnation>,
    /// Lives that have ended, as the controller knows, and whose hook has to run.
    pub(super) owed: BTreeMap<Incarnation, ProcessId>,
    /// Lives that have ended, as the controller knows.
    pub(super) told_ended: BTreeSet<Incarnation>,
}

impl Errands {
    /// The controller died before it gave this order.
    pub(super) fn not_carried_out(&mut self, command: &Command) {
        if let Command::RunHook { moment, about, incarnation, .. } = command {
            self.running.remove(incarnation);
            self.begun.remove(&(*moment, *about));
        }
        if let Command::PrepareStop { incarnation, .. } = command {
            self.prepared.remove(incarnation);
        }
    }

    /// What the keeper tells, for the first time or again.
    pub(super) fn told(&mut self, fact: &Fact, keeper: &Keeper, programs: &[ProgramSpec]) {
        let (Fact::Exited { incarnation, .. } | Fact::CouldNotSpawn { incarnation, .. }) = fact else {
            return;
        };
        if let Some(errand) = self.running.remove(incarnation) {
            self.ended.insert((errand.moment, errand.about));
            if matches!(fact, Fact::CouldNotSpawn { .. }) {
                // A controller that does not know of it may try it again.
                self.begun.remove(&(errand.moment, errand.about));
            }
        }
        let process = keeper.children.get(incarnation).and_then(|child| child.process.as_ref());
        let spec = process.and_then(|process| programs.iter().find(|spec| spec.name == process.program));
        let is_new = matches!(fact, Fact::Exited { .. }) && self.told_ended.insert(*incarnation);
        if let (Some(process), Some(spec)) = (process, spec)
            && is_new
            && spec.hooks.post_exit.is_some()
        {
            self.owed.insert(*incarnation, process.clone());
        }
    }

    /// Another configuration is taken over.
    pub(super) fn configured(&mut self, programs: &[ProgramSpec]) {
        let has_hook = |process: &ProcessId| {
            let spec = programs.iter().find(|spec| spec.name == process.program);
            spec.is_some_and(|spec| spec.hooks.post_exit.is_some())
        };
        self.owed.retain(|_, process| has_hook(process));
    }

    /// A keeper was killed, and these lives were taken over by the next one: numbers after the last of them may come again.
    pub(super) fn taken_over(&mut self, is_kept: &impl Fn(&Incarnation) -> bool, last: Incarnation) {
        let gone: Vec<Incarnation> =
            self.running.keys().filter(|incarnation| !is_kept(incarnation)).copied().collect();
        for errand in gone.iter().filter_map(|incarnation| self.running.remove(incarnation)) {
            self.begun.remove(&(errand.moment, errand.about));
        }
        self.owed.clear();
        self.begun.retain(|(_, about)| *about <= last);
        self.ended.retain(|(_, about)| *about <= last);
        self.prepared.retain(|incarnation| *incarnation <= last);
        self.told_ended.retain(|incarnation| *incarnation <= last);
    }

    /// The stop that a command begins: one that is prepared, or that needs no hook before it.
    pub(super) fn begun_stop<'a>(&self, command: &'a Command) -> Option<(&'a ProcessId, &'a Stop)> {
        match command {
            Command::PrepareStop { process, stop, .. } => Some((process, stop)),
            Command::Stop { process, incarnation, stop, .. } if !self.prepared.contains(incarnation) => {
                Some((process, stop))
            }
            Command::Stop { .. }
            | Command::Spawn { .. }
            | Command::Prepare { .. }
            | Command::EndPreparation { .. }
            | Command::RunHook { .. }
            | Command::EndHook { .. }
            | Command::StopNext { .. }
            | Command::StopLeft { .. }
            | Command::Limit { .. }
            | Command::Watch { .. }
            | Command::Check { .. }
            | Command::Kill { .. }
            | Command::SpawnAuxiliary { .. }
            | Command::KillAuxiliary { .. }
            | Command::KillStray { .. } => None,
        }
    }

    /// The stops that a plan begins.
    pub(super) fn begun_stops<'a>(&self, plan: &'a Plan) -> Vec<(&'a ProcessId, &'a Stop)> {
        plan.commands.iter().filter_map(|command| self.begun_stop(command)).collect()
    }
}
