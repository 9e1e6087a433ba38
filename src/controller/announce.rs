//! What a service manager is told: that Leveret is up, reads its configuration, ends, is alive, and how it is in a line. Where
//! nobody wants to know, nothing of this happens.

use std::time::Duration;

use super::control::Control;
use super::view;
use crate::core::time::Time;
use crate::core::words::{grouped, processes};
use crate::core::world::World;
use crate::keeper::protocol::Order;
use crate::sys::{clock, service};

/// The shortest time between two lines about how Leveret is.
const STATUS_SPACING: Duration = Duration::from_secs(1);

/// What was announced.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    /// Whether anybody wants to know.
    is_wanted: bool,
    /// How often it is said that everything is alive, and when next.
    alive: Option<(Duration, Time)>,
    /// The line that was told last.
    status: String,
    /// When it may be told again.
    status_from: Time,
    /// Whether another line waits for that.
    status_waits: bool,
    has_said_end: bool,
}

impl Announcer {
    /// For a keeper with this number, which passes words on if `is_wanted`.
    pub(super) fn new(is_wanted: bool, keeper_pid: i32, now: Time) -> Self {
        let watchdog = service::watchdog(keeper_pid.unsigned_abs()).filter(|_| is_wanted);
        let alive = watchdog.map(|every| (every / 2, now + every / 2));
        Self { is_wanted, alive, ..Self::default() }
    }

    /// When there is something to announce.
    pub(super) fn due(&self) -> Option<Time> {
        let status = self.status_waits.then_some(self.status_from);
        status.into_iter().chain(self.alive.map(|(_, at)| at)).min()
    }
}

impl Control {
    /// This controller has everything that it needs. A later one says it again, which changes nothing.
    pub(super) fn announce_up(&mut self) {
        let status = status(self.machine.world());
        self.announce(&format!("READY=1\nSTATUS={status}\nWATCHDOG=1"));
        self.announcer.status = status;
    }

    /// The configuration is read; [`Control::announce_reloaded`] follows.
    pub(super) fn announce_reloading(&mut self) {
        self.announce(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::now().as_micros()));
    }

    /// The configuration was read, with whatever outcome.
    pub(super) fn announce_reloaded(&mut self) {
        self.announce("READY=1");
    }

    /// Announces what has changed, and now and then that everything is alive.
    pub(super) fn announce_if_due(&mut self, now: Time) {
        if !self.announcer.is_wanted {
            return;
        }
        if self.machine.world().shutdown.is_some() && !self.announcer.has_said_end {
            self.announce("STOPPING=1");
            self.announcer.has_said_end = true;
        }
        if let Some((every, at)) = self.announcer.alive
            && at <= now
        {
            self.announce("WATCHDOG=1");
            self.announcer.alive = Some((every, now + every));
        }
        let status = status(self.machine.world());
        let is_news = status != self.announcer.status;
        self.announcer.status_waits = is_news && now < self.announcer.status_from;
        if is_news && !self.announcer.status_waits {
            self.announce(&format!("STATUS={status}"));
            self.announcer.status = status;
            self.announcer.status_from = now + STATUS_SPACING;
        }
    }

    fn announce(&mut self, text: &str) {
        if self.announcer.is_wanted {
            self.order(&Order::Notify { text: text.to_owned() });
        }
    }
}

/// `12 of 14 processes run`
fn status(world: &World) -> String {
    let wanted: usize = world
        .programs
        .values()
        .map(|program| program.wanted(world.shutdown.is_some()).slots.iter().count())
        .sum();
    let slots = world.programs.values().flat_map(|program| program.slots.values());
    let running = slots.filter(|slot| view::is_running(&slot.phase)).count();
    if world.shutdown.is_some() {
        let living = world.programs.values().flat_map(|program| program.slots.values());
        let living = living.filter(|slot| slot.phase.life().is_some()).count();
        return format!("shutting down, {} left", processes(u32::try_from(living).unwrap_or(u32::MAX)));
    }
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    match running == wanted as usize {
        true => format!("{} run", processes(wanted)),
        false => format!("{} of {} run", grouped(running as u64), processes(wanted)),
    }
}
