//! How a new machine comes to know what was there before it: configuration, what was asked of Leveret as a whole, memory,
//! living processes, in this order. What happened to them meanwhile is told as facts afterwards.

use super::executor::Note;
use crate::core::event::{Adopted, Edit, Fact};
use crate::core::exit::signal_name;
use crate::core::machine::Machine;
use crate::core::memory::Memory;
use crate::core::spec::ProgramSpec;
use crate::core::time::Time;
use crate::core::world::Limits;
use crate::keeper::protocol::{self, Inventory, InventoryProcess, InventoryState};

/// What a new machine is made from, beside the inventory.
#[derive(Debug)]
pub(crate) struct Before {
    /// The configuration that runs.
    pub(crate) programs: Vec<ProgramSpec>,
    /// Removed programs of which something may live.
    pub(crate) retiring: Vec<ProgramSpec>,
    /// Limits of the machine.
    pub(crate) limits: Limits,
    /// What an earlier machine remembered, and whether its processes are the present ones.
    pub(crate) memory: Option<(Memory, bool)>,
}

/// The machine that goes on from there, and sentences about what could not be understood.
pub(crate) fn machine(before: Before, inventory: &Inventory, now: Time) -> (Machine, Vec<String>) {
    let Before { programs, retiring, limits, memory } = before;
    let mut machine = Machine::new(limits);
    let mut complaints = Vec::new();
    machine.configure(programs.iter().cloned().chain(retiring).collect(), limits);
    machine.configure(programs, limits);
    for signal in &inventory.signals {
        if is_request_to_end(*signal) {
            let again = machine.world().shutdown.is_some();
            let edit = if again { Edit::ShutdownNow } else { Edit::Shutdown };
            // A shutdown is never refused.
            if let Err(refused) = machine.edit(&edit, "signal", now) {
                complaints.push(refused.to_string());
            }
        }
    }
    if let Some((memory, same_processes)) = memory {
        machine.recall(memory, same_processes);
    }
    machine.set_last_incarnation(inventory.last_incarnation);
    for process in &inventory.processes {
        match adopted(process) {
            Ok(Some(adopted)) => machine.adopt(adopted),
            Ok(None) => machine.adopt_auxiliary(process.incarnation),
            Err(trouble) => complaints.push(format!(
                "life {} carries a note that is not understood and is left alone: {trouble}",
                process.incarnation
            )),
        }
    }
    (machine, complaints)
}

/// Whether a signal to Leveret asks it to end.
pub(crate) fn is_request_to_end(signal: i32) -> bool {
    matches!(signal_name(signal), Some("SIGTERM" | "SIGINT" | "SIGQUIT"))
}

/// The life of a process as its note and the keeper describe it; nothing for an auxiliary process.
fn adopted(process: &InventoryProcess) -> Result<Option<Adopted>, serde_json::Error> {
    let note = serde_json::from_value::<Note>(process.note.clone())?;
    let Note::Process { process: id, fingerprint, ordered_at, stop } = note else { return Ok(None) };
    let main = match &process.state {
        InventoryState::Spawning | InventoryState::CouldNotSpawn { .. } => None,
        InventoryState::Running { pid, at } => Some((*pid, *at)),
        InventoryState::Exited { pid, started_at, .. } => Some((*pid, *started_at)),
    };
    let incarnation = process.incarnation;
    Ok(Some(Adopted { process: id, incarnation, fingerprint, ordered_at, stop, main }))
}

/// What happened to a life while there was no controller.
pub(crate) fn missed(process: &InventoryProcess) -> Vec<protocol::Fact> {
    let incarnation = process.incarnation;
    match &process.state {
        InventoryState::Spawning | InventoryState::Running { .. } => Vec::new(),
        InventoryState::CouldNotSpawn { step, cause, at } => {
            let (step, cause) = (step.clone(), cause.clone());
            vec![protocol::Fact::CouldNotSpawn { incarnation, step, cause, at: *at }]
        }
        InventoryState::Exited { status, left, at, .. } => {
            let exited = protocol::Fact::Exited { incarnation, status: *status, left: *left, at: *at };
            let nothing_left = (*left == 0).then_some(protocol::Fact::Left { incarnation, left: 0, at: *at });
            [exited].into_iter().chain(nothing_left).collect()
        }
    }
}

/// What a fact of the keeper's says to the machine; nothing where it is about Leveret itself.
pub(crate) fn told(fact: &protocol::Fact) -> Option<Fact> {
    match fact {
        protocol::Fact::Spawned { incarnation, pid, at } => {
            Some(Fact::Spawned { incarnation: *incarnation, pid: *pid, at: *at })
        }
        protocol::Fact::CouldNotSpawn { incarnation, step, cause, at } => Some(Fact::CouldNotSpawn {
            incarnation: *incarnation,
            step: step.clone(),
            cause: cause.clone(),
            at: *at,
        }),
        protocol::Fact::Exited { incarnation, status, left, at } => {
            Some(Fact::Exited { incarnation: *incarnation, status: *status, left: *left, at: *at })
        }
        protocol::Fact::Left { incarnation, left, at } => {
            Some(Fact::Left { incarnation: *incarnation, left: *left, at: *at })
        }
        protocol::Fact::Inventory(_) | protocol::Fact::Kept { .. } | protocol::Fact::Signalled { .. } => None,
    }
}
