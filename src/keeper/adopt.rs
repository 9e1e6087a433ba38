//! Taking over what a keeper that was killed has left: its processes live on and hold their pipes. Each is proven by what
//! its shim wrote down, held by a descriptor, and never waited for as a child. What cannot be proven is left alone.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::epoll;
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use super::children::hold;
use super::protocol::{Fact, Predecessor};
use super::records::{self, Place, Record};
use super::run::Keeper;
use super::say::say;
use super::signals;
use super::tree::INCARNATION_VARIABLE;
use crate::core::exit::ExitStatus;
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::core::words;
use crate::sys::cause::plain;
use crate::sys::{clock, process};

/// How soon is looked again whether the last shim of an earlier keeper is done.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long its last shim may take. One that hangs (a directory that does not answer) has written its record long before.
const PATIENCE: Duration = Duration::from_secs(10);

/// Records that are to be taken over.
#[derive(Debug)]
pub(super) struct Adoption {
    directory: PathBuf,
    lock: File,
    since: Time,
    /// When to look next.
    pub(super) at: Time,
}

/// What became of the process of a record.
enum Found {
    Lives(OwnedFd),
    Gone,
    /// It cannot be said; why.
    Unproven(String),
}

impl Keeper {
    /// A controller has said where records are kept.
    pub(super) fn begin_adoption(&mut self, directory: PathBuf) {
        if self.shim.records.is_some() {
            return self.tell_inventory();
        }
        let now = clock::now();
        match records::open(&directory) {
            Ok(lock) => self.adoption = Some(Adoption { directory, lock, since: now, at: now }),
            Err(error) => self.no_records(&directory, &error),
        }
    }

    /// Takes over what is there, once no shim of an earlier keeper is on its way.
    pub(super) fn adopt_if_due(&mut self, now: Time) {
        let Some(adoption) = &mut self.adoption else { return };
        if adoption.at > now {
            return;
        }
        if !records::try_lock(&adoption.lock) {
            if now.since(adoption.since) < PATIENCE {
                adoption.at = now + LOOK_AGAIN;
                return;
            }
            say("a start that an earlier keeper ordered takes very long; it is not waited for any longer");
        }
        let Some(Adoption { directory, lock, .. }) = self.adoption.take() else { return };
        let own = Predecessor { pid: getpid().as_raw_nonzero().get(), started_at: self.started_at };
        match records::take_over(&directory, own) {
            Ok(left) => {
                self.predecessors = left.predecessors;
                let unproven = self.adopt_all(left.records, &directory, now);
                tell_unproven(&unproven);
                tell_out_of_sight(&left.out_of_sight);
                self.shim.records = Some(Place { directory, keeper: own.pid });
            }
            Err(error) => self.no_records(&directory, &error),
        }
        // A shim that was still to come finds its keeper gone.
        drop(lock);
        self.tell_inventory();
    }

    fn no_records(&mut self, directory: &Path, error: &io::Error) {
        let directory = directory.display();
        say(&format!(
            "cannot keep records in {directory}: {}; if the keeper were killed, its processes would not be known again",
            plain(error)
        ));
        if self.adoption.is_none() {
            self.tell_inventory();
        }
    }

    /// Returns those that were left alone, with the reason.
    fn adopt_all(
        &mut self,
        records: Vec<Record>,
        directory: &Path,
        now: Time,
    ) -> Vec<(Incarnation, i32, String)> {
        let (mut unproven, mut living, mut gone) = (Vec::new(), 0, 0);
        for record in records {
            let (incarnation, pid) = (record.incarnation, record.pid);
            let path = directory.join(incarnation.to_string());
            let process = match find(&record) {
                Found::Lives(process) => Some(process),
                Found::Gone => None,
                Found::Unproven(why) => {
                    records::remove(&path);
                    self.children.last_incarnation = self.children.last_incarnation.max(incarnation);
                    unproven.push((incarnation, pid, why));
                    continue;
                }
            };
            match &process {
                Some(_) => living += 1,
                None => gone += 1,
            }
            let leader = process.as_ref().map(|_| pid);
            let reopen = |path: &Path, descriptor: i32| {
                let held = reopen(path, leader, descriptor);
                held.map_err(|error| {
                    let path = path.display();
                    say(&format!("the output of pid {pid} is lost: {path}: {}", plain(&error)));
                })
            };
            let output = reopen(&record.output, 1).ok();
            let errors = record.errors.as_deref().and_then(|errors| reopen(errors, 2).ok());
            if let Some(process) = &process {
                self.watch_adopted(incarnation, process);
            }
            self.children.adopt(record, path, process, (output, errors), now);
        }
        if living + gone > 0 {
            let goes = if living == 1 { "goes" } else { "go" };
            say(&format!(
                "an earlier keeper was killed; {} {goes} on and {} taken over, {gone} ended meanwhile",
                words::processes(living),
                if living == 1 { "is" } else { "are" },
            ));
        }
        if gone > 0 {
            self.request_sweep(Duration::ZERO);
        }
        unproven
    }

    pub(super) fn watch_adopted(&self, incarnation: Incarnation, process: &OwnedFd) {
        let data = epoll::EventData::new_u64(process.as_raw_fd() as u64);
        if let Err(error) = epoll::add(&self.epoll, process, data, epoll::EventFlags::IN) {
            say(&format!("the end of incarnation {incarnation} will not be seen: {error}"));
        }
    }

    /// What holds an adopted leader has become readable.
    pub(super) fn adopted_ended(&mut self, incarnation: Incarnation) {
        let Some(child) = self.children.get_mut(incarnation) else { return };
        let process = child.adopted.as_ref().and_then(|adopted| adopted.process.as_ref());
        let (Some(process), Some(pid)) = (process, child.leader()) else { return };
        if !signals::has_ended(process) {
            return;
        }
        let (status, at) = (ExitStatus::Unknown, clock::now());
        let left = u32::from(signals::group_exists(pid));
        self.children.exited(incarnation, status, left, at);
        self.tell(&Fact::Exited { incarnation, status, left, at });
        self.request_sweep(super::run::SWEEP_DELAY);
    }
}

/// Whether the process that a shim became is still there. Within a boot and a pid namespace the number and the start time
/// are proof; the environment may speak against it, but a program is free to write over that.
fn find(record: &Record) -> Found {
    let Some(number) = Pid::from_raw(record.pid) else { return Found::Gone };
    // Before the look at the start time, so that the number cannot change hands in between.
    let process = match pidfd_open(number, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Found::Gone,
        Err(error) => return Found::Unproven(plain(error)),
    };
    let is_the_same = process::stat(record.pid)
        .is_ok_and(|stat| stat.start_time_ticks == record.start_time_ticks && !stat.is_zombie());
    if !is_the_same {
        return Found::Gone;
    }
    let environ = process::environ(record.pid).unwrap_or_default();
    match process::value_in(&environ, INCARNATION_VARIABLE) {
        Some(value) if value != record.incarnation.to_string().as_bytes() => {
            Found::Unproven("its environment names another life".to_owned())
        }
        Some(_) | None => Found::Lives(process),
    }
}

/// Opens a pipe of a life again. Where its name is gone, the leader, while it lives, still has it at this descriptor; where
/// nothing has it, nothing is in it.
fn reopen(path: &Path, leader: Option<i32>, descriptor: i32) -> io::Result<OwnedFd> {
    match hold(path, None) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let Some(leader) = leader else {
        rustix::fs::mkfifoat(CWD, path, Mode::from_raw_mode(0o600))?;
        return hold(path, None);
    };
    let held = hold(&PathBuf::from(format!("/proc/{leader}/fd/{descriptor}")), None)?;
    if !rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&held)?.st_mode).is_fifo() {
        return Err(io::Error::other("the pipe was removed"));
    }
    let own = format!("/proc/{}/fd/{}", getpid().as_raw_nonzero().get(), held.as_raw_fd());
    std::os::unix::fs::symlink(own, path)?;
    Ok(held)
}

fn tell_unproven(unproven: &[(Incarnation, i32, String)]) {
    for (incarnation, pid, why) in unproven {
        say(&format!(
            "pid {pid}, which an earlier keeper started as incarnation {incarnation}, is left alone: {why}"
        ));
    }
}

fn tell_out_of_sight(pids: &[i32]) {
    if !pids.is_empty() {
        let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
        say(&format!(
            "an earlier keeper ran in another pid namespace; its processes cannot be seen from here and are left alone: pid {}",
            pids.join(", ")
        ));
    }
}
