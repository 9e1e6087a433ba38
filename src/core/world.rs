//! Everything the core knows: what is configured, wanted and observed, by program.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::auxiliary::{Auxiliary, AuxiliaryId};
use super::budget::{Budget, Resource};
use super::deaths::Deaths;
use super::desired::{Hold, StoppedBy, Wish};
use super::event::RestartReason;
use super::floors::Floors;
use super::hooks::{Errand, Moment};
use super::ids::{Incarnation, ProcessId, ProgramName};
use super::learned::LearnedOfQueues;
use super::memory_left::MemoryLeft;
use super::observed::{BrokerHealth, Main, Phase, Slot, StopCause, StopManners};
use super::readiness::{Extension, ReadyBy};
use super::restart::Excuse;
use super::runs::Runs;
use super::schedule::Wall;
use super::slots::Slots;
use super::spec::{Kind, ProgramSpec, ScaleMode, ScaleSpec};
use super::time::Time;
use crate::scaling::budget::Standing;
use crate::scaling::decision::{DataTrouble, Decision};
use crate::scaling::engine::Engine;
use crate::scaling::hands::Hands;
use crate::scaling::input::{Fleet, Goal, QueueGoal};

/// How long a process is `starting` where nothing tells when it is of use.
pub const STARTUP: Duration = Duration::from_secs(1);

/// The least life after which a clean exit is a recycle and not a failure.
pub const USEFUL_LIFE: Duration = Duration::from_secs(10);

/// A drain that takes this long proves that the stop signal is handled.
pub const MANNERS_PROVEN: Duration = Duration::from_secs(5);

/// How long what was said meanwhile is taken note of before anything is held against anybody.
const LISTENS_FIRST: Duration = Duration::from_secs(5);

/// How often a tree that outlives a kill is killed again.
pub const KILL_AGAIN: Duration = Duration::from_secs(2);

/// Everything the core knows.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The programs by name, those included that a reload removed and whose processes are still ending.
    pub programs: BTreeMap<ProgramName, Program>,
    /// The names in the order of the configuration file; removed ones last.
    pub order: Vec<ProgramName>,
    /// Whose each life is, until nothing of it is left.
    pub lives: BTreeMap<Incarnation, Owner>,
    /// The highest life ever ordered.
    pub last_incarnation: Incarnation,
    /// How the brokers stand.
    pub brokers: BTreeMap<String, BrokerHealth>,
    /// The shutdown, once it was asked for.
    pub shutdown: Option<Shutdown>,
    /// Auxiliary processes that are wanted or running.
    pub auxiliaries: BTreeMap<AuxiliaryId, Auxiliary>,
    /// The number of the newest request for an auxiliary process.
    pub last_auxiliary: AuxiliaryId,
    /// What auxiliary processes left behind, and those that an earlier controller waited for; when each was killed last.
    pub strays: BTreeMap<Incarnation, Option<Time>>,
    /// The brokers that tell of the channels of their consumers, and when they were asked last.
    pub work_told_at: BTreeMap<String, Option<Time>>,
    /// How the wall clock stands; absent until somebody tells.
    pub wall: Option<Wall>,
    /// How much memory the machine has left; absent until somebody tells.
    pub memory_left: Option<MemoryLeft>,
    /// Since when nothing keeps it from taking note of what happens: from its beginning, or from when it was halted last.
    pub awake_since: Time,
    /// Limits of the machine.
    pub limits: Limits,
}

/// Whose a life is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process of a program.
    Process(ProcessId),
    /// What runs before a process is started.
    Preparation(ProcessId),
    /// A hook at a moment of this life of a process.
    Hook(ProcessId, Moment, Incarnation),
    /// An auxiliary process.
    Auxiliary(AuxiliaryId),
    /// What is left of an auxiliary process that nobody waits for any more.
    Stray,
}

/// The end of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// When it was asked for first.
    pub since: Time,
    /// Whether what is left is killed without waiting for its stop timeout.
    pub at_once: bool,
    /// The exit code of Leveret, other than 0 where a critical program brought it about.
    #[serde(default)]
    pub exit_code: u8,
}

impl World {
    /// Whether the resident memory of a program is to be known, if only now and then.
    pub fn learns_memory(&self, program: &Program) -> bool {
        program.scaler.is_some() || self.counts_memory(program)
    }

    /// Whether something goes by the resident memory of a program.
    pub fn counts_memory(&self, program: &Program) -> bool {
        let is_shared = self.limits.budgets.iter().any(|budget| budget.of == Resource::Memory);
        is_shared || program.spec.recycle.memory_bytes.is_some()
    }

    /// When what is left of a shutdown that goes on is killed without waiting for stop timeouts.
    pub fn shutdown_due(&self) -> Option<Time> {
        let shutdown = self.shutdown.filter(|shutdown| !shutdown.at_once)?;
        Some(shutdown.since + self.limits.shutdown?)
    }
}

/// Limits of the machine, and the seed of all jitter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many scaled processes may be starting at one time.
    pub starting: u32,
    /// How often queues are read.
    pub probe_interval: Duration,
    /// How long the shutdown may take in all before what is left is killed; as long as the stops take when absent.
    pub shutdown: Option<Duration>,
    /// Of what there is only so much for all programs together.
    pub budgets: Vec<Budget>,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let probe_interval = Duration::from_secs(1);
        Self { starting: 4, probe_interval, shutdown: None, budgets: Vec::new(), seed: 0 }
    }
}

/// A program: what it should be, what is wanted of it, what there is of it.
#[derive(Clone, Debug)]
pub struct Program {
    /// As configured.
    pub spec: ProgramSpec,
    /// [`super::spec::RunSpec::fingerprint`] of `spec.run`.
    pub fingerprint: u64,
    /// Removed by a reload; forgotten once nothing of it lives.
    pub retiring: bool,
    /// What is wanted.
    pub wish: Wish,
    /// What there is.
    pub slots: BTreeMap<u32, Slot>,
    /// Where it is scaled: the engine and what it said.
    pub scaler: Option<Scaler>,
    /// Where it has a schedule: what there is of its runs.
    pub runs: Option<Runs>,
    /// How its processes take their stop signal.
    pub manners: StopManners,
    /// Since when more run than are wanted, where it is scaled.
    pub surplus_since: Option<Time>,
    /// Resident memory in bytes at the newest reading, by life, where that counts.
    pub resident: BTreeMap<Incarnation, u64>,
    /// Resident memory in bytes that a process of it uses, the mean of the newest reading that showed any, where that counts.
    pub memory_each: u64,
    /// Hooks that are to run or run, by moment and by the life that they are about.
    pub errands: BTreeMap<(Moment, Incarnation), Errand>,
    /// Restarts by reason.
    pub restarts: BTreeMap<RestartReason, u64>,
    /// Ends that nobody asked for, by cause.
    pub deaths: Deaths,
    /// Where it stands when a budget is not enough for all.
    pub standing: Standing,
    /// Whether it once had all that it wanted.
    pub was_complete: bool,
}

/// The engine of a scaled program and what it said.
#[derive(Clone, Debug)]
pub struct Scaler {
    /// The engine.
    pub engine: Engine,
    /// How many there should be, as far as the engine is asked.
    pub target: u32,
    /// The newest decision.
    pub decision: Option<Decision>,
    /// The consumers that the newest sample showed.
    pub consumers: Option<u64>,
    /// Decisions that raised the target.
    pub ups: u64,
    /// Decisions that lowered it.
    pub downs: u64,
    /// Times that missing data began to hold it.
    pub holds: u64,
    /// What holds by the clock.
    pub floors: Floors,
    /// How its processes take messages, as the broker tells.
    pub hands_told: Option<Hands>,
    /// What has been wrong with the data since they were last good: each kind is told once, however often they alternate.
    pub troubles_told: BTreeSet<DataTrouble>,
}

impl Scaler {
    /// Goes on from a number of processes that was set past the engine.
    pub fn resume_at(&mut self, count: u32, scale: &ScaleSpec) {
        self.target = count;
        self.resume_engine_at(count, scale);
    }

    /// Lets the engine go on from a number of processes of this server.
    pub fn resume_engine_at(&mut self, count: u32, scale: &ScaleSpec) {
        self.engine.resume_at(scale.share.map_or(count, |share| share.total_of(count)));
    }

    /// How each process takes messages, by what is said and what was told.
    pub fn set_hands(&mut self, scale: &ScaleSpec) {
        self.engine.set_hands(Hands::new(scale.concurrency, scale.prefetch, self.hands_told));
    }

    /// A scaler at its minimum, with what was learned of each queue.
    pub fn new(scale: &ScaleSpec, limits: &Limits, learned: &LearnedOfQueues) -> Self {
        let engine = learned.engine(scale, limits);
        Self {
            engine,
            target: scale.min,
            decision: None,
            consumers: None,
            ups: 0,
            downs: 0,
            holds: 0,
            floors: Floors::default(),
            hands_told: None,
            troubles_told: BTreeSet::new(),
        }
    }
}

/// The goal of a scaled program in the engine's words.
pub fn goal(scale: &ScaleSpec, limits: &Limits) -> Goal {
    let (min, max) = scale.share.map_or((scale.min, scale.max), |share| (share.min, share.max));
    Goal { wait: scale.wait, min, max, interval: limits.probe_interval, profile: scale.profile }
}

/// The queues of a scaled program in the engine's words.
pub fn queue_goals(scale: &ScaleSpec) -> Vec<QueueGoal> {
    scale.queues().map(|(name, wait)| QueueGoal { name: name.to_owned(), wait }).collect()
}

/// How many ranks of running processes there are.
const RANKS: u32 = 3;

/// The place of a running process among those that are kept, first to last.
pub fn rank_of(busy: Option<bool>) -> u32 {
    match busy {
        Some(true) => 0,
        None => 1,
        Some(false) => 2,
    }
}

/// Which slots should have a process, and on whose behalf the others end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The slots.
    pub slots: Slots,
    /// On whose behalf processes in other slots are asked to end.
    pub rest: StopCause,
}

impl Program {
    /// A program of which nothing is there yet.
    pub fn new(spec: ProgramSpec, limits: &Limits) -> Self {
        let stopped = (!spec.autostart).then_some(StoppedBy::Autostart);
        let scaler = spec.scale().map(|scale| Scaler::new(scale, limits, &LearnedOfQueues::default()));
        Self {
            fingerprint: spec.run.fingerprint(),
            runs: spec.schedule().map(Runs::new),
            spec,
            retiring: false,
            wish: Wish { stopped, ..Wish::default() },
            slots: BTreeMap::new(),
            scaler,
            manners: StopManners::default(),
            surplus_since: None,
            resident: BTreeMap::new(),
            memory_each: 0,
            errands: BTreeMap::new(),
            restarts: BTreeMap::new(),
            deaths: Deaths::default(),
            standing: Standing::default(),
            was_complete: false,
        }
    }

    /// How a slot is shown: `orders:3`, or `web` where there is just one fixed process.
    pub fn label(&self, slot: u32) -> String {
        let single = self.spec.is_single() && slot == 0 && self.wish.hold.is_none() && self.slots.len() <= 1;
        if single { self.spec.name.to_string() } else { format!("{}:{slot}", self.spec.name) }
    }

    /// How many processes there should be when nothing stops the program as a whole.
    pub fn count(&self) -> u32 {
        match (&self.wish.hold, &self.spec.kind, &self.scaler) {
            (Some(Hold { processes, .. }), Kind::Service { .. }, _) => *processes,
            (Some(Hold { processes, .. }), Kind::Scaled(scale), _) => (*processes).min(scale.max),
            (None, Kind::Service { processes }, _) => *processes,
            (_, Kind::Scheduled(_), _) => 1,
            (None, Kind::Scaled(scale), None) => scale.min,
            (None, Kind::Scaled(scale), Some(scaler)) => match scale.mode {
                ScaleMode::Auto => scaler.target.clamp(scale.min, scale.max),
                ScaleMode::DryRun => scale.min,
            },
        }
    }

    /// Whether the engine's word counts at present.
    pub fn follows_engine(&self) -> bool {
        self.scaler.is_some()
            && self.wish.hold.is_none()
            && !self.wish.paused
            && self.wish.stopped.is_none()
            && !self.retiring
    }

    /// Which slots should have a process.
    ///
    /// A scaled program keeps those that hold a message, then those of which that is not known, then those that hold none,
    /// of each kind those that run longest; then those that start, then those that wait to start again. So the first to go
    /// are those that are not running yet, then the idle ones, then the youngest.
    pub fn wanted(&self, shutting_down: bool) -> Wanted {
        let none = |rest| Wanted { slots: Slots::none(), rest };
        if shutting_down {
            return none(StopCause::Shutdown);
        }
        if self.retiring {
            return none(StopCause::Removed);
        }
        if self.wish.stopped.is_some() {
            return none(StopCause::Operator);
        }
        let count = self.count();
        let slots = match self.spec.kind {
            Kind::Scheduled(_) if self.is_stopped() => return none(StopCause::Operator),
            Kind::Service { .. } => {
                self.with_extra(Slots::First { count, except: self.wish.stopped_slots.clone() })
            }
            Kind::Scaled(_) => self.with_extra(Slots::These(self.wanted_of_scaled(count))),
            Kind::Scheduled(_) => {
                let runs = self.runs.as_ref();
                let (run, cut) = runs.map_or((None, None), |runs| (runs.current, runs.cut));
                let count = u32::from(run.is_some() && cut.is_none());
                let slots = Slots::First { count, except: BTreeSet::new() };
                // What runs without a run was another kind of program before a reload.
                return Wanted { slots, rest: cut.unwrap_or(StopCause::Changed) };
            }
        };
        Wanted { slots, rest: StopCause::ScaleIn }
    }

    fn with_extra(&self, slots: Slots) -> Slots {
        match self.extra_slot() {
            Some(extra) => slots.and(extra),
            None => slots,
        }
    }

    /// The place of the process in a slot among those that are kept. Where they die of their stop signal, only their own word
    /// makes one idle: that of a broker is some seconds old.
    fn rank(&self, slot: &Slot) -> u32 {
        let is_proof = self.manners != StopManners::DiesOfIt || slot.says_busy().is_some();
        rank_of(slot.busy().filter(|busy| *busy || is_proof))
    }

    /// Whether an end of the life in a slot would interrupt what it does, as far as that is known.
    pub fn would_lose_work(&self, slot: &Slot) -> bool {
        self.manners == StopManners::DiesOfIt && slot.busy() == Some(true)
    }

    fn wanted_of_scaled(&self, count: u32) -> BTreeSet<u32> {
        let (extra, canary) = (self.extra_slot(), self.canary_in_place());
        let rank = |slot: u32, state: &Slot| match &state.phase {
            // Whatever goes on around it: it is what the others wait for.
            _ if canary == Some(slot) => Some((0, Time::default(), slot)),
            Phase::Running(life, main) if self.is_rolled_out_over(life) && !self.would_lose_work(state) => {
                Some((1 + RANKS + self.rank(state), main.started_at, slot))
            }
            Phase::Running(_, main) => Some((1 + self.rank(state), main.started_at, slot)),
            // Whoever holds a message works, whatever else it is not ready for.
            Phase::Starting(life, _) if state.busy() == Some(true) => {
                Some((1 + self.rank(state), life.ordered_at, slot))
            }
            Phase::Starting(life, _) | Phase::Spawning(life) | Phase::Preparing(life, _) => {
                Some((1 + 2 * RANKS, life.ordered_at, slot))
            }
            Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Failed { .. } | Phase::Empty => {
                Some((2 + 2 * RANKS, Time::default(), slot))
            }
            Phase::Stopping(..) | Phase::LeaderGone(..) => None,
        };
        let mut present: Vec<_> = self
            .slots
            .iter()
            .filter(|(slot, _)| !self.wish.stopped_slots.contains(slot) && extra != Some(**slot))
            .filter_map(|(slot, state)| rank(*slot, state))
            .collect();
        present.sort_unstable();
        let mut wanted: BTreeSet<u32> =
            present.iter().take(count as usize).map(|(_, _, slot)| *slot).collect();
        // A process that is to be replaced, that ended and left others behind, or that failed, keeps its place.
        for (slot, state) in &self.slots {
            let keeps = matches!(
                &state.phase,
                Phase::Stopping(_, _, stop) | Phase::LeaderGone(_, _, stop)
                    if matches!(
                        stop.cause,
                        StopCause::Restart
                            | StopCause::Changed
                            | StopCause::LeaderEnded
                            | StopCause::Rollout
                            | StopCause::Recycle | StopCause::Unfit(_)
                    )
            ) && extra != Some(*slot);
            if keeps && wanted.len() < count as usize && !self.wish.stopped_slots.contains(slot) {
                wanted.insert(*slot);
            }
        }
        let is_fresh = |slot: &u32| {
            !self.slots.contains_key(slot) && !self.wish.stopped_slots.contains(slot) && extra != Some(*slot)
        };
        let mut fresh = (0..).filter(is_fresh);
        while wanted.len() < count as usize {
            wanted.extend(fresh.next());
        }
        wanted
    }

    /// How long a process of this program is `starting`.
    pub fn startup(&self) -> Duration {
        match &self.scaler {
            Some(scaler) => {
                scaler.engine.startup().clamp(Duration::from_millis(200), Duration::from_secs(60))
            }
            None => STARTUP,
        }
    }

    /// When a process that is starting counts as running, where time alone tells.
    pub fn of_use_at(&self, main: &Main) -> Option<Time> {
        match self.spec.ready.as_ref().map(|ready| &ready.by) {
            None => Some(main.started_at + self.startup()),
            Some(ReadyBy::After(after)) => Some(main.started_at + *after),
            Some(ReadyBy::Notify | ReadyBy::Check(_) | ReadyBy::Log(_)) => None,
        }
    }

    /// When a process that is not ready has failed. What it said while nobody listened has to be heard before, so nobody
    /// who was not awake for a moment says so.
    pub fn ready_by(&self, slot: &Slot, main: &Main, awake_since: Time) -> Option<Time> {
        let timeout = self.spec.ready.as_ref()?.timeout?;
        let asked = slot.voice().and_then(|voice| voice.extension.as_ref());
        let limit = Extension::extend(asked, main.started_at, main.started_at + timeout);
        Some(limit.max(awake_since + LISTENS_FIRST))
    }

    /// The consumers as the engine wants to know them.
    pub fn fleet(&self) -> Fleet {
        let mut fleet = Fleet::default();
        for slot in self.slots.values() {
            match &slot.phase {
                Phase::Running(_, main) => {
                    fleet.running += 1;
                    let oldest =
                        fleet.oldest_running.map_or(main.started_at, |oldest| oldest.min(main.started_at));
                    fleet.oldest_running = Some(oldest);
                }
                Phase::Preparing(life, _) | Phase::Spawning(life) | Phase::Starting(life, _) => {
                    fleet.starting.push(life.ordered_at)
                }
                Phase::Stopping(..) | Phase::LeaderGone(..) => fleet.draining += 1,
                Phase::Empty | Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Failed { .. } => {}
            }
        }
        fleet.starting.sort_unstable();
        fleet
    }

    /// Whether a person keeps a program with a schedule from running, by its name or by that of its process.
    pub fn is_stopped(&self) -> bool {
        self.wish.stopped.is_some() || self.wish.stopped_slots.contains(&0)
    }

    /// Whether something lives in the slot that runs of a schedule use.
    pub fn is_occupied(&self) -> bool {
        self.slots.get(&0).is_some_and(|slot| slot.phase.life().is_some())
    }

    /// Lives that count against the maximum: everything that has not ended.
    pub fn alive(&self) -> u32 {
        self.slots.values().filter(|slot| slot.phase.life().is_some()).count() as u32
    }

    /// Whether something of a process that has ended lives on, or may.
    pub fn has_leftovers(&self) -> bool {
        self.slots.values().any(|slot| !slot.leftovers.is_empty())
    }

    /// How many are running or starting: started and not asked to end.
    pub fn live(&self) -> u32 {
        self.slots.values().filter(|slot| slot.phase.is_live()).count() as u32
    }
}

impl World {
    /// Whether the broker of a scaled program keeps its consumers from being of any use.
    pub fn broker_unreachable<'a>(&self, program: &'a Program) -> Option<&'a str> {
        let scale = program.spec.scale()?;
        (self.brokers.get(&scale.broker) == Some(&BrokerHealth::Unreachable)).then_some(scale.broker.as_str())
    }

    /// What excuses the failure of a process of `program` at present.
    pub fn excuse(&self, program: &Program) -> Excuse {
        let health = program.spec.scale().and_then(|scale| self.brokers.get(&scale.broker));
        match health.copied().unwrap_or_default() {
            BrokerHealth::Unreachable => Excuse::BrokerAway,
            BrokerHealth::Refused => Excuse::BrokerRefuses,
            BrokerHealth::Up | BrokerHealth::Unknown => Excuse::None,
        }
    }

    /// Whether the process that an auxiliary one is about lives and was not asked to end; true where it is about none.
    pub fn is_waited_for(&self, auxiliary: &Auxiliary) -> bool {
        let Some((process, incarnation)) = &auxiliary.about else { return true };
        let phase = self.slot(process).map(|slot| &slot.phase).filter(|phase| phase.is_live());
        phase.and_then(Phase::life).is_some_and(|life| life.incarnation == *incarnation)
    }

    /// The slot of a process.
    pub fn slot(&self, process: &ProcessId) -> Option<&Slot> {
        self.programs.get(&process.program)?.slots.get(&process.slot)
    }
}
