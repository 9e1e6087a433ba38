//! Signals that come to the keeper, and signals that it sends. What it sends goes to a process that is proven: a child
//! that was not reaped yet, whose number therefore cannot belong to another, or one named by number and start time.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::{SigSet, Signal as Name};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open, pidfd_send_signal,
    test_kill_process_group,
};

use crate::sys::process;

/// The signals that the keeper reads in its loop.
const RECEIVED: [Name; 7] =
    [Name::SIGCHLD, Name::SIGTERM, Name::SIGINT, Name::SIGHUP, Name::SIGQUIT, Name::SIGUSR1, Name::SIGUSR2];

/// Lets the loop read signals instead of being interrupted by them.
///
/// The mask is inherited: the shim clears it before exec, and the controller keeps it, so that a Ctrl-C or a signal to
/// the whole group is told once, by the keeper, and does not end the controller.
///
/// Returns what to read from, and the signals that are caught because Leveret was started to ignore them; `caught` are
/// those of a keeper before this one in the same process, where exec has made them default again.
pub(super) fn receive(caught: &[i32]) -> io::Result<(SignalFd, Vec<i32>)> {
    let caught = catch_ignored(caught)?;
    let mut set = SigSet::empty();
    for signal in RECEIVED {
        set.add(signal);
    }
    set.thread_block()?;
    Ok((SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?, caught))
}

/// Catches every signal that Leveret was started to ignore (nohup, a shell's background job): exec makes a caught signal
/// default again, while an ignored one stays ignored in every child.
fn catch_ignored(further: &[i32]) -> io::Result<Vec<i32>> {
    let never_read = Arc::new(AtomicBool::new(false));
    let mut caught = Vec::new();
    let ignored = ignored_signals(&std::fs::read_to_string("/proc/self/status")?);
    for signal in ignored.into_iter().chain(further.iter().copied()) {
        // std ignores SIGPIPE for itself and makes it default in what it spawns; 32 and 33 belong to the C library.
        let is_left_alone = signal == Signal::PIPE.as_raw() || matches!(signal, 32 | 33);
        if !is_left_alone && !signal_hook::consts::FORBIDDEN.contains(&signal) {
            signal_hook::flag::register(signal, Arc::clone(&never_read))?;
            caught.push(signal);
        }
    }
    Ok(caught)
}

fn ignored_signals(status: &str) -> Vec<i32> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|signal| mask & (1 << (signal - 1)) != 0).collect()
}

/// Whether a signal to Leveret asks it to end.
pub(super) fn is_request_to_end(number: i32) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT].iter().any(|signal| signal.as_raw() == number)
}

/// The signal of a number; real-time signals cannot be sent by safe code and are none.
pub(super) fn by_number(number: i32) -> Option<Signal> {
    Signal::from_named_raw(number)
}

/// Whether a stopped process must be continued to act on the signal.
pub(super) fn goes_with_continue(signal: Signal) -> bool {
    ![
        Signal::STOP,
        Signal::TSTP,
        Signal::TTIN,
        Signal::TTOU,
        Signal::CONT,
        Signal::USR1,
        Signal::USR2,
        Signal::WINCH,
    ]
    .contains(&signal)
}

/// Whether the signal asks a process to end.
pub(super) fn asks_to_end(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP, Signal::KILL].contains(&signal)
}

/// Sends to a child that was not reaped yet, or with `group` to its process group.
pub(super) fn to_child(pid: i32, signal: Signal, group: bool) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    let send = |signal| match group {
        // A shim that has not made its session yet has no group of its own: then the process itself.
        true => kill_process_group(pid, signal).or_else(|_| kill_process(pid, signal)),
        false => kill_process(pid, signal),
    };
    // It ended a moment ago and is about to be reaped, or it changed its user and is not ours to signal: either way
    // the controller sees that it does not end and goes on to its next step.
    let _ = send(signal);
    if goes_with_continue(signal) {
        let _ = send(Signal::CONT);
    }
}

/// Sends to the process of this number only if it is still the one that started at `start_time_ticks`.
pub(super) fn to_exactly(pid: i32, start_time_ticks: u64, signal: Signal) {
    let Some(number) = Pid::from_raw(pid) else { return };
    // The descriptor is taken before the look at the start time, so the number cannot change hands in between.
    let descriptor = pidfd_open(number, PidfdFlags::empty());
    if process::stat(pid).map(|stat| stat.start_time_ticks).ok() != Some(start_time_ticks) {
        return;
    }
    let send = |signal| match &descriptor {
        Ok(descriptor) => pidfd_send_signal(descriptor, signal),
        Err(Errno::NOSYS | Errno::PERM | Errno::MFILE | Errno::NFILE) => kill_process(number, signal),
        Err(error) => Err(*error),
    };
    // As above: gone or not ours to signal.
    let _ = send(signal);
    if goes_with_continue(signal) {
        let _ = send(Signal::CONT);
    }
}

/// Sends to a process that is held by this descriptor.
pub(super) fn to_held(process: &OwnedFd, signal: Signal) {
    // As above: gone or not ours to signal.
    let _ = pidfd_send_signal(process, signal);
    if goes_with_continue(signal) {
        let _ = pidfd_send_signal(process, Signal::CONT);
    }
}

/// Whether a process that is held by this descriptor has ended, reaped or not.
pub(super) fn has_ended(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)) == Ok(1)
}

/// Sends to a process group that is known to have a proven member.
pub(super) fn to_group(group: i32, signal: Signal) {
    let Some(group) = Pid::from_raw(group) else { return };
    // As above: gone or not ours to signal.
    let _ = kill_process_group(group, signal);
    if goes_with_continue(signal) {
        let _ = kill_process_group(group, Signal::CONT);
    }
}

/// Whether a process group has a member, zombies included.
pub(super) fn group_exists(group: i32) -> bool {
    let Some(group) = Pid::from_raw(group) else { return false };
    // Members of another user cannot be signalled, but they exist.
    matches!(test_kill_process_group(group), Ok(()) | Err(Errno::PERM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_signals_are_read_from_the_status() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001003\nSigCgt:\t00\n";
        assert_eq!(ignored_signals(status), [1, 2, 13]);
        assert_eq!(ignored_signals("Name:\tx\n"), Vec::<i32>::new());
    }

    #[test]
    fn a_number_that_changed_hands_is_not_signalled() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = child.id() as i32;
        let start = process::stat(pid).unwrap().start_time_ticks;
        to_exactly(pid, start + 1, Signal::KILL);
        assert!(!process::stat(pid).unwrap().is_zombie());
        to_exactly(pid, start, Signal::TERM);
        assert_eq!(ended_by(&mut child), Some(15));
    }

    #[expect(clippy::disallowed_methods, reason = "the test's own child, which no keeper knows")]
    fn ended_by(child: &mut std::process::Child) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap())
    }
}
