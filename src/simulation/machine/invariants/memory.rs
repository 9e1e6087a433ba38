//! What a controller, or Leveret itself, may not forget.

use std::collections::BTreeMap;

use crate::core::desired::{StoppedBy, Wish};
use crate::core::ids::{ProcessId, ProgramName};
use crate::core::machine::Machine;
use crate::core::observed::Phase;
use crate::core::time::Time;
use crate::simulation::machine::keeper::Child;
use crate::simulation::machine::run::{Check, Run};

/// What is wanted of each program.
pub(in crate::simulation::machine) fn wishes(machine: &Machine) -> BTreeMap<ProgramName, Wish> {
    let programs = &machine.world().programs;
    programs.iter().map(|(name, program)| (name.clone(), program.wish.clone())).collect()
}

/// What a controller knew, for the one after it.
pub(in crate::simulation::machine) struct Remembered {
    wishes: BTreeMap<ProgramName, Wish>,
    slots: BTreeMap<ProcessId, (u32, Phase)>,
    shutdown: bool,
    /// Whether what the brokers said last is written down; with their return failures are forgiven.
    brokers_saved: bool,
    /// When this was so, if the next controller should know all of it and find nothing new.
    all_known_at: Option<Time>,
}

impl Remembered {
    pub(in crate::simulation::machine) fn of(run: &Run) -> Self {
        let world = run.machine.world();
        let mut slots = BTreeMap::new();
        for (name, program) in &world.programs {
            for (number, slot) in &program.slots {
                let process = ProcessId::new(name.clone(), *number);
                if !run.keeper.has_news_of(&process) {
                    slots.insert(process, (slot.failures, slot.phase.clone()));
                }
            }
        }
        let all_known = run.is_saved() && !run.keeper.has_news() && run.shadow.uncertain.is_empty();
        Self {
            wishes: wishes(&run.machine),
            slots,
            shutdown: world.shutdown.is_some(),
            brokers_saved: run.brokers_saved,
            all_known_at: all_known.then_some(run.now),
        }
    }

    /// Holds it against what the next controller knows after its first step, which gave these commands.
    pub(in crate::simulation::machine) fn held_against(self, run: &Run, commands: &str) -> Check {
        if self.all_known_at == Some(run.now) {
            // Somebody has to watch again, kills are repeated, and the inventory knows of one left process where it is not sure that there is none.
            let may_be = |line: &&str| {
                [" Kill", " EndPreparation", " EndHook", " StopLeft", " Watch", " Check"]
                    .iter()
                    .any(|word| line.contains(word))
            };
            let new = commands.lines().find(|line| !may_be(line));
            if let Some(command) = new {
                return Err(format!("a new controller that knows everything does something: {command}"));
            }
        }
        if self.shutdown != run.machine.world().shutdown.is_some() {
            return Err("the new controller does not know of the shutdown".to_owned());
        }
        let now = wishes(&run.machine);
        for (name, wish) in &self.wishes {
            let Some(after) = now.get(name) else { continue };
            // How far it has come is found out again.
            let without_progress = |wish: &Wish| Wish { rollout: None, ..wish.clone() };
            let rollout = |wish: &Wish| wish.rollout.as_ref().map(|rollout| rollout.id);
            if rollout(wish) != rollout(after) {
                return Err(format!("the new controller has another rolling restart of {name}: {after:?}"));
            }
            let (wish, after) = (without_progress(wish), without_progress(after));
            if wish != after && wish.hold == after.hold {
                return Err(format!("the new controller forgot about {name}: {wish:?} became {after:?}"));
            }
        }
        if self.brokers_saved { self.same_failures(run) } else { Ok(()) }
    }

    fn same_failures(&self, run: &Run) -> Check {
        for (process, (failures, phase)) in &self.slots {
            let (Phase::Backoff { since, .. } | Phase::Failed { at: since }) = phase else { continue };
            let Some(program) = run.machine.world().programs.get(&process.program) else { continue };
            // A failure that was not written down is dealt with anew, and its wait has another jitter: up to a quarter less.
            // Of what a main process left behind, the keeper does not know later when the last one went.
            let slot = program.slots.get(&process.slot);
            let last = slot.and_then(|slot| run.keeper.children.get(&slot.last_ended));
            let ended_at = last.and_then(Child::ended_at).map_or(*since, |at| at.min(*since));
            let is_over = matches!(phase, Phase::Backoff { since, until }
                if ended_at + until.since(*since).mul_f64(0.75) <= run.now);
            // What is not wanted any more has no past.
            let is_wanted = program.wanted(run.shadow.shutdown.is_some()).slots.contains(process.slot);
            // What failed in one run of a schedule means nothing to the next.
            let run_began = program.runs.as_ref().and_then(|runs| runs.current).map(|run| run.began_at);
            let is_of_earlier_run = run_began.is_some_and(|began_at| *since < began_at);
            if is_over || is_of_earlier_run || !is_wanted || program.wish.forgives(process.slot, *since) {
                continue;
            }
            let is_kept = slot.is_some_and(|slot| {
                let same_kind = std::mem::discriminant(&slot.phase) == std::mem::discriminant(phase);
                // The keeper may not be sure yet that nothing is left; what follows comes when it is.
                (slot.failures == *failures && same_kind) || matches!(slot.phase, Phase::LeaderGone(..))
            });
            if !is_kept {
                return Err(format!(
                    "the new controller forgot that {process} failed: {failures}, {phase:?} became {slot:?}"
                ));
            }
        }
        Ok(())
    }
}

/// What people set survives a new start of Leveret.
pub(in crate::simulation::machine) fn kept_over_daemon_restart(
    run: &Run,
    before: &BTreeMap<ProgramName, Wish>,
) -> Check {
    let now = wishes(&run.machine);
    for (name, wish) in before {
        let Some(after) = now.get(name) else { continue };
        // A hold whose end was not written down ends once more.
        if after.hold.as_ref().and_then(|hold| hold.until).is_some_and(|until| until <= run.now) {
            continue;
        }
        // By a clock that was set back meanwhile, it has not even ended.
        if wish.hold.is_none() && after.hold.as_ref().is_some_and(|hold| hold.until.is_some()) {
            continue;
        }
        let by_operator = |wish: &Wish| match &wish.stopped {
            Some(StoppedBy::Operator(by)) => Some(by.clone()),
            Some(StoppedBy::Autostart) | None => None,
        };
        let count = |wish: &Wish| wish.hold.as_ref().map(|hold| hold.processes);
        let set = |wish: &Wish| (by_operator(wish), wish.stopped_slots.clone(), count(wish), wish.paused);
        if set(wish) != set(after) {
            return Err(format!("the new start forgot about {name}: {wish:?} became {after:?}"));
        }
    }
    Ok(())
}
