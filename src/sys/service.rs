//! What a service manager such as systemd says to a process by its environment: where to tell how it is (sd_notify(3)),
//! and which sockets it was given (sd_listen_fds(3)).

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// The variable that says where to tell how Leveret is.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// The first descriptor that is passed (sd_listen_fds(3)).
const FIRST: i32 = 3;

/// The most descriptors that are looked at.
const PASSED_MAX: i32 = 64;

/// How often the process with this number must say that it is alive, if somebody wants to know.
pub fn watchdog(pid: u32) -> Option<Duration> {
    let is_meant = env::var("WATCHDOG_PID").map_or(true, |meant| meant == pid.to_string());
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (is_meant && micros > 0).then(|| Duration::from_micros(micros))
}

/// A socket that was passed at the start.
#[derive(Debug)]
pub struct Passed {
    /// As the service manager calls it; empty if it does not.
    pub name: String,
    /// The socket.
    pub descriptor: OwnedFd,
}

/// The sockets that were passed to the process with this number, which is this one or has started it.
///
/// # Errors
/// The system does not hand them out.
pub fn passed(pid: u32) -> io::Result<Vec<Passed>> {
    let text = |name: &str| env::var(name).unwrap_or_default();
    let count = text("LISTEN_FDS").parse::<i32>().unwrap_or(0).clamp(0, PASSED_MAX);
    if count == 0 || text("LISTEN_PID") != pid.to_string() {
        return Ok(Vec::new());
    }
    let names = text("LISTEN_FDNAMES");
    let mut names = names.split(':');
    // Safe code cannot make a descriptor out of a number; the kernel can.
    let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let mut passed = Vec::new();
    for number in FIRST..FIRST + count {
        let name = names.next().unwrap_or_default().to_owned();
        let descriptor = pidfd_getfd(&own, number, PidfdGetfdFlags::empty())?;
        passed.push(Passed { name, descriptor });
    }
    Ok(passed)
}
