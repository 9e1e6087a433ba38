//! What people asked for, noted beside the machine and in other words than its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::errands::Errands;
use super::keeper::{Child, Keeper};
use super::preparations::Preparations;
use crate::core::event::Edit;
use crate::core::ids::{Incarnation, ProcessId, ProgramName, Target};
use crate::core::rollout::Rolling;
use crate::core::spec::{Kind, ProgramSpec};
use crate::core::time::Time;
use crate::scaling::input::Observation;

/// What people asked for and what was found out meanwhile.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    pub(super) stops: BTreeMap<ProgramName, Stopped>,
    /// Lives on whose end somebody insists.
    pub(super) insisted: BTreeMap<Incarnation, Insisted>,
    /// Lives of which the controller was told that nothing is left.
    pub(super) told_gone: BTreeSet<Incarnation>,
    /// Lives whose order to stop may or may not have been written down by a controller that died.
    pub(super) uncertain: BTreeSet<Incarnation>,
    /// How many further signals each life was sent on the way to its kill.
    pub(super) climbed: BTreeMap<Incarnation, u32>,
    /// Lives whose left-behind processes were asked to end.
    pub(super) asked_left: BTreeSet<Incarnation>,
    /// By program and queue.
    pub(super) readings: BTreeMap<ProgramName, BTreeMap<String, Readings>>,
    /// When the engine last raised a target because more was needed than before.
    pub(super) raised: BTreeMap<ProgramName, Time>,
    /// Programs that get less than they want because there is not enough for all.
    pub(super) short: BTreeSet<ProgramName>,
    /// The newest rolling restart of each program, until somebody wants something else.
    pub(super) rollouts: BTreeMap<ProgramName, Rolled>,
    pub(super) preparations: Preparations,
    pub(super) errands: Errands,
    pub(super) shutdown: Option<Time>,
    pub(super) shutdown_now: bool,
    /// The newest moment that each schedule ran for, and when that run began.
    pub(super) runs: BTreeMap<ProgramName, (i64, Time)>,
    /// The latest that the wall clock ever showed, in seconds since 1970.
    pub(super) latest_shown: i64,
    /// When everything has to be gone.
    pub(super) gone_by: Option<Time>,
}

/// What an operator keeps from running.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stopped {
    /// The whole program.
    pub(super) all: bool,
    /// Single slots.
    pub(super) slots: BTreeSet<u32>,
}

impl Stopped {
    pub(super) fn covers(&self, slot: u32) -> bool {
        self.all || self.slots.contains(&slot)
    }
}

/// A rolling restart as it was asked for, and how many processes were asked to end for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rolled {
    pub(super) rolling: Rolling,
    /// Lives up to this one are of before.
    pub(super) until: Incarnation,
    pub(super) stops: u32,
}

/// Since when somebody insists on an end, and when the tree may be killed for it at the earliest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Insisted {
    pub(super) since: Time,
    pub(super) kill_from: Time,
}

/// The newest reading of a queue of a program, and when its consumers were last seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readings {
    pub(super) last: Option<Observation>,
    pub(super) consumers_seen_at: Option<Time>,
}

impl Readings {
    pub(super) fn note(&mut self, observation: Observation) {
        self.last = Some(observation);
        if let Observation::Sample { at, consumers: 1.., .. } = observation {
            self.consumers_seen_at = Some(at);
        }
    }
}

impl Shadow {
    /// An edit was accepted for these programs, which had so many processes to have.
    pub(super) fn edited(
        &mut self,
        edit: &Edit,
        concerned: &BTreeSet<ProgramName>,
        (programs, counts): (&BTreeMap<ProgramName, ProgramSpec>, &BTreeMap<ProgramName, u32>),
        keeper: &Keeper,
        now: Time,
    ) {
        match edit {
            Edit::Start(target) => self.started(target, concerned, programs),
            Edit::Roll(target, rolling) => {
                if matches!(target, Target::Program(_)) {
                    self.started(target, concerned, programs);
                }
                let until = keeper.last_incarnation;
                let rolled = Rolled { rolling: *rolling, until, stops: 0 };
                self.rollouts.extend(concerned.iter().map(|name| (name.clone(), rolled)));
            }
            Edit::Stop(target) => {
                self.not_one_by_one(target, concerned);
                for name in concerned {
                    let stopped = self.stops.entry(name.clone()).or_default();
                    match target {
                        Target::Process(process) => drop(stopped.slots.insert(process.slot)),
                        Target::All | Target::Project(_) | Target::Program(_) => {
                            stopped.all = true;
                        }
                    }
                }
                self.insist_on(target, concerned, programs, keeper, now);
            }
            Edit::Restart(target) => {
                self.not_one_by_one(target, concerned);
                self.started(target, concerned, programs);
                self.insist_on(target, concerned, programs, keeper, now);
            }
            Edit::Copy(_) | Edit::Scale(..) | Edit::Auto(_) => {
                self.counted(edit, concerned, programs, counts)
            }
            Edit::Pause(_) | Edit::Resume(_) => {}
            Edit::Shutdown | Edit::ShutdownNow => {
                self.shutdown.get_or_insert(now);
                self.shutdown_now |= *edit == Edit::ShutdownNow;
            }
        }
    }

    fn not_one_by_one(&mut self, target: &Target, concerned: &BTreeSet<ProgramName>) {
        if !matches!(target, Target::Process(_)) {
            self.rollouts.retain(|name, _| !concerned.contains(name));
        }
    }

    fn started(
        &mut self,
        target: &Target,
        concerned: &BTreeSet<ProgramName>,
        programs: &BTreeMap<ProgramName, ProgramSpec>,
    ) {
        for name in concerned {
            let Some(stopped) = self.stops.get_mut(name) else { continue };
            match (target, programs.get(name).map(|program| &program.kind)) {
                // One of a stopped service starts alone: the others stay as they are.
                (Target::Process(process), Some(Kind::Service { processes })) => {
                    if std::mem::take(&mut stopped.all) {
                        stopped.slots.extend(0..*processes);
                    }
                    stopped.slots.remove(&process.slot);
                }
                (Target::Process(_) | Target::All | Target::Project(_) | Target::Program(_), _) => {
                    *stopped = Stopped::default();
                }
            }
        }
    }

    /// A count starts a stopped program. Single slots that a service has, or has by its file once the count is given back,
    /// stay as they are, but a place that comes anew was not meant by an earlier stop; those of a scaled program are numbers.
    fn counted(
        &mut self,
        edit: &Edit,
        concerned: &BTreeSet<ProgramName>,
        programs: &BTreeMap<ProgramName, ProgramSpec>,
        before: &BTreeMap<ProgramName, u32>,
    ) {
        for name in concerned {
            let Some(stopped) = self.stops.get_mut(name) else { continue };
            let kind = programs.get(name).map(|program| &program.kind);
            let counts = !matches!(edit, Edit::Auto(_));
            let kept = match kind {
                Some(Kind::Service { processes }) if !counts => *processes,
                Some(Kind::Service { .. } | Kind::Scheduled(_)) => before.get(name).copied().unwrap_or(0),
                Some(Kind::Scaled(_)) | None => 0,
            };
            if counts {
                stopped.all = false;
            }
            stopped.slots.retain(|slot| *slot < kept);
        }
    }

    fn insist_on(
        &mut self,
        target: &Target,
        concerned: &BTreeSet<ProgramName>,
        programs: &BTreeMap<ProgramName, ProgramSpec>,
        keeper: &Keeper,
        now: Time,
    ) {
        let is_meant = |process: &ProcessId| match target {
            Target::Process(one) => one == process,
            Target::All | Target::Project(_) | Target::Program(_) => concerned.contains(&process.program),
        };
        for (incarnation, process) in living(keeper).filter(|(_, process)| is_meant(process)) {
            let timeout = programs.get(&process.program).map_or(Duration::ZERO, |spec| spec.stop.timeout);
            self.insist(incarnation, now, timeout);
        }
    }

    /// Somebody insists on the end of a life.
    pub(super) fn insist(&mut self, incarnation: Incarnation, now: Time, timeout: Duration) {
        self.insisted.entry(incarnation).or_insert(Insisted { since: now, kill_from: now + timeout });
    }

    /// A configuration was taken over. Removed programs are to end; a shorter timeout counts from when it is known.
    pub(super) fn configured(&mut self, programs: &[ProgramSpec], keeper: &Keeper, now: Time) {
        for (incarnation, process) in living(keeper) {
            match programs.iter().find(|program| program.name == process.program) {
                None => self.insist(incarnation, now, Duration::ZERO),
                Some(program) => {
                    if let Some(insisted) = self.insisted.get_mut(&incarnation) {
                        let from = insisted.since + program.stop.timeout;
                        insisted.kill_from = insisted.kill_from.min(from);
                    }
                }
            }
        }
    }
}

fn living(keeper: &Keeper) -> impl Iterator<Item = (Incarnation, &ProcessId)> {
    let known = |(incarnation, child): (&Incarnation, &'_ Child)| (*incarnation, child.is_gone());
    keeper.children.iter().filter_map(move |pair| {
        let (incarnation, is_gone) = known(pair);
        pair.1.process.as_ref().filter(|_| !is_gone).map(|process| (incarnation, process))
    })
}
