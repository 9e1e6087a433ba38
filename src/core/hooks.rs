//! Hooks: short commands of a program that run at moments of a process's life. What comes of them is settled in the machine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exit::ExitStatus;
use super::ids::Incarnation;
use super::time::{Time, human};

/// How long a hook may run unless the file says otherwise.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// The hooks of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Runs before every start of a process, which begins only when this has ended with exit code 0.
    #[serde(default)]
    pub pre_start: Option<Hook>,
    /// Runs when a process has become ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_ready: Option<Hook>,
    /// Runs before a process is sent its stop signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Hook>,
    /// Runs when a process has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_exit: Option<Hook>,
}

impl Hooks {
    /// The hook that runs beside the life of a process at this moment, where there is one.
    pub fn at(&self, moment: Moment) -> Option<&Hook> {
        match moment {
            Moment::PostReady => self.post_ready.as_ref(),
            Moment::PreStop => self.pre_stop.as_ref(),
            Moment::PostExit => self.post_exit.as_ref(),
        }
    }
}

/// When a hook runs that is about a life of a process, and of which nothing depends but when a stop signal is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// It has become ready.
    PostReady,
    /// It is about to be sent its stop signal.
    PreStop,
    /// It has ended.
    PostExit,
}

impl Moment {
    /// The key of the hook.
    pub fn key(self) -> &'static str {
        match self {
            Self::PostReady => "post_ready",
            Self::PreStop => "pre_stop",
            Self::PostExit => "post_exit",
        }
    }
}

/// A hook that is to run about a life of a process, or runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    /// The slot of the process.
    pub slot: u32,
    /// The main process of the life, while it lives.
    pub pid: Option<i32>,
    /// How it ended, where it has.
    pub ended: Option<ExitStatus>,
    /// How far the hook has come.
    pub state: ErrandState,
}

/// How far a hook has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrandState {
    /// Not ordered yet.
    Wanted,
    /// Ordered and running, or about to.
    Running {
        /// Its own life.
        incarnation: Incarnation,
        /// When its tree is killed.
        deadline: Time,
        /// When it was killed last.
        killed_at: Option<Time>,
        /// It was killed because what it was for is over: no failure.
        is_cancelled: bool,
    },
}

/// A hook that was to run and had not been ordered, for the next machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrandMemory {
    /// When it runs.
    pub moment: Moment,
    /// Which life it is about.
    pub about: Incarnation,
    /// The slot of the process.
    pub slot: u32,
    /// The main process of the life, while it lives.
    #[serde(default)]
    pub pid: Option<i32>,
    /// How it ended, where it has.
    #[serde(default)]
    pub ended: Option<ExitStatus>,
}

/// A command that runs at a moment of a process's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What to run.
    pub argv: Vec<String>,
    /// How long it may run before its tree is killed.
    pub timeout: Duration,
}

/// How far the hook has come that runs before a process is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preparation {
    /// When its tree is killed.
    pub deadline: Time,
    /// When it was killed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed_at: Option<Time>,
    /// It was killed because its process is not wanted any more, or is to be made from something else: no failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cancelled: bool,
    /// It has ended with exit code 0, and the process may start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_succeeded: bool,
}

impl Preparation {
    /// It begins.
    pub fn until(deadline: Time) -> Self {
        Self { deadline, killed_at: None, is_cancelled: false, has_succeeded: false }
    }
}

/// Why a hook of this name has failed, if it has: `pre_start ended with exit code 1`. One with a limit was killed at it.
pub fn failure(name: &str, status: ExitStatus, limit: Option<Duration>) -> Option<String> {
    match (limit, status) {
        (Some(limit), _) => Some(format!("{name} did not end within {}", human(limit))),
        (None, status) if status.is_clean() => None,
        (None, ExitStatus::Signal(_)) => Some(format!("{name} was {status}")),
        (None, ExitStatus::Code(_)) => Some(format!("{name} ended with {status}")),
        (None, ExitStatus::Unknown) => Some(format!("{name} ended, exit code unknown")),
    }
}
