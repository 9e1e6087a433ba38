//! Whoever looks at processes from outside for the controller: what is found is what they are like, told late or never.

use std::collections::{BTreeMap, BTreeSet};

use super::dice::Dice;
use super::run::Run;
use crate::core::check::{Check, CheckFor};
use crate::core::command::Command;
use crate::core::event::Fact;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::readiness::Work;
use crate::scaling::hands::Hands;

/// What a broker told of channels: whether it tells more, and what they hold.
type Word = (bool, Vec<(Incarnation, Option<Work>)>);

/// Who is looked at, and what was found.
#[derive(Debug)]
pub(super) struct Looks {
    dice: Dice,
    pub(super) at: BTreeMap<Incarnation, Looked>,
    /// What a broker told of channels, and the controller has not heard.
    channels: Option<Word>,
    /// Found and not told yet.
    found: Vec<(Incarnation, Result<(), String>)>,
    /// Lives that start, have to be found well, and were not.
    pub(super) unproven: BTreeSet<Incarnation>,
    /// Auxiliary processes that were killed.
    pub(super) killed: BTreeSet<Incarnation>,
}

/// How a process is looked at.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) purpose: CheckFor,
    check: Check,
    /// How many looks the controller was told of that failed, since the last one that did not.
    pub(super) failed: u32,
}

impl Looks {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            dice,
            at: BTreeMap::new(),
            channels: None,
            found: Vec::new(),
            unproven: BTreeSet::new(),
            killed: BTreeSet::new(),
        }
    }

    /// With the controller its looks end.
    pub(super) fn end_all(&mut self) {
        self.at.clear();
        self.found.clear();
        self.channels = None;
    }

    /// A command is carried out.
    pub(super) fn obey(&mut self, command: &Command) {
        match command {
            Command::Check { incarnation, purpose, check, .. } => {
                let looked = Looked { purpose: *purpose, check: check.clone(), failed: 0 };
                self.at.insert(*incarnation, looked);
            }
            Command::Stop { incarnation, .. } | Command::PrepareStop { incarnation, .. } => {
                self.at.remove(incarnation);
            }
            Command::KillAuxiliary { incarnation, .. } => drop(self.killed.insert(*incarnation)),
            Command::Spawn { .. }
            | Command::Prepare { .. }
            | Command::EndPreparation { .. }
            | Command::RunHook { .. }
            | Command::EndHook { .. }
            | Command::StopNext { .. }
            | Command::StopLeft { .. }
            | Command::Limit { .. }
            | Command::Kill { .. }
            | Command::Watch { .. }
            | Command::SpawnAuxiliary { .. }
            | Command::KillStray { .. } => {}
        }
    }
}

impl Run {
    /// Somebody is looked at who runs.
    pub(super) fn somebody_is_looked_at(&mut self) {
        if self.looks.dice.chance(0.1) {
            self.a_broker_tells_of_channels();
        }
        if !self.looks.dice.chance(0.4) {
            return;
        }
        let running = self.looks.at.iter().filter(|(_, looked)| looked.purpose == CheckFor::Health);
        let running: Vec<Incarnation> = running.map(|(incarnation, _)| *incarnation).collect();
        if let Some(incarnation) = self.looks.dice.pick_any(&running) {
            let times = 1 + self.looks.dice.below(3);
            let result = if self.looks.dice.chance(0.5) { Ok(()) } else { Err("here:80 is mute".to_owned()) };
            self.looks.found.extend((0..times).map(|_| (incarnation, result.clone())));
        }
    }

    /// What they hold, as old and as wrong as it may be.
    fn a_broker_tells_of_channels(&mut self) {
        let dice = &mut self.looks.dice;
        let works = [Some(Work::Busy), Some(Work::Unclear), Some(Work::Idle), Some(Work::Idle), None];
        let told = self.keeper.children.keys().map(|incarnation| (*incarnation, dice.pick(&works)));
        let told = told.collect();
        self.looks.channels = Some((self.looks.dice.chance(0.8), told));
    }

    /// By its name, so that older seeds keep their worlds: some work on several messages at once, some take more, one all.
    fn tell_how_messages_are_taken(&mut self) {
        for program in self.programs.iter().map(|program| program.name.clone()).collect::<Vec<_>>() {
            let number = program.as_str().bytes().map(u32::from).sum::<u32>();
            let concurrency = if number % 3 == 0 { 4 } else { 1 };
            let prefetch = [1, 10, 4, 0][(number % 4) as usize];
            let hands = Hands::new(Some(concurrency), Some(prefetch), None);
            self.observe(Fact::Takes { program, hands });
        }
    }

    /// A process that a command is to look at, now and then.
    pub(super) fn somebody_to_ask_about(&mut self) -> Option<(ProcessId, Incarnation)> {
        let running = self.keeper.children.iter().filter(|(_, child)| child.runs_since().is_some());
        let known = running.filter_map(|(incarnation, child)| Some((child.process.clone()?, *incarnation)));
        let known: Vec<_> = known.collect();
        if self.looks.dice.chance(0.7) { self.looks.dice.pick_any(&known) } else { None }
    }

    /// What was found and printed, as the controller takes it.
    pub(super) fn take_found(&mut self) {
        self.take_printed();
        if let Some((tells, read)) = self.looks.channels.take() {
            for broker in self.machine.world().brokers.keys().cloned().collect::<Vec<_>>() {
                self.observe(Fact::TellsWork { broker: broker.clone(), tells });
                self.observe(Fact::AtWork { broker, read: read.clone(), at: self.now });
            }
            self.tell_how_messages_are_taken();
        }
        let starting = self.looks.at.iter().filter(|(_, looked)| looked.purpose == CheckFor::Ready);
        let starting: Vec<Incarnation> = starting.map(|(incarnation, _)| *incarnation).collect();
        for incarnation in starting {
            let is_well = self.keeper.children.get(&incarnation).is_some_and(|child| child.is_well);
            if is_well {
                self.looks.found.push((incarnation, Ok(())));
            } else if self.looks.dice.chance(0.2) {
                self.looks.found.push((incarnation, Err("here:80 took no connection".to_owned())));
            }
        }
        for (incarnation, result) in std::mem::take(&mut self.looks.found) {
            let Some(looked) = self.looks.at.get_mut(&incarnation) else { continue };
            looked.failed = if result.is_ok() { 0 } else { looked.failed + 1 };
            let (purpose, check) = (looked.purpose, looked.check.clone());
            if purpose == CheckFor::Ready && result.is_ok() {
                self.looks.at.remove(&incarnation);
                self.looks.unproven.remove(&incarnation);
            }
            self.observe(Fact::Checked { incarnation, purpose, check, result, at: self.now });
        }
    }

    /// Whoever is well has printed that, and it is remembered beside the controller.
    fn take_printed(&mut self) {
        let mut printed = Vec::new();
        for (incarnation, child) in
            self.keeper.children.iter().filter(|(_, child)| child.is_well && child.lives())
        {
            let program = child.process.as_ref().and_then(|process| self.spec(&process.program));
            let pattern = program.and_then(|program| program.awaited_output());
            printed.extend(pattern.map(|pattern| (*incarnation, pattern.to_owned())));
        }
        for (incarnation, pattern) in printed {
            self.looks.unproven.remove(&incarnation);
            self.observe(Fact::Printed { incarnation, pattern, at: self.now });
        }
    }
}
