//! A look at another binary before anything depends on it: it is started as a child, is given what it would take over,
//! and says whether it can. Whatever it does instead of answering is a reason to leave it alone.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::protocol;
use super::{handover, signals};
use crate::core::exit::ExitStatus;
use crate::core::time::{Time, human};
use crate::sys::cause::plain;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest answer that is read, in bytes; less than a pipe holds.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// The longest text of something else that is repeated, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// What a binary says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its version.
    pub version: String,
    /// The version of the protocol between keeper and controller that it speaks.
    pub protocol: u32,
    /// The version of what keepers hand over that it understands.
    pub handover: u32,
    /// What keeps it from taking over, as a sentence.
    #[serde(default)]
    pub refusal: Option<String>,
}

impl Verdict {
    /// This binary's own, asked over standard input; `further` looks at what the keeper does not know.
    ///
    /// # Errors
    /// None: what stands in the way is part of the verdict.
    pub fn of_this_binary(further: impl FnOnce() -> Result<(), String>) -> Self {
        let understood = handover::check_standard_input()
            .map_err(|why| format!("it does not understand what the keeper hands over: {why}"));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: protocol::VERSION,
            handover: handover::VERSION,
            refusal: understood.and_then(|()| further()).err(),
        }
    }
}

/// A binary that is being asked.
#[derive(Debug)]
pub(super) struct Preflight {
    pid: i32,
    answer: File,
    kill_at: Option<Time>,
}

impl Preflight {
    /// Starts it with what it would take over as its standard input.
    pub(super) fn start(path: &Path, argv: &[OsString], memory: OwnedFd, now: Time) -> Result<Self, String> {
        let start = || {
            let (answer, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&answer, true)?;
            let spawned = Command::new(path)
                .args(argv)
                .stdin(Stdio::from(memory))
                .stderr(Stdio::from(theirs.as_fd().try_clone_to_owned()?))
                .stdout(Stdio::from(theirs))
                .spawn()?;
            Ok(Self { pid: spawned.id() as i32, answer: File::from(answer), kill_at: Some(now + PATIENCE) })
        };
        start().map_err(|error: std::io::Error| format!("{} cannot be run: {}", path.display(), plain(error)))
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// When it is killed, unless it was.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.kill_at
    }

    pub(super) fn kill_if_due(&mut self, now: Time) {
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            signals::to_child(self.pid, Signal::KILL, false);
        }
    }

    /// What it has said, once it was reaped.
    ///
    /// # Errors
    /// Why it cannot take over, as a sentence.
    pub(super) fn verdict(self, path: &Path, status: ExitStatus) -> Result<Verdict, String> {
        let path = path.display();
        if self.kill_at.is_none() {
            return Err(format!("{path} did not answer within {}", human(PATIENCE)));
        }
        let mut said = Vec::new();
        // What could not be read any more was not said.
        let _ = self.answer.take(ANSWER_BYTES_MAX).read_to_end(&mut said);
        let verdict = match serde_json::from_slice::<Verdict>(&said) {
            Ok(verdict) if status == ExitStatus::Code(0) => verdict,
            Ok(_) | Err(_) => {
                return Err(format!("{path} does not run as Leveret: {}", excuse(&said, status)));
            }
        };
        let Verdict { version, protocol, handover, refusal } = &verdict;
        let own = protocol::VERSION;
        if *protocol != own {
            return Err(format!(
                "{path} is Leveret {version} and speaks version {protocol} of the protocol, the one that runs speaks {own}"
            ));
        }
        if *handover != handover::VERSION {
            return Err(format!(
                "{path} is Leveret {version} and takes over version {handover} of the keeper's state, this one has {}",
                handover::VERSION
            ));
        }
        match refusal {
            Some(why) => Err(format!("{path} is Leveret {version}: {why}")),
            None => Ok(verdict),
        }
    }
}

fn excuse(said: &[u8], status: ExitStatus) -> String {
    let text = String::from_utf8_lossy(said);
    let line: String =
        text.trim().chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let ended = match status {
        ExitStatus::Code(code) => format!("it ended with exit code {code}"),
        ExitStatus::Signal(number) => format!("it was killed by signal {number}"),
        ExitStatus::Unknown => "it ended".to_owned(),
    };
    if line.is_empty() { format!("{ended} and said nothing") } else { format!("{ended} and said: {line}") }
}
