//! The loop: one thread, one epoll, nothing that waits. Each turn takes what has come (signals, orders, reports), reaps,
//! tells the controller, and only then does what can be done later.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getrlimit, setrlimit, wait, waitpid,
};

use super::adopt::Adoption;
use super::children::{Children, Phase, Shim};
use super::controller::{Controller, Next, Received};
use super::protocol::{Fact, Inventory, Order, Predecessor, Recording, SpawnOrder, VERSION};
use super::records;
use super::shim::ShimReport;
use super::signals;
use super::standby::Standby;
use super::tree;
use crate::core::command::Scope;
use crate::core::exit::ExitStatus;
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::sys::clock;

/// How long after a leader's exit the rest of its tree is looked for; until then a new process is started undisturbed.
pub(super) const SWEEP_DELAY: Duration = Duration::from_millis(5);

/// How long other work may put off a look that is due.
const SWEEP_PATIENCE: Duration = Duration::from_millis(50);

/// How long after a spawn the next standby is started: a crash seldom comes alone, and spawning goes before.
const STANDBY_DELAY: Duration = Duration::from_millis(10);

/// How many signals are remembered for the next controller.
const SIGNALS_MAX: usize = 64;

/// How long processes have when the keeper must end them without a controller.
const LAST_RESORT_TIME: Duration = Duration::from_secs(60);

/// What the keeper starts.
#[derive(Clone, Debug)]
pub struct KeeperOptions {
    /// The binary that becomes a shim when its first argument is [`super::shim::ARGUMENT`]; `/proc/self/exe`.
    pub binary: PathBuf,
    /// The program of the controller; in Leveret the same binary.
    pub controller: PathBuf,
    /// The controller's arguments after its own name.
    pub controller_argv: Vec<OsString>,
}

/// Why the keeper could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// A facility of the system is missing.
    #[error("failed to set up {0}")]
    SetUp(&'static str, #[source] io::Error),
    /// The first controller could not be started.
    #[error("failed to start the controller from {}", .0.display())]
    StartController(PathBuf, #[source] io::Error),
    /// The loop cannot wait for events.
    #[error("failed to wait for events")]
    Wait(#[source] io::Error),
}

/// Keeps processes and a controller until the controller says that it is over; returns the exit code.
///
/// It must run in a process of its own that has a single thread: it becomes the parent of every orphan below it, reaps
/// all children, and blocks the signals that it reads. If three controllers in a row end before they send an order and
/// SIGTERM or SIGINT has come, the keeper ends everything itself: SIGTERM to every process, after 60 s or a further
/// SIGTERM or SIGINT a SIGKILL to all that is left, and exit code 1.
pub fn run(options: KeeperOptions) -> Result<u8, KeeperError> {
    Keeper::new(options)?.run()
}

#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) epoll: OwnedFd,
    signal_fd: SignalFd,
    pub(super) shim: Shim,
    /// The shim for the next order, once there was one.
    pub(super) standby: Option<Standby>,
    standby_at: Option<Time>,
    pub(super) controller: Controller,
    /// Whether the controller's socket is watched for room to write.
    watches_room: bool,
    pub(super) children: Children,
    kept: BTreeMap<String, Arc<OwnedFd>>,
    pub(super) started_at: Time,
    /// What an earlier keeper left, until it is taken over.
    pub(super) adoption: Option<Adoption>,
    /// The keepers whose processes were taken over.
    pub(super) predecessors: Vec<Predecessor>,
    /// Whether it was said that a life could not be written down.
    has_said_unrecorded: bool,
    /// Signals for the next controller.
    waiting_signals: Vec<i32>,
    /// Signals that need to know the whole tree.
    pub(super) tree_signals: Vec<(Incarnation, Scope, Signal)>,
    pub(super) sweep_at: Option<Time>,
    pub(super) swept_at: Time,
    /// The exit code, once the controller has ordered the end.
    ending: Option<u8>,
    /// When everything is killed, once the keeper ends everything itself.
    last_resort: Option<Time>,
    /// The exit code, once all is done.
    finished: Option<u8>,
}

impl Keeper {
    fn new(options: KeeperOptions) -> Result<Self, KeeperError> {
        let set_up = |what| move |error: io::Error| KeeperError::SetUp(what, error);
        let set_up_errno = |what| move |error: Errno| KeeperError::SetUp(what, error.into());
        rustix::thread::set_name(c"leveret-keeper").map_err(set_up_errno("its name"))?;
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|error| KeeperError::SetUp("adoption of orphans", error.into()))?;
        let signal_fd = signals::receive().map_err(set_up("signals"))?;
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
            .map_err(set_up_errno("the limit on open files"))?;
        tree::orphans(|_| true).map_err(set_up("the list of child processes in /proc"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(set_up_errno("epoll"))?;
        let now = clock::now();
        let mut keeper = Self {
            epoll,
            signal_fd,
            shim: Shim {
                binary: options.binary,
                open_files: limit.current,
                open_files_max: limit.maximum,
                records: None,
            },
            standby: None,
            standby_at: None,
            controller: Controller::new(options.controller.clone(), options.controller_argv, now),
            watches_room: false,
            children: Children::default(),
            kept: BTreeMap::new(),
            started_at: now,
            adoption: None,
            predecessors: Vec::new(),
            has_said_unrecorded: false,
            waiting_signals: Vec::new(),
            tree_signals: Vec::new(),
            sweep_at: None,
            swept_at: Time::default(),
            ending: None,
            last_resort: None,
            finished: None,
        };
        keeper.watch(&keeper.signal_fd).map_err(set_up("epoll"))?;
        keeper
            .start_controller(now)
            .map_err(|error| KeeperError::StartController(options.controller, error))?;
        Ok(keeper)
    }

    fn run(mut self) -> Result<u8, KeeperError> {
        let mut events = Vec::with_capacity(256);
        loop {
            if let Some(code) = self.finished {
                self.children.remove_traces();
                if let Some(place) = &self.shim.records {
                    records::remove_all(&place.directory);
                }
                if let Some(standby) = self.standby.take() {
                    standby.end();
                }
                return Ok(code);
            }
            self.flush();
            self.wait(&mut events).map_err(KeeperError::Wait)?;
            for event in &events {
                self.handle(*event);
            }
            self.flush();
            let now = clock::now();
            self.do_what_is_due(now, events.is_empty());
        }
    }

    // ---- events

    fn watch(&self, source: impl std::os::fd::AsFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.as_fd().as_raw_fd() as u64);
        Ok(epoll::add(&self.epoll, source, data, epoll::EventFlags::IN)?)
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let last_resort = self.last_resort.filter(|_| self.has_left());
        let adoption = self.adoption.as_ref().map(|adoption| adoption.at);
        let deadlines = [self.controller_deadline(), self.sweep_at, self.standby_at, last_resort, adoption];
        let timeout = deadlines.into_iter().flatten().min().map(|at| {
            let wait = at.since(clock::now());
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() }
        });
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn handle(&mut self, event: epoll::Event) {
        let descriptor = event.data.u64() as RawFd;
        if descriptor == self.signal_fd.as_raw_fd() {
            self.take_signals();
        } else if self.controller.socket().is_some_and(|socket| socket.as_raw_fd() == descriptor) {
            let flags = event.flags;
            if flags != epoll::EventFlags::OUT {
                self.take_orders();
            }
        } else if let Some(incarnation) = self.children.by_report(descriptor) {
            self.settle(incarnation, false);
        } else if let Some(incarnation) = self.children.by_process(descriptor) {
            self.adopted_ended(incarnation);
        }
    }

    fn do_what_is_due(&mut self, now: Time, is_idle: bool) {
        self.controller.kill_if_due(now);
        self.adopt_if_due(now);
        if self.goes_on() && self.controller.is_due_to_start(now) {
            self.replace_controller(now);
        }
        let is_sweep_due =
            self.sweep_at.is_some_and(|at| at <= now && (is_idle || at + SWEEP_PATIENCE <= now));
        if is_sweep_due || !self.tree_signals.is_empty() {
            self.sweep(now);
        }
        if is_idle && self.standby_at.is_some_and(|at| at <= now) {
            self.start_standby();
        }
        if self.last_resort.is_some() {
            self.end_by_force(now);
        }
    }

    // ---- signals to the keeper

    fn take_signals(&mut self) {
        let mut child_changed = false;
        loop {
            match self.signal_fd.read_signal() {
                Ok(Some(info)) if info.ssi_signo == Signal::CHILD.as_raw() as u32 => {
                    child_changed = true;
                    self.reap_one(info.ssi_pid);
                }
                Ok(Some(info)) => self.signalled(info.ssi_signo as i32),
                Ok(None) => break,
                Err(error) => {
                    say(&format!("failed to read a signal: {error}"));
                    break;
                }
            }
        }
        if child_changed {
            // One signal may stand for many exits, and looking for them looks at every child: what is known goes first.
            self.flush();
            self.reap();
        }
    }

    fn signalled(&mut self, number: i32) {
        let now = clock::now();
        if self.last_resort.is_some() {
            if is_request_to_end(number) {
                self.last_resort = Some(now);
            }
            return;
        }
        // A request to end holds for every later controller as well: one that dies while it ends everything must not
        // be followed by one that starts everything again.
        let is_for_later = !self.controller.is_connected() || is_request_to_end(number);
        if is_for_later && self.waiting_signals.len() < SIGNALS_MAX {
            self.waiting_signals.push(number);
        }
        self.tell(&Fact::Signalled { signal: number });
        self.consider_last_resort(now);
    }

    // ---- the controller

    /// Whether the end is neither ordered nor come.
    fn goes_on(&self) -> bool {
        self.finished.is_none() && self.ending.is_none() && self.last_resort.is_none()
    }

    fn controller_deadline(&self) -> Option<Time> {
        let is_waiting = self.controller.pid().is_none();
        self.controller.deadline().filter(|_| !is_waiting || self.goes_on())
    }

    fn replace_controller(&mut self, now: Time) {
        let end = self.controller.take_last_end();
        match self.start_controller(now) {
            Ok(()) => {
                if let Some(end) = end {
                    let count = self.children.living();
                    let processes = if count == 1 { "process goes" } else { "processes go" };
                    say(&format!("the controller {end}; started again, {count} {processes} on unchanged"));
                }
            }
            Err(error) => {
                say(&format!("failed to start the controller, trying again: {error}"));
                self.consider_last_resort(now);
            }
        }
    }

    fn start_controller(&mut self, now: Time) -> io::Result<()> {
        self.controller.start(now)?;
        self.watches_room = false;
        if let Some(socket) = self.controller.socket() {
            self.watch(socket)?;
        }
        self.tell_inventory();
        self.waiting_signals.retain(|number| is_request_to_end(*number));
        for (key, descriptor) in self.kept.clone() {
            self.tell_with(&Fact::Kept { key }, Some(descriptor));
        }
        Ok(())
    }

    pub(super) fn tell_inventory(&mut self) {
        self.tell(&Fact::Inventory(Inventory {
            version: VERSION,
            keeper_pid: getpid().as_raw_nonzero().get(),
            started_at: self.started_at,
            controllers_before: self.controller.before(),
            last_incarnation: self.children.last_incarnation,
            processes: self.children.inventory(),
            kept: self.kept.keys().cloned().collect(),
            signals: self.waiting_signals.clone(),
            recording: if self.shim.records.is_some() { Recording::Yes } else { Recording::No },
            predecessors: self.predecessors.clone(),
        }));
    }

    fn controller_ended(&mut self, status: ExitStatus) {
        let now = clock::now();
        let orders = self.controller.drain(now);
        self.obey_all(orders);
        let next = self.controller.ended(status, now);
        if let Some(code) = self.ending {
            self.finished = Some(code);
        } else if let Next::End(code) = next {
            self.finished = Some(code);
        } else {
            self.consider_last_resort(now);
        }
    }

    pub(super) fn tell(&mut self, fact: &Fact) {
        self.tell_with(fact, None);
    }

    fn tell_with(&mut self, fact: &Fact, descriptor: Option<Arc<OwnedFd>>) {
        let told = self.controller.tell(fact, descriptor, clock::now());
        told.unwrap_or_else(|text| say(&text));
    }

    /// Writes facts, and watches for room while some are left.
    fn flush(&mut self) {
        let flushed = self.controller.flush(clock::now());
        flushed.unwrap_or_else(|text| say(&text));
        let needs_room = self.controller.has_unwritten();
        if let Some(socket) = self.controller.socket()
            && needs_room != self.watches_room
        {
            let room = if needs_room { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(socket.as_raw_fd() as u64);
            match epoll::modify(&self.epoll, socket, data, epoll::EventFlags::IN | room) {
                Ok(()) => self.watches_room = needs_room,
                Err(error) => say(&format!("failed to watch the controller's socket: {error}")),
            }
        }
    }

    // ---- orders

    fn take_orders(&mut self) {
        let (orders, read) = self.controller.read(clock::now());
        self.obey_all(orders);
        read.unwrap_or_else(|text| say(&text));
    }

    fn obey_all(&mut self, orders: Vec<Received>) {
        for (order, descriptor) in orders {
            self.obey(order, descriptor);
        }
    }

    fn obey(&mut self, order: Order, descriptor: Option<OwnedFd>) {
        match order {
            Order::Spawn(order) => self.spawn(*order),
            Order::Signal { incarnation, signal, scope } => self.signal(incarnation, signal, scope),
            Order::Note { incarnation, note } => {
                let noted = self.children.get_mut(incarnation).map(|child| child.note(&note));
                if let Some(Err(_)) = noted {
                    self.say_unrecorded();
                }
            }
            Order::Adopt { records } => self.begin_adoption(records),
            Order::Release { incarnation } => self.children.release(incarnation),
            Order::Keep { key } => {
                self.kept.extend(descriptor.map(|descriptor| (key, Arc::new(descriptor))));
            }
            Order::Drop { key } => {
                self.kept.remove(&key);
            }
            Order::Exit { code } => self.exit(code),
        }
    }

    fn spawn(&mut self, order: SpawnOrder) {
        let incarnation = order.incarnation;
        if !self.goes_on() {
            let cause = "Leveret is ending".to_owned();
            return self.could_not_spawn(incarnation, ShimReport { step: "order".to_owned(), cause });
        }
        match self.children.spawn(order, &self.shim, &mut self.standby) {
            Ok(report) => self.watch_report(incarnation, report),
            Err(failure) => self.could_not_spawn(incarnation, failure),
        }
        self.standby_at = Some(clock::now() + STANDBY_DELAY);
    }

    fn start_standby(&mut self) {
        self.standby_at = None;
        if self.goes_on() && self.standby.is_none() {
            // Where none can be started, the next order finds out why and says so.
            self.standby = Standby::start(&self.shim).ok();
        }
    }

    fn watch_report(&mut self, incarnation: Incarnation, report: RawFd) {
        let Some(Phase::Spawning { report: pipe, .. }) =
            self.children.get_mut(incarnation).map(|child| &child.phase)
        else {
            return;
        };
        let data = epoll::EventData::new_u64(report as u64);
        // Without the watch the report is read when the process ends.
        if let Err(error) = epoll::add(&self.epoll, pipe, data, epoll::EventFlags::IN) {
            say(&format!("failed to watch the start of incarnation {incarnation}: {error}"));
        }
    }

    fn exit(&mut self, code: u8) {
        if !self.children.are_gone() {
            return say("an order to end was refused, because processes are left");
        }
        self.ending = Some(code);
        self.controller.leave(clock::now());
    }

    /// To a living leader at once; whatever needs to know the tree is gathered and done together, once.
    fn signal(&mut self, incarnation: Incarnation, number: i32, scope: Scope) {
        let Some(signal) = signals::by_number(number) else {
            return say(&format!("signal {number} cannot be sent to incarnation {incarnation}"));
        };
        let Some(child) = self.children.get_mut(incarnation).filter(|child| !child.is_gone()) else { return };
        match (child.leader(), scope) {
            (Some(_), Scope::Main) if child.is_adopted() => {
                if signals::asks_to_end(signal) {
                    child.tree.record();
                }
                if let Some(process) = child.adopted.as_ref().and_then(|adopted| adopted.process.as_ref()) {
                    signals::to_held(process, signal);
                }
            }
            (Some(pid), Scope::Main | Scope::Group) if !child.is_adopted() => {
                if signals::asks_to_end(signal) {
                    child.tree.record();
                }
                signals::to_child(pid, signal, scope == Scope::Group);
            }
            (Some(_), Scope::Main | Scope::Group | Scope::Tree)
            | (None, Scope::Main | Scope::Group | Scope::Tree) => {
                self.tree_signals.push((incarnation, scope, signal));
            }
        }
    }

    // ---- children

    /// Tells how a spawn went, once it is known.
    fn settle(&mut self, incarnation: Incarnation, is_reaped: bool) {
        match self.children.settle(incarnation, is_reaped) {
            Some(Ok((pid, is_unrecorded))) => {
                self.tell(&Fact::Spawned { incarnation, pid, at: clock::now() });
                if is_unrecorded {
                    self.say_unrecorded();
                }
            }
            Some(Err(failure)) => self.could_not_spawn(incarnation, failure),
            None => {}
        }
    }

    /// Once: where one cannot be written, the next one cannot either.
    fn say_unrecorded(&mut self) {
        let Some(place) = &self.shim.records else { return };
        if !std::mem::replace(&mut self.has_said_unrecorded, true) {
            say(&format!(
                "lives cannot be written down in {} (is the disk full?); if the keeper were killed now, they would not be \
                 known again",
                place.directory.display()
            ));
        }
    }

    fn could_not_spawn(&mut self, incarnation: Incarnation, failure: ShimReport) {
        let ShimReport { step, cause } = failure;
        self.tell(&Fact::CouldNotSpawn { incarnation, step, cause, at: clock::now() });
    }

    /// Reaps the child that a signal named, if it has ended: a number, so nothing needs to be looked through.
    fn reap_one(&mut self, pid: u32) {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
        // Whatever stands in the way stands in the way of the look at all children as well, which says so.
        if let Ok(Some((pid, status))) = waitpid(Some(pid), WaitOptions::NOHANG) {
            self.reaped(pid.as_raw_nonzero().get(), ended_with(status));
        }
    }

    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.reaped(pid.as_raw_nonzero().get(), ended_with(status)),
                Ok(None) | Err(Errno::CHILD) => break,
                Err(Errno::INTR) => {}
                Err(error) => {
                    say(&format!("failed to reap: {error}"));
                    break;
                }
            }
        }
        // What has ended may be a leader, or the last of what one left behind.
        if self.children.iter().any(|(_, child)| child.is_left_to_count()) {
            self.request_sweep(SWEEP_DELAY);
        }
    }

    fn reaped(&mut self, pid: i32, status: ExitStatus) {
        if self.controller.pid() == Some(pid) {
            return self.controller_ended(status);
        }
        if self.standby.as_ref().is_some_and(|standby| standby.pid() == pid) {
            self.standby = None;
        }
        // Any other is an orphan that ended, and of no interest by itself.
        let Some(incarnation) = self.children.by_pid(pid) else { return };
        self.settle(incarnation, true);
        if self.children.by_pid(pid).is_none() {
            return;
        }
        let at = clock::now();
        let left = u32::from(signals::group_exists(pid));
        self.children.exited(incarnation, status, left, at);
        self.tell(&Fact::Exited { incarnation, status, left, at });
    }

    // ---- the last resort

    fn consider_last_resort(&mut self, now: Time) {
        let is_wanted = self.waiting_signals.iter().any(|number| is_request_to_end(*number));
        if self.last_resort.is_some() || !is_wanted || !self.controller.is_hopeless() {
            return;
        }
        say(
            "no controller can be started; all processes are ended now, and killed after 60 s or a second signal",
        );
        self.last_resort = Some(now + LAST_RESORT_TIME);
        self.signal_all(Signal::TERM, Scope::Main);
    }

    fn has_left(&self) -> bool {
        self.children.iter().any(|(_, child)| !child.is_gone() && !child.is_killed)
    }

    fn end_by_force(&mut self, now: Time) {
        if self.children.are_gone() {
            self.controller.kill();
            self.finished = Some(1);
        } else if self.last_resort.is_some_and(|at| at <= now) && self.has_left() {
            self.signal_all(Signal::KILL, Scope::Tree);
            self.sweep(now);
        }
    }

    fn signal_all(&mut self, signal: Signal, scope: Scope) {
        let left = self.children.iter().filter(|(_, child)| !child.is_gone());
        let left: Vec<Incarnation> = left.map(|(incarnation, _)| *incarnation).collect();
        for incarnation in left {
            self.signal(incarnation, signal.as_raw(), scope);
        }
    }
}

fn ended_with(status: WaitStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Unknown,
    }
}

fn is_request_to_end(number: i32) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT].iter().any(|signal| signal.as_raw() == number)
}

/// One line on stderr, for what no controller is there to say. A stderr that takes nothing must not stop the keeper,
/// so the line is lost then.
pub(super) fn say(text: &str) {
    let mut line = format!("leveret: {text}");
    // A pipe that is writable takes this much without blocking (PIPE_BUF, pipe(7)).
    line.truncate(line.floor_char_boundary(4_000));
    line.push('\n');
    let stderr = rustix::stdio::stderr();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_writable = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&now));
    if is_writable == Ok(1) {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}
