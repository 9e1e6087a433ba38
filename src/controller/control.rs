//! The one loop: whatever happens comes in here, the machine plans, and what it plans goes out from here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tracing::{error, info, warn};

use super::announce::Announcer;
use super::brokers::Brokers;
use super::check_commands::CheckCommands;
use super::checks::{Checks, Word};
use super::ending::Finishing;
use super::executor::Executor;
use super::handle::{Histogram, Remark, Request};
use super::hearing::{Heard, Hearing};
use super::idleness::{Found, Idleness};
use super::kept::{self, Running};
use super::last_words::LastWords;
use super::leaving::{Leaving, Servers};
use super::reloading::{Configurations, Read, Reading};
use super::saver::{Saver, Written};
use super::snapshot::DecisionView;
use super::start::{StartError, memory_of};
use super::takeover::{self, Before, Step};
use super::usage::{FIRST_USAGE, USAGE_INTERVAL, Usages};
use crate::amqp;
use crate::config::settings::Settings;
use crate::core::command::Command;
use crate::core::event::{Edit, Fact};
use crate::core::ids::{Incarnation, ProgramName};
use crate::core::machine::Machine;
use crate::core::schedule::Wall;
use crate::core::spec::ProgramSpec;
use crate::core::time::Time;
use crate::core::world::Limits;
use crate::keeper::link::ControllerLink;
use crate::keeper::protocol::{self, Inventory, Order, Upgrade};
use crate::logs::Pump;
use crate::logs::source::PumpEvent;
use crate::store::journal::Journal;
use crate::store::state::{self, KeeperIdentity, Saved};
use crate::sys::clock;

/// How often what was learned is written down.
const LEARNED_INTERVAL: Duration = Duration::from_secs(60);

/// How soon the state is written again where that has failed.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// How many facts are taken in before the machine plans again.
const FACTS_AT_ONCE: usize = 1_024;

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
    pub(crate) remarks: broadcast::Sender<Remark>,
    pub(crate) journal: Journal<DecisionView>,
    pub(crate) hearing: Hearing,
    pub(crate) heard: mpsc::UnboundedReceiver<Heard>,
    /// What processes said before.
    pub(crate) said: Heard,
    /// Who has printed which pattern before.
    pub(crate) printed: Vec<(Incarnation, String)>,
    pub(crate) first: bool,
}

/// The loop and all that it owns.
pub(crate) struct Control {
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) configuration: PathBuf,
    pub(super) config_error: Option<String>,
    pub(super) configurations: Configurations,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) executor: Executor,
    pub(super) brokers: Brokers,
    pub(super) usages: Usages,
    pub(super) idleness: Idleness,
    pub(super) journal: Journal<DecisionView>,
    pub(super) stops: BTreeMap<ProgramName, Histogram>,
    pub(super) keeper: KeeperIdentity,
    pub(super) controllers_before: u32,
    pub(super) listen: SocketAddr,
    pub(super) link: ControllerLink,
    pub(super) saver: Saver,
    pub(super) pump: Pump,
    pub(super) hearing: Hearing,
    heard: mpsc::UnboundedReceiver<Heard>,
    pub(super) checks: Checks,
    pub(super) check_commands: CheckCommands,
    requests: mpsc::Receiver<Request>,
    probe_facts: mpsc::Receiver<amqp::fact::Fact>,
    pump_events: mpsc::UnboundedReceiver<PumpEvent>,
    changed: watch::Sender<u64>,
    pub(super) remarks: broadcast::Sender<Remark>,
    /// Lives of which nothing is left and whose output is being read to its end.
    pub(super) releasing: BTreeSet<Incarnation>,
    /// Lives that an earlier keeper started.
    pub(super) adopted: BTreeSet<Incarnation>,
    pub(super) last_words: LastWords,
    /// Lives whose output is being moved.
    pub(super) reading: BTreeSet<Incarnation>,
    wake_at: Option<Time>,
    learned_at: Time,
    pub(super) usage_at: Time,
    pub(super) journal_failed: bool,
    /// Whether it was said that the state cannot be written.
    save_failed: bool,
    pub(super) finishing: Finishing,
    pub(super) leaving: Leaving,
    /// What serves the page and the command line, and how it is told to end.
    pub(super) servers: Servers,
    /// What a service manager is told.
    pub(super) announcer: Announcer,
    /// Whether the keeper knows upgrades.
    pub(super) can_upgrade: bool,
    /// The last upgrade that was asked for.
    pub(super) upgrade: Option<Upgrade>,
}

/// What came in.
enum Input {
    Keeper(Option<(protocol::Fact, Option<OwnedFd>)>),
    Request(Request),
    Probe(amqp::fact::Fact),
    Pump(PumpEvent),
    Written(Written),
    Configuration(Read),
    /// Nobody is being answered any more.
    Served,
    Heard(Heard),
    Look(Word),
    Core(Fact),
    Usage,
    Channels(Found),
    Time,
}

impl Control {
    /// A loop over what the inventory says is there.
    pub(crate) fn new(parts: Parts) -> Self {
        let Running { settings, retiring } = parts.running;
        let now = clock::now();
        let keeper =
            KeeperIdentity { pid: parts.inventory.keeper_pid, started_at: parts.inventory.started_at };
        let mut inherited = parts.environment.clone();
        // With the number of the life it tells a process from those of every other Leveret, now and later.
        inherited
            .insert("LEVERET_KEEPER".to_owned(), format!("{}-{}", keeper.pid, keeper.started_at.as_micros()));
        let executor = Executor::new(inherited, &settings.state_dir, &settings.runtime_dir);
        let mut control = Self {
            machine: Machine::new(limits(&settings)),
            configuration: parts.configuration,
            config_error: None,
            configurations: Configurations::default(),
            environment: parts.environment,
            executor,
            brokers: Brokers::new(parts.probe_facts_in),
            usages: Usages::default(),
            idleness: Idleness::default(),
            journal: parts.journal,
            stops: BTreeMap::new(),
            keeper,
            controllers_before: parts.inventory.controllers_before,
            listen: parts.listen,
            link: parts.link,
            saver: Saver::new(&settings.state_dir),
            pump: parts.pump,
            hearing: parts.hearing,
            heard: parts.heard,
            checks: Checks::default(),
            check_commands: CheckCommands::default(),
            requests: parts.requests,
            probe_facts: parts.probe_facts,
            pump_events: parts.pump_events,
            changed: parts.changed,
            remarks: parts.remarks,
            releasing: BTreeSet::new(),
            adopted: BTreeSet::new(),
            last_words: LastWords::default(),
            reading: BTreeSet::new(),
            wake_at: None,
            learned_at: now + LEARNED_INTERVAL,
            usage_at: now + FIRST_USAGE,
            journal_failed: false,
            save_failed: false,
            finishing: Finishing::No,
            leaving: Leaving::No,
            servers: Servers::default(),
            announcer: Announcer::new(parts.inventory.notifies, parts.inventory.keeper_pid, now),
            can_upgrade: parts.inventory.can_upgrade,
            upgrade: parts.inventory.upgrade.clone(),
            settings,
        };
        control.take_over(retiring, parts.inventory, now);
        control.heard(parts.said);
        for (incarnation, pattern) in parts.printed {
            control.printed(incarnation, pattern);
        }
        if parts.first {
            for warning in &control.settings.warnings {
                warn!("{warning}");
            }
            info!("the page is at http://{}", control.listen);
        }
        control
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
                let taken_over = inventory.predecessors.iter().any(|keeper| {
                    saved.keeper == KeeperIdentity { pid: keeper.pid, started_at: keeper.started_at }
                });
                if taken_over {
                    // The processes are the same, but whoever starts Leveret again does not want it to end.
                    saved.memory.shutdown = None;
                }
                let same_processes = taken_over || saved.keeper == self.keeper;
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
        self.machine =
            takeover::machine(Before { programs, retiring, limits, memory, wall: wall() }, &inventory, now);
        let adopted = inventory.processes.iter().filter(|process| process.adopted);
        self.adopted = adopted.map(|process| process.incarnation).collect();
        let (steps, complaints) = takeover::steps(&inventory);
        for complaint in complaints {
            error!("{complaint}");
        }
        for step in steps {
            match step {
                Step::Adopt(adopted) => {
                    let (process, incarnation) = (adopted.process.clone(), adopted.incarnation);
                    let prints = adopted.main.is_some();
                    // What is waited for in its output is known afterwards.
                    self.machine.adopt(adopted);
                    if prints {
                        self.read_output(&process, incarnation);
                    }
                }
                Step::Preparation(preparation, prints) => {
                    let (process, incarnation) = (preparation.process.clone(), preparation.incarnation);
                    self.machine.adopt_preparation(preparation);
                    if prints {
                        self.read_output(&process, incarnation);
                    }
                }
                Step::Hook(hook, prints) => {
                    let (process, incarnation) = (hook.process.clone(), hook.incarnation);
                    self.machine.adopt_hook(hook);
                    if prints {
                        self.read_output(&process, incarnation);
                    }
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
        // Nobody is started before it is known that there is memory for it.
        self.tell_memory_left();
        // Whoever was to go before is not to be chosen now without the word that the last controller waited for.
        for broker in settings.brokers.iter().filter(|broker| broker.management.is_some()) {
            self.machine.observe(Fact::TellsWork { broker: broker.name.clone(), tells: true });
        }
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
                return self.keeper_gone().await;
            }
            self.take(input);
            self.take_waiting();
            self.settle()?;
            if self.has_left() {
                self.pump.stop();
                return Ok(0);
            }
        }
    }

    async fn next(&mut self) -> Result<Input, StartError> {
        let now = clock::now();
        let last_output = self.finishing.deadline();
        let (usage, learned) = (Some(self.usage_at), Some(self.learned_at));
        let channels = self.idleness.due();
        let due =
            [self.wake_at, self.saver.due(), usage, learned, last_output, self.announcer.due(), channels];
        let due = due.into_iter().flatten().min().map_or(USAGE_INTERVAL, |due| due.since(now));
        Ok(tokio::select! {
            biased;
            fact = self.link.next() => Input::Keeper(fact?),
            Some(event) = self.pump_events.recv() => Input::Pump(event),
            written = self.saver.written() => Input::Written(written),
            Some(heard) = self.heard.recv() => Input::Heard(heard),
            Some(request) = self.requests.recv() => Input::Request(request),
            word = self.checks.word() => Input::Look(word),
            Some(fact) = self.probe_facts.recv() => Input::Probe(fact),
            read = self.configurations.read() => Input::Configuration(read),
            () = self.usages.read() => Input::Usage,
            found = self.idleness.found() => Input::Channels(found),
            () = self.servers.ended(), if self.leaving == Leaving::Answering => Input::Served,
            fact = self.last_words.read() => Input::Core(fact),
            () = tokio::time::sleep(due) => Input::Time,
        })
    }

    /// Facts that are there already are taken in together, so that a thousand exits, or as many readings of queues, are planned
    /// for once.
    fn take_waiting(&mut self) {
        for _ in 0..FACTS_AT_ONCE {
            match self.link.take_ready() {
                Some((fact, descriptor)) => self.told(fact, descriptor),
                None => break,
            }
        }
        for _ in 0..FACTS_AT_ONCE {
            // Nobody is left to tell more only where no broker is read.
            let Ok(fact) = self.probe_facts.try_recv() else { break };
            self.take(Input::Probe(fact));
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Keeper(Some((fact, descriptor))) => self.told(fact, descriptor),
            Input::Keeper(None) | Input::Time => {}
            Input::Request(request) => self.answer(request),
            Input::Probe(amqp::fact::Fact::Channels { broker, channels, at }) => {
                self.channels_were_told(broker, channels, at);
            }
            Input::Channels(found) => self.channels_were_found(&found),
            Input::Probe(fact) => {
                if let amqp::fact::Fact::Figures { broker, .. } = &fact {
                    self.ask_for_channels(broker);
                }
                if let amqp::fact::Fact::Round { .. } = &fact {
                    self.tell_memory_left();
                }
                if let amqp::fact::Fact::Management { broker, state } = &fact {
                    self.management_changed(broker, state);
                }
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
                self.last_words.drained(incarnation);
                match self.check_commands.drained(incarnation) {
                    true => self.release_at_once(incarnation),
                    false => self.release_if_done(incarnation),
                }
            }
            Input::Pump(PumpEvent::Matched(incarnation, pattern)) => self.printed(incarnation, pattern),
            Input::Pump(PumpEvent::LastLine(incarnation, line)) => {
                self.check_commands.printed(incarnation, line);
            }
            Input::Written(written) => self.written(written),
            Input::Configuration(read) => self.configuration_was_read(read),
            Input::Served => self.answered(),
            Input::Heard(heard) => self.heard(heard),
            Input::Look(Word::Found(found)) => self.found(found),
            Input::Look(Word::Ask(ask)) => self.ask(ask),
            Input::Usage => self.usage_was_read(),
            Input::Core(fact) => {
                self.machine.observe(fact);
                self.save_soon();
            }
            Input::Pump(PumpEvent::Trouble(sentence)) => warn!("{sentence}"),
            Input::Pump(PumpEvent::Recovered(sentence)) => warn!("{sentence}"),
        }
    }

    pub(super) fn order(&mut self, order: &Order) {
        // A broken connection shows at the next receive, which ends this controller.
        if let Err(trouble) = self.link.send(order, None) {
            error!("the keeper cannot be told: {trouble}");
        }
    }

    pub(super) fn signalled(&mut self, signal: i32) {
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
            "SIGUSR1" => {
                info!("SIGUSR1: log files are opened anew");
                self.pump.reopen();
            }
            "SIGHUP" => self.read_configuration(Reading::Reload(None)),
            _ => info!("{name} has no meaning for Leveret and is ignored"),
        }
    }

    /// Lets the machine plan, and carries out what it plans.
    fn settle(&mut self) -> Result<(), StartError> {
        self.machine.observe(Fact::Wall(wall()));
        let now = clock::now();
        self.forget_old_channels(now);
        let plan = self.machine.step(now);
        let world = self.machine.world();
        // One by one: a thousand orders at once, each with an environment, are memory that is never given back.
        for command in &plan.commands {
            if let Command::SpawnAuxiliary { id, incarnation, .. } = command {
                self.check_commands.begun(*id, *incarnation);
            }
            look_after(&mut self.checks, &self.hearing, command);
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
        self.announce_if_due(now);
        self.save_if_due(now);
        if self.learned_at <= now {
            self.learned_at = now + LEARNED_INTERVAL;
            self.save_soon();
        }
        if self.usage_at <= now {
            self.read_usage(now);
        }
    }

    pub(super) fn save_soon(&mut self) {
        self.saver.soon(clock::now());
    }

    pub(super) fn save_if_due(&mut self, now: Time) {
        if self.saver.due().is_some_and(|due| due <= now) {
            self.saver.begin(Saved {
                version: state::VERSION,
                keeper: self.keeper,
                at: now,
                wall_seconds: clock::wall_seconds(),
                memory: self.machine.memory(),
            });
        }
    }

    pub(super) fn written(&mut self, written: Written) {
        self.left_state(&written);
        // Where nothing can be written down, waiting for it would only fill the keeper's memory.
        match written.result {
            Ok(()) if std::mem::take(&mut self.save_failed) => info!("the state is written again"),
            Ok(()) => {}
            Err(trouble) => {
                if !std::mem::replace(&mut self.save_failed, true) {
                    warn!("{}", with_causes(&trouble));
                }
                // What people set is to be on the disk as soon as that works.
                self.learned_at = self.learned_at.min(clock::now() + SAVE_AGAIN);
            }
        }
        for incarnation in written.forgettable {
            self.adopted.remove(&incarnation);
            self.hearing.forget(incarnation);
            self.order(&Order::Release { incarnation });
        }
    }

    /// Gives the keeper the configuration that runs now, for the next controller.
    pub(super) fn keep_configuration(&mut self) -> Result<(), StartError> {
        self.remember_programs();
        let retiring = self.machine.world().programs.values().filter(|program| program.retiring);
        let retiring = retiring.map(|program| program.spec.clone()).collect();
        let running = Running { settings: self.settings.clone(), retiring };
        let descriptor = memory_of(&running)?;
        self.keep([(kept::CONFIGURATION, descriptor)])
    }

    /// Has the keeper hold descriptors for the next controller.
    fn keep(
        &mut self,
        descriptors: impl IntoIterator<Item = (&'static str, OwnedFd)>,
    ) -> Result<(), StartError> {
        for (key, descriptor) in descriptors {
            self.link.send(&Order::Keep { key: key.to_owned() }, Some(descriptor))?;
        }
        Ok(())
    }

    /// Where output goes and how it is kept counts for running processes at once.
    pub(super) fn reconfigure_logs(&self) {
        for program in self.machine.world().programs.values() {
            for (number, slot) in &program.slots {
                let present = slot.phase.life().map(|life| life.incarnation);
                for incarnation in present.into_iter().chain(slot.leftovers.keys().copied()) {
                    for source in self.executor.sources(program, *number, incarnation) {
                        self.pump.configure(source);
                    }
                }
            }
            for (number, incarnation) in program.hooks_that_run() {
                self.pump.configure(self.executor.source(program, number, incarnation));
            }
        }
    }
}

/// What the controller itself does about a process that it listens to and looks at.
fn look_after(checks: &mut Checks, hearing: &Hearing, command: &Command) {
    match command {
        Command::Watch { incarnation, watchdog, .. } => hearing.watch(*incarnation, *watchdog),
        Command::Check { incarnation, purpose, check, .. } => {
            checks.begin(*incarnation, *purpose, check.clone());
        }
        Command::Stop { incarnation, .. } | Command::PrepareStop { incarnation, .. } => {
            checks.end(*incarnation);
        }
        Command::Spawn { .. }
        | Command::RunHook { .. }
        | Command::EndHook { .. }
        | Command::Prepare { .. }
        | Command::EndPreparation { .. }
        | Command::StopNext { .. }
        | Command::StopLeft { .. }
        | Command::Limit { .. }
        | Command::Kill { .. }
        | Command::SpawnAuxiliary { .. }
        | Command::KillAuxiliary { .. }
        | Command::KillStray { .. } => {}
    }
}

fn changes_memory(command: &Command) -> bool {
    match command {
        Command::Spawn { .. } | Command::RunHook { .. } | Command::Kill { .. } => true,
        Command::Prepare { .. }
        | Command::PrepareStop { .. }
        | Command::EndHook { .. }
        | Command::EndPreparation { .. }
        | Command::Stop { .. }
        | Command::StopNext { .. }
        | Command::StopLeft { .. }
        | Command::Limit { .. }
        | Command::Watch { .. }
        | Command::Check { .. }
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
        shutdown: settings.shutdown_timeout,
        budgets: settings.budgets.clone(),
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
    crate::sys::cause::plain(text)
}

/// How the wall clock stands to the monotonic one.
fn wall() -> Wall {
    let micros = (clock::wall_seconds() * 1e6) as i64;
    Wall { ahead_micros: micros.saturating_sub_unsigned(clock::now().as_micros()) }
}
