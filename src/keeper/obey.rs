//! Orders of the controller, carried out at once. None of them may wait for a process.

use std::ffi::OsStr;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::event::epoll;
use rustix::net::{SocketAddrUnix, getsockname};

use super::children::{Child, Phase};
use super::controller::Received;
use super::protocol::{Fact, Order, SpawnOrder, notified, notify_key};
use super::run::Keeper;
use super::say::say;
use super::shim::ShimReport;
use super::signals;
use super::standby::Standby;
use crate::core::command::Scope;
use crate::core::ids::Incarnation;
use crate::sys::clock;

/// How long after a spawn the next standby is started: a crash seldom comes alone, and spawning goes before.
const STANDBY_DELAY: std::time::Duration = std::time::Duration::from_millis(10);

impl Keeper {
    pub(super) fn take_orders(&mut self) {
        let (orders, read) = self.controller.read(clock::now());
        self.obey_all(orders);
        read.unwrap_or_else(|text| say(&text));
    }

    pub(super) fn obey_all(&mut self, orders: Vec<Received>) {
        for (order, descriptor) in orders {
            self.obey(order, descriptor);
        }
    }

    pub(super) fn obey(&mut self, order: Order, descriptor: Option<OwnedFd>) {
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
            Order::Release { incarnation } => {
                self.children.release(incarnation);
                self.close_notify(&notify_key(incarnation));
            }
            Order::Keep { key } => {
                self.kept.extend(descriptor.map(|descriptor| (key, Arc::new(descriptor))));
            }
            Order::Drop { key } => {
                self.kept.remove(&key);
            }
            Order::Notify { text } => self.notify(&text),
            Order::Up => self.controller_is_up(),
            Order::Upgrade => self.begin_upgrade(),
            Order::Exit { code } => self.exit(code),
        }
    }

    pub(super) fn spawn(&mut self, order: SpawnOrder) {
        let incarnation = order.incarnation;
        if !self.goes_on() {
            let cause = "Leveret is ending".to_owned();
            return self.could_not_spawn(incarnation, ShimReport { step: "order".to_owned(), cause });
        }
        match self.children.spawn(order, &self.shim, &mut self.standby) {
            Ok(report) => {
                self.keep_notify(incarnation);
                self.watch_report(incarnation, report);
            }
            Err(failure) => self.could_not_spawn(incarnation, failure),
        }
        self.standby_at = Some(clock::now() + STANDBY_DELAY);
    }

    /// Holds the socket of a process that is being started, and hands it over.
    fn keep_notify(&mut self, incarnation: Incarnation) {
        let Some(socket) = self.children.get_mut(incarnation).and_then(Child::take_notify) else { return };
        let (key, socket) = (notify_key(incarnation), Arc::new(socket));
        self.kept.insert(key.clone(), Arc::clone(&socket));
        self.tell_with(&Fact::Kept { key }, Some(socket));
    }

    /// Forgets a socket over which nobody has anything more to say, and removes its name.
    fn close_notify(&mut self, key: &str) {
        let Some(socket) = self.kept.remove(key) else { return };
        let address = getsockname(&socket).and_then(SocketAddrUnix::try_from);
        if let Ok(Some(path)) =
            address.map(|address| address.path_bytes().map(OsStr::from_bytes).map(PathBuf::from))
        {
            // One that somebody else has removed is removed.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The same for all of them, at the end of everything.
    pub(super) fn close_all_notify(&mut self) {
        let keys: Vec<String> = self.kept.keys().filter(|key| notified(key).is_some()).cloned().collect();
        keys.iter().for_each(|key| self.close_notify(key));
    }

    pub(super) fn start_standby(&mut self) {
        self.standby_at = None;
        if self.goes_on() && self.standby.is_none() {
            // Where none can be started, the next order finds out why and says so.
            self.standby = Standby::start(&self.shim).ok();
        }
    }

    pub(super) fn watch_report(&self, incarnation: Incarnation, report: RawFd) {
        let Some(Phase::Spawning { report: pipe, .. }) = self.children.phase(incarnation) else { return };
        let data = epoll::EventData::new_u64(report as u64);
        // Without the watch the report is read when the process ends.
        if let Err(error) = epoll::add(&self.epoll, pipe, data, epoll::EventFlags::IN) {
            say(&format!("failed to watch the start of incarnation {incarnation}: {error}"));
        }
    }

    pub(super) fn exit(&mut self, code: u8) {
        if !self.children.are_gone() {
            return say("an order to end was refused, because processes are left");
        }
        self.ending = Some(code);
        self.controller.leave(clock::now());
    }

    /// To a living leader at once; whatever needs to know the tree is gathered and done together, once.
    pub(super) fn signal(&mut self, incarnation: Incarnation, number: i32, scope: Scope) {
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
}
