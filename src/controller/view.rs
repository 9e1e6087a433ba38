//! Makes the snapshot out of the world: the only place where what is known turns into what is shown.

use std::collections::{BTreeMap, BTreeSet};

use super::brokers::Brokers;
use super::executor::Executor;
use super::idleness::Idleness;
use super::rollout_view;
use super::snapshot::{
    BudgetView, DeathView, DecisionOfQueueView, DecisionView, HoldView, ProcessView, ProgramView, QueueView,
    RunView, ScheduleView,
};
use super::usage::Usages;
use crate::core::budget::{self, Budget, Resource};
use crate::core::deaths::Death;
use crate::core::desired::Wish;
use crate::core::gap::Gap;
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::observed::{Phase, Slot};
use crate::core::plan::plan;
use crate::core::runs::{RunResult, next_words};
use crate::core::slots::Slots;
use crate::core::spec::{Kind, ScaleMode};
use crate::core::time::{Time, human};
use crate::core::words::size;
use crate::core::world::{Program, World};
use crate::scaling::decision::{Decision, Inputs, OfQueue};

/// What a view is made from, at one moment.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    pub(crate) brokers: &'a Brokers,
    pub(crate) usages: &'a Usages,
    pub(crate) idleness: &'a Idleness,
    pub(crate) executor: &'a Executor,
    /// Lives that an earlier keeper started.
    pub(crate) adopted: &'a BTreeSet<Incarnation>,
    /// Bytes of output that were dropped, by program.
    pub(crate) dropped_bytes: BTreeMap<String, u64>,
    pub(crate) now: Time,
    pub(crate) wall_seconds: f64,
}

/// What is to be known of a process that an earlier keeper started.
const TAKEN_OVER: &str = "taken over from an earlier Leveret; its exit code will be unknown";

/// What is to be known of a process that said `STOPPING=1`.
const SAYS_STOPPING: &str = "says that it is about to end";

/// Gaps by program and slot; the program's own are under no slot.
type Gaps = BTreeMap<ProgramName, BTreeMap<Option<u32>, Vec<Gap>>>;

impl Scene<'_> {
    /// All programs, in the order of the configuration.
    pub(crate) fn programs(&self) -> Vec<ProgramView> {
        let gaps = self.gaps();
        let none = BTreeMap::new();
        self.world
            .order
            .iter()
            .filter_map(|name| Some((name, self.world.programs.get(name)?)))
            .map(|(name, program)| self.program(program, gaps.get(name).unwrap_or(&none)))
            .collect()
    }

    /// Every gap of a program, one sentence each.
    pub(crate) fn gap_sentences(&self, program: &Program) -> Vec<String> {
        let gaps = self.gaps();
        let mut sentences = Vec::new();
        for (slot, gaps) in gaps.get(&program.spec.name).into_iter().flatten() {
            for gap in gaps {
                let sentence = gap.sentence(self.now);
                sentences.push(match slot {
                    Some(slot) => format!("{}: {sentence}", program.label(*slot)),
                    None => sentence,
                });
            }
        }
        sentences
    }

    fn gaps(&self) -> Gaps {
        let mut gaps = Gaps::new();
        for (name, slot, gap) in plan(self.world, self.now).gaps {
            gaps.entry(name).or_default().entry(slot).or_default().push(gap);
        }
        gaps
    }

    fn program(&self, program: &Program, gaps: &BTreeMap<Option<u32>, Vec<Gap>>) -> ProgramView {
        let spec = &program.spec;
        let wanted = program.wanted(self.world.shutdown.is_some());
        let (kind, configured, min, max) = match &spec.kind {
            Kind::Service { processes } => ("service", *processes, *processes, *processes),
            Kind::Scaled(scale) => ("scaled", scale.min, scale.min, scale.max),
            Kind::Scheduled(_) => ("scheduled", 1, 0, 1),
        };
        let decision = program.scaler.as_ref().and_then(|scaler| scaler.decision.as_ref());
        let running = program.slots.values().filter(|slot| is_running(&slot.phase)).count() as u32;
        let scaler = program.scaler.as_ref();
        let directions =
            scaler.map(|scaler| [("up", scaler.ups), ("down", scaler.downs), ("hold", scaler.holds)]);
        ProgramView {
            name: spec.name.to_string(),
            project: spec.project.clone(),
            kind: kind.to_owned(),
            desired: wanted.slots.len() as u32,
            running,
            configured,
            min,
            max,
            mode: mode(program).to_owned(),
            reason: self.reason(program, gaps),
            hold: self.hold(&program.wish).filter(|_| program.runs.is_none()),
            queues: self.queues(program),
            wait_goal_seconds: spec
                .scale()
                .and_then(|scale| scale.queues().map(|(_, wait)| wait).min())
                .map(|wait| wait.as_secs_f64()),
            wait_predicted_seconds: decision
                .and_then(|decision| decision.predicted_wait)
                .map(|wait| wait.as_secs_f64()),
            wanted: decision.map(|decision| decision.wanted).filter(|_| program.follows_engine()),
            next_run: next_run(program),
            schedule: schedule(program),
            rollout: rollout_view::of(program, self.now),
            processes: self.processes(program, &wanted.slots, gaps),
            restarts_by_reason: program
                .restarts
                .iter()
                .map(|(reason, count)| (reason.as_str().to_owned(), *count))
                .collect(),
            log_dropped_bytes: self.dropped_bytes.get(program.spec.name.as_str()).copied().unwrap_or(0),
            decisions_by_direction: directions
                .into_iter()
                .flatten()
                .map(|(direction, count)| (direction.to_owned(), count))
                .collect(),
        }
    }

    /// Why this many, and where its broker is in trouble, what that is: everything else follows from it.
    fn reason(&self, program: &Program, gaps: &BTreeMap<Option<u32>, Vec<Gap>>) -> String {
        let count = self.reason_of_count(program, gaps);
        let trouble = program
            .spec
            .scale()
            .filter(|_| program.follows_engine())
            .and_then(|scale| self.brokers.trouble(&scale.broker));
        match trouble {
            Some(trouble) => format!("{count} ({trouble})"),
            None => count,
        }
    }

    /// Why this many: what stands above the numbers first, then the engine's sentence, then what the file says.
    fn reason_of_count(&self, program: &Program, gaps: &BTreeMap<Option<u32>, Vec<Gap>>) -> String {
        if let Some(gap) = gaps.get(&None).and_then(|gaps| gaps.first()) {
            return gap.sentence(self.now);
        }
        let trouble = self.trouble(program, gaps);
        match (&program.scaler, trouble) {
            (Some(_), _) if program.wish.paused => {
                format!("scaling is paused at {}", program.count())
            }
            (Some(scaler), trouble) => {
                let decided = match &scaler.decision {
                    Some(decision) => decision.reason.clone(),
                    None => "waits for the first reading of the queue".to_owned(),
                };
                match trouble {
                    Some(trouble) => format!("{decided}; {trouble}"),
                    None => decided,
                }
            }
            (None, Some(trouble)) => trouble,
            (None, None) => self.running(program).unwrap_or_else(|| as_configured(program)),
        }
    }

    /// A run under way, and when the next one is.
    fn running(&self, program: &Program) -> Option<String> {
        let (schedule, runs) = (program.spec.schedule()?, program.runs.as_ref()?);
        let begun = whole_seconds(self.now.since(runs.current?.began_at));
        let next = next_words(schedule, runs, self.world.wall?, self.now);
        Some(match next {
            Some((words, at)) => {
                let left = whole_seconds(at.since(self.now));
                format!("a run is under way for {begun}; {words} (in {left})")
            }
            None => format!("a run is under way for {begun}"),
        })
    }

    /// The worst that stands in the way of processes, for all that it stands in the way of.
    fn trouble(&self, program: &Program, gaps: &BTreeMap<Option<u32>, Vec<Gap>>) -> Option<String> {
        let mut troubled: BTreeMap<u8, Vec<(u32, &Gap)>> = BTreeMap::new();
        for (slot, gaps) in gaps {
            let Some(slot) = slot else { continue };
            let worst =
                gaps.iter().filter_map(|gap| Some((gap.trouble()?, gap))).min_by_key(|(rank, _)| *rank);
            if let Some((rank, gap)) = worst {
                troubled.entry(rank).or_default().push((*slot, gap));
            }
        }
        let (_, alike) = troubled.pop_first()?;
        let (slot, gap) = alike.first()?;
        let first = program.label(*slot);
        Some(match alike.len() {
            1 => format!("{first}: {}", gap.sentence(self.now)),
            count => gap.sentence_of_several(count, &first, self.now),
        })
    }

    fn hold(&self, wish: &Wish) -> Option<HoldView> {
        let hold = wish.hold.as_ref()?;
        let (processes, by, until) = (hold.processes, hold.by.clone(), hold.until);
        Some(HoldView {
            processes,
            ends_in_seconds: until.map(|until| until.since(self.now).as_secs_f64()),
            by: by.clone(),
            sentence: Gap::HeldByOperator { processes, by, until }.sentence(self.now),
        })
    }

    fn queues(&self, program: &Program) -> Vec<QueueView> {
        program.spec.scale().map(|scale| self.queues_of(program, scale)).unwrap_or_default()
    }

    fn processes(
        &self,
        program: &Program,
        wanted: &Slots,
        gaps: &BTreeMap<Option<u32>, Vec<Gap>>,
    ) -> Vec<ProcessView> {
        let empty = Slot::default();
        let fixed = match &program.spec.kind {
            Kind::Service { .. } if !program.retiring => program.count(),
            Kind::Scheduled(_) if !program.retiring => 1,
            Kind::Service { .. } | Kind::Scaled(_) | Kind::Scheduled(_) => 0,
        };
        let mut numbers: std::collections::BTreeSet<u32> = program.slots.keys().copied().collect();
        numbers.extend(wanted.iter());
        numbers.extend(0..fixed);
        numbers.extend(&program.wish.stopped_slots);
        numbers
            .into_iter()
            .map(|number| {
                let slot = program.slots.get(&number).unwrap_or(&empty);
                let gap = gaps.get(&Some(number)).and_then(|gaps| gaps.last());
                self.process(program, number, slot, gap, wanted.contains(number))
            })
            .collect()
    }

    fn process(
        &self,
        program: &Program,
        number: u32,
        slot: &Slot,
        gap: Option<&Gap>,
        wanted: bool,
    ) -> ProcessView {
        let main = slot.phase.main();
        let uptime = main.map(|main| self.now.since(main.started_at).as_secs_f64());
        let usage = main.and_then(|main| self.usages.of(main.pid));
        let stopped_by_hand = program.wish.stopped_slots.contains(&number) && !wanted;
        let reason = gap.map(|gap| gap.sentence(self.now));
        let voice = slot.voice();
        let says = voice.and_then(|voice| voice.status.clone());
        let is_adopted = slot.phase.life().is_some_and(|life| self.adopted.contains(&life.incarnation));
        ProcessView {
            id: program.label(number),
            slot: number,
            state: state(slot).to_owned(),
            pid: main.map(|main| main.pid),
            incarnation: slot.phase.life().map(|life| life.incarnation.0),
            uptime_seconds: uptime,
            start_time_seconds: uptime.map(|uptime| self.wall_seconds - uptime),
            restarts: slot.restarts,
            cpu_percent: usage.and_then(|usage| usage.cpu_percent),
            cpu_seconds: usage.map(|usage| usage.cpu_seconds),
            memory_bytes: usage.map(|usage| usage.resident_bytes),
            directory: usage.and_then(|usage| usage.directory.clone()),
            exit: slot.last_exit.map(|status| status.to_string()),
            reason: reason
                .or_else(|| stopped_by_hand.then(|| "stopped by an operator".to_owned()))
                .or_else(|| voice.filter(|voice| voice.stopping).map(|_| SAYS_STOPPING.to_owned()))
                .or_else(|| says.as_ref().map(|says| format!("says: {says}")))
                .or_else(|| is_adopted.then(|| TAKEN_OVER.to_owned())),
            busy: slot.busy().filter(|_| main.is_some()),
            busy_by: slot.busy_by().filter(|_| main.is_some()).map(|by| by.as_str().to_owned()),
            says,
            log: self.executor.log(program, number),
            log_stderr: self.executor.log_of_errors(program, number),
        }
    }
}

fn whole_seconds(duration: std::time::Duration) -> String {
    match duration.as_secs() {
        0 => "less than 1s".to_owned(),
        seconds => human(std::time::Duration::from_secs(seconds)),
    }
}

/// When the next run begins, as the clock of its time zone shows it.
fn next_run(program: &Program) -> Option<String> {
    let next = program.runs.as_ref()?.next.filter(|_| !program.is_stopped())?;
    program.spec.schedule()?.timezone.rfc3339(next.start_micros.div_euclid(1_000_000))
}

fn schedule(program: &Program) -> Option<ScheduleView> {
    let (schedule, runs) = (program.spec.schedule()?, program.runs.as_ref()?);
    let next = runs.next.filter(|_| !program.is_stopped());
    let of = |result: &RunResult| runs.totals.get(result).copied().unwrap_or_default();
    Some(ScheduleView {
        cron: schedule.cron.to_string(),
        timezone: schedule.timezone.name().to_owned(),
        next_run_seconds: next.map(|next| next.start_micros as f64 / 1e6),
        last: runs.last.as_ref().map(|last| RunView {
            result: last.result.as_str().to_owned(),
            exit: last.how.clone(),
            ended: rfc3339(last.ended),
            seconds: last.lasted.map(|lasted| lasted.as_secs_f64()),
        }),
        last_success_seconds: runs.last_success,
        runs_by_result: RunResult::ALL
            .iter()
            .map(|result| (result.as_str().to_owned(), of(result)))
            .collect(),
    })
}

/// The file says so, and a hand may have taken some out.
fn as_configured(program: &Program) -> String {
    let count = program.count();
    let by_hand = program.wish.stopped_slots.iter().filter(|slot| **slot < count).count();
    match (count, by_hand) {
        (1, 0) => "one process, as configured".to_owned(),
        (count, 0) => format!("{count} processes, as configured"),
        (1, _) => "its one process is stopped by an operator".to_owned(),
        (count, 1) => format!("one of {count} processes is stopped by an operator"),
        (count, stopped) => format!("{stopped} of {count} processes are stopped by an operator"),
    }
}

pub(super) fn is_running(phase: &Phase) -> bool {
    matches!(phase, Phase::Starting(..) | Phase::Running(..))
}

/// The word of the API for where a slot is.
fn state(slot: &Slot) -> &'static str {
    match &slot.phase {
        Phase::Empty if slot.leftovers.values().any(|leftover| leftover.left > 0) => "stopping",
        Phase::Empty => "stopped",
        Phase::Preparing(..) | Phase::Spawning(_) | Phase::Starting(..) => "starting",
        Phase::Running(..) => "running",
        Phase::Stopping(..) | Phase::LeaderGone(..) => "stopping",
        Phase::Backoff { .. } => "backoff",
        Phase::Exited { .. } => "exited",
        Phase::Failed { .. } => "failed",
    }
}

fn mode(program: &Program) -> &'static str {
    let Some(scale) = program.spec.scale() else { return "off" };
    match (&program.wish.hold, program.wish.paused, scale.mode) {
        (Some(_), _, _) => "hold",
        (None, true, _) => "off",
        (None, false, ScaleMode::DryRun) => "dry-run",
        (None, false, ScaleMode::Auto) => "auto",
    }
}

/// How a process of a program is shown.
pub(crate) fn label(world: &World, process: &ProcessId) -> String {
    match world.programs.get(&process.program) {
        Some(program) => program.label(process.slot),
        None => process.to_string(),
    }
}

/// A decision as an entry of the journal.
pub(crate) fn decision(program: &Program, decision: &Decision, wall_seconds: f64) -> DecisionView {
    let direction = match decision.target.cmp(&decision.before) {
        std::cmp::Ordering::Greater => "up",
        std::cmp::Ordering::Less => "down",
        std::cmp::Ordering::Equal => "hold",
    };
    let dry = program.spec.scale().is_some_and(|scale| scale.mode == ScaleMode::DryRun);
    DecisionView {
        at: rfc3339(wall_seconds),
        program: program.spec.name.to_string(),
        direction: direction.to_owned(),
        from: decision.before,
        to: decision.target,
        reason: decision.reason.clone(),
        limit: if dry { "dry-run" } else { decision.limit.as_str() }.to_owned(),
        inputs: with_wanted(inputs(&decision.inputs), decision.wanted),
        decided_by: decision.several.as_ref().map(|several| several.decided_by.clone()),
        queues: decision.several.iter().flat_map(|several| &several.queues).map(decision_of_queue).collect(),
    }
}

fn decision_of_queue(queue: &OfQueue) -> DecisionOfQueueView {
    DecisionOfQueueView {
        queue: queue.name.clone(),
        inputs: inputs(&queue.inputs)
            .into_iter()
            .filter(|(name, _)| !OF_ALL.contains(&name.as_str()))
            .collect(),
        starved_by: queue.starved_by.clone(),
    }
}

/// Inputs that are of all queues together.
const OF_ALL: [&str; 2] = ["startup_seconds", "window_peak_consumers"];

/// How much of a budget is in use.
pub(crate) fn budget(world: &World, budget: &Budget) -> BudgetView {
    let (used, limit) = (budget::used(world, budget), budget.limit);
    let name = budget.of.as_str();
    let sentence = match budget.of {
        Resource::Memory => format!("{} of {} memory", size(used), size(limit)),
        Resource::Processes | Resource::Named(_) => format!("{used} of {limit} {name}"),
    };
    BudgetView { name: name.to_owned(), limit, used, sentence }
}

/// Ends that nobody asked for, most frequent first.
pub(crate) fn deaths(program: &Program, now: Time, wall_seconds: f64) -> Vec<DeathView> {
    let view = |(cause, death): (&str, Death)| {
        let age = death.age(now).as_secs_f64();
        DeathView {
            cause: cause.to_owned(),
            count: death.count,
            last_at: rfc3339(wall_seconds - age),
            last_seconds_ago: age,
        }
    };
    program.deaths.by_count().into_iter().map(view).collect()
}

/// What was wanted is of the decision, whatever it was made from.
fn with_wanted(mut inputs: BTreeMap<String, f64>, wanted: u32) -> BTreeMap<String, f64> {
    inputs.insert("wanted_consumers".to_owned(), f64::from(wanted));
    inputs
}

fn inputs(inputs: &Inputs) -> BTreeMap<String, f64> {
    let known = [
        ("ready_messages", inputs.ready.map(|ready| ready as f64)),
        ("consumers", inputs.consumers.map(|consumers| consumers as f64)),
        ("sample_age_seconds", inputs.sample_age.map(|age| age.as_secs_f64())),
        ("arrivals_per_second", inputs.arrivals_per_second),
        ("arrivals_per_second_fast", inputs.arrivals_per_second_fast),
        ("service_seconds", Some(inputs.service_seconds)),
        ("service_learned", Some(f64::from(u8::from(inputs.service_learned)))),
        ("startup_seconds", Some(inputs.startup_seconds)),
        ("steady_consumers", Some(f64::from(inputs.steady))),
        ("drain_consumers", Some(f64::from(inputs.drain))),
        ("window_peak_consumers", Some(f64::from(inputs.window_peak))),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// A wall-clock moment as RFC 3339 with milliseconds, in UTC.
pub(crate) fn rfc3339(wall_seconds: f64) -> String {
    match jiff::Timestamp::from_millisecond((wall_seconds * 1e3) as i64) {
        Ok(moment) => format!("{moment:.3}"),
        Err(_) => "unknown".to_owned(),
    }
}

/// How long something lasts, for a sentence: `for 30m`, `until released`.
pub(crate) fn lasting(duration: Option<std::time::Duration>) -> String {
    match duration {
        Some(duration) => format!("for {}", human(duration)),
        None => "until released".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Edit;
    use crate::core::ids::Target;
    use crate::core::machine::Machine;
    use crate::core::scenario::service;
    use crate::core::world::Limits;

    #[test]
    fn a_service_says_how_many_of_its_processes_an_operator_stopped() {
        let name = ProgramName::new("web").unwrap();
        let told = |processes, edits: &[Edit]| {
            let mut machine = Machine::new(Limits::default());
            machine.configure(vec![service("web", processes)], Limits::default());
            for edit in edits {
                machine.edit(edit, "page", Time::default()).unwrap();
            }
            as_configured(&machine.world().programs[&name])
        };
        let process = |slot| Target::Process(ProcessId::new(name.clone(), slot));
        assert_eq!(told(1, &[]), "one process, as configured");
        assert_eq!(told(3, &[]), "3 processes, as configured");
        assert_eq!(told(3, &[Edit::Stop(process(0))]), "one of 3 processes is stopped by an operator");
        assert_eq!(
            told(3, &[Edit::Stop(Target::All), Edit::Start(process(1))]),
            "2 of 3 processes are stopped by an operator"
        );
    }
}
