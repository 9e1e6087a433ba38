//! Carries out what the core plans: commands become orders to the keeper, and what has ended is released.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::core::auxiliary::Auxiliary;
use crate::core::command::{Command, Scope};
use crate::core::exit::signal_number;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::observed::{Life, Stop};
use crate::core::spec::{LogSpec, LogTarget, RunSpec};
use crate::core::time::Time;
use crate::core::world::{Program, World};
use crate::keeper::protocol::{Order, SpawnOrder};
use crate::logs::source::{Sink, Source};

/// What the controller writes on every life that it orders, so that the next controller knows whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "role")]
pub(crate) enum Note {
    /// A process of a program.
    Process {
        /// Which.
        process: ProcessId,
        /// What it was made from.
        fingerprint: u64,
        /// When its start was ordered.
        ordered_at: Time,
        /// The request that it end, once it is made.
        stop: Option<Stop>,
    },
    /// An auxiliary process. The next controller does not wait for it and kills it.
    Auxiliary,
}

impl Note {
    fn of(process: &ProcessId, life: &Life, stop: Option<Stop>) -> Self {
        let (fingerprint, ordered_at) = (life.fingerprint, life.ordered_at);
        Self::Process { process: process.clone(), fingerprint, ordered_at, stop }
    }

    fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("strings and numbers always serialize")
    }
}

/// Variables of Leveret's own that are about Leveret and not about its children.
fn concerns_leveret(name: &str) -> bool {
    name == "NOTIFY_SOCKET" || name.starts_with("WATCHDOG_") || name.starts_with("LISTEN_")
}

/// Turns commands into orders.
#[derive(Debug)]
pub(crate) struct Executor {
    environment: BTreeMap<String, String>,
    pipes: PathBuf,
    logs: PathBuf,
}

impl Executor {
    /// An executor whose processes inherit `environment` and whose pipes and logs are in `state_dir`.
    pub(crate) fn new(environment: BTreeMap<String, String>, state_dir: &Path) -> Self {
        let environment = environment.into_iter().filter(|(name, _)| !concerns_leveret(name)).collect();
        Self { environment, pipes: state_dir.join("pipes"), logs: state_dir.join("logs") }
    }

    /// The orders that carry out one command, in their order. `world` is as it is after the command was applied.
    pub(crate) fn orders(&self, command: &Command, world: &World) -> Vec<Order> {
        match command {
            Command::Spawn { process, life } => {
                let Some(program) = world.programs.get(&process.program) else { return Vec::new() };
                let note = Note::of(process, life, None).to_value();
                vec![self.spawn(
                    &program.spec.run,
                    &program.spec.run.argv,
                    life.incarnation,
                    Some(process),
                    note,
                )]
            }
            Command::Stop { process, incarnation, stop, signal, scope } => {
                let signal = Order::Signal { incarnation: *incarnation, signal: *signal, scope: *scope };
                [signal].into_iter().chain(note(world, process, *incarnation, *stop)).collect()
            }
            Command::Limit { process, incarnation, stop } => {
                note(world, process, *incarnation, *stop).into_iter().collect()
            }
            Command::StopLeft { process, incarnation, stop, signal } => {
                let signal = Order::Signal { incarnation: *incarnation, signal: *signal, scope: Scope::Main };
                [signal].into_iter().chain(note(world, process, *incarnation, *stop)).collect()
            }
            Command::Kill { incarnation, .. }
            | Command::KillAuxiliary { incarnation, .. }
            | Command::KillStray { incarnation } => {
                let signal = signal_number("KILL").unwrap_or(9);
                vec![Order::Signal { incarnation: *incarnation, signal, scope: Scope::Tree }]
            }
            Command::SpawnAuxiliary { id, incarnation, .. } => {
                let Some(Auxiliary { program, argv, .. }) = world.auxiliaries.get(id) else {
                    return Vec::new();
                };
                let Some(program) = world.programs.get(program) else { return Vec::new() };
                vec![self.spawn(&program.spec.run, argv, *incarnation, None, Note::Auxiliary.to_value())]
            }
        }
    }

    fn spawn(
        &self,
        run: &RunSpec,
        argv: &[String],
        incarnation: Incarnation,
        process: Option<&ProcessId>,
        note: serde_json::Value,
    ) -> Order {
        let mut environment = self.environment.clone();
        environment.extend(run.environment.clone());
        environment.insert("LEVERET_INCARNATION".to_owned(), incarnation.to_string());
        if let Some(process) = process {
            environment.insert("LEVERET_PROGRAM".to_owned(), process.program.to_string());
            environment.insert("LEVERET_PROCESS".to_owned(), process.to_string());
            environment.insert("LEVERET_SLOT".to_owned(), process.slot.to_string());
        }
        Order::Spawn(Box::new(SpawnOrder {
            incarnation,
            argv: argv.to_vec(),
            environment,
            directory: run.directory.clone(),
            user: run.user.clone(),
            group: run.group.clone(),
            umask: run.umask,
            nice: run.nice,
            output: self.pipe(incarnation),
            note,
        }))
    }

    fn pipe(&self, incarnation: Incarnation) -> PathBuf {
        self.pipes.join(incarnation.to_string())
    }

    /// Where the output of a life is to be moved.
    pub(crate) fn source(&self, program: &Program, slot: u32, incarnation: Incarnation) -> Source {
        let LogSpec { to, max_size, keep } = &program.spec.log;
        let sink = match to {
            LogTarget::PerProcess => Sink::Own(self.own_log(program, slot)),
            LogTarget::File(path) => Sink::Shared(path.clone()),
            LogTarget::Stdout => Sink::Stdout,
        };
        Source {
            incarnation,
            pipe: self.pipe(incarnation),
            label: program.label(slot),
            sink,
            max_size: *max_size,
            keep: *keep,
        }
    }

    /// The file that the output of a slot is in.
    pub(crate) fn log(&self, program: &Program, slot: u32) -> Option<PathBuf> {
        match &program.spec.log.to {
            LogTarget::PerProcess => Some(self.own_log(program, slot)),
            LogTarget::File(path) => Some(path.clone()),
            LogTarget::Stdout => None,
        }
    }

    fn own_log(&self, program: &Program, slot: u32) -> PathBuf {
        self.logs.join(format!("{}.{slot}.log", program.spec.name))
    }
}

/// What the next controller should know of a request to end. It follows the signal: a controller that dies in between has
/// asked, and the next one asks again; the other way round nobody would ever ask.
fn note(world: &World, process: &ProcessId, incarnation: Incarnation, stop: Stop) -> Option<Order> {
    let slot = world.slot(process)?;
    let present = slot.phase.life().filter(|life| life.incarnation == incarnation);
    let life = present.or_else(|| slot.leftovers.get(&incarnation).map(|leftover| &leftover.life))?;
    let note = Note::of(process, life, Some(stop)).to_value();
    Some(Order::Note { incarnation, note })
}
