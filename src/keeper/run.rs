//! The loop: one thread, one epoll, nothing that waits. Each turn takes what has come (signals, orders, reports), reaps,
//! tells the controller, and only then does what can be done later.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signalfd::SignalFd;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use super::adopt::Adoption;
use super::children::{Children, Shim};
use super::controller::Controller;
use super::notify::Manager;
use super::protocol::{Fact, Predecessor, Upgrade};
use super::records;
use super::say::say;
use super::signals::{self, is_request_to_end};
use super::standby::Standby;
use super::tree;
use super::upgrade::Upgrading;
use crate::core::command::Scope;
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::sys::{cgroup, clock};

/// How long after a leader's exit the rest of its tree is looked for; until then a new process is started undisturbed.
pub(super) const SWEEP_DELAY: Duration = Duration::from_millis(5);

/// How long other work may put off a look that is due.
const SWEEP_PATIENCE: Duration = Duration::from_millis(50);

/// How many signals are remembered for the next controller.
const SIGNALS_MAX: usize = 64;

/// What the keeper starts.
#[derive(Clone, Debug)]
pub struct KeeperOptions {
    /// The binary that becomes a shim when its first argument is [`super::shim::ARGUMENT`]; `/proc/self/exe`.
    pub binary: PathBuf,
    /// The program of the controller; in Leveret the same binary.
    pub controller: PathBuf,
    /// The controller's arguments after its own name.
    pub controller_argv: Vec<OsString>,
    /// Where the binary of a later version is put. Without it there is no upgrade in place.
    pub path: Option<PathBuf>,
    /// The arguments with which a later version says whether it can take over; see [`super::Verdict`].
    pub preflight_argv: Vec<OsString>,
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
    /// What an earlier version handed over in this process cannot be taken over; its processes go on, and the next
    /// `leveret run` finds them.
    #[error("failed to take over after an upgrade; start Leveret again, it will find its processes")]
    TakeOver(#[source] io::Error),
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
    pub(super) signal_fd: SignalFd,
    pub(super) shim: Shim,
    /// The shim for the next order, once there was one.
    pub(super) standby: Option<Standby>,
    pub(super) standby_at: Option<Time>,
    pub(super) controller: Controller,
    /// Whether the controller's socket is watched for room to write.
    pub(super) watches_room: bool,
    pub(super) children: Children,
    pub(super) kept: BTreeMap<String, Arc<OwnedFd>>,
    pub(super) started_at: Time,
    /// What an earlier keeper left, until it is taken over.
    pub(super) adoption: Option<Adoption>,
    /// The keepers whose processes were taken over.
    pub(super) predecessors: Vec<Predecessor>,
    /// Whether it was said that a life could not be written down.
    pub(super) has_said_unrecorded: bool,
    /// Whether it was said that what was left behind cannot be looked for.
    pub(super) has_said_unseen: bool,
    /// Signals for the next controller.
    pub(super) waiting_signals: Vec<i32>,
    /// Signals that need to know the whole tree.
    pub(super) tree_signals: Vec<(Incarnation, Scope, Signal)>,
    pub(super) sweep_at: Option<Time>,
    pub(super) swept_at: Time,
    /// The exit code, once the controller has ordered the end.
    pub(super) ending: Option<u8>,
    /// When everything is killed, once the keeper ends everything itself.
    pub(super) last_resort: Option<Time>,
    /// The exit code, once all is done.
    pub(super) finished: Option<u8>,
    /// Where the binary of a later version is put, if that is known.
    pub(super) path: Option<PathBuf>,
    pub(super) preflight_argv: Vec<OsString>,
    /// The upgrade that is under way.
    pub(super) upgrading: Option<Upgrading>,
    /// What there is to say of the last upgrade that was asked for.
    pub(super) upgrade: Option<Upgrade>,
    /// Signals that are caught because Leveret was started to ignore them.
    pub(super) caught_signals: Vec<i32>,
    /// Who is told how Leveret is.
    pub(super) manager: Option<Manager>,
}

impl Keeper {
    fn new(options: KeeperOptions) -> Result<Self, KeeperError> {
        let limit = getrlimit(Resource::Nofile);
        let shim = Shim {
            binary: options.binary,
            open_files: limit.current,
            open_files_max: limit.maximum,
            records: None,
            cgroup_base: cgroup::base(),
        };
        let now = clock::now();
        let controller = Controller::new(options.controller.clone(), options.controller_argv, now);
        let mut keeper = Self::set_up(shim, controller, &[])?;
        keeper.path = options.path;
        keeper.preflight_argv = options.preflight_argv;
        keeper
            .start_controller(now)
            .map_err(|error| KeeperError::StartController(options.controller, error))?;
        Ok(keeper)
    }

    /// A keeper that has nothing yet. `caught` are signals that an earlier one in this process was started to ignore.
    pub(super) fn set_up(shim: Shim, controller: Controller, caught: &[i32]) -> Result<Self, KeeperError> {
        let set_up = |what| move |error: io::Error| KeeperError::SetUp(what, error);
        let set_up_errno = |what| move |error: Errno| KeeperError::SetUp(what, error.into());
        rustix::thread::set_name(c"leveret-keeper").map_err(set_up_errno("its name"))?;
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|error| KeeperError::SetUp("adoption of orphans", error.into()))?;
        let (signal_fd, caught_signals) = signals::receive(caught).map_err(set_up("signals"))?;
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .map_err(set_up_errno("the limit on open files"))?;
        tree::orphans(|_| true).map_err(set_up("the list of child processes in /proc"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(set_up_errno("epoll"))?;
        let keeper = Self {
            epoll,
            signal_fd,
            shim,
            standby: None,
            standby_at: None,
            controller,
            watches_room: false,
            children: Children::default(),
            kept: BTreeMap::new(),
            started_at: clock::now(),
            adoption: None,
            predecessors: Vec::new(),
            has_said_unrecorded: false,
            has_said_unseen: false,
            waiting_signals: Vec::new(),
            tree_signals: Vec::new(),
            sweep_at: None,
            swept_at: Time::default(),
            ending: None,
            last_resort: None,
            finished: None,
            path: None,
            preflight_argv: Vec::new(),
            upgrading: None,
            upgrade: None,
            caught_signals,
            manager: Manager::of_environment(clock::now()),
        };
        keeper.watch(&keeper.signal_fd).map_err(set_up("epoll"))?;
        Ok(keeper)
    }

    pub(super) fn run(mut self) -> Result<u8, KeeperError> {
        let mut events = Vec::with_capacity(256);
        loop {
            if let Some(code) = self.finished {
                self.children.remove_traces();
                self.close_all_notify();
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
            self.do_what_is_due(clock::now(), events.is_empty());
        }
    }

    // ---- events

    pub(super) fn watch(&self, source: impl std::os::fd::AsFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.as_fd().as_raw_fd() as u64);
        Ok(epoll::add(&self.epoll, source, data, epoll::EventFlags::IN)?)
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let last_resort = self.last_resort.filter(|_| self.has_left());
        let adoption = self.adoption.as_ref().map(|adoption| adoption.at);
        let upgrade = self.upgrading.as_ref().and_then(Upgrading::deadline);
        let sign = self.sign_deadline();
        let deadlines = [
            self.controller_deadline(),
            self.sweep_at,
            self.standby_at,
            last_resort,
            adoption,
            upgrade,
            sign,
        ];
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
        self.replace_silent_controller(now);
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
        self.flush();
        self.advance_upgrade(now);
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
        if number == Signal::USR2.as_raw() {
            return self.begin_upgrade();
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
}
