//! What is to be done. A command leaves no choice to whoever carries it out.

use serde::{Deserialize, Serialize};

use super::auxiliary::AuxiliaryId;
use super::check::{Check, CheckFor};
use super::gap::Gap;
use super::hooks::Moment;
use super::ids::{Incarnation, ProcessId, ProgramName};
use super::observed::{Life, Stop};
use super::time::Time;

/// What to do now, when to look again, and why what is wanted is not yet so.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a plan that nobody carries out changes nothing"]
pub struct Plan {
    /// In this order.
    pub commands: Vec<Command>,
    /// The moment at which time alone changes the plan; absent when only a fact or an edit can.
    pub wake_at: Option<Time>,
    /// Every gap between wanted and actual, by program and slot; a gap without a slot is the program's own.
    pub gaps: Vec<(ProgramName, Option<u32>, Gap)>,
    /// Set once a shutdown is wanted and nothing is left.
    pub finished: bool,
}

/// One deed, or one thing to remember.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Start a process.
    Spawn {
        /// Which.
        process: ProcessId,
        /// The life that begins.
        life: Life,
    },
    /// Run what has to succeed before a process is started.
    Prepare {
        /// Whose start it is for.
        process: ProcessId,
        /// The hook's own life; the process gets another.
        life: Life,
        /// When its tree is killed.
        deadline: Time,
    },
    /// Kill what runs before a process is started.
    EndPreparation {
        /// Whose start it is for.
        process: ProcessId,
        /// The hook's own life.
        incarnation: Incarnation,
        /// Whether that is because the process is not to be started, and not because it takes too long.
        is_cancelled: bool,
    },
    /// Run a hook about a life of a process.
    RunHook {
        /// Of which process.
        process: ProcessId,
        /// When in its life.
        moment: Moment,
        /// Which life.
        about: Incarnation,
        /// The hook's own life.
        incarnation: Incarnation,
        /// When its tree is killed.
        deadline: Time,
    },
    /// Kill a hook about a life of a process.
    EndHook {
        /// Of which process.
        process: ProcessId,
        /// When in its life.
        moment: Moment,
        /// Which life.
        about: Incarnation,
        /// The hook's own life.
        incarnation: Incarnation,
        /// Whether that is because what it is for is over, and not because it takes too long.
        is_cancelled: bool,
    },
    /// A process is about to be asked to end, once its hook has run. Nothing is sent.
    PrepareStop {
        /// Which.
        process: ProcessId,
        /// Which life.
        incarnation: Incarnation,
        /// On whose behalf.
        stop: Stop,
    },
    /// Ask a process to end.
    Stop {
        /// Which.
        process: ProcessId,
        /// Which life.
        incarnation: Incarnation,
        /// On whose behalf and until when.
        stop: Stop,
        /// The signal's number.
        signal: i32,
        /// To whom.
        scope: Scope,
    },
    /// Ask a process once more to end, with the next signal of its stop.
    StopNext {
        /// Which.
        process: ProcessId,
        /// Which life.
        incarnation: Incarnation,
        /// The stop as it is from now on.
        stop: Stop,
        /// The signal's number.
        signal: i32,
        /// To whom.
        scope: Scope,
    },
    /// Ask what an ended main process left behind to end.
    StopLeft {
        /// Which.
        process: ProcessId,
        /// Which life.
        incarnation: Incarnation,
        /// On whose behalf and until when.
        stop: Stop,
        /// The signal's number.
        signal: i32,
    },
    /// Give a stop that had none a limit. Nothing is sent.
    Limit {
        /// Which.
        process: ProcessId,
        /// Which life.
        incarnation: Incarnation,
        /// The stop as it is from now on.
        stop: Stop,
    },
    /// Kill the whole tree.
    Kill {
        /// Which.
        process: ProcessId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// Watch over a process that is ready: it has to say that often that it does not hang. Nothing is sent.
    Watch {
        /// Which.
        process: ProcessId,
        /// Which life.
        incarnation: Incarnation,
        /// How often at least.
        watchdog: std::time::Duration,
    },
    /// Look at a process again and again, in place of whatever it was looked at for before. Nothing is sent.
    Check {
        /// Which.
        process: ProcessId,
        /// Which life.
        incarnation: Incarnation,
        /// What for.
        purpose: CheckFor,
        /// How.
        check: Check,
    },
    /// Start an auxiliary process.
    SpawnAuxiliary {
        /// Which request.
        id: AuxiliaryId,
        /// The life that begins.
        incarnation: Incarnation,
        /// When its tree is killed.
        deadline: Time,
    },
    /// Kill an auxiliary process with its tree.
    KillAuxiliary {
        /// Which request.
        id: AuxiliaryId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// Kill what an auxiliary process left behind, or one that nobody waits for any more.
    KillStray {
        /// Which life.
        incarnation: Incarnation,
    },
}

/// Which processes of a life a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The main process; once it is gone, whatever it left behind.
    Main,
    /// The main process's group.
    Group,
    /// Every process that is proven to descend from the main process, whatever group or session it moved to.
    Tree,
}
