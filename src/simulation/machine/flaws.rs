//! Machines with a defect. A rule that nothing can break proves nothing, so for each rule there is a defect here that breaks
//! it, put between the real machine and the world around it: into what the machine is told, into what it answers, or into
//! what it remembers. The runs are shown to find every one of them out, by the rule that is meant to.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a defect is in one case; all the others are as they are"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::keeper::Child;
use super::run::Run;
use crate::core::command::{Command, Plan, Scope};
use crate::core::event::{Edit, Fact, Notice};
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::memory::Memory;
use crate::core::observed::{Life, Phase};
use crate::core::readiness::ReadySpec;
use crate::core::rollout::Rolling;
use crate::core::schedule::Wall;
use crate::core::spec::{Kind, ProgramSpec};
use crate::core::world::Limits;
use crate::keeper::protocol::{Order, SpawnOrder};
use crate::scaling::decision::Decision;
use crate::scaling::input::Observation;

/// What is wrong with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It starts a process whose slot has one that runs.
    StartsBesideALife,
    /// Its order to start arrives as two.
    OrdersTwice,
    /// It uses the number of a life again.
    UsesANumberAgain,
    /// It forgets a life that is not gone.
    ForgetsALife,
    /// It takes the greatest number of processes for two more.
    MisreadsTheMaximum,
    /// It takes the least number of processes for none.
    ForgetsTheMinimum,
    /// It lets any number of scaled processes start at one time.
    IgnoresTheStartLimit,
    /// It starts what there is no room for.
    IgnoresTheBudgets,
    /// It starts although the machine is about to run out of memory.
    IgnoresShortMemory,
    /// It starts the next one before all of the one before has ended, where messages have their order.
    IgnoresTheOrder,
    /// It does not hold what holds by the clock.
    IgnoresTheFloors,
    /// It kills what the keeper said is gone.
    SignalsTheGone,
    /// It asks again, at once, for what it has asked for.
    AsksTwice,
    /// It kills what may take as long as it takes.
    KillsADrain,
    /// It takes the time that a process has to end for a tenth.
    KillsTooEarly,
    /// It starts processes while Leveret ends.
    StartsDuringShutdown,
    /// It never kills what does not end.
    NeverKills,
    /// It says that all has ended before it has.
    FinishesEarly,
    /// It does not know what it did.
    ForgetsWhatItDid,
    /// It wants to be woken now, always.
    WakesAtOnce,
    /// It never wants to be woken.
    NeverWakes,
    /// It takes a reading that is missing for an empty queue.
    TakesMissingForEmpty,
    /// It goes up and down with every reading.
    Flaps,
    /// It does not know which programs need each other.
    IgnoresDependencies,
    /// It says nothing of what is wanted and not so.
    SaysNoReason,
    /// It takes an equal configuration for another one.
    TakesEqualForChanged,
    /// It misses how processes ended.
    MissesEnds,
    /// It misses that processes were started.
    MissesStarts,
    /// It does not know what an operator stopped.
    IgnoresStops,
    /// What is wanted is not written down.
    WritesNoWishes,
    /// What has failed is not written down.
    WritesNoFailures,
    /// Its clock is an hour ahead.
    ReadsTheClockWrong,
    /// It takes whoever has begun for ready.
    TakesAllForReady,
    /// It gives a process a tenth of its time to become ready.
    HurriesTheReady,
    /// It takes the busy for idle, and the idle for busy.
    MishearsTheBusy,
    /// It takes those that say anything for hung.
    TakesAllForHung,
    /// It takes every look for one that finds all well.
    TakesLooksForGood,
    /// It is told of no look that fails.
    MissesFailedLooks,
    /// It takes one failed look for as many as it needs.
    TakesOneLookForMany,
    /// It lets commands about processes go on when those have ended.
    AsksAboutTheGone,
    /// It does not know what has to run before a start.
    IgnoresHooks,
    /// It kills what runs before a start when half its time is over.
    HurriesHooks,
    /// It waits for ever for what runs before a start.
    LetsHooksHang,
    /// It sends the stop signal before what has to run then.
    SignalsBeforeItsHook,
    /// It runs nothing for those that have ended.
    ForgetsTheEnded,
    /// It runs what is to run once for every machine that takes over.
    RunsHooksAgain,
    /// It replaces a process for a rolling restart that nobody wants.
    RollsUnasked,
    /// It replaces what is new already.
    RollsTheNew,
    /// It goes on with a rolling restart that is over.
    RollsOnAfterTheEnd,
    /// It does not wait for the canary.
    RollsBeforeTheCanary,
    /// It takes a batch for three more.
    TakesALargerBatch,
    /// It waits for ever for a canary.
    WaitsForTheCanaryForEver,
    /// It does not say who waits for a turn in a rolling restart.
    SaysNothingOfTurns,
    /// What it replaces one by one is not written down.
    WritesNoRollouts,
    /// It takes a process for too large long before it is.
    RecyclesTheSmall,
    /// It recycles while others are away.
    RecyclesSeveral,
    /// It throws dice that nobody can throw again.
    ThrowsItsOwnDice,
}

impl Flaw {
    /// Each of them, with words that only the rule says that is to find it out.
    pub(super) const ALL: [(Self, &'static str); 56] = [
        (Self::StartsBesideALife, "is started although its life"),
        (Self::OrdersTwice, "has two living processes"),
        (Self::UsesANumberAgain, "is ordered although lives up to"),
        (Self::ForgetsALife, "is not gone and the machine does not know it"),
        (Self::MisreadsTheMaximum, " processes, "),
        (Self::ForgetsTheMinimum, "and its minimum is"),
        (Self::IgnoresTheStartLimit, "scaled processes are starting at one time"),
        (Self::IgnoresTheBudgets, "is used of the budget of"),
        (Self::IgnoresShortMemory, "although memory is short"),
        (Self::IgnoresTheOrder, "has ended before it"),
        (Self::IgnoresTheFloors, "and its floor is"),
        (Self::SignalsTheGone, "although the keeper said that nothing of"),
        (Self::AsksTwice, "is asked to end again"),
        (Self::KillsADrain, "is killed although nobody insisted on its end"),
        (Self::KillsTooEarly, "before its stop timeout is over"),
        (Self::StartsDuringShutdown, "although Leveret shuts down"),
        (Self::NeverKills, "everything should have ended by"),
        (Self::FinishesEarly, "all is said to have ended"),
        (Self::ForgetsWhatItDid, "planning again at the same moment"),
        (Self::WakesAtOnce, "is not ahead"),
        (Self::NeverWakes, "nobody would wake for it"),
        (Self::TakesMissingForEmpty, "the newest reading is"),
        (Self::Flaps, "after it was raised"),
        (Self::IgnoresDependencies, "is started although it needs"),
        (Self::SaysNoReason, "nothing says why"),
        (Self::TakesEqualForChanged, "an equal configuration is said to change"),
        (Self::MissesEnds, "and it is gone"),
        (Self::MissesStarts, "is wanted and is Some(Spawning"),
        (Self::IgnoresStops, "is started although an operator stopped it"),
        (Self::WritesNoWishes, "forgot about"),
        (Self::WritesNoFailures, "forgot that"),
        (Self::ReadsTheClockWrong, " runs for "),
        (Self::MishearsTheBusy, "which is busy, is asked to end"),
        (Self::TakesAllForHung, "is stopped as hung"),
        (Self::TakesAllForReady, "runs and has not said that it is ready"),
        (Self::HurriesTheReady, "is stopped as not ready"),
        (Self::TakesLooksForGood, "runs and nothing has shown it to be of use"),
        (Self::MissesFailedLooks, "looks found it unwell"),
        (Self::TakesOneLookForMany, "is stopped as unhealthy"),
        (Self::RollsUnasked, "for a rolling restart that nobody asked for"),
        (Self::RollsTheNew, "for a rolling restart although its life"),
        (Self::RollsOnAfterTheEnd, "for a rolling restart that is over"),
        (Self::RollsBeforeTheCanary, "although the canary has not proven itself"),
        (Self::TakesALargerBatch, "are away for a rolling restart"),
        (Self::WaitsForTheCanaryForEver, "never ends"),
        (Self::SaysNothingOfTurns, "is to be replaced, is not, and nothing says why"),
        (Self::WritesNoRollouts, "has another rolling restart of"),
        (Self::RecyclesTheSmall, "is recycled after"),
        (Self::RecyclesSeveral, "one is recycled while"),
        (Self::IgnoresHooks, "although its pre_start has not succeeded"),
        (Self::HurriesHooks, "is killed before its time is over"),
        (Self::LetsHooksHang, "goes on and its time is over"),
        (Self::SignalsBeforeItsHook, "is asked to end although its pre_stop has not run"),
        (Self::ForgetsTheEnded, "has ended and its post_exit never ran"),
        (Self::RunsHooksAgain, "runs a second time for life"),
        (Self::AsksAboutTheGone, "and a command about it goes on"),
    ];
}

/// How often a defect shows that would otherwise show in every step.
const NOW_AND_THEN: f64 = 0.05;

impl Run {
    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// The configuration as the machine understands it.
    pub(super) fn understood(&self, programs: &[ProgramSpec]) -> Vec<ProgramSpec> {
        let mut programs = programs.to_vec();
        let Some(flaw) = self.flaw else { return programs };
        for program in &mut programs {
            match (flaw, &mut program.kind) {
                (Flaw::MisreadsTheMaximum, Kind::Scaled(scale)) => scale.max += 2,
                (Flaw::ForgetsTheMinimum, Kind::Scaled(scale)) => {
                    scale.min = 0;
                    scale.share = None;
                    scale.floors.clear();
                }
                (Flaw::IgnoresTheOrder, Kind::Scaled(scale)) => scale.ordered = false,
                (Flaw::IgnoresTheFloors, Kind::Scaled(scale)) => scale.floors.clear(),
                (Flaw::RecyclesTheSmall, _) => {
                    program.recycle.memory_bytes = program.recycle.memory_bytes.map(|bytes| bytes / 4);
                }
                (Flaw::KillsTooEarly, _) => program.stop.timeout /= 10,
                (Flaw::IgnoresDependencies, _) => program.depends_on.clear(),
                (Flaw::TakesEqualForChanged, _) => program.run.argv.push(self.log.len().to_string()),
                _ => {}
            }
            if let (Flaw::TakesOneLookForMany, Some(health)) = (flaw, &mut program.health) {
                health.failures = 1;
            }
            match flaw {
                Flaw::SignalsBeforeItsHook => program.hooks.pre_stop = None,
                Flaw::ForgetsTheEnded => program.hooks.post_exit = None,
                _ => {}
            }
            match (flaw, &mut program.hooks.pre_start) {
                (Flaw::IgnoresHooks, hook) => *hook = None,
                (Flaw::HurriesHooks, Some(hook)) => hook.timeout /= 2,
                _ => {}
            }
            match (flaw, &mut program.ready) {
                (Flaw::TakesAllForReady, ready) => *ready = None,
                (Flaw::HurriesTheReady, Some(ReadySpec { timeout: Some(timeout), .. })) => *timeout /= 10,
                _ => {}
            }
        }
        programs
    }

    /// The limits as the machine understands them.
    pub(super) fn understood_limits(&self) -> Limits {
        static THROWS: AtomicU64 = AtomicU64::new(0);
        let mut limits = self.limits.clone();
        if self.has(Flaw::IgnoresTheBudgets) {
            limits.budgets.clear();
        }
        if self.has(Flaw::IgnoresTheStartLimit) {
            limits.starting = 1_000;
        }
        if self.has(Flaw::ThrowsItsOwnDice) {
            limits.seed = THROWS.fetch_add(1, Ordering::Relaxed);
        }
        limits
    }

    /// The clock as the machine reads it.
    pub(super) fn understood_wall(&self) -> Wall {
        let ahead = if self.has(Flaw::ReadsTheClockWrong) { 3_600_000_000 } else { 0 };
        Wall { ahead_micros: self.wall.ahead_micros + ahead }
    }

    /// An edit as the machine understands it.
    pub(super) fn understood_edit(&self, edit: &Edit) -> Edit {
        match edit {
            Edit::Stop(target) if self.has(Flaw::IgnoresStops) => Edit::Resume(target.clone()),
            Edit::Roll(target, rolling) if self.has(Flaw::TakesALargerBatch) => {
                Edit::Roll(target.clone(), Rolling { batch: rolling.batch + 3, ..*rolling })
            }
            Edit::Roll(target, rolling) if self.has(Flaw::WaitsForTheCanaryForEver) => {
                let canary = rolling.canary.map(|_| Duration::from_secs(1 << 32));
                Edit::Roll(target.clone(), Rolling { canary, ..*rolling })
            }
            _ => edit.clone(),
        }
    }

    /// The machine takes note of a fact.
    pub(super) fn observe(&mut self, fact: Fact) {
        let is_missed = match &fact {
            // Before, the next controller would learn of them.
            Fact::Exited { .. } | Fact::Left { .. } => self.has(Flaw::MissesEnds) && self.keeper.is_quiet,
            Fact::Spawned { .. } => self.has(Flaw::MissesStarts),
            Fact::Printed { .. } => false,
            Fact::MemoryLeft(_) => self.has(Flaw::IgnoresShortMemory),
            Fact::Checked { result, .. } => result.is_err() && self.has(Flaw::MissesFailedLooks),
            Fact::CouldNotSpawn { .. }
            | Fact::Broker { .. }
            | Fact::Queue { .. }
            | Fact::LastWords { .. }
            | Fact::AtWork { .. }
            | Fact::TellsWork { .. }
            | Fact::Takes { .. }
            | Fact::Memory(_)
            | Fact::Wall(_)
            | Fact::Said { .. } => false,
        };
        if is_missed {
            return;
        }
        let fact = match fact {
            Fact::Queue { broker, queue, observation } if self.has(Flaw::TakesMissingForEmpty) => {
                let observation = match observation {
                    Observation::Sample { .. } | Observation::Detail(_) => observation,
                    Observation::NoQueue { at } | Observation::Lost { at, .. } => {
                        Observation::Sample { at, ready: 0, consumers: 1 }
                    }
                };
                Fact::Queue { broker, queue, observation }
            }
            Fact::Said { incarnation, mut voice, at } => {
                if self.has(Flaw::MishearsTheBusy) {
                    voice.busy = voice.busy.map(|busy| !busy);
                }
                voice.hung |= self.has(Flaw::TakesAllForHung);
                Fact::Said { incarnation, voice, at }
            }
            Fact::Checked { incarnation, purpose, check, result, at } => {
                let result = if self.has(Flaw::TakesLooksForGood) { Ok(()) } else { result };
                Fact::Checked { incarnation, purpose, check, result, at }
            }
            fact => fact,
        };
        self.machine.observe(fact);
    }

    /// The plan of a step as a machine with the defect gives it.
    pub(super) fn step(&mut self) -> Plan {
        let before = self.flaw.map(|_| self.machine.clone());
        let mut plan = self.machine.step(self.now);
        let (Some(flaw), Some(before)) = (self.flaw, before) else { return plan };
        let is_shutting_down = self.shadow.shutdown.is_some();
        match flaw {
            Flaw::StartsBesideALife if self.dice.chance(NOW_AND_THEN) => {
                let running = self.some_process(|phase| matches!(phase, Phase::Running(..)));
                plan.commands.extend(running.map(|(process, _)| self.start(process)));
            }
            Flaw::StartsDuringShutdown if is_shutting_down => {
                let vacant = self.some_process(|phase| matches!(phase, Phase::Empty));
                plan.commands.extend(vacant.map(|(process, _)| self.start(process)));
            }
            Flaw::UsesANumberAgain => {
                for command in &mut plan.commands {
                    if let Command::Spawn { life, .. } = command {
                        life.incarnation = Incarnation(1);
                    }
                }
            }
            Flaw::ForgetsALife if self.dice.chance(NOW_AND_THEN) => {
                if let Some(incarnation) = self.some_child(|_, _, child| child.runs_since().is_some()) {
                    let (status, at) = (ExitStatus::Code(0), self.now);
                    self.machine.observe(Fact::Exited { incarnation, status, left: 0, at });
                    self.machine.observe(Fact::Left { incarnation, left: 0, at });
                }
            }
            Flaw::SignalsTheGone => {
                let gone = self.some_child(|run, incarnation, _| run.shadow.told_gone.contains(incarnation));
                plan.commands.extend(gone.and_then(|incarnation| self.kill(incarnation)));
            }
            Flaw::KillsADrain if self.dice.chance(NOW_AND_THEN) => {
                let unasked = |run: &Self, incarnation: &Incarnation, child: &Child| {
                    child.lives() && !run.shadow.insisted.contains_key(incarnation)
                };
                let drained = self.some_child(unasked);
                plan.commands.extend(drained.and_then(|incarnation| self.kill(incarnation)));
            }
            Flaw::AsksTwice => {
                let stopping = self.some_process(|phase| matches!(phase, Phase::Stopping(..)));
                plan.commands.extend(stopping.and_then(|(process, phase)| ask(process, &phase)));
            }
            Flaw::NeverKills => plan.commands.retain(|command| !matches!(command, Command::Kill { .. })),
            Flaw::AsksAboutTheGone => {
                plan.commands.retain(|command| !matches!(command, Command::KillAuxiliary { .. }));
            }
            Flaw::LetsHooksHang => {
                plan.commands.retain(|command| {
                    !matches!(command, Command::EndPreparation { .. } | Command::EndHook { .. })
                });
            }
            Flaw::FinishesEarly => plan.finished |= is_shutting_down,
            Flaw::ForgetsWhatItDid => self.machine = before,
            Flaw::WakesAtOnce => plan.wake_at = Some(self.now),
            Flaw::NeverWakes => plan.wake_at = None,
            Flaw::SaysNoReason => plan.gaps.clear(),
            flaw => self.spoil_turns(flaw, &mut plan),
        }
        plan
    }

    /// What the machine has to tell.
    pub(super) fn notices(&mut self) -> Vec<Notice> {
        let mut notices = self.machine.take_notices();
        if self.has(Flaw::Flaps) {
            let raised = |notice: &Notice| match notice {
                Notice::Decided(name, decision) if decision.target > decision.before => {
                    let (target, before) = (decision.before, decision.target);
                    let lowered = Decision { target, before, ..(**decision).clone() };
                    Some(Notice::Decided(name.clone(), Box::new(lowered)))
                }
                _ => None,
            };
            let lowered: Vec<_> = notices.iter().filter_map(raised).collect();
            notices.extend(lowered);
        }
        notices
    }

    /// What is written down.
    pub(super) fn remembered(&self) -> Memory {
        let mut memory = self.machine.memory();
        for program in memory.programs.values_mut() {
            if self.has(Flaw::WritesNoWishes) {
                program.wish = Default::default();
            }
            if self.has(Flaw::WritesNoRollouts) {
                program.wish.rollout = None;
            }
            if self.has(Flaw::WritesNoFailures) {
                program.slots.clear();
            }
        }
        memory
    }

    /// An order as it arrives.
    pub(super) fn ordered(&self, order: Order) -> Vec<Order> {
        match order {
            Order::Spawn(spawn) if self.has(Flaw::OrdersTwice) => {
                let again = SpawnOrder { incarnation: spawn.incarnation.next(), ..(*spawn).clone() };
                vec![Order::Spawn(spawn), Order::Spawn(Box::new(again))]
            }
            order => vec![order],
        }
    }

    fn start(&self, process: ProcessId) -> Command {
        let incarnation = self.keeper.last_incarnation.next();
        Command::Spawn { process, life: Life { incarnation, fingerprint: 0, ordered_at: self.now } }
    }

    /// A life that the keeper knows of.
    fn some_child(&mut self, is_meant: impl Fn(&Self, &Incarnation, &Child) -> bool) -> Option<Incarnation> {
        let known = self.keeper.children.iter();
        let meant: Vec<_> = known
            .filter(|(incarnation, child)| is_meant(self, incarnation, child) && child.process.is_some())
            .map(|(incarnation, _)| *incarnation)
            .collect();
        self.dice.pick_any(&meant)
    }

    /// A process in such a phase.
    fn some_process(&mut self, is_meant: impl Fn(&Phase) -> bool) -> Option<(ProcessId, Phase)> {
        let mut meant = Vec::new();
        for (name, program) in &self.machine.world().programs {
            let slots = program.slots.iter().filter(|(_, slot)| is_meant(&slot.phase));
            meant.extend(
                slots.map(|(number, slot)| (ProcessId::new(name.clone(), *number), slot.phase.clone())),
            );
        }
        self.dice.pick_any(&meant)
    }

    fn kill(&self, incarnation: Incarnation) -> Option<Command> {
        let process = self.keeper.children.get(&incarnation)?.process.clone()?;
        Some(Command::Kill { process, incarnation })
    }
}

fn ask(process: ProcessId, phase: &Phase) -> Option<Command> {
    let (life, stop) = (phase.life()?, phase.stop()?);
    let (incarnation, stop) = (life.incarnation, *stop);
    Some(Command::Stop { process, incarnation, stop, signal: 15, scope: Scope::Main })
}
