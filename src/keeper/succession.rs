//! One controller after the other: started, told what there is, listened to, and replaced when it ends.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;
use rustix::process::getpid;

use super::controller::Next;
use super::protocol::{Fact, Inventory, Recording, VERSION};
use super::run::Keeper;
use super::say::say;
use super::signals::is_request_to_end;
use crate::core::exit::ExitStatus;
use crate::core::time::Time;
use crate::sys::clock;

impl Keeper {
    /// Whether the end is neither ordered nor come.
    pub(super) fn goes_on(&self) -> bool {
        self.finished.is_none() && self.ending.is_none() && self.last_resort.is_none()
    }

    pub(super) fn controller_deadline(&self) -> Option<Time> {
        let is_waiting = self.controller.pid().is_none();
        self.controller.deadline().filter(|_| !is_waiting || self.goes_on())
    }

    pub(super) fn replace_controller(&mut self, now: Time) {
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

    pub(super) fn start_controller(&mut self, now: Time) -> io::Result<()> {
        self.controller.start(now)?;
        self.expect_sign(now);
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
            can_upgrade: true,
            notifies: self.manager.is_some(),
            upgrade: self.upgrade.clone(),
        }));
    }

    pub(super) fn controller_ended(&mut self, status: ExitStatus) {
        let now = clock::now();
        let orders = self.controller.drain(now);
        self.obey_all(orders);
        let next = self.controller.ended(status, now);
        if let Some(code) = self.ending {
            self.finished = Some(code);
        } else if let Next::End(code) = next {
            self.finished = Some(code);
        } else {
            let end = self.controller.last_end().unwrap_or_default().to_owned();
            if self.upgrade_sees_end(&end, now) {
                // Said by the upgrade, or not worth a word.
                self.controller.take_last_end();
            }
            self.consider_last_resort(now);
        }
    }

    pub(super) fn tell(&mut self, fact: &Fact) {
        self.tell_with(fact, None);
    }

    pub(super) fn tell_with(&mut self, fact: &Fact, descriptor: Option<Arc<OwnedFd>>) {
        let told = self.controller.tell(fact, descriptor, clock::now());
        told.unwrap_or_else(|text| say(&text));
    }

    /// Writes facts, and watches for room while some are left.
    pub(super) fn flush(&mut self) {
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
}
