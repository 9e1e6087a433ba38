//! Answers to the page, the API and the signals: what is asked for becomes an edit, what is shown a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::info;

use super::control::Control;
use super::handle::{Accepted, Action, Histograms, Origin, Refusal, Request};
use super::reloading::Reading;
use super::snapshot::{DecisionView, Explanation, Snapshot};
use super::view::{self, Scene};
use crate::core::command::Scope;
use crate::core::event::{Edit, EditError};
use crate::core::ids::{ProgramName, Target};
use crate::core::plan::signal_text;
use crate::core::slots::Slots;
use crate::core::time::Time;
use crate::core::words::processes;
use crate::keeper::protocol::Order;
use crate::sys::clock;

/// How many decisions an explanation recounts.
const HISTORY: usize = 10;

impl Control {
    pub(super) fn answer(&mut self, request: Request) {
        // Whoever asked may have gone away meanwhile; then nobody misses the answer.
        match request {
            Request::Snapshot(reply) => drop(reply.send(Arc::new(self.snapshot()))),
            Request::Act(action, origin, reply) => {
                let is_lasting = !matches!(action, Action::Signal(..));
                match self.act(action, origin) {
                    // What a person set must not be forgotten, whatever happens next.
                    Ok(accepted) if is_lasting => self.saver.answer_after(reply, accepted, clock::now()),
                    answer => drop(reply.send(answer)),
                }
            }
            Request::Explain(program, reply) => drop(reply.send(self.explain(&program))),
            Request::Decisions(program, limit, reply) => drop(reply.send(self.decisions(program, limit))),
            Request::Reload(reply) => self.read_configuration(Reading::Reload(Some(reply))),
            Request::PlanReload(reply) => self.read_configuration(Reading::Plan(reply)),
            Request::Upgrade(reply) => drop(reply.send(self.begin_upgrade())),
            Request::Histograms(reply) => drop(reply.send(self.histograms())),
        }
    }

    fn act(&mut self, action: Action, origin: Origin) -> Result<Accepted, Refusal> {
        let now = clock::now();
        if let Action::Pause(target) = &action
            && self.names_nothing_scaled(target)
        {
            // Nothing is set that would surprise somebody who makes one of them scaled later.
            let message = format!("{}, so there is nothing to pause", unscaled(target));
            return Ok(Accepted { message, ..Accepted::default() });
        }
        let wanted_before = matches!(action, Action::Copy(_)).then(|| self.wanted()).unwrap_or_default();
        let (edit, target, message) = match action {
            Action::Signal(target, signal) => return self.signal(&target, signal),
            Action::Start(target) => (Edit::Start(target.clone()), target, "starting".to_owned()),
            Action::Stop(target) => (Edit::Stop(target.clone()), target, "stopping".to_owned()),
            Action::Restart(target) => (Edit::Restart(target.clone()), target, "restarting".to_owned()),
            Action::Roll(target, rolling) => {
                let some = match rolling.batch {
                    1 => "one process after another".to_owned(),
                    batch => format!("{} at a time", processes(batch)),
                };
                let first = if rolling.canary.is_some() { ", after a canary" } else { "" };
                (Edit::Roll(target.clone(), rolling), target, format!("restarting {some}{first}"))
            }
            Action::Copy(target) => (Edit::Copy(target.clone()), target, "one process more".to_owned()),
            Action::Scale(program, processes, lasting) => {
                let until = lasting.map(|duration| now + duration);
                let edit = Edit::Scale(program.clone(), processes, until);
                (edit, Target::Program(program), format!("set to {processes}"))
            }
            Action::Auto(target) => (Edit::Auto(target.clone()), target, "released".to_owned()),
            Action::Pause(target) => (Edit::Pause(target.clone()), target, "scaling paused".to_owned()),
            Action::Resume(target) => (Edit::Resume(target.clone()), target, "scaling goes on".to_owned()),
            Action::Shutdown => (Edit::Shutdown, Target::All, "Leveret shuts down".to_owned()),
        };
        let concerned = self.machine.edit(&edit, origin.as_str(), now).map_err(refusal)?;
        info!("{target}: {message} ({})", origin.as_str());
        let message = match &edit {
            Edit::Scale(program, ..) | Edit::Copy(Target::Program(program)) => {
                self.held(program, &message, now)
            }
            Edit::Resume(target) if self.names_nothing_scaled(target) => {
                format!("{}, so there is nothing to resume", unscaled(target))
            }
            Edit::Start(_)
            | Edit::Stop(_)
            | Edit::Restart(_)
            | Edit::Roll(..)
            | Edit::Copy(_)
            | Edit::Auto(_)
            | Edit::Pause(_)
            | Edit::Resume(_)
            | Edit::Shutdown
            | Edit::ShutdownNow => format!("{target}: {message}"),
        };
        let processes = match &edit {
            Edit::Copy(_) => self.added(&concerned, &wanted_before),
            Edit::Start(_)
            | Edit::Stop(_)
            | Edit::Restart(_)
            | Edit::Roll(..)
            | Edit::Scale(..)
            | Edit::Auto(_)
            | Edit::Pause(_)
            | Edit::Resume(_)
            | Edit::Shutdown
            | Edit::ShutdownNow => self.concerned(&target, &concerned),
        };
        let rollout = matches!(edit, Edit::Roll(..)).then(|| self.newest_rollout(&concerned)).flatten();
        Ok(Accepted { message, processes, rollout })
    }

    fn newest_rollout(&self, programs: &BTreeSet<ProgramName>) -> Option<u64> {
        let programs = programs.iter().filter_map(|name| self.machine.world().programs.get(name));
        programs.filter_map(|program| Some(program.wish.rollout.as_ref()?.id)).max()
    }

    /// Whether a target names programs and none of them is scaled.
    fn names_nothing_scaled(&self, target: &Target) -> bool {
        let programs = self.machine.world().programs.values();
        let mut named = programs.filter(|program| match target {
            Target::All => true,
            Target::Project(project) => program.spec.project.as_ref() == Some(project),
            Target::Program(name) => program.spec.name == *name,
            Target::Process(process) => program.spec.name == process.program,
        });
        let mut scaled = named.by_ref().map(|program| program.scaler.is_some()).peekable();
        // A name that there is not is for the machine to refuse.
        (scaled.peek().is_some() || *target == Target::All) && !scaled.any(|is_scaled| is_scaled)
    }

    /// Which slots should have a process, by program.
    fn wanted(&self) -> BTreeMap<ProgramName, Slots> {
        let programs = self.machine.world().programs.iter();
        programs.map(|(name, program)| (name.clone(), program.wanted(false).slots)).collect()
    }

    /// The processes that are wanted now and were not before.
    fn added(&self, programs: &BTreeSet<ProgramName>, before: &BTreeMap<ProgramName, Slots>) -> Vec<String> {
        let world = self.machine.world();
        let mut added = Vec::new();
        for (name, program) in programs.iter().filter_map(|name| Some((name, world.programs.get(name)?))) {
            let is_new = |slot: &u32| !before.get(name).is_some_and(|before| before.contains(*slot));
            added.extend(program.wanted(false).slots.iter().filter(is_new).map(|slot| program.label(slot)));
        }
        added
    }

    fn held(&self, program: &ProgramName, message: &str, now: Time) -> String {
        let hold = self.machine.world().programs.get(program).and_then(|program| program.wish.hold.as_ref());
        match hold {
            Some(hold) => {
                let lasting = hold.until.map(|until| until.since(now));
                format!("{program}: {} {}", processes(hold.processes), view::lasting(lasting))
            }
            None => format!("{program}: {message}"),
        }
    }

    /// The processes that an action concerns: those that there are and those that are about to be.
    fn concerned(&self, target: &Target, programs: &BTreeSet<ProgramName>) -> Vec<String> {
        let world = self.machine.world();
        let mut processes = Vec::new();
        for name in world.order.iter().filter(|name| programs.contains(*name)) {
            let program = &world.programs[name];
            let mut slots: BTreeSet<u32> = program.slots.keys().copied().collect();
            slots.extend(program.wanted(world.shutdown.is_some()).slots.iter());
            if let Target::Process(process) = target {
                slots.retain(|slot| *slot == process.slot);
            }
            processes.extend(slots.into_iter().map(|slot| program.label(slot)));
        }
        processes
    }

    /// A signal is a deed of its own: it changes nothing that is desired.
    fn signal(&mut self, target: &Target, signal: i32) -> Result<Accepted, Refusal> {
        let world = self.machine.world();
        let mut signalled = Vec::new();
        let mut orders = Vec::new();
        for process in self.machine.resolve(target).map_err(refusal)? {
            let Some(slot) = world.slot(&process) else { continue };
            if let (Some(life), Some(_)) = (slot.phase.life(), slot.phase.main()) {
                signalled.push(view::label(world, &process));
                orders.push(Order::Signal { incarnation: life.incarnation, signal, scope: Scope::Main });
            }
        }
        if orders.is_empty() {
            return Err(Refusal::Conflict(format!("nothing of \"{target}\" is running")));
        }
        for order in &orders {
            self.order(order);
        }
        let message = format!("{} sent to {}", signal_text(signal), signalled.join(", "));
        info!("{message}");
        Ok(Accepted { message, processes: signalled, rollout: None })
    }

    fn snapshot(&mut self) -> Snapshot {
        let now = clock::now();
        if self.usages.is_stale(now, self.main_pids()) {
            self.read_usage(now);
        }
        let world = self.machine.world();
        let expected = world
            .programs
            .values()
            .filter(|program| program.wish.stopped.is_none() && !program.retiring && program.count() > 0)
            // A schedule has all that it wants when its time has come.
            .filter(|program| program.runs.is_none());
        let ready = expected.clone().all(|program| program.was_complete);
        let paused = world.programs.values().any(|program| program.scaler.is_some())
            && world
                .programs
                .values()
                .filter(|program| program.scaler.is_some())
                .all(|program| program.wish.paused);
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: self.keeper.pid,
            controller_pid: std::process::id() as i32,
            uptime_seconds: now.since(self.keeper.started_at).as_secs_f64(),
            controller_restarts: self.controllers_before,
            ready,
            shutting_down: world.shutdown.is_some(),
            paused,
            config_error: self.config_error.clone(),
            upgrade: self.upgrade.clone(),
            brokers: self.brokers.views(),
            budgets: world.limits.budgets.iter().map(|budget| view::budget(world, budget)).collect(),
            programs: self.scene().programs(),
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            world: self.machine.world(),
            brokers: &self.brokers,
            usages: &self.usages,
            idleness: &self.idleness,
            executor: &self.executor,
            adopted: &self.adopted,
            dropped_bytes: self.pump.dropped_bytes(),
            now: clock::now(),
            wall_seconds: clock::wall_seconds(),
        }
    }

    fn explain(&mut self, name: &ProgramName) -> Result<Explanation, Refusal> {
        let status = self.snapshot().programs.into_iter().find(|program| program.name == name.as_str());
        let world = self.machine.world();
        let (Some(program), Some(status)) = (world.programs.get(name), status) else {
            return Err(no_such_program(name));
        };
        let decision = program.scaler.as_ref().and_then(|scaler| scaler.decision.as_ref());
        Ok(Explanation {
            program: name.to_string(),
            reason: status.reason.clone(),
            gaps: self.scene().gap_sentences(program),
            decision: decision.map(|decision| view::decision(program, decision, clock::wall_seconds())),
            history: self.journal_of(Some(name), HISTORY),
            deaths: view::deaths(program, clock::now(), clock::wall_seconds()),
            status: Some(status),
        })
    }

    fn decisions(&self, program: Option<ProgramName>, limit: usize) -> Result<Vec<DecisionView>, Refusal> {
        if let Some(name) = &program
            && !self.machine.world().programs.contains_key(name)
        {
            return Err(no_such_program(name));
        }
        Ok(self.journal_of(program.as_ref(), limit))
    }

    fn journal_of(&self, program: Option<&ProgramName>, limit: usize) -> Vec<DecisionView> {
        let of_program =
            |entry: &&DecisionView| program.is_none_or(|program| entry.program == program.as_str());
        self.journal.newest().filter(of_program).take(limit).cloned().collect()
    }

    fn histograms(&self) -> Histograms {
        let stop = self.stops.iter().map(|(program, histogram)| (program.to_string(), histogram.clone()));
        Histograms { probe: self.brokers.rounds(), stop: stop.collect() }
    }
}

fn unscaled(target: &Target) -> String {
    match target {
        Target::All => "no program is scaled".to_owned(),
        Target::Project(_) => format!("no program of {target} is scaled"),
        Target::Program(_) | Target::Process(_) => format!("{target} is not scaled"),
    }
}

fn refusal(error: EditError) -> Refusal {
    match error {
        EditError::NoSuchName(text) => Refusal::NoSuchName(text),
        EditError::Invalid(text) => Refusal::Invalid(text),
        EditError::Conflict(text) => Refusal::Conflict(text),
    }
}

fn no_such_program(name: &ProgramName) -> Refusal {
    Refusal::NoSuchName(format!("there is no program \"{name}\""))
}
