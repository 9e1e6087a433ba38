//! What Leveret tells the service manager that started it (sd_notify(3)): the words are the controller's, the sender is the
//! keeper, because a service manager listens to the main process. And the watchdog: a controller that does not say in time
//! that it is alive is replaced, long before the service manager would end everything.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::run::Keeper;
use super::say::say;
use crate::core::time::{Time, human};
use crate::sys::cause::plain;
use crate::sys::{clock, service};

/// The line that says that everything is alive.
const ALIVE: &str = "WATCHDOG=1";

/// The service manager.
#[derive(Debug)]
pub(super) struct Manager {
    address: SocketAddr,
    /// How often it wants to be told that everything is alive.
    watchdog: Option<Duration>,
    /// When a controller said so, or was started.
    heard_at: Time,
    has_failed: bool,
}

impl Manager {
    /// The one that started this process, if there is one.
    pub(super) fn of_environment(now: Time) -> Option<Self> {
        let name = std::env::var_os(service::NOTIFY_SOCKET)?;
        let address = match address(&name) {
            Ok(address) => address,
            Err(error) => {
                say(&format!("{} cannot be told anything: {}", name.display(), plain(error)));
                return None;
            }
        };
        let watchdog = service::watchdog(std::process::id());
        Some(Self { address, watchdog, heard_at: now, has_failed: false })
    }

    fn tell(&mut self, text: &str, now: Time) {
        if text.lines().any(|line| line == ALIVE) {
            self.heard_at = now;
        }
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to_addr(text.as_bytes(), &self.address)
        });
        match sent {
            Ok(_) => self.has_failed = false,
            // Once: it is told again and again.
            Err(error) if !self.has_failed => {
                self.has_failed = true;
                say(&format!("the service manager cannot be told how Leveret is: {}", plain(error)));
            }
            Err(_) => {}
        }
    }

    /// When a controller has been silent for too long: between two of its words and the service manager's own limit.
    fn patience(&self) -> Option<Duration> {
        self.watchdog.map(|every| every * 3 / 4)
    }
}

/// A path, or behind an `@` a name without a file.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

impl Keeper {
    /// Passes a word of the controller's on.
    pub(super) fn notify(&mut self, text: &str) {
        if let Some(manager) = &mut self.manager {
            manager.tell(text, clock::now());
        }
    }

    /// A controller has just been started, and has all the time again.
    pub(super) fn expect_sign(&mut self, now: Time) {
        if let Some(manager) = &mut self.manager {
            manager.heard_at = now;
        }
    }

    /// When a controller that says nothing is taken for hung.
    pub(super) fn sign_deadline(&self) -> Option<Time> {
        let manager = self.manager.as_ref().filter(|_| self.controller.is_connected() && self.goes_on())?;
        manager.patience().map(|patience| manager.heard_at + patience)
    }

    /// Kills a controller that has said nothing for too long; another one takes its place.
    pub(super) fn replace_silent_controller(&mut self, now: Time) {
        if self.sign_deadline().is_some_and(|at| at <= now) {
            let patience = self.manager.as_ref().and_then(Manager::patience).unwrap_or_default();
            say(&format!("the controller has not answered for {} and is replaced", human(patience)));
            self.controller.kill();
            self.expect_sign(now);
        }
    }
}
