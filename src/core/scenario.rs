//! A machine with a hand-driven clock and processes that do as they are told, for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::Command;
use super::event::{Edit, EditError, Fact, Notice};
use super::exit::ExitStatus;
use super::hooks::Hooks;
use super::ids::{Incarnation, ProcessId, ProgramName, Target};
use super::machine::Machine;
use super::observed::{BrokerHealth, Phase};
use super::plan::plan;
use super::readiness::{Voice, Work};
use super::schedule::{Wall, Zone};
use super::spec::{
    Backoff, Kind, LogSpec, Missed, Overlap, ProgramSpec, RecycleSpec, RestartPolicy, RunSpec, ScaleSpec,
    ScheduleSpec, StopSpec,
};
use super::time::Time;
use super::world::Limits;
use crate::scaling::input::Observation;

/// A service of `processes` processes.
pub(crate) fn service(name: &str, processes: u32) -> ProgramSpec {
    ProgramSpec {
        name: ProgramName::new(name).unwrap(),
        project: None,
        run: RunSpec { argv: vec!["run".into(), name.into()], ..RunSpec::default() },
        kind: Kind::Service { processes },
        autostart: true,
        restart: RestartPolicy::Always,
        codes: BTreeMap::new(),
        backoff: Backoff::default(),
        critical: false,
        recycle: RecycleSpec::default(),
        stop: StopSpec { timeout: Duration::from_secs(10), ..StopSpec::default() },
        log: LogSpec::default(),
        depends_on: Vec::new(),
        ready: None,
        health: None,
        hooks: Hooks::default(),
        uses: BTreeMap::new(),
    }
}

/// A scaled program on the queue of its own name.
pub(crate) fn scaled(name: &str, min: u32, max: u32) -> ProgramSpec {
    let scale = ScaleSpec::new("default".into(), name.into(), Duration::from_secs(5), min, max);
    ProgramSpec { kind: Kind::Scaled(scale), ..service(name, 0) }
}

/// A program with a schedule in Berlin.
pub(super) fn scheduled(name: &str, cron: &str) -> ProgramSpec {
    let schedule = ScheduleSpec {
        cron: cron.parse().unwrap(),
        timezone: Zone::named("Europe/Berlin").unwrap(),
        overlap: Overlap::Skip,
        missed: Missed::Skip,
        timeout: None,
        jitter: Duration::ZERO,
    };
    let restart = RestartPolicy::Never;
    ProgramSpec { kind: Kind::Scheduled(schedule), restart, ..service(name, 0) }
}

/// The same with another schedule.
pub(super) fn with(spec: ProgramSpec, change: impl FnOnce(&mut ScheduleSpec)) -> ProgramSpec {
    let Kind::Scheduled(mut schedule) = spec.kind.clone() else { panic!("{spec:?}") };
    change(&mut schedule);
    ProgramSpec { kind: Kind::Scheduled(schedule), ..spec }
}

/// A machine, its clock, and what was done on its orders.
pub(super) struct Scenario {
    pub(super) machine: Machine,
    pub(super) now: Time,
    /// Every command, in order.
    pub(super) done: Vec<Command>,
    pub(super) notices: Vec<Notice>,
    pub(super) wake_at: Option<Time>,
    pub(super) finished: bool,
    /// Starts fail, at this step and for this cause.
    pub(super) fails_to_start: Option<(String, String)>,
    pids: BTreeMap<Incarnation, i32>,
}

impl Scenario {
    /// Starts with these programs; every ordered spawn is answered at once.
    pub(super) fn new(specs: Vec<ProgramSpec>) -> Self {
        Self::within(specs, Limits::default())
    }

    /// The same within these limits.
    pub(super) fn within(specs: Vec<ProgramSpec>, limits: Limits) -> Self {
        let mut machine = Machine::new(limits.clone());
        machine.configure(specs, limits);
        let mut scenario = Self {
            machine,
            now: Time::from_millis(1_000_000),
            done: Vec::new(),
            notices: Vec::new(),
            wake_at: None,
            finished: false,
            fails_to_start: None,
            pids: BTreeMap::new(),
        };
        scenario.set_clock("2026-11-23T00:00:00Z");
        scenario
    }

    /// The wall clock is set.
    pub(super) fn set_clock(&mut self, shown: &str) {
        let shown: jiff::Timestamp = shown.parse().unwrap();
        let ahead_micros = shown.as_microsecond() - self.now.as_micros() as i64;
        self.observe(Fact::Wall(Wall { ahead_micros }));
    }

    /// What the wall clock shows.
    pub(super) fn clock(&self) -> String {
        let micros = self.machine.world().wall.unwrap().micros_at(self.now);
        jiff::Timestamp::from_microsecond(micros).unwrap().to_string()
    }

    /// Plans and carries out until nothing more is to be done at this moment.
    pub(super) fn settle(&mut self) {
        loop {
            let plan = self.machine.step(self.now);
            self.notices.append(&mut self.machine.take_notices());
            self.wake_at = plan.wake_at;
            self.finished = plan.finished;
            if plan.commands.is_empty() {
                return;
            }
            for command in plan.commands {
                if let Command::Spawn { life, .. } = &command {
                    if let Some((step, cause)) = self.fails_to_start.clone() {
                        let (incarnation, at) = (life.incarnation, self.now);
                        self.machine.observe(Fact::CouldNotSpawn { incarnation, step, cause, at });
                        self.done.push(command);
                        continue;
                    }
                    let pid = 1_000 + life.incarnation.0 as i32;
                    self.pids.insert(life.incarnation, pid);
                    let (incarnation, at) = (life.incarnation, self.now);
                    self.machine.observe(Fact::Spawned { incarnation, pid, at });
                }
                self.done.push(command);
            }
        }
    }

    /// Lets time pass in steps no longer than the machine asked for.
    pub(super) fn wait(&mut self, seconds: f64) {
        let until = Time::from_seconds(self.now.as_seconds() + seconds);
        while self.now < until {
            self.now = self.wake_at.map_or(until, |wake_at| wake_at.min(until));
            self.settle();
        }
    }

    pub(super) fn edit(&mut self, edit: Edit) -> Result<(), EditError> {
        self.machine.edit(&edit, "test", self.now)?;
        self.settle();
        Ok(())
    }

    pub(super) fn observe(&mut self, fact: Fact) {
        self.machine.observe(fact);
        self.settle();
    }

    /// The main process of a process ends, and with it everything unless `left`.
    pub(super) fn exit(&mut self, process: &str, status: ExitStatus, left: u32) {
        let incarnation = self.incarnation(process).expect("it lives");
        let at = self.now;
        self.machine.observe(Fact::Exited { incarnation, status, left, at });
        if left == 0 {
            self.machine.observe(Fact::Left { incarnation, left, at });
        }
        self.settle();
    }

    /// A process says something of itself; it is all that it has said so far.
    pub(super) fn say(&mut self, process: &str, voice: Voice) {
        let (incarnation, at) = (self.incarnation(process).expect("it lives"), self.now);
        self.observe(Fact::Said { incarnation, voice, at });
    }

    /// The broker tells of channels from now on, or does no longer.
    pub(super) fn tells_work(&mut self, tells: bool) {
        self.observe(Fact::TellsWork { broker: "default".to_owned(), tells });
    }

    /// The broker tells of the channels of processes.
    pub(super) fn at_work(&mut self, told: &[(&str, Work)]) {
        let life = |process: &str| self.incarnation(process).expect("it lives");
        let read = told.iter().map(|(process, work)| (life(process), Some(*work))).collect();
        self.observe(Fact::AtWork { broker: "default".to_owned(), read, at: self.now });
    }

    pub(super) fn left(&mut self, incarnation: Incarnation, left: u32) {
        let at = self.now;
        self.observe(Fact::Left { incarnation, left, at });
    }

    pub(super) fn broker(&mut self, health: BrokerHealth) {
        let (broker, at) = ("default".to_owned(), self.now);
        self.observe(Fact::Broker { broker, health, at });
    }

    pub(super) fn sample(&mut self, queue: &str, ready: u64, consumers: u64) {
        let observation = Observation::Sample { at: self.now, ready, consumers };
        let (broker, queue) = ("default".to_owned(), queue.to_owned());
        self.observe(Fact::Queue { broker, queue, observation });
    }

    pub(super) fn phase(&self, process: &str) -> Phase {
        let id: ProcessId = process.parse().unwrap();
        self.machine.world().slot(&id).map(|slot| slot.phase.clone()).unwrap_or_default()
    }

    /// What is said of a process: the first of its gaps.
    pub(super) fn gap(&self, process: &str) -> Option<String> {
        let id: ProcessId = process.parse().unwrap();
        let gaps = plan(self.machine.world(), self.now).gaps;
        let mut of_process =
            gaps.iter().filter(|(name, slot, _)| *name == id.program && *slot == Some(id.slot));
        of_process.next().map(|(_, _, gap)| gap.sentence(self.now))
    }

    pub(super) fn incarnation(&self, process: &str) -> Option<Incarnation> {
        self.phase(process).life().map(|life| life.incarnation)
    }

    /// Running or starting processes of a program.
    pub(super) fn live(&self, program: &str) -> u32 {
        self.machine
            .world()
            .programs
            .get(&ProgramName::new(program).unwrap())
            .map_or(0, |program| program.live())
    }

    /// Processes that were asked to end and have not.
    pub(super) fn ending(&self, program: &str) -> Vec<String> {
        let name = ProgramName::new(program).unwrap();
        let Some(program) = self.machine.world().programs.get(&name) else { return Vec::new() };
        let ending = program.slots.iter().filter(|(_, slot)| slot.phase.is_ending());
        ending.map(|(slot, _)| format!("{name}:{slot}")).collect()
    }

    /// Lets every process that was asked to end do so.
    pub(super) fn obey(&mut self, program: &str) {
        for process in self.ending(program) {
            self.exit(&process, ExitStatus::Code(0), 0);
        }
    }

    pub(super) fn spawns(&self) -> usize {
        self.done.iter().filter(|command| matches!(command, Command::Spawn { .. })).count()
    }

    pub(super) fn kills(&self) -> usize {
        self.done.iter().filter(|command| matches!(command, Command::Kill { .. })).count()
    }
}

pub(super) fn target(text: &str) -> Target {
    text.parse().unwrap()
}
