//! The moments at which a program is exec'd: the kernel opens its file then, and inotify tells.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use leveret::core::time::Time;
use leveret::sys::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

/// A watch on one program, which nobody else may open.
#[derive(Debug)]
pub(crate) struct Execs {
    inotify: OwnedFd,
}

impl Execs {
    pub(crate) fn watch(program: &Path) -> Result<Self> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&inotify, program, inotify::WatchFlags::OPEN)?;
        Ok(Self { inotify })
    }

    /// Forgets what has been seen so far.
    pub(crate) fn forget(&self) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut space);
        loop {
            match reader.next() {
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The moment of the next exec, late by this process's own waking up.
    pub(crate) fn next(&self, limit: Duration) -> Result<Time> {
        let timeout = Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        let mut wait = [PollFd::new(&self.inotify, PollFlags::IN)];
        let found = rustix::io::retry_on_intr(|| poll(&mut wait, Some(&timeout)))?;
        let now = clock::now();
        if found == 0 {
            bail!("no process was started again within {} s", limit.as_secs());
        }
        Ok(now)
    }
}
