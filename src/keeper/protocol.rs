//! What the keeper and a controller say to each other: orders down, facts up.
//!
//! A frame is the length of its body as four bytes, little-endian, and a body in JSON. The file descriptor
//! of an [`Order::Keep`] or of a [`Fact::Kept`] travels with the frame's first byte (SCM_RIGHTS). Both sides
//! refuse a peer of another [`VERSION`]; within a version, fields may be added with a default, never changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::core::command::Scope;
use crate::core::exit::ExitStatus;
use crate::core::ids::Incarnation;
use crate::core::spec::{CgroupSpec, EnvFile, Limit, Resource, Stdin};
use crate::core::time::Time;

/// The version of this protocol.
pub const VERSION: u32 = 1;

/// The longest body of a frame, in bytes. An environment that does not fit is refused by the kernel as well.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a controller tells the keeper to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum Order {
    /// Start a process. Answered by [`Fact::Spawned`] or [`Fact::CouldNotSpawn`].
    Spawn(Box<SpawnOrder>),
    /// Send a signal. To an incarnation that has ended it does nothing.
    Signal {
        /// Whose.
        incarnation: Incarnation,
        /// The signal's number.
        signal: i32,
        /// To which of its processes.
        scope: Scope,
    },
    /// Replace the note that the inventory returns for an incarnation.
    Note {
        /// Whose.
        incarnation: Incarnation,
        /// The controller's own words.
        note: serde_json::Value,
    },
    /// Forget an incarnation that has ended and whose output has been read: its pipe is removed. While a process of it is
    /// left, this waits until that is gone; while the leader lives, it does nothing.
    Release {
        /// Which.
        incarnation: Incarnation,
    },
    /// Hold the file descriptor that comes with this frame, in place of any that `key` named before.
    Keep {
        /// Its name.
        key: String,
    },
    /// Close a file descriptor that was kept.
    Drop {
        /// Its name.
        key: String,
    },
    /// Keep records of lives in this directory from now on, and first take over what an earlier keeper, which was killed,
    /// left there. Answered by another [`Fact::Inventory`], once all that the other one ordered has been started. Whoever
    /// sends this holds a lock that says that the other keeper is gone. Known where [`Inventory::recording`] says so.
    Adopt {
        /// The directory.
        records: PathBuf,
    },
    /// The controller is up: all that can fail at a start has been done. Only for a keeper that says
    /// [`Inventory::can_upgrade`].
    Up,
    /// Tell the service manager that started Leveret. Only for a keeper that says [`Inventory::notifies`].
    Notify {
        /// What, as in sd_notify(3).
        text: String,
    },
    /// Have another binary, which is at the place of this one, take over. Answered by [`Fact::Upgrade`]. Only for a keeper
    /// that says [`Inventory::can_upgrade`].
    Upgrade,
    /// End the keeper. Refused, with nothing done, while a process is left.
    Exit {
        /// The exit code.
        code: u8,
    },
}

/// How to start a process. Everything is decided; the keeper chooses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnOrder {
    /// The life that begins. The keeper refuses a number that it has seen before.
    pub incarnation: Incarnation,
    /// The program and its arguments; never empty.
    pub argv: Vec<String>,
    /// The environment of the process, but for what the user's account and `env_files` say.
    pub environment: BTreeMap<String, String>,
    /// Names in `environment` that neither the account nor `env_files` change. A controller that does not know of them
    /// leaves them out, and `environment` is then the whole.
    #[serde(default)]
    pub given: Option<BTreeSet<String>>,
    /// Files of variables, later ones over earlier ones.
    #[serde(default)]
    pub env_files: Vec<EnvFile>,
    /// The working directory.
    pub directory: Option<PathBuf>,
    /// The user's name or number.
    pub user: Option<String>,
    /// The group's name or number.
    pub group: Option<String>,
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// Added to the scheduling priority.
    pub nice: Option<i32>,
    /// Limits of the system.
    #[serde(default)]
    pub limits: BTreeMap<Resource, Limit>,
    /// How willingly the kernel kills it when memory is short.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// Whether nothing that it starts can gain rights.
    #[serde(default)]
    pub no_new_privs: bool,
    /// What is on standard input.
    #[serde(default)]
    pub stdin: Stdin,
    /// The control group that it shares with others of its name.
    #[serde(default)]
    pub cgroup: Option<CgroupOrder>,
    /// The named pipe that becomes stdout and stderr. The keeper makes it and holds it open.
    pub output: PathBuf,
    /// The named pipe that becomes stderr in place of that one. A keeper that does not know this makes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<PathBuf>,
    /// The socket over which the process says how it is. The keeper makes it, holds it, and hands it over as
    /// [`Fact::Kept`] under [`notify_key`], before the answer to this order.
    #[serde(default)]
    pub notify: Option<NotifyOrder>,
    /// What the inventory returns for this incarnation, in the controller's own words.
    pub note: serde_json::Value,
}

/// A socket that a process is to find.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyOrder {
    /// Where.
    pub path: PathBuf,
    /// Whether a process that could not use it is not to be started; else it is started without.
    pub required: bool,
}

/// The key under which the keeper holds the socket of an incarnation until that is released.
pub fn notify_key(incarnation: Incarnation) -> String {
    format!("{NOTIFY_KEY}{incarnation}")
}

/// The incarnation that a kept socket is of, if it is one.
pub fn notified(key: &str) -> Option<Incarnation> {
    key.strip_prefix(NOTIFY_KEY)?.parse().ok().map(Incarnation)
}

const NOTIFY_KEY: &str = "notify.";

/// A control group for processes of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupOrder {
    /// The name; a part of a path.
    pub name: String,
    /// Its limits.
    pub limits: CgroupSpec,
}

/// What the keeper tells a controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fact")]
pub enum Fact {
    /// The first frame to every controller: everything that there is. [`Fact::Kept`] frames follow, one for each kept key.
    /// Told again, without those, as the answer to [`Order::Adopt`].
    Inventory(Inventory),
    /// A kept file descriptor comes with this frame: after the inventory, and when a spawn has made one.
    Kept {
        /// Its name.
        key: String,
    },
    /// The program was exec'd.
    Spawned {
        /// Which life.
        incarnation: Incarnation,
        /// The leader's process id.
        pid: i32,
        /// When the exec was seen.
        at: Time,
    },
    /// The program could not be started; nothing of it is left.
    CouldNotSpawn {
        /// Which life.
        incarnation: Incarnation,
        /// What was being done: `chdir /srv/nope`, `exec ./server`, `user www-data`.
        step: String,
        /// The system's word for it: `No such file or directory`.
        cause: String,
        /// When.
        at: Time,
    },
    /// The leader ended and was reaped.
    Exited {
        /// Which life.
        incarnation: Incarnation,
        /// How.
        status: ExitStatus,
        /// How many of its processes are known to live on.
        left: u32,
        /// When.
        at: Time,
    },
    /// The number of processes that a dead leader left behind changed; at 0 all are gone.
    Left {
        /// Which life.
        incarnation: Incarnation,
        /// How many.
        left: u32,
        /// When.
        at: Time,
    },
    /// Another controller is to take this one's place: answer what was asked, write the state down, and end. A controller
    /// that does not know this ends as well, because it does not understand it.
    Leave,
    /// How an upgrade stands.
    Upgrade(Upgrade),
    /// The keeper received a signal that is meant for Leveret: SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1. SIGUSR2 is the
    /// keeper's own matter: it asks for an upgrade.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
}

/// Everything the keeper holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The keeper's [`VERSION`].
    pub version: u32,
    /// The keeper's process id.
    pub keeper_pid: i32,
    /// When the keeper started.
    pub started_at: Time,
    /// How many controllers there have been before this one.
    pub controllers_before: u32,
    /// The highest incarnation ever ordered.
    pub last_incarnation: Incarnation,
    /// Every incarnation that was not released.
    pub processes: Vec<InventoryProcess>,
    /// The names of the kept file descriptors, in the order in which they follow.
    pub kept: Vec<String>,
    /// Signals that came while there was no controller, oldest first. SIGTERM, SIGINT and SIGQUIT are told to every later
    /// controller again, so that an end that was asked for is not forgotten with the controller that began it.
    pub signals: Vec<i32>,
    /// Whether lives are written down for a keeper that follows this one.
    #[serde(default)]
    pub recording: Recording,
    /// The keepers, oldest first, whose processes this one took over.
    #[serde(default)]
    pub predecessors: Vec<Predecessor>,
    /// Whether this keeper knows [`Order::Up`] and [`Order::Upgrade`].
    #[serde(default)]
    pub can_upgrade: bool,
    /// Whether there is a service manager that wants to be told how Leveret is.
    #[serde(default)]
    pub notifies: bool,
    /// The last upgrade that was asked for.
    #[serde(default)]
    pub upgrade: Option<Upgrade>,
}

/// An upgrade that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Counted up by each one that is asked for.
    pub number: u32,
    /// The version that ran.
    pub from: String,
    /// The version that is to run, once that is known.
    pub to: Option<String>,
    /// How it stands.
    pub state: UpgradeState,
}

/// How an upgrade stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeState {
    /// It goes on; what is being done.
    UnderWay(String),
    /// It is done, as a sentence.
    Done(String),
    /// It was refused or failed, and the old version goes on; why, as a sentence.
    Refused(String),
}

/// Whether lives are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// This keeper does not know how to.
    #[default]
    Unknown,
    /// No controller has asked for it, or it failed.
    No,
    /// They are.
    Yes,
}

/// A keeper that was there before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// Its process id.
    pub pid: i32,
    /// When it started.
    pub started_at: Time,
}

/// One incarnation in the inventory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InventoryProcess {
    /// Which life.
    pub incarnation: Incarnation,
    /// Its named pipe.
    pub output: PathBuf,
    /// The named pipe of its stderr, where that has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<PathBuf>,
    /// The controller's words, from the order or a later note.
    pub note: serde_json::Value,
    /// How far it got.
    pub state: InventoryState,
    /// Whether an earlier keeper started it: how it ends will not be known.
    #[serde(default)]
    pub adopted: bool,
}

/// How far an incarnation got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum InventoryState {
    /// Ordered, not yet exec'd.
    Spawning,
    /// The leader lives.
    Running {
        /// Its process id.
        pid: i32,
        /// When it was exec'd.
        at: Time,
    },
    /// It could not be started.
    CouldNotSpawn {
        /// See [`Fact::CouldNotSpawn`].
        step: String,
        /// See [`Fact::CouldNotSpawn`].
        cause: String,
        /// When.
        at: Time,
    },
    /// The leader ended.
    Exited {
        /// Its process id.
        pid: i32,
        /// When it was exec'd.
        started_at: Time,
        /// How it ended.
        status: ExitStatus,
        /// How many of its processes live on. At 0 all are gone and nothing more is told; until the keeper is sure of
        /// that it is at least 1, and [`Fact::Left`] follows.
        left: u32,
        /// When it ended.
        at: Time,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats;

    #[test]
    fn what_earlier_versions_say_is_understood() {
        for (place, line) in formats::each_line("orders.jsonl") {
            formats::read::<Order>(&place, &line);
        }
        for (place, line) in formats::each_line("facts.jsonl") {
            formats::read::<Fact>(&place, &line);
        }
    }
}
