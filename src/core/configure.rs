//! A new configuration for a running machine: what is added, removed, replaced, adjusted; nothing else is touched.

use std::collections::BTreeSet;

use super::desired::StoppedBy;
use super::event::RestartReason;
use super::machine::Machine;
use super::observed::{Phase, StopManners};
use super::runs::Runs;
use super::spec::ProgramSpec;
use super::world::{Limits, Program, Scaler, goal};
use crate::scaling::input::Learned;

/// What a new configuration changes, by program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New programs.
    pub added: Vec<String>,
    /// Programs that are gone; their processes are stopped.
    pub removed: Vec<String>,
    /// Programs whose processes are replaced.
    pub restarted: Vec<String>,
    /// Programs whose treatment changed while their processes go on.
    pub adjusted: Vec<String>,
}

impl Machine {
    /// Takes over a new configuration and says what it changes.
    pub fn configure(&mut self, specs: Vec<ProgramSpec>, limits: Limits) -> Changes {
        let world = self.world_mut();
        world.limits = limits;
        let mut changes = Changes::default();
        let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
        let present: BTreeSet<_> = names.iter().cloned().collect();
        for (name, program) in &mut world.programs {
            if !present.contains(name) && !program.retiring {
                program.retiring = true;
                changes.removed.push(name.to_string());
            }
        }
        for spec in specs {
            match world.programs.get_mut(&spec.name) {
                Some(program) => change(program, spec, &limits, &mut changes),
                None => {
                    changes.added.push(spec.name.to_string());
                    world.programs.insert(spec.name.clone(), Program::new(spec, &limits));
                }
            }
        }
        let retiring = world.programs.keys().filter(|name| !present.contains(*name)).cloned();
        world.order = names.into_iter().chain(retiring).collect();
        changes
    }
}

fn change(program: &mut Program, spec: ProgramSpec, limits: &Limits, changes: &mut Changes) {
    let name = spec.name.to_string();
    if program.retiring {
        program.retiring = false;
        changes.added.push(name);
    } else if program.spec == spec {
        // Only the interval of the readings may have changed.
    } else if program.spec.run == spec.run {
        changes.adjusted.push(name);
    } else {
        changes.restarted.push(name);
    }
    if program.spec.run != spec.run {
        forget_failures(program);
    }
    if program.spec.run != spec.run || program.spec.stop.signal != spec.stop.signal {
        program.manners = StopManners::Unknown;
    }
    let same_queue = program.spec.scale().map(|scale| (&scale.broker, &scale.queue))
        == spec.scale().map(|scale| (&scale.broker, &scale.queue));
    match (spec.scale(), &mut program.scaler) {
        (Some(scale), Some(scaler)) if same_queue => {
            scaler.engine.set_goal(goal(scale, limits));
            scaler.target = scaler.target.clamp(scale.min, scale.max);
        }
        (Some(scale), _) => {
            let running = program.live().clamp(scale.min, scale.max);
            let mut scaler = Scaler::new(scale, limits, Learned::default());
            scaler.target = running;
            scaler.engine.resume_at(running);
            program.scaler = Some(scaler);
        }
        (None, scaler) => *scaler = None,
    }
    match (spec.schedule(), &mut program.runs) {
        (Some(schedule), Some(runs)) => runs.reschedule(schedule),
        (Some(schedule), None) => program.runs = Some(Runs::new(schedule)),
        (None, runs) => *runs = None,
    }
    if spec.autostart && program.wish.stopped == Some(StoppedBy::Autostart) {
        program.wish.stopped = None;
    }
    program.fingerprint = spec.run.fingerprint();
    program.spec = spec;
}

/// What failed was made from something else: the new one is tried at once.
fn forget_failures(program: &mut Program) {
    for slot in program.slots.values_mut() {
        slot.failures = 0;
        if matches!(slot.phase, Phase::Backoff { .. } | Phase::Failed { .. }) {
            slot.phase = Phase::Empty;
            slot.again = Some(RestartReason::Changed);
        }
    }
}
