//! The one loop: whatever happens comes in here, the machine plans, and what it plans goes out from here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::brokers::Brokers;
use super::executor::Executor;
use super::handle::{Histogram, Request};
use super::kept::{self, Running, unix_path};
use super::snapshot::DecisionView;
use super::start::{StartError, memory_of};
use super::takeover::{self, Before, Step};
use super::usage::Usages;
use super::view;
use crate::amqp;
use crate::config::settings::Settings;
use crate::core::command::Command;
use crate::core::event::{Edit, Fact, Notice};
use crate::core::ids::{Incarnation, ProcessId, ProgramName};
use crate::core::machine::Machine;
use crate::core::spec::ProgramSpec;
use crate::core::time::{Time, human};
use crate::core::world::Limits;
use crate::keeper::link::ControllerLink;
use crate::keeper::protocol::{self, Inventory, Order};
use crate::logs::Pump;
use crate::logs::source::PumpEvent;
use crate::store::journal::Journal;
use crate::store::state::{self, KeeperIdentity, Saved};
use crate::sys::clock;

/// How long a change that nobody asked for may wait before it is written down.
const SAVE_DELAY: Duration = Duration::from_millis(200);

/// How often processor time and memory are read when nobody looks.
const USAGE_INTERVAL: Duration = Duration::from_secs(10);

/// How often what was learned is written down.
const LEARNED_INTERVAL: Duration = Duration::from_secs(60);

/// How many facts are taken in before the machine plans again.
const FACTS_AT_ONCE: usize = 1_024;

/// How long the last output may take once everything has ended: nobody may be reading Leveret's own.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// Bounds of the histogram of stops, in seconds.
const STOP_BOUNDS: [f64; 10] = [0.05, 0.25, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0];

/// What a loop is made of.
pub(crate) struct Parts {
    pub(crate) configuration: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) running: Running,
    pub(crate) listen: SocketAddr,
    pub(crate) inventory: Inventory,
    pub(crate) link: ControllerLink,
    pub(crate) pump: Pump,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) probe_facts: mpsc::Receiver<amqp::fact::Fact>,
    pub(crate) probe_facts_in: mpsc::Sender<amqp::fact::Fact>,
    pub(crate) pump_events: mpsc::UnboundedReceiver<PumpEvent>,
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) first: bool,
}

/// The loop and all that it owns.
pub(crate) struct Control {
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) configuration: PathBuf,
    pub(super) config_error: Option<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) executor: Executor,
    pub(super) brokers: Brokers,
    pub(super) usages: Usages,
    pub(super) journal: Journal<DecisionView>,
    pub(super) stops: BTreeMap<ProgramName, Histogram>,
    pub(super) keeper: KeeperIdentity,
    pub(super) controllers_before: u32,
    pub(super) listen: SocketAddr,
    pub(super) link: ControllerLink,
    pump: Pump,
    requests: mpsc::Receiver<Request>,
    probe_facts: mpsc::Receiver<amqp::fact::Fact>,
    pump_events: mpsc::UnboundedReceiver<PumpEvent>,
    changed: watch::Sender<u64>,
    /// Lives of which nothing is left and whose output is being read to its end.
    releasing: BTreeSet<Incarnation>,
    /// Lives that the keeper may forget as soon as what became of them is written down: until then its memory is the
    /// only one that the next controller would have.
    forgettable: Vec<Incarnation>,
    /// Lives whose output is being moved.
    reading: BTreeSet<Incarnation>,
    wake_at: Option<Time>,
    save_at: Option<Time>,
    learned_at: Time,
    usage_at: Time,
    journal_failed: bool,
    finishing: Finishing,
}

/// How far the end of Leveret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finishing {
    /// Not wanted, or processes are left.
    No,
    /// No process is left; output is being read to its end, until this moment at the latest.
    Draining(Time),
    /// The keeper was told to end.
    Told,
}

/// What came in.
enum Input {
    Keeper(Option<protocol::Fact>),
    Request(Request),
    Probe(amqp::fact::Fact),
    Pump(PumpEvent),
    Time,
}

impl Control {
    /// A loop over what the inventory says is there.
    ///
    /// # Errors
    /// When the state directory cannot be used.
    pub(crate) fn new(parts: Parts) -> Result<Self, StartError> {
        let Running { settings, retiring } = parts.running;
        let now = clock::now();
        let keeper =
            KeeperIdentity { pid: parts.inventory.keeper_pid, started_at: parts.inventory.started_at };
        let journal = Journal::open(&settings.state_dir).map_err(|source| StartError::System {
            action: format!("read the journal in {}", settings.state_dir.display()),
            source,
        })?;
        let executor = Executor::new(parts.environment.clone(), &settings.state_dir);
        let mut control = Self {
            machine: Machine::new(limits(&settings)),
            configuration: parts.configuration,
            config_error: None,
            environment: parts.environment,
            executor,
            brokers: Brokers::new(parts.probe_facts_in),
            usages: Usages::default(),
            journal,
            stops: BTreeMap::new(),
            keeper,
            controllers_before: parts.inventory.controllers_before,
            listen: parts.listen,
            link: parts.link,
            pump: parts.pump,
            requests: parts.requests,
            probe_facts: parts.probe_facts,
            pump_events: parts.pump_events,
            changed: parts.changed,
            releasing: BTreeSet::new(),
            forgettable: Vec::new(),
            reading: BTreeSet::new(),
            wake_at: None,
            save_at: None,
            learned_at: now + LEARNED_INTERVAL,
            usage_at: now + USAGE_INTERVAL,
            journal_failed: false,
            finishing: Finishing::No,
            settings,
        };
        control.take_over(retiring, parts.inventory, now);
        if parts.first {
            for warning in &control.settings.warnings {
                warn!("{warning}");
            }
            info!("the page is at http://{}", control.listen);
        }
        Ok(control)
    }

    /// Names that a Host header may have.
    pub(crate) fn allowed_hosts(&self) -> Vec<String> {
        self.settings.allowed_hosts.clone()
    }

    /// Configuration, memory, living processes, then what happened to them meanwhile: in this order.
    fn take_over(&mut self, retiring: Vec<ProgramSpec>, inventory: Inventory, now: Time) {
        let settings = self.settings.clone();
        let memory = match state::load(&settings.state_dir) {
            Ok(Some(mut saved)) => {
                let same_processes = saved.keeper == self.keeper;
                if !same_processes {
                    saved.shift_to(now, clock::wall_seconds());
                }
                Some((saved.memory, same_processes))
            }
            Ok(None) => None,
            Err(trouble) => {
                warn!("{trouble}");
                None
            }
        };
        let (programs, limits) = (settings.programs.clone(), limits(&settings));
        self.machine = takeover::machine(Before { programs, retiring, limits, memory }, &inventory, now);
        let (steps, complaints) = takeover::steps(&inventory);
        for complaint in complaints {
            error!("{complaint}");
        }
        for step in steps {
            match step {
                Step::Adopt(adopted) => {
                    if adopted.main.is_some() {
                        self.read_output(&adopted.process, adopted.incarnation);
                    }
                    self.machine.adopt(adopted);
                }
                Step::Auxiliary(incarnation) => self.machine.adopt_auxiliary(incarnation),
                Step::Tell(fact) => self.keeper_fact(fact),
            }
        }
        for signal in inventory.signals {
            if !takeover::is_request_to_end(signal) {
                self.signalled(signal);
            }
        }
        self.brokers.configure(&settings.brokers, &settings.programs, settings.probe_interval);
    }

    /// Goes on until Leveret ends, and returns the exit code.
    ///
    /// # Errors
    /// When the connection to the keeper breaks; the keeper then starts the next controller.
    pub(crate) async fn run(mut self) -> Result<u8, StartError> {
        self.settle()?;
        loop {
            let input = self.next().await?;
            if matches!(input, Input::Keeper(None)) {
                return self.keeper_gone();
            }
            self.take(input);
            self.take_waiting();
            self.settle()?;
        }
    }

    async fn next(&mut self) -> Result<Input, StartError> {
        let now = clock::now();
        let last_output = match self.finishing {
            Finishing::Draining(until) => Some(until),
            Finishing::No | Finishing::Told => None,
        };
        let due = [self.wake_at, self.save_at, Some(self.usage_at), Some(self.learned_at), last_output];
        let due = due.into_iter().flatten().min().map_or(USAGE_INTERVAL, |due| due.since(now));
        Ok(tokio::select! {
            biased;
            fact = self.link.next() => Input::Keeper(fact?.map(|(fact, _)| fact)),
            Some(event) = self.pump_events.recv() => Input::Pump(event),
            Some(request) = self.requests.recv() => Input::Request(request),
            Some(fact) = self.probe_facts.recv() => Input::Probe(fact),
            () = tokio::time::sleep(due) => Input::Time,
        })
    }

    /// Facts that are there already are taken in together, so that a thousand exits are planned for once.
    fn take_waiting(&mut self) {
        for _ in 0..FACTS_AT_ONCE {
            match self.link.take_ready() {
                Some((fact, _)) => self.keeper_fact(fact),
                None => return,
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Keeper(Some(fact)) => self.keeper_fact(fact),
            Input::Keeper(None) | Input::Time => {}
            Input::Request(request) => self.answer(request),
            Input::Probe(fact) => {
                let (fact, told) = self.brokers.observe(fact);
                if let Some(sentence) = told {
                    info!("{sentence}");
                }
                if let Some(fact) = fact {
                    let is_news = matches!(&fact, Fact::Broker { broker, health, .. }
                        if self.machine.world().brokers.get(broker) != Some(health));
                    self.machine.observe(fact);
                    if is_news {
                        self.save_soon();
                    }
                }
            }
            Input::Pump(PumpEvent::Drained(incarnation)) => {
                self.reading.remove(&incarnation);
                self.release_if_done(incarnation);
            }
            Input::Pump(PumpEvent::Trouble(_, sentence)) => warn!("{sentence}"),
            Input::Pump(PumpEvent::Recovered(_, sentence)) => info!("{sentence}"),
        }
    }

    fn keeper_fact(&mut self, fact: protocol::Fact) {
        if let protocol::Fact::Spawned { incarnation, .. } = &fact
            && let Some(process) = self.machine.process_of(*incarnation)
        {
            self.read_output(&process, *incarnation);
        }
        if let Some(told) = takeover::told(&fact) {
            self.machine.observe(told);
            self.save_soon();
        }
        match fact {
            protocol::Fact::CouldNotSpawn { incarnation, .. }
            | protocol::Fact::Left { incarnation, left: 0, .. } => self.release(incarnation),
            protocol::Fact::Spawned { .. } | protocol::Fact::Exited { .. } | protocol::Fact::Left { .. } => {}
            protocol::Fact::Signalled { signal } => self.signalled(signal),
            protocol::Fact::Inventory(_) | protocol::Fact::Kept { .. } => {
                error!("the keeper repeated its inventory; it is ignored");
            }
        }
    }

    fn read_output(&mut self, process: &ProcessId, incarnation: Incarnation) {
        if let Some(program) = self.machine.world().programs.get(&process.program)
            && self.reading.insert(incarnation)
        {
            self.pump.open(self.executor.source(program, process.slot, incarnation));
        }
    }

    /// Nothing of this life is left: when its output has been read to its end, the keeper may forget it.
    fn release(&mut self, incarnation: Incarnation) {
        if !self.releasing.insert(incarnation) {
            return;
        }
        if self.reading.contains(&incarnation) {
            self.pump.finish(incarnation);
        } else {
            self.release_if_done(incarnation);
        }
    }

    fn release_if_done(&mut self, incarnation: Incarnation) {
        if self.releasing.remove(&incarnation) {
            self.forgettable.push(incarnation);
            self.save_soon();
        }
    }

    pub(super) fn order(&mut self, order: &Order) {
        // A broken connection shows at the next receive, which ends this controller.
        if let Err(trouble) = self.link.send(order, None) {
            error!("the keeper cannot be told: {trouble}");
        }
    }

    fn signalled(&mut self, signal: i32) {
        let name = crate::core::plan::signal_text(signal);
        match name.as_str() {
            _ if takeover::is_request_to_end(signal) => {
                let again = self.machine.world().shutdown.is_some();
                let edit = if again { Edit::ShutdownNow } else { Edit::Shutdown };
                match again {
                    true => info!("{name} again: what is left is killed"),
                    false => info!("{name}: shutting down"),
                }
                // A shutdown is never refused.
                if let Err(refused) = self.machine.edit(&edit, "signal", clock::now()) {
                    error!("{refused}");
                }
            }
            "SIGHUP" => match self.reload() {
                Ok(_) => {}
                Err(refused) => error!("{refused}"),
            },
            _ => info!("{name} has no meaning for Leveret and is ignored"),
        }
    }

    /// Lets the machine plan, and carries out what it plans.
    fn settle(&mut self) -> Result<(), StartError> {
        let now = clock::now();
        let plan = self.machine.step(now);
        let world = self.machine.world();
        // One by one: a thousand orders at once, each with an environment, are memory that is never given back.
        for command in &plan.commands {
            for order in self.executor.orders(command, world) {
                self.link.send(&order, None)?;
            }
        }
        self.wake_at = plan.wake_at;
        if plan.commands.iter().any(changes_memory) {
            self.save_soon();
        }
        for notice in self.machine.take_notices() {
            self.tell(notice);
        }
        self.housekeeping(now);
        if plan.finished {
            self.finish();
        }
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    fn housekeeping(&mut self, now: Time) {
        if self.save_at.is_some_and(|due| due <= now) {
            self.save(false);
        }
        if self.learned_at <= now {
            self.learned_at = now + LEARNED_INTERVAL;
            self.save_soon();
        }
        if self.usage_at <= now {
            self.read_usage(now);
        }
    }

    pub(super) fn read_usage(&mut self, now: Time) {
        self.usage_at = now + USAGE_INTERVAL;
        let programs = self.machine.world().programs.values();
        let mains = programs.flat_map(|program| program.slots.values()).filter_map(|slot| slot.phase.main());
        self.usages.read(mains.map(|main| main.pid), now);
    }

    fn save_soon(&mut self) {
        self.save_at.get_or_insert(clock::now() + SAVE_DELAY);
    }

    /// Writes down what the next controller, or the next Leveret, should know.
    pub(super) fn save(&mut self, durable: bool) {
        self.save_at = None;
        let saved = Saved {
            version: state::VERSION,
            keeper: self.keeper,
            at: clock::now(),
            wall_seconds: clock::wall_seconds(),
            memory: self.machine.memory(),
        };
        // Where nothing can be written down, waiting for it would only fill the keeper's memory.
        if let Err(trouble) = state::save(&self.settings.state_dir, &saved, durable) {
            warn!("{}", with_causes(&trouble));
        }
        for incarnation in std::mem::take(&mut self.forgettable) {
            self.order(&Order::Release { incarnation });
        }
    }

    /// Gives the keeper the configuration that runs now, for the next controller.
    pub(super) fn keep_configuration(&mut self) -> Result<(), StartError> {
        let retiring = self.machine.world().programs.values().filter(|program| program.retiring);
        let retiring = retiring.map(|program| program.spec.clone()).collect();
        let running = Running { settings: self.settings.clone(), retiring };
        let descriptor = memory_of(&running)?;
        self.keep([(kept::CONFIGURATION, descriptor)])
    }

    /// Has the keeper hold descriptors for the next controller.
    pub(super) fn keep(
        &mut self,
        descriptors: impl IntoIterator<Item = (&'static str, OwnedFd)>,
    ) -> Result<(), StartError> {
        for (key, descriptor) in descriptors {
            self.link.send(&Order::Keep { key: key.to_owned() }, Some(descriptor))?;
        }
        Ok(())
    }

    /// Sizes and numbers of log files count for running processes at once; another place counts from the next start.
    pub(super) fn reconfigure_logs(&self) {
        for program in self.machine.world().programs.values() {
            let log = &program.spec.log;
            for life in program.slots.values().filter_map(|slot| slot.phase.life()) {
                self.pump.configure(life.incarnation, log.max_size, log.keep);
            }
        }
    }

    fn tell(&mut self, notice: Notice) {
        let world = self.machine.world();
        let label = |process: &ProcessId| view::label(world, process);
        match notice {
            Notice::Restarted(process, reason) => {
                info!("{} starts again ({})", label(&process), reason.as_str());
            }
            Notice::Ended(process, sentence) => info!("{}: {sentence}", label(&process)),
            Notice::Stopped(process, took) => {
                info!("{} has stopped, {} after it was asked to", label(&process), human(took));
                let histogram = self.stops.entry(process.program);
                histogram.or_insert_with(|| Histogram::new(&STOP_BOUNDS)).observe(took);
            }
            Notice::Killed(process) => {
                warn!(
                    "{} did not end within its stop timeout and is killed with all it started",
                    label(&process)
                );
            }
            Notice::NoStopHandler(program, signal) => warn!(
                "{program}: its processes die of {signal} in the middle of work; from now on none is stopped that might be busy"
            ),
            Notice::Decided(program, decision) => {
                let Some(program) = world.programs.get(&program) else { return };
                let entry = view::decision(program, &decision, clock::wall_seconds());
                info!("{}: {}: {}", entry.program, entry.change(), entry.reason);
                self.write_down(entry);
                // The target and what it was made from: the next controller goes on from there.
                self.save_soon();
            }
            Notice::HoldEnded(program) => info!("{program}: the hold has ended, scaling goes on"),
            Notice::Auxiliary(outcome) => {
                info!("{}: {:?} ended: {:?}", outcome.program, outcome.purpose, outcome.result);
            }
        }
    }

    fn write_down(&mut self, entry: DecisionView) {
        match self.journal.append(entry) {
            Ok(()) => self.journal_failed = false,
            Err(trouble) => {
                if !std::mem::replace(&mut self.journal_failed, true) {
                    warn!("the journal of decisions cannot be written: {trouble}; it goes on in memory");
                }
            }
        }
    }

    /// Nothing lives any more: read what is left of the output, then end.
    fn finish(&mut self) {
        let now = clock::now();
        if self.finishing == Finishing::No {
            self.finishing = Finishing::Draining(now + LAST_OUTPUT);
        }
        if let Finishing::Draining(until) = self.finishing
            && (self.releasing.is_empty() || until <= now)
        {
            if !self.releasing.is_empty() {
                warn!(
                    "the last output of {} processes could not be written and is lost",
                    self.releasing.len()
                );
            }
            self.finishing = Finishing::Told;
            self.save(true);
            info!("everything has ended");
            let path = unix_path(&self.settings.runtime_dir);
            if let Err(trouble) = std::fs::remove_file(&path) {
                warn!("cannot remove {}: {trouble}", path.display());
            }
            self.order(&Order::Exit { code: 0 });
        }
    }

    fn keeper_gone(mut self) -> Result<u8, StartError> {
        let told = self.finishing == Finishing::Told;
        if !told {
            self.save(true);
        }
        self.pump.stop();
        if told { Ok(0) } else { Err(StartError::KeeperGone) }
    }
}

fn changes_memory(command: &Command) -> bool {
    match command {
        Command::Spawn { .. } | Command::Kill { .. } => true,
        Command::Stop { .. }
        | Command::StopLeft { .. }
        | Command::Limit { .. }
        | Command::SpawnAuxiliary { .. }
        | Command::KillAuxiliary { .. }
        | Command::KillStray { .. } => false,
    }
}

/// The limits that follow from the machine and the configuration: two scaled processes a core may be starting at one time.
pub(super) fn limits(settings: &Settings) -> Limits {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
    Limits {
        starting: 2 * cores,
        probe_interval: settings.probe_interval,
        seed: clock::now().as_micros() ^ u64::from(std::process::id()),
    }
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
