//! How a new machine comes to know what was there before it: configuration, requests to end, memory, and then the keeper's
//! lives with what happened to them meanwhile, in this order. Nothing is decided here, and nothing done.

use std::collections::BTreeMap;

use super::executor::Note;
use crate::core::event::{Adopted, AdoptedHook, AdoptedPreparation, Edit, Fact};
use crate::core::exit::signal_name;
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::machine::Machine;
use crate::core::memory::Memory;
use crate::core::schedule::Wall;
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
    /// How the wall clock stands.
    pub(crate) wall: Wall,
}

/// The machine that goes on from there; it knows no life yet.
pub(crate) fn machine(before: Before, inventory: &Inventory, now: Time) -> Machine {
    let Before { programs, retiring, limits, memory, wall } = before;
    let mut machine = Machine::new(limits.clone());
    machine.set_awake_since(now);
    machine.observe(Fact::Wall(wall));
    machine.configure(programs.iter().cloned().chain(retiring).collect(), limits.clone());
    machine.configure(programs, limits);
    for signal in &inventory.signals {
        if is_request_to_end(*signal) {
            let again = machine.world().shutdown.is_some();
            let edit = if again { Edit::ShutdownNow } else { Edit::Shutdown };
            machine.edit(&edit, "signal", now).expect("a shutdown is never refused");
        }
    }
    if let Some((memory, same_processes)) = memory {
        machine.recall(memory, same_processes, now);
    }
    machine.set_last_incarnation(inventory.last_incarnation);
    machine
}

/// One thing that a new machine learns from the inventory.
#[derive(Debug)]
pub(crate) enum Step {
    /// A life of a process.
    Adopt(Adopted),
    /// A hook before a start, and whether it has begun.
    Preparation(AdoptedPreparation, bool),
    /// A hook about a life, and whether it has begun.
    Hook(AdoptedHook, bool),
    /// An auxiliary process that an earlier controller waited for.
    Auxiliary(Incarnation),
    /// What happened to a life while there was no controller.
    Tell(protocol::Fact),
}

/// What a new machine learns, in this order, and sentences about what is not understood.
///
/// A life that has ended comes before the one that followed it in its slot, with its end. Hooks come before the lives that
/// they are about, so that none is run again, and what became of them last.
pub(crate) fn steps(inventory: &Inventory) -> (Vec<Step>, Vec<String>) {
    let (mut hooks, mut ends_of_hooks) = (Vec::new(), Vec::new());
    let (mut steps, mut of_the_others, mut complaints) = (Vec::new(), Vec::new(), Vec::new());
    // Numbers rise, so that the last one is the newest.
    let newest: BTreeMap<ProcessId, Incarnation> = inventory
        .processes
        .iter()
        .filter_map(|process| Some((process_of(process)?, process.incarnation)))
        .collect();
    for process in &inventory.processes {
        let mut is_followed = false;
        match adopted(process) {
            Ok(Some(Found::Process(adopted))) => {
                is_followed = newest.get(&adopted.process) > Some(&process.incarnation);
                steps.push(Step::Adopt(adopted));
            }
            Ok(Some(Found::Preparation(preparation))) => {
                let is_older = newest.get(&preparation.process) > Some(&process.incarnation);
                // What came of it decided on what followed.
                if is_older && has_ended(&process.state) {
                    steps.push(Step::Preparation(preparation, has_begun(&process.state)));
                    steps.extend(missed(process).into_iter().map(Step::Tell));
                    continue;
                }
                steps.push(match is_older {
                    true => Step::Auxiliary(process.incarnation),
                    false => Step::Preparation(preparation, has_begun(&process.state)),
                });
            }
            Ok(Some(Found::Hook(hook))) => {
                hooks.push(Step::Hook(hook, has_begun(&process.state)));
                ends_of_hooks.extend(missed(process).into_iter().map(Step::Tell));
                continue;
            }
            Ok(None) => steps.push(Step::Auxiliary(process.incarnation)),
            Err(trouble) => complaints.push(format!(
                "life {} carries a note that is not understood and is left alone: {trouble}",
                process.incarnation
            )),
        }
        let facts = missed(process).into_iter().map(Step::Tell);
        if is_over(&process.state) {
            steps.extend(facts);
        } else if is_followed {
            let (end, rest) = end_that_was_followed(process).unzip();
            steps.extend(end.map(Step::Tell));
            of_the_others.extend(rest.map(Step::Tell));
        } else {
            of_the_others.extend(facts);
        }
    }
    for mut more in [steps, of_the_others, ends_of_hooks] {
        hooks.append(&mut more);
    }
    (hooks, complaints)
}

/// The end of a life that another one follows in its slot, and what is left of it. What followed was started because
/// nothing was seen to be left then.
fn end_that_was_followed(process: &InventoryProcess) -> Option<(protocol::Fact, protocol::Fact)> {
    let incarnation = process.incarnation;
    let InventoryState::Exited { status, at, left, .. } = process.state else { return None };
    let end = protocol::Fact::Exited { incarnation, status, left: 0, at };
    Some((end, protocol::Fact::Left { incarnation, left, at }))
}

/// Whose life it is, if its note says so.
pub(crate) fn program_of(process: &InventoryProcess) -> Option<ProgramName> {
    match serde_json::from_value::<Note>(process.note.clone()).ok()? {
        Note::Process { process, .. } | Note::Preparation { process, .. } | Note::Hook { process, .. } => {
            Some(process.program)
        }
        Note::Auxiliary => None,
    }
}

/// Whose slot a life is in.
fn process_of(process: &InventoryProcess) -> Option<ProcessId> {
    match serde_json::from_value::<Note>(process.note.clone()).ok()? {
        Note::Process { process, .. } | Note::Preparation { process, .. } => Some(process),
        Note::Hook { .. } | Note::Auxiliary => None,
    }
}

fn has_begun(state: &InventoryState) -> bool {
    match state {
        InventoryState::Running { .. } | InventoryState::Exited { .. } => true,
        InventoryState::Spawning | InventoryState::CouldNotSpawn { .. } => false,
    }
}

/// What the note on a life says that it is.
enum Found {
    Process(Adopted),
    Preparation(AdoptedPreparation),
    Hook(AdoptedHook),
}

fn has_ended(state: &InventoryState) -> bool {
    match state {
        InventoryState::CouldNotSpawn { .. } | InventoryState::Exited { .. } => true,
        InventoryState::Spawning | InventoryState::Running { .. } => false,
    }
}

/// Whether nothing of a life is left.
fn is_over(state: &InventoryState) -> bool {
    match state {
        InventoryState::CouldNotSpawn { .. } | InventoryState::Exited { left: 0, .. } => true,
        InventoryState::Spawning | InventoryState::Running { .. } | InventoryState::Exited { .. } => false,
    }
}

/// Whether a signal to Leveret asks it to end.
pub(crate) fn is_request_to_end(signal: i32) -> bool {
    matches!(signal_name(signal), Some("SIGTERM" | "SIGINT" | "SIGQUIT"))
}

/// The life of a process as its note and the keeper describe it; nothing for an auxiliary process.
fn adopted(process: &InventoryProcess) -> Result<Option<Found>, serde_json::Error> {
    let incarnation = process.incarnation;
    let (id, fingerprint, ordered_at, stop, run) = match serde_json::from_value::<Note>(process.note.clone())?
    {
        Note::Process { process, fingerprint, ordered_at, stop, run } => {
            (process, fingerprint, ordered_at, stop, run)
        }
        Note::Preparation { process, fingerprint, ordered_at, preparation, run } => {
            let found =
                AdoptedPreparation { process, incarnation, fingerprint, ordered_at, preparation, run };
            return Ok(Some(Found::Preparation(found)));
        }
        Note::Hook { process, moment, about, deadline } => {
            let found = AdoptedHook { process, moment, about, incarnation, deadline };
            return Ok(Some(Found::Hook(found)));
        }
        Note::Auxiliary => return Ok(None),
    };
    let main = match &process.state {
        InventoryState::Spawning | InventoryState::CouldNotSpawn { .. } => None,
        InventoryState::Running { pid, at } => Some((*pid, *at)),
        InventoryState::Exited { pid, started_at, .. } => Some((*pid, *started_at)),
    };
    let unheard = process.adopted;
    let adopted = Adopted { process: id, incarnation, fingerprint, ordered_at, stop, main, run, unheard };
    Ok(Some(Found::Process(adopted)))
}

/// What happened to a life while there was no controller.
fn missed(process: &InventoryProcess) -> Vec<protocol::Fact> {
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
        protocol::Fact::Inventory(_)
        | protocol::Fact::Kept { .. }
        | protocol::Fact::Leave
        | protocol::Fact::Upgrade(_)
        | protocol::Fact::Signalled { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exit::ExitStatus;
    use crate::core::hooks::Preparation;
    use crate::core::observed::{Life, Phase};
    use crate::core::scenario::service;
    use crate::keeper::protocol::VERSION;

    const AT: Time = Time::from_millis(5_000);

    fn life(number: u64, state: InventoryState) -> InventoryProcess {
        let process = ProcessId::new(ProgramName::new("web").unwrap(), 0);
        let note = Note::Process { process, fingerprint: 1, ordered_at: AT, stop: None, run: None };
        let note = serde_json::to_value(note).unwrap();
        let output = "life.out".into();
        InventoryProcess {
            incarnation: Incarnation(number),
            output,
            errors: None,
            note,
            state,
            adopted: false,
        }
    }

    fn taken_over(processes: Vec<InventoryProcess>) -> Machine {
        let inventory = serde_json::json!({
            "version": VERSION,
            "keeper_pid": 1,
            "started_at": Time::default(),
            "controllers_before": 1,
            "last_incarnation": 2,
            "processes": processes,
            "kept": [],
            "signals": [],
        });
        let inventory: Inventory = serde_json::from_value(inventory).unwrap();
        let programs = vec![service("web", 1)];
        let wall = Wall { ahead_micros: 0 };
        let before = Before { programs, retiring: Vec::new(), limits: Limits::default(), memory: None, wall };
        let mut machine = machine(before, &inventory, AT);
        for step in steps(&inventory).0 {
            match step {
                Step::Adopt(adopted) => machine.adopt(adopted),
                Step::Preparation(preparation, _) => machine.adopt_preparation(preparation),
                Step::Hook(hook, _) => machine.adopt_hook(hook),
                Step::Auxiliary(incarnation) => machine.adopt_auxiliary(incarnation),
                Step::Tell(fact) => machine.observe(told(&fact).unwrap()),
            }
        }
        machine
    }

    #[test]
    fn an_end_is_counted_also_where_the_keeper_has_not_looked_yet_whether_something_is_left() {
        for left in [0, 1] {
            let (status, started_at) = (ExitStatus::Code(3), Time::from_millis(1_000));
            let machine = taken_over(vec![
                life(1, InventoryState::Exited { pid: 10, started_at, status, left, at: AT }),
                life(2, InventoryState::Running { pid: 11, at: AT }),
            ]);
            let program = machine.world().programs.values().next().unwrap();
            let deaths: Vec<_> =
                program.deaths.by_count().iter().map(|(cause, death)| (*cause, death.count)).collect();
            assert_eq!(deaths, [("exit code 3", 1)], "{left} left");
            assert_eq!(program.slots[&0].restarts, 1, "{left} left");
            assert_eq!(program.slots[&0].phase.main().map(|main| main.pid), Some(11), "{left} left");
        }
    }

    fn hook(number: u64, preparation: Preparation, state: InventoryState) -> InventoryProcess {
        let process = ProcessId::new(ProgramName::new("web").unwrap(), 0);
        let note = Note::Preparation { process, fingerprint: 1, ordered_at: AT, preparation, run: None };
        InventoryProcess { note: serde_json::to_value(note).unwrap(), ..life(number, state) }
    }

    #[test]
    fn a_hook_that_failed_and_was_run_again_meanwhile_is_counted_but_one_that_was_cancelled_is_not() {
        let until = Preparation::until(AT);
        let cancelled = Preparation { is_cancelled: true, killed_at: Some(AT), ..until };
        for (first, failures) in [(until, 1), (cancelled, 0)] {
            let (status, started_at) = (ExitStatus::Signal(9), Time::from_millis(1_000));
            let machine = taken_over(vec![
                hook(1, first, InventoryState::Exited { pid: 10, started_at, status, left: 1, at: AT }),
                hook(2, until, InventoryState::Running { pid: 11, at: AT }),
            ]);
            let slot = &machine.world().programs.values().next().unwrap().slots[&0];
            assert_eq!(slot.failures, failures);
            assert!(matches!(slot.phase, Phase::Preparing(Life { incarnation: Incarnation(2), .. }, _)));
        }
    }
}
