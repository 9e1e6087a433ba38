//! The way to another version without stopping anything: the binary is checked as a child, then a controller of it takes
//! the place of the present one, and last the keeper becomes it, in the same process. Until that very exec the old keeper
//! can go on, and does whenever a step fails.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::handover::{self, memory_of};
use super::preflight::Preflight;
use super::protocol::{Fact, Upgrade, UpgradeState};
use super::run::Keeper;
use super::say::say;
use crate::core::exit::ExitStatus;
use crate::core::time::{Time, human};
use crate::core::words::processes;
use crate::sys::cause::plain;
use crate::sys::clock;

/// How long the old controller may take to answer what it was asked and to write its state.
const LEAVE_TIME: Duration = Duration::from_secs(30);

/// How long the new controller may take to come up.
const COME_TIME: Duration = Duration::from_secs(30);

/// How long the keeper may wait for a moment in which nothing is half said.
const REST_TIME: Duration = Duration::from_secs(30);

/// An upgrade that is under way.
#[derive(Debug)]
pub(super) struct Upgrading {
    step: Step,
    path: PathBuf,
    binary: Identity,
}

/// How far it is.
#[derive(Debug)]
enum Step {
    /// The new binary is asked.
    Checking(Preflight),
    /// The old controller ends, or is ended at this moment.
    Leaving(Time),
    /// The new one comes up, until this moment.
    Coming(Time),
    /// The keeper becomes the new binary as soon as nothing is half said; it is given up at this moment.
    Ready(Time),
}

/// What tells a binary from another one at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let modified = (found.mtime(), found.mtime_nsec());
        Ok(Self { device: found.dev(), inode: found.ino(), modified })
    }
}

impl Upgrading {
    /// The number of the child that is asked, while one is.
    pub(super) fn child(&self) -> Option<i32> {
        match &self.step {
            Step::Checking(preflight) => Some(preflight.pid()),
            Step::Leaving(_) | Step::Coming(_) | Step::Ready(_) => None,
        }
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.step {
            Step::Checking(preflight) => preflight.deadline(),
            Step::Leaving(at) | Step::Coming(at) | Step::Ready(at) => Some(*at),
        }
    }
}

impl Keeper {
    /// Somebody wants what is at the place of the binary to run.
    pub(super) fn begin_upgrade(&mut self) {
        if self.upgrading.is_some() || !self.goes_on() {
            return say("an upgrade was asked for and is not begun: one is under way, or Leveret is ending");
        }
        let number = self.upgrade.as_ref().map_or(0, |upgrade| upgrade.number) + 1;
        let state = UpgradeState::UnderWay("the new binary is checked".to_owned());
        let from = env!("CARGO_PKG_VERSION").to_owned();
        self.upgrade = Some(Upgrade { number, from, to: None, state });
        if !self.controller.was_heard() {
            return self.refuse_upgrade("Leveret is still starting");
        }
        let Some(path) = self.path.clone() else {
            return self.refuse_upgrade("Leveret does not know from where it was started");
        };
        match self.start_preflight(&path) {
            Ok(upgrading) => {
                self.upgrading = Some(upgrading);
                self.tell_upgrade();
            }
            Err(why) => self.refuse_upgrade(&why),
        }
    }

    fn start_preflight(&self, path: &Path) -> Result<Upgrading, String> {
        let unreadable = |error: io::Error| format!("{}: {}", path.display(), plain(error));
        let binary = Identity::of(path).map_err(unreadable)?;
        let Some(upgrade) = self.upgrade.clone() else { return Err("nothing was asked for".to_owned()) };
        let memory = memory_of(&self.pack(upgrade).0)
            .map_err(|error| format!("the keeper's state cannot be written down: {}", plain(error)))?;
        let preflight = Preflight::start(path, &self.preflight_argv, memory, clock::now())?;
        Ok(Upgrading { step: Step::Checking(preflight), path: path.to_owned(), binary })
    }

    /// The child that was asked has ended.
    pub(super) fn preflight_ended(&mut self, status: ExitStatus) {
        let Some(Upgrading { step: Step::Checking(preflight), path, binary }) = self.upgrading.take() else {
            return;
        };
        match preflight.verdict(&path, status) {
            Ok(verdict) => {
                let now = clock::now();
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.to = Some(verdict.version);
                    upgrade.state = UpgradeState::UnderWay("the controller is replaced".to_owned());
                }
                self.tell_upgrade();
                self.controller.use_program(Some(path.clone()));
                let step = match self.controller.pid() {
                    Some(_) => Step::Leaving(now + LEAVE_TIME),
                    None => Step::Coming(now + COME_TIME),
                };
                self.upgrading = Some(Upgrading { step, path, binary });
                self.ask_controller_to_leave();
            }
            Err(why) => self.refuse_upgrade(&why),
        }
    }

    fn ask_controller_to_leave(&mut self) {
        self.tell(&Fact::Leave);
        self.controller.expect_end();
    }

    /// A controller has ended; returns whether that was part of the upgrade.
    pub(super) fn upgrade_sees_end(&mut self, end: &str, now: Time) -> bool {
        let Some(upgrading) = &mut self.upgrading else { return false };
        match upgrading.step {
            Step::Leaving(_) => {
                upgrading.step = Step::Coming(now + COME_TIME);
                true
            }
            Step::Coming(_) => {
                self.refuse_upgrade(&format!("the controller of the new version {end} before it was up"));
                true
            }
            // It was up; what ended it is no matter of the upgrade.
            Step::Checking(_) | Step::Ready(_) => false,
        }
    }

    /// The controller says that it is up.
    pub(super) fn controller_is_up(&mut self) {
        let is_awaited =
            self.upgrading.as_ref().is_some_and(|upgrading| matches!(upgrading.step, Step::Coming(_)));
        if !is_awaited {
            return;
        }
        if let Some(upgrading) = &mut self.upgrading {
            upgrading.step = Step::Ready(clock::now() + REST_TIME);
        }
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.state = UpgradeState::UnderWay("the keeper is replaced".to_owned());
        }
        self.tell_upgrade();
    }

    /// Goes on with an upgrade whose next step or whose limit has come.
    pub(super) fn advance_upgrade(&mut self, now: Time) {
        let is_at_rest = self.is_at_rest();
        let Some(upgrading) = &mut self.upgrading else { return };
        match &mut upgrading.step {
            Step::Checking(preflight) => preflight.kill_if_due(now),
            Step::Leaving(until) if *until <= now => {
                *until = now + LEAVE_TIME;
                say("the controller does not end by itself and is ended");
                self.controller.leave(now);
            }
            Step::Coming(until) if *until <= now => {
                self.controller.leave(now);
                self.refuse_upgrade(&format!(
                    "the controller of the new version was not up within {}",
                    human(COME_TIME)
                ));
            }
            Step::Ready(_) if is_at_rest => self.hand_over(),
            Step::Ready(until) if *until <= now => {
                self.refuse_upgrade(&format!("the keeper did not come to rest within {}", human(REST_TIME)));
            }
            Step::Leaving(_) | Step::Coming(_) | Step::Ready(_) => {}
        }
    }

    /// Whether nothing is half said and nothing half done that is not part of what is handed over.
    fn is_at_rest(&self) -> bool {
        self.controller.is_quiet()
            && self.adoption.is_none()
            && self.tree_signals.is_empty()
            && self.goes_on()
    }

    /// Becomes the new binary.
    fn hand_over(&mut self) {
        let Some(Upgrading { path, binary, .. }) = self.upgrading.take() else { return };
        let Some(upgrade) = self.upgrade.clone() else { return };
        if Identity::of(&path).ok() != Some(binary) {
            return self.refuse_upgrade(&format!("{} was changed after it had been checked", path.display()));
        }
        // It is of the old binary, and nobody's child that is known over there.
        if let Some(standby) = self.standby.take() {
            standby.end();
        }
        let (handover, row) = self.pack(upgrade);
        let error = handover::exec(&path, &handover, &row);
        self.refuse_upgrade(&format!("{} cannot be run: {}", path.display(), plain(error)));
    }

    /// The old version goes on, all of it.
    fn refuse_upgrade(&mut self, why: &str) {
        self.upgrading = None;
        if let Some(upgrade) = &mut self.upgrade {
            let sentence = format!("not upgraded: {why}; {} goes on unchanged", upgrade.from);
            say(&sentence);
            upgrade.state = UpgradeState::Refused(sentence);
        }
        self.tell_upgrade();
        if self.controller.use_program(None) && self.controller.is_connected() {
            self.ask_controller_to_leave();
        }
    }

    /// The upgrade is done: this is the new binary.
    pub(super) fn upgraded(&mut self) {
        let count = processes(u32::try_from(self.children.living()).unwrap_or(u32::MAX));
        if let Some(upgrade) = &mut self.upgrade {
            let to = env!("CARGO_PKG_VERSION");
            let sentence = format!("upgraded from {} to {to}, {count} unchanged", upgrade.from);
            say(&sentence);
            upgrade.to = Some(to.to_owned());
            upgrade.state = UpgradeState::Done(sentence);
        }
        self.tell_upgrade();
    }

    fn tell_upgrade(&mut self) {
        if let Some(upgrade) = self.upgrade.clone() {
            self.tell(&Fact::Upgrade(upgrade));
        }
    }
}
