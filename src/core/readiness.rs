//! When a process is of use, and what it says of itself while it lives.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::{Check, CheckFor};
use super::ids::Incarnation;
use super::time::Time;

/// How long a process may take to become ready unless the file says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// How it is known that a process is of use, and how long that may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadySpec {
    /// What tells.
    pub by: ReadyBy,
    /// How long it may take; without a limit where time alone tells.
    pub timeout: Option<Duration>,
}

/// What tells that a process is of use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyBy {
    /// The time since its start.
    After(Duration),
    /// Its own word, `READY=1`.
    Notify,
    /// A look from outside that finds it well.
    Check(Check),
    /// Something that it prints: a regular expression, see [`super::pattern`].
    Log(String),
}

impl ReadyBy {
    /// What is waited for, after "waits until".
    pub fn awaited(&self) -> String {
        match self {
            Self::After(_) => "it has run for a while".to_owned(),
            Self::Notify => "it says that it is ready (READY=1)".to_owned(),
            Self::Check(check) => check.probe.awaited(),
            Self::Log(pattern) => format!("it prints what matches \"{pattern}\""),
        }
    }

    /// The pattern that tells, where one does.
    pub fn pattern(&self) -> Option<&str> {
        match self {
            Self::Log(pattern) => Some(pattern),
            Self::After(_) | Self::Notify | Self::Check(_) => None,
        }
    }

    /// The look that tells, where one does.
    pub fn check(&self) -> Option<&Check> {
        match self {
            Self::Check(check) => Some(check),
            Self::After(_) | Self::Notify | Self::Log(_) => None,
        }
    }
}

/// What is known of a life beside that it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Whose this is; what is known of an older life means nothing.
    pub incarnation: Incarnation,
    /// Whether it is known to be of use, where something other than time tells.
    pub ready: bool,
    /// Whether it was taken note of that it runs: what follows from that follows once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_running: bool,
    /// Whether it was taken note of that it has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_ended: bool,
    /// What it is looked at for at present.
    #[serde(skip)]
    pub checked_for: Option<CheckFor>,
    /// What the newest look found wrong, if anything was.
    #[serde(skip)]
    pub trouble: Option<String>,
    /// How many looks at its health have failed in a row.
    #[serde(skip)]
    pub failures: u32,
    /// Whether somebody was told to watch over it.
    #[serde(skip)]
    pub is_watched: bool,
    /// What it said of itself. Whoever hears it remembers it for the next controller.
    #[serde(skip)]
    pub voice: Voice,
    /// What its channels at the broker say of its work.
    #[serde(skip)]
    pub at_work: Option<AtWork>,
}

/// What the channels of a process at its broker say of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtWork {
    /// What they say.
    pub work: Work,
    /// When the broker was asked; what it tells may be some seconds older.
    pub at: Time,
}

/// What channels say of the work of their process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Messages on them are not acknowledged.
    Busy,
    /// None are at present, and that is news: the next message may be on its way.
    Unclear,
    /// None are, and none were when the broker was asked before.
    Idle,
}

impl Work {
    /// Whether the process holds a message, where that is clear.
    pub fn busy(self) -> Option<bool> {
        match self {
            Self::Busy => Some(true),
            Self::Unclear => None,
            Self::Idle => Some(false),
        }
    }
}

/// Who tells whether a process holds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BusyBy {
    /// It does, by `BUSY=0` and `BUSY=1`.
    Itself,
    /// The broker does, of its channels.
    Channels,
}

impl BusyBy {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Itself => "process",
            Self::Channels => "channel",
        }
    }
}

impl Condition {
    /// What was found by looks that are not taken any more says nothing.
    pub fn forget_checks(&mut self) {
        (self.checked_for, self.trouble, self.failures) = (None, None, 0);
    }

    /// Nothing is known yet.
    pub fn of(incarnation: Incarnation) -> Self {
        Self { incarnation, ..Self::default() }
    }
}

/// What a process said of itself over its socket, the newest of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voice {
    /// `READY=1`: it is of use.
    pub ready: bool,
    /// `STOPPING=1`: it is about to end.
    pub stopping: bool,
    /// `BUSY=1`: it holds a message; `BUSY=0`: it holds none. One that has said neither is not known to be either.
    #[serde(default)]
    pub busy: Option<bool>,
    /// It did not feed its watchdog in time, or said `WATCHDOG=trigger`.
    #[serde(default)]
    pub hung: bool,
    /// `EXTEND_TIMEOUT_USEC=`: it asks for more time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
    /// `STATUS=`: one line for people.
    pub status: Option<String>,
}

/// More time for what a process was at when it asked for it: to become ready, to end, or its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// When it asked.
    pub at: Time,
    /// Until when it is given time.
    pub until: Time,
}

impl Extension {
    /// A limit of something that began at `since`: never sooner than it was, and not before the time that is asked for. What
    /// was asked for before that began was about something else.
    pub fn extend(asked: Option<&Self>, since: Time, limit: Time) -> Time {
        asked.filter(|asked| asked.at >= since).map_or(limit, |asked| limit.max(asked.until))
    }
}

/// Why a process that lives is of no use and is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfit {
    /// It did not become ready in time.
    NotReady,
    /// It did not feed its watchdog in time, or said itself that it hangs.
    Watchdog,
    /// Too many looks at its health have failed in a row.
    Unhealthy,
}

impl Unfit {
    /// What is wrong, after the process's name: `was not ready in time`.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotReady => "was not ready in time",
            Self::Watchdog => "did not feed its watchdog in time",
            Self::Unhealthy => "failed its health checks",
        }
    }

    /// The cause under which such ends are counted.
    pub fn cause(self) -> &'static str {
        match self {
            Self::NotReady => "not ready in time",
            Self::Watchdog => "watchdog",
            Self::Unhealthy => "health checks",
        }
    }
}
