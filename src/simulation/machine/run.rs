//! One run: the machine, the world around it, and the hands between them, which do what the controller's loop does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::configuration::{self, TIMEOUT_MOST};
use super::dice::Dice;
use super::flaws::Flaw;
use super::invariants;
use super::keeper::{Keeper, State, incarnation_of};
use super::looks::Looks;
use super::queues::Brokers;
use super::shadow::Shadow;
use crate::controller::executor::Executor;
use crate::controller::takeover::{self, Before, Step};
use crate::core::command::{Command, Plan};
use crate::core::event::{Edit, EditError, Fact, Notice};
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::machine::Machine;
use crate::core::memory_left::MemoryLeft;
use crate::core::observed::BrokerHealth;
use crate::core::schedule::Wall;
use crate::core::spec::{ProgramSpec, ScaleSpec};
use crate::core::time::Time;
use crate::core::world::Limits;
use crate::keeper::protocol::{self, Order};
use crate::store::state::{KeeperIdentity, Saved, VERSION};

/// What the controller waits before it writes down what it knows.
const SAVE_DELAY: Duration = Duration::from_millis(200);

/// How long hooks may take, before a stop signal, after the end, and those that waited for their turn.
const HOOKS_MOST: Duration = Duration::from_secs(60);

/// How many actions a report recounts.
const RECOUNTED: usize = 30;

/// More wakes than this within a second in which nothing is done are a busy loop.
const IDLE_WAKES_MAX: u32 = 100;

/// A rule that was broken, as a sentence.
pub(super) type Check = Result<(), String>;

/// The state of a run.
pub(super) struct Run {
    pub(super) dice: Dice,
    /// What processes say of their work.
    pub(super) voices: Dice,
    /// Who is looked at from outside.
    pub(super) looks: Looks,
    pub(super) now: Time,
    pub(super) machine: Machine,
    pub(super) keeper: Keeper,
    pub(super) brokers: Brokers,
    pub(super) shadow: Shadow,
    /// The configuration that runs.
    pub(super) programs: Vec<ProgramSpec>,
    pub(super) limits: Limits,
    /// The memory of the machine that was told last.
    pub(super) memory_left: Option<MemoryLeft>,
    /// Everything has ended.
    pub(super) finished: bool,
    /// The controller dies after so many more orders.
    pub(super) dies_after: Option<usize>,
    /// Every command with its moment.
    pub(super) log: String,
    /// The newest actions.
    pub(super) actions: VecDeque<String>,
    /// Programs that were removed and were still ending when the configuration was kept.
    retiring: Vec<ProgramSpec>,
    /// Keepers whose processes the present one took over.
    predecessors: Vec<KeeperIdentity>,
    executor: Executor,
    disk: Option<Saved>,
    wake_at: Option<Time>,
    save_at: Option<Time>,
    /// What the brokers said last is written down.
    pub(super) brokers_saved: bool,
    /// Lives whose output is being read to its end.
    drains: BTreeSet<(Time, Incarnation)>,
    /// Lives that the keeper may forget as soon as their end is written down.
    released: Vec<Incarnation>,
    idle_wakes: (Time, u32),
    /// How many steps of the machine were held against every rule.
    pub(super) steps: u64,
    /// What is wrong with the machine, in the runs that show that the rules find it out.
    pub(super) flaw: Option<Flaw>,
    /// How the wall clock stands.
    pub(super) wall: Wall,
}

impl Run {
    pub(super) fn new(seed: u64, flaw: Option<Flaw>) -> Self {
        let mut dice = Dice::new(seed);
        let now = Time::from_millis(1_000_000);
        let limits = configuration::limits(&mut dice);
        let mut run = Self {
            voices: Dice::new(!seed),
            looks: Looks::new(Dice::new(seed.rotate_left(32))),
            now,
            machine: Machine::new(limits.clone()),
            keeper: Keeper::new(100, now),
            brokers: Brokers::new(&mut dice),
            shadow: Shadow::default(),
            programs: configuration::programs(&mut dice),
            limits,
            memory_left: None,
            finished: false,
            dies_after: None,
            log: String::new(),
            actions: VecDeque::new(),
            retiring: Vec::new(),
            predecessors: Vec::new(),
            executor: Executor::new(BTreeMap::new(), Path::new("state"), Path::new("run")),
            disk: None,
            wake_at: None,
            save_at: None,
            brokers_saved: true,
            drains: BTreeSet::new(),
            released: Vec::new(),
            idle_wakes: (now, 0),
            steps: 0,
            flaw,
            wall: Wall {
                ahead_micros: 1_600_000_000_000_000 + i64::from(dice.below(100_000_000)) * 1_000_000,
            },
            dice,
        };
        run.limits.budgets = configuration::budgets(&run.programs, seed);
        run.take_over();
        run
    }

    /// Writes down what is done, for a report.
    pub(super) fn tell(&mut self, action: String) {
        if self.actions.len() == RECOUNTED {
            self.actions.pop_front();
        }
        self.actions.push_back(format!("{:.3} {action}", self.now.as_seconds()));
    }

    /// The programs as they are to be treated now.
    pub(super) fn specs(&self) -> BTreeMap<ProgramName, ProgramSpec> {
        let programs = self.machine.world().programs.iter();
        programs
            .map(|(name, program)| (name.clone(), self.spec(name).unwrap_or(&program.spec).clone()))
            .collect()
    }

    /// A program as the configuration has it, unless it was removed.
    pub(super) fn spec(&self, name: &ProgramName) -> Option<&ProgramSpec> {
        self.programs.iter().find(|program| program.name == *name)
    }

    // ---- the hands

    /// Lets the machine plan, carries out what it plans, and holds both against every rule.
    pub(super) fn settle(&mut self) -> Check {
        self.steps += 1;
        let plan = self.step();
        let notices = self.notices();
        invariants::decisions(self, &notices)?;
        let died = self.carry_out(&plan)?;
        self.wake_at = plan.wake_at;
        let saves = |command: &Command| {
            matches!(command, Command::Spawn { .. } | Command::RunHook { .. } | Command::Kill { .. })
        };
        if plan.commands.iter().any(saves) {
            self.save_soon();
        }
        invariants::after_step(self, &plan)?;
        let programs = &self.machine.world().programs;
        self.shadow.stops.retain(|name, _| programs.contains_key(name));
        self.save_if_due();
        self.watch_idleness(&plan, &notices)?;
        if died {
            return self.restart_controller(Duration::ZERO);
        }
        if plan.finished {
            invariants::finished(self)?;
            self.finished = true;
        }
        Ok(())
    }

    /// Gives the orders of a plan, unless the controller dies in between, and says whether it did.
    fn carry_out(&mut self, plan: &Plan) -> Result<bool, String> {
        for command in &plan.commands {
            writeln!(self.log, "{} {command:?}", self.now.as_micros()).expect("a string takes it");
            invariants::command(self, command)?;
            self.looks.obey(command);
            let process = process_of(command);
            let orders = self.executor.orders(command, self.machine.world());
            for order in orders.into_iter().flat_map(|order| self.ordered(order)).collect::<Vec<_>>() {
                if let Some(left) = &mut self.dies_after {
                    if *left == 0 {
                        self.dies_after = None;
                        self.shadow.uncertain.extend(incarnation(command));
                        if let Command::Spawn { process, .. } = command {
                            self.shadow.runs.remove(&process.program);
                        }
                        self.shadow.preparations.not_carried_out(command);
                        self.shadow.errands.not_carried_out(command);
                        return Ok(true);
                    }
                    *left -= 1;
                }
                self.keeper.obey(&order, process, self.now, &mut self.dice);
            }
        }
        Ok(false)
    }

    /// Wakes that do nothing, again and again, would keep a processor busy.
    fn watch_idleness(&mut self, plan: &Plan, notices: &[Notice]) -> Check {
        let (since, count) = self.idle_wakes;
        let is_fresh = self.now.since(since) > Duration::from_secs(1);
        if is_fresh || !plan.commands.is_empty() || !notices.is_empty() {
            self.idle_wakes = (self.now, 0);
            return Ok(());
        }
        self.idle_wakes = (since, count + 1);
        if count > IDLE_WAKES_MAX {
            return Err(format!("a busy loop: {count} steps within a second did nothing"));
        }
        Ok(())
    }

    fn save_soon(&mut self) {
        self.save_at.get_or_insert(self.now + SAVE_DELAY);
    }

    fn save_if_due(&mut self) {
        if self.save_at.is_some_and(|due| due <= self.now) {
            self.save();
        }
    }

    /// Writes down what the next controller should know.
    pub(super) fn save(&mut self) {
        self.save_at = None;
        self.brokers_saved = true;
        self.disk = Some(Saved {
            version: VERSION,
            keeper: self.identity(),
            at: self.now,
            wall_seconds: self.wall_seconds(),
            memory: self.remembered(),
        });
        for incarnation in std::mem::take(&mut self.released) {
            self.keeper.obey(&Order::Release { incarnation }, None, self.now, &mut self.dice);
        }
    }

    /// Whether the next controller would know all that this one knows.
    pub(super) fn is_saved(&self) -> bool {
        self.disk.as_ref().is_some_and(|saved| saved.memory == self.remembered())
    }

    fn wall_seconds(&self) -> f64 {
        self.wall.micros_at(self.now) as f64 / 1e6
    }

    /// The wall clock is set.
    pub(super) fn set_clock(&mut self, seconds: i64) -> Check {
        self.shadow.latest_shown = self.shadow.latest_shown.max(self.wall.seconds_at(self.now));
        if seconds < 0 {
            // What was dealt with may come again.
            self.shadow.runs.clear();
        }
        self.wall.ahead_micros += seconds * 1_000_000;
        self.observe(Fact::Wall(self.understood_wall()));
        self.settle()
    }

    fn identity(&self) -> KeeperIdentity {
        KeeperIdentity { pid: self.keeper.pid, started_at: self.keeper.started_at }
    }

    /// A fact of the keeper's, as the controller takes it.
    pub(super) fn keeper_fact(&mut self, fact: &protocol::Fact) {
        self.shadow.preparations.told(fact);
        self.shadow.errands.told(fact, &self.keeper, &self.programs);
        if let Some(told) = takeover::told(fact) {
            self.observe(told);
            self.save_soon();
        }
        let is_last = match fact {
            protocol::Fact::CouldNotSpawn { .. } | protocol::Fact::Left { left: 0, .. } => true,
            protocol::Fact::Left { .. }
            | protocol::Fact::Spawned { .. }
            | protocol::Fact::Exited { .. }
            | protocol::Fact::Inventory(_)
            | protocol::Fact::Kept { .. }
            | protocol::Fact::Leave
            | protocol::Fact::Upgrade(_)
            | protocol::Fact::Signalled { .. } => false,
        };
        if let Some(incarnation) = incarnation_of(fact).filter(|_| is_last) {
            self.shadow.told_gone.insert(incarnation);
            let read_at = self.now + self.dice.millis(0, 50);
            self.drains.insert((read_at, incarnation));
        }
    }

    /// What a broker is like, as the controller takes it.
    pub(super) fn broker_fact(&mut self, broker: String, health: BrokerHealth) {
        if self.machine.world().brokers.get(&broker) != Some(&health) {
            self.brokers_saved = false;
            self.save_soon();
        }
        self.observe(Fact::Broker { broker, health, at: self.now });
    }

    fn release_what_is_read(&mut self) {
        while let Some((at, incarnation)) = self.drains.first().copied() {
            if at > self.now {
                break;
            }
            self.drains.pop_first();
            self.released.push(incarnation);
            self.save_soon();
        }
    }

    // ---- time

    /// Lets time pass, and everything happen that is due on the way.
    pub(super) fn advance(&mut self, duration: Duration) -> Check {
        let until = self.now + duration;
        loop {
            let read_at = self.drains.first().map(|(at, _)| *at);
            let due = [self.wake_at, self.save_at, self.keeper.next_at(), read_at];
            let next = due.into_iter().flatten().min().filter(|at| *at <= until);
            self.now = next.map_or(until, |at| at.max(self.now));
            for fact in self.keeper.advance(self.now, &mut self.dice) {
                self.keeper_fact(&fact);
            }
            self.hear();
            self.take_found();
            self.release_what_is_read();
            self.settle()?;
            if next.is_none() || self.finished {
                return Ok(());
            }
        }
    }

    /// Reads every queue `rounds` times, a second apart.
    pub(super) fn read_queues(&mut self, rounds: u32) -> Check {
        for _ in 0..rounds {
            self.advance(self.limits.probe_interval)?;
            if self.finished {
                return Ok(());
            }
            self.read_once();
            // In the end nothing grows any more, or nothing would come to rest.
            let read = if self.keeper.is_quiet { Vec::new() } else { self.keeper.memory(self.now) };
            self.observe(Fact::Memory(read));
            self.tell_memory_left();
            self.settle()?;
        }
        Ok(())
    }

    /// Short in some minutes; never in the end, when everything is to come to rest.
    fn tell_memory_left(&mut self) {
        const TOTAL: u64 = 1_000 << 20;
        let minute = self.now.as_micros() / 60_000_000;
        let is_short = !self.keeper.is_quiet && minute % 7 == 3;
        let left = if is_short { TOTAL / 100 } else { TOTAL / 2 };
        let told = MemoryLeft { left, total: TOTAL, at: self.now };
        self.memory_left = Some(told);
        self.observe(Fact::MemoryLeft(told));
    }

    fn read_once(&mut self) {
        for (broker, health) in self.brokers.health.clone() {
            self.broker_fact(broker, health);
        }
        let of = |scale: &ScaleSpec| -> Vec<(String, String)> {
            scale.read().map(|queue| (scale.broker.clone(), queue.to_owned())).collect()
        };
        let all: Vec<_> = self.programs.iter().filter_map(ProgramSpec::scale).flat_map(of).collect();
        let mut read = BTreeSet::new();
        for key in all {
            if !read.insert(key.clone()) {
                continue;
            }
            let consumers = self.consumers(&key.0, &key.1);
            let observation = self.brokers.read(&key.0, &key.1, consumers, self.now);
            for program in &self.programs {
                let scale = program.scale().filter(|scale| scale.broker == key.0);
                if scale.is_some_and(|scale| scale.place_of(&key.1).is_some()) {
                    let of_program = self.shadow.readings.entry(program.name.clone()).or_default();
                    of_program.entry(key.1.clone()).or_default().note(observation);
                }
            }
            self.observe(Fact::Queue { broker: key.0, queue: key.1, observation });
        }
    }

    /// Processes that consume from a queue: those that have run for a moment.
    fn consumers(&self, broker: &str, queue: &str) -> u32 {
        let reads = |process: &ProcessId| {
            let program = self.programs.iter().find(|program| program.name == process.program);
            let scale = program.and_then(ProgramSpec::scale);
            scale.is_some_and(|scale| scale.broker == broker && scale.place_of(queue).is_some())
        };
        let consumes = |child: &&super::keeper::Child| {
            child.runs_since().is_some_and(|at| self.now.since(at) > Duration::from_millis(300))
                && child.asked_at.is_none()
                && child.process.as_ref().is_some_and(reads)
        };
        self.keeper.children.values().filter(consumes).count() as u32
    }

    // ---- what people do

    pub(super) fn edit(&mut self, edit: &Edit, by_signal: bool) -> Result<Result<(), EditError>, String> {
        let wishes = invariants::wishes(&self.machine);
        let specs = self.specs();
        let programs = self.machine.world().programs.iter();
        let counts = programs.map(|(name, program)| (name.clone(), program.count())).collect();
        let concerned = match self.machine.edit(&self.understood_edit(edit), "somebody", self.now) {
            Ok(concerned) => concerned,
            Err(refused) => {
                if invariants::wishes(&self.machine) != wishes {
                    return Err(format!("the edit {edit:?} was refused ({refused}) and changed something"));
                }
                return Ok(Err(refused));
            }
        };
        self.shadow.edited(edit, &concerned, (&specs, &counts), &self.keeper, self.now);
        if self.shadow.shutdown.is_some() {
            let children = self.keeper.children.keys().copied().collect::<Vec<_>>();
            let at_once = self.shadow.shutdown_now;
            for incarnation in children {
                let timeout = if at_once { Duration::ZERO } else { self.timeout_of(incarnation) };
                if at_once {
                    self.shadow.insisted.remove(&incarnation);
                }
                self.shadow.insist(incarnation, self.now, timeout);
            }
            self.expect_end();
        }
        if by_signal {
            self.keeper.signals.push(15)
        } else {
            self.save()
        }
        self.settle()?;
        Ok(Ok(()))
    }

    fn timeout_of(&self, incarnation: Incarnation) -> Duration {
        let process = self.keeper.children.get(&incarnation).and_then(|child| child.process.as_ref());
        let specs = self.specs();
        process
            .and_then(|process| specs.get(&process.program))
            .map_or(Duration::ZERO, |spec| spec.stop.timeout)
    }

    /// Everything has to be gone within the longest timeout and the time of hooks, once for each program in a row that need each other, and
    /// what answers, counts and kills take.
    pub(super) fn expect_end(&mut self) {
        let programs = &self.machine.world().programs;
        let mut in_a_row = 1;
        // Each needs one whose name comes before its own, so that in order every length is known when it is asked for.
        let mut lengths: BTreeMap<&ProgramName, u32> = BTreeMap::new();
        for (name, program) in programs {
            let needed = program.spec.depends_on.iter().filter_map(|needed| lengths.get(&needed.program));
            let length = 1 + needed.max().copied().unwrap_or(0);
            in_a_row = in_a_row.max(length);
            lengths.insert(name, length);
        }
        self.shadow.gone_by =
            Some(self.now + (TIMEOUT_MOST + HOOKS_MOST + Duration::from_secs(15)) * in_a_row);
    }

    pub(super) fn reload(&mut self, programs: Vec<ProgramSpec>, limits: Limits) -> Check {
        let is_equal = programs == self.programs && limits == self.limits;
        let budgets = if is_equal { limits.budgets } else { configuration::budgets(&programs, limits.seed) };
        let limits = Limits { budgets, ..limits };
        self.shadow.configured(&programs, &self.keeper, self.now);
        self.shadow.errands.configured(&programs);
        for program in &programs {
            let before = self.programs.iter().find(|before| before.name == program.name);
            let queues = |program: &ProgramSpec| {
                let scale = program.scale()?;
                Some((
                    scale.broker.clone(),
                    scale.queues().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(),
                ))
            };
            if before.is_none_or(|before| queues(before) != queues(program)) {
                self.shadow.readings.remove(&program.name);
            }
        }
        // Other bounds are another goal.
        self.shadow.raised.clear();
        self.limits = limits;
        let changes = self.machine.configure(self.understood(&programs), self.understood_limits());
        self.programs = programs;
        let retiring = self.machine.world().programs.values().filter(|program| program.retiring);
        self.retiring = retiring.map(|program| program.spec.clone()).collect();
        if is_equal {
            invariants::equal_configuration(self, &changes)?;
        }
        self.save();
        self.settle()
    }

    // ---- restarts

    /// The controller dies and the next one takes over what the keeper holds.
    pub(super) fn restart_controller(&mut self, downtime: Duration) -> Check {
        self.dies_after = None;
        let before = invariants::Remembered::of(self);
        let happens_until = self.now + downtime;
        while let Some(at) = self.keeper.next_at().filter(|at| *at <= happens_until) {
            // What arrives while nobody is there is lost; the inventory says it.
            drop(self.keeper.advance(at, &mut self.dice));
        }
        self.now = happens_until;
        self.take_over();
        if self.shadow.shutdown.is_some() {
            self.expect_end();
        }
        let is_first = self.log.len();
        self.settle()?;
        before.held_against(self, &self.log[is_first..])
    }

    /// Leveret itself is started anew, after everything has ended or was killed.
    pub(super) fn restart_daemon(&mut self) -> Check {
        self.dies_after = None;
        let before = invariants::wishes(&self.machine);
        self.now = self.now + self.dice.seconds(1, 100);
        self.keeper = self.keeper.successor(self.now);
        self.predecessors.clear();
        let shadow = std::mem::take(&mut self.shadow);
        self.shadow = Shadow { stops: shadow.stops, ..Shadow::default() };
        self.retiring.clear();
        self.finished = false;
        self.take_over();
        invariants::kept_over_daemon_restart(self, &before)?;
        self.settle()
    }

    /// The keeper is killed; its processes live on and are taken over by the next start. A controller that was not killed as
    /// well writes down what it knows before it ends.
    pub(super) fn kill_keeper(&mut self, with_controller: bool) -> Check {
        self.dies_after = None;
        // There is no keeper any more to forget them.
        self.released.clear();
        if !with_controller {
            self.save();
        }
        let before = invariants::wishes(&self.machine);
        self.predecessors.push(self.identity());
        let mut heir = self.keeper.heir(self.now, &mut self.dice);
        let downtime = self.dice.millis(0, 3_000);
        let happens_until = self.now + downtime;
        while let Some(at) = heir.next_at().filter(|at| *at <= happens_until) {
            drop(heir.advance(at, &mut self.dice));
        }
        self.now = happens_until;
        let is_kept = |incarnation: &Incarnation| heir.children.contains_key(incarnation);
        // What never came to be may be begun again.
        for (_, child) in self.keeper.children.iter().filter(|(incarnation, _)| !is_kept(incarnation)) {
            let process = child.process.as_ref().filter(|_| matches!(child.state, State::Ordered));
            process.map(|process| self.shadow.runs.remove(&process.program));
        }
        let last = heir.last_incarnation;
        // What was said of a life that is still written down is to be said again, and unwritten numbers may be used again.
        self.shadow.told_gone.retain(|incarnation| !is_kept(incarnation) && *incarnation <= last);
        self.shadow.insisted.retain(|incarnation, _| is_kept(incarnation));
        self.shadow.uncertain.retain(&is_kept);
        self.shadow.asked_left.retain(&is_kept);
        self.shadow.preparations.taken_over(&is_kept);
        self.shadow.errands.taken_over(&is_kept, last);
        self.looks.killed.retain(&is_kept);
        // What never came to its start may be started for the same moment.
        let unstarted = self.keeper.children.iter().filter(|(incarnation, _)| !is_kept(incarnation));
        for process in unstarted.filter_map(|(_, child)| child.process.as_ref()) {
            self.shadow.runs.remove(&process.program);
        }
        self.keeper = heir;
        // Whoever starts Leveret again does not want it to end.
        (self.shadow.shutdown, self.shadow.shutdown_now, self.shadow.gone_by) = (None, false, None);
        self.take_over();
        invariants::kept_over_daemon_restart(self, &before)?;
        self.settle()
    }

    fn take_over(&mut self) {
        self.wake_at = None;
        self.save_at = None;
        self.drains.clear();
        self.looks.end_all();
        self.released.clear();
        self.shadow.readings.clear();
        let identity = self.identity();
        let memory = self.disk.clone().map(|mut saved| {
            let taken_over = self.predecessors.contains(&saved.keeper);
            if taken_over {
                saved.memory.shutdown = None;
            }
            let same_processes = taken_over || saved.keeper == identity;
            if !same_processes {
                saved.shift_to(self.now, self.wall_seconds());
            }
            let json = serde_json::to_string(&saved.memory).expect("a memory is always JSON");
            (serde_json::from_str(&json).expect("a memory is read back"), same_processes)
        });
        // Every controller has jitter of its own.
        self.limits.seed = self.limits.seed.wrapping_add(1);
        let inventory = self.keeper.connect();
        let (programs, retiring) = (self.understood(&self.programs), self.retiring.clone());
        let (limits, wall) = (self.understood_limits(), self.understood_wall());
        let before = Before { programs, retiring, limits, memory, wall };
        // Where a management API is configured it may tell, and that is known from the begin.
        let telling: Vec<String> = self.machine.world().work_told_at.keys().cloned().collect();
        self.machine = takeover::machine(before, &inventory, self.now);
        for broker in telling {
            self.machine.observe(Fact::TellsWork { broker, tells: true });
        }
        if let Some(told) = self.memory_left {
            self.observe(Fact::MemoryLeft(told));
        }
        let (steps, complaints) = takeover::steps(&inventory);
        assert!(complaints.is_empty(), "{complaints:?}");
        for step in steps {
            match step {
                Step::Adopt(adopted) => self.machine.adopt(adopted),
                Step::Preparation(preparation, _) => self.machine.adopt_preparation(preparation),
                Step::Hook(hook, _) if self.has(Flaw::RunsHooksAgain) => {
                    self.machine.adopt_auxiliary(hook.incarnation);
                }
                Step::Hook(hook, _) => self.machine.adopt_hook(hook),
                Step::Auxiliary(incarnation) => self.machine.adopt_auxiliary(incarnation),
                Step::Tell(fact) => self.keeper_fact(&fact),
            }
        }
        self.hear();
    }

    /// What processes have said of themselves, as the controller takes it.
    pub(super) fn hear(&mut self) {
        for (incarnation, voice) in self.keeper.take_said() {
            self.observe(Fact::Said { incarnation, voice, at: self.now });
        }
    }
}

/// The process that a command is about.
pub(super) fn process_of(command: &Command) -> Option<&ProcessId> {
    match command {
        Command::Spawn { process, .. }
        | Command::PrepareStop { process, .. }
        | Command::Stop { process, .. }
        | Command::StopNext { process, .. }
        | Command::StopLeft { process, .. }
        | Command::Limit { process, .. }
        | Command::Watch { process, .. }
        | Command::Check { process, .. }
        | Command::Kill { process, .. } => Some(process),
        // Hooks have lives of their own.
        Command::Prepare { .. }
        | Command::EndPreparation { .. }
        | Command::RunHook { .. }
        | Command::EndHook { .. } => None,
        Command::SpawnAuxiliary { .. } | Command::KillAuxiliary { .. } | Command::KillStray { .. } => None,
    }
}

/// The process that a hook is for which a command is about.
pub(super) fn process_of_hook(command: &Command) -> Option<&ProcessId> {
    match command {
        Command::Prepare { process, .. }
        | Command::EndPreparation { process, .. }
        | Command::RunHook { process, .. }
        | Command::EndHook { process, .. } => Some(process),
        Command::Spawn { .. }
        | Command::PrepareStop { .. }
        | Command::Stop { .. }
        | Command::StopNext { .. }
        | Command::StopLeft { .. }
        | Command::Limit { .. }
        | Command::Watch { .. }
        | Command::Check { .. }
        | Command::Kill { .. }
        | Command::SpawnAuxiliary { .. }
        | Command::KillAuxiliary { .. }
        | Command::KillStray { .. } => None,
    }
}

/// The life that a command is about.
pub(super) fn incarnation(command: &Command) -> Option<Incarnation> {
    match command {
        Command::Spawn { life, .. } | Command::Prepare { life, .. } => Some(life.incarnation),
        Command::EndPreparation { incarnation, .. }
        | Command::RunHook { incarnation, .. }
        | Command::EndHook { incarnation, .. }
        | Command::PrepareStop { incarnation, .. } => Some(*incarnation),
        Command::Stop { incarnation, .. }
        | Command::StopNext { incarnation, .. }
        | Command::StopLeft { incarnation, .. }
        | Command::Limit { incarnation, .. }
        | Command::Watch { incarnation, .. }
        | Command::Check { incarnation, .. }
        | Command::Kill { incarnation, .. }
        | Command::SpawnAuxiliary { incarnation, .. }
        | Command::KillAuxiliary { incarnation, .. }
        | Command::KillStray { incarnation } => Some(*incarnation),
    }
}
