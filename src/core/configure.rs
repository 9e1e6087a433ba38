//! A new configuration for a running machine: what is added, removed, replaced, adjusted; nothing else is touched.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::desired::StoppedBy;
use super::difference::{Differences, differences};
use super::event::RestartReason;
use super::floors::Floors;
use super::ids::ProgramName;
use super::learned::LearnedOfQueues;
use super::machine::Machine;
use super::observed::{Phase, StopManners};
use super::runs::Runs;
use super::spec::{ProgramSpec, ScaleSpec};
use super::world::{Limits, Program, Scaler, goal, queue_goals};

/// What a new configuration does, program by program, in the order of the file; those that are gone come last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(pub Vec<Change>);

/// What a new configuration does to a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub program: ProgramName,
    /// What becomes of it.
    pub class: Class,
    /// The keys that differ.
    pub keys: Differences,
    /// How many of its processes live; they are replaced or stopped where the class says so.
    pub processes: u32,
}

/// What becomes of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Nothing.
    Unchanged,
    /// It is treated differently, and its processes go on.
    InPlace,
    /// Its processes are replaced.
    Restart,
    /// It is new.
    Added,
    /// It is gone, and its processes are stopped.
    Removed,
}

impl Changes {
    /// The programs of a class.
    pub fn of(&self, class: Class) -> Vec<String> {
        let members = self.0.iter().filter(|change| change.class == class);
        members.map(|change| change.program.to_string()).collect()
    }
}

impl Machine {
    /// What [`Machine::configure`] would change; nothing is changed here.
    pub fn changes(&self, specs: &[ProgramSpec]) -> Changes {
        let world = self.world();
        let present: BTreeSet<_> = specs.iter().map(|spec| &spec.name).collect();
        let kept = specs.iter().map(|spec| match world.programs.get(&spec.name) {
            Some(program) if !program.retiring => {
                let keys = differences(&program.spec, spec);
                let class = match (keys.restart.is_empty(), keys.in_place.is_empty()) {
                    (false, _) => Class::Restart,
                    (true, false) => Class::InPlace,
                    (true, true) => Class::Unchanged,
                };
                Change { program: spec.name.clone(), class, keys, processes: program.alive() }
            }
            Some(_) | None => Change {
                program: spec.name.clone(),
                class: Class::Added,
                keys: Differences::default(),
                processes: 0,
            },
        });
        let gone =
            world.programs.iter().filter(|(name, program)| !present.contains(name) && !program.retiring);
        let gone = gone.map(|(name, program)| Change {
            program: name.clone(),
            class: Class::Removed,
            keys: Differences::default(),
            processes: program.alive(),
        });
        Changes(kept.chain(gone).collect())
    }

    /// Takes over a new configuration and says what it changes: just what [`Machine::changes`] said.
    pub fn configure(&mut self, specs: Vec<ProgramSpec>, limits: Limits) -> Changes {
        let changes = self.changes(&specs);
        let world = self.world_mut();
        world.limits = limits.clone();
        let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
        let present: BTreeSet<_> = names.iter().cloned().collect();
        for (name, program) in &mut world.programs {
            if !present.contains(name) {
                program.retiring = true;
            }
        }
        for spec in specs {
            match world.programs.get_mut(&spec.name) {
                Some(program) => change(program, spec, &limits),
                None => {
                    world.programs.insert(spec.name.clone(), Program::new(spec, &limits));
                }
            }
        }
        let retiring = world.programs.keys().filter(|name| !present.contains(*name)).cloned();
        world.order = names.into_iter().chain(retiring).collect();
        changes
    }
}

fn change(program: &mut Program, spec: ProgramSpec, limits: &Limits) {
    program.retiring = false;
    if program.spec.run != spec.run {
        forget_failures(program);
        roll_on(program);
    }
    if program.spec.run != spec.run || program.spec.stop.signal != spec.stop.signal {
        program.manners = StopManners::Unknown;
    }
    let queues = |scale: &ScaleSpec| -> (String, Vec<String>) {
        (scale.broker.clone(), scale.queues().map(|(name, _)| name.to_owned()).collect())
    };
    let before = program.spec.scale().cloned();
    let same_queues = before.as_ref().map(queues) == spec.scale().map(queues);
    match (spec.scale(), &mut program.scaler) {
        (Some(scale), Some(scaler)) if same_queues => {
            match scale.more.is_empty() {
                true => scaler.engine.set_goal(goal(scale, limits)),
                false => scaler.engine.set_goals(goal(scale, limits), queue_goals(scale), scale.order),
            }
            scaler.engine.set_rate(scale.rate_per_hour);
            scaler.set_hands(scale);
            scaler.engine.set_delayed(&scale.delays());
            scaler.floors = Floors::default();
            scaler.target = scaler.target.clamp(scale.min, scale.max);
            if before.as_ref().and_then(|before| before.share) != scale.share {
                scaler.resume_engine_at(scaler.target, scale);
            }
        }
        (Some(scale), past) => {
            let told = past.as_ref().and_then(|past| past.hands_told);
            let learned = match (past, before) {
                (Some(past), Some(before)) => {
                    LearnedOfQueues::of(&past.engine, &before).moved(&before, scale)
                }
                (None, None | Some(_)) | (Some(_), None) => LearnedOfQueues::default(),
            };
            let running = program.live().clamp(scale.min, scale.max);
            let mut scaler = Scaler::new(scale, limits, &learned);
            scaler.hands_told = told;
            scaler.set_hands(scale);
            scaler.resume_at(running, scale);
            program.scaler = Some(scaler);
        }
        (None, scaler) => *scaler = None,
    }
    match (spec.schedule(), &mut program.runs) {
        (Some(schedule), Some(runs)) => runs.reschedule(schedule),
        (Some(schedule), None) => program.runs = Some(Runs::new(schedule)),
        (None, runs) => *runs = None,
    }
    if program.spec.ready != spec.ready || program.spec.health != spec.health {
        program.slots.values_mut().for_each(|slot| slot.condition.forget_checks());
    }
    if spec.autostart && program.wish.stopped == Some(StoppedBy::Autostart) {
        program.wish.stopped = None;
    }
    program.fingerprint = spec.run.fingerprint();
    program.spec = spec;
}

/// A rolling restart that goes on replaces what was made from something else, too; one that was halted has no say any more.
fn roll_on(program: &mut Program) {
    let lives = program.alive();
    match &mut program.wish.rollout {
        Some(rollout) if rollout.is_going() => rollout.total = lives,
        rollout => *rollout = None,
    }
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
