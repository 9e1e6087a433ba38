//! What can happen to the machine, and what it has to say about it.

use serde::{Deserialize, Serialize};

use super::auxiliary::AuxiliaryOutcome;
use super::check::{Check, CheckFor};
use super::exit::ExitStatus;
use super::hooks::{Moment, Preparation};
use super::ids::{Incarnation, ProcessId, ProgramName, Target};
use super::memory_left::MemoryLeft;
use super::observed::{BrokerHealth, Stop};
use super::readiness::{Unfit, Voice, Work};
use super::rollout::Rolling;
use super::runs::Run;
use super::schedule::Wall;
use super::time::Time;
use crate::scaling::decision::Decision;
use crate::scaling::hands::Hands;
use crate::scaling::input::Observation;

/// A fact from outside. Each carries the life that it is about; facts about older lives change nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The program was exec'd.
    Spawned {
        /// Which life.
        incarnation: Incarnation,
        /// The main process.
        pid: i32,
        /// When.
        at: Time,
    },
    /// The program could not be started.
    CouldNotSpawn {
        /// Which life.
        incarnation: Incarnation,
        /// What was being done.
        step: String,
        /// What stood against it.
        cause: String,
        /// When.
        at: Time,
    },
    /// The main process ended.
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
    /// So many processes of a life whose main process ended live on.
    Left {
        /// Which life.
        incarnation: Incarnation,
        /// How many; 0 is final.
        left: u32,
        /// When.
        at: Time,
    },
    /// A broker changed its state.
    Broker {
        /// Its name.
        broker: String,
        /// Its state now.
        health: BrokerHealth,
        /// When.
        at: Time,
    },
    /// A queue was read, or could not be.
    Queue {
        /// The broker's name.
        broker: String,
        /// The queue's name.
        queue: String,
        /// What was seen.
        observation: Observation,
    },
    /// How the wall clock stands to the monotonic one.
    Wall(Wall),
    /// All that a process has said of itself so far.
    Said {
        /// Which life.
        incarnation: Incarnation,
        /// What.
        voice: Voice,
        /// When.
        at: Time,
    },
    /// A process has printed something that matches a pattern.
    Printed {
        /// Which life.
        incarnation: Incarnation,
        /// The pattern.
        pattern: String,
        /// When.
        at: Time,
    },
    /// What a look at a process found.
    Checked {
        /// Which life.
        incarnation: Incarnation,
        /// What it was looked at for.
        purpose: CheckFor,
        /// How, as it was ordered.
        check: Check,
        /// What is wrong, if anything is: `http://127.0.0.1:8080/health answered 503`.
        result: Result<(), String>,
        /// When.
        at: Time,
    },
    /// Whether a broker tells of the channels of its consumers, or is about to.
    TellsWork {
        /// The broker's name.
        broker: String,
        /// Whether it does.
        tells: bool,
    },
    /// How much memory the machine has left.
    MemoryLeft(MemoryLeft),
    /// How the processes of a program take messages, as their broker tells.
    Takes {
        /// The program's name.
        program: ProgramName,
        /// How each of them does.
        hands: Hands,
    },
    /// What the channels of processes say of their work, as their broker tells; absent where that is not known, or not any
    /// more.
    AtWork {
        /// The broker's name.
        broker: String,
        /// By life.
        read: Vec<(Incarnation, Option<Work>)>,
        /// When the broker was asked.
        at: Time,
    },
    /// Resident memory of main processes was read, in bytes. A life that is not among them was not read.
    Memory(Vec<(Incarnation, u64)>),
    /// What the process wrote last for whose sake a rolling restart was halted.
    LastWords {
        /// The program.
        program: ProgramName,
        /// Which rolling restart.
        rollout: u64,
        /// The line.
        words: String,
    },
}

/// A life that was there before this controller, from the keeper's inventory.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// Whose.
    pub process: ProcessId,
    /// Which life.
    pub incarnation: Incarnation,
    /// What it was made from.
    pub fingerprint: u64,
    /// When its start was ordered.
    pub ordered_at: Time,
    /// The request that it end, if it was made.
    pub stop: Option<Stop>,
    /// The main process and when it was exec'd; absent when that is not known yet or never came to be.
    pub main: Option<(i32, Time)>,
    /// The run of a schedule that it is for, where it is for one.
    pub run: Option<Run>,
    /// Whether an earlier keeper started it; what it said of itself meanwhile was heard by nobody.
    pub unheard: bool,
}

/// A hook before a start that was there before this controller, from the keeper's inventory.
#[derive(Clone, Debug, PartialEq)]
pub struct AdoptedPreparation {
    /// Whose start it is for.
    pub process: ProcessId,
    /// Its own life.
    pub incarnation: Incarnation,
    /// What the process was to be made from.
    pub fingerprint: u64,
    /// When it was ordered.
    pub ordered_at: Time,
    /// How far it has come, as far as it was written on it.
    pub preparation: Preparation,
    /// The run of a schedule that the start is for, where it is for one.
    pub run: Option<Run>,
}

/// A hook about a life of a process that was there before this controller, from the keeper's inventory.
#[derive(Clone, Debug, PartialEq)]
pub struct AdoptedHook {
    /// Of which process.
    pub process: ProcessId,
    /// When in its life.
    pub moment: Moment,
    /// Which life.
    pub about: Incarnation,
    /// The hook's own life.
    pub incarnation: Incarnation,
    /// When its tree is killed.
    pub deadline: Time,
}

/// A change of what is desired.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Should run; clears a stop and forgives failures.
    Start(Target),
    /// Should not run.
    Stop(Target),
    /// Present processes should be replaced.
    Restart(Target),
    /// Present processes should be replaced one after another.
    Roll(Target, Rolling),
    /// One process more.
    Copy(Target),
    /// This many processes, until the moment or until released.
    Scale(ProgramName, u32, Option<Time>),
    /// Give the count back to the engine or the file.
    Auto(Target),
    /// Freeze scaling.
    Pause(Target),
    /// Unfreeze scaling.
    Resume(Target),
    /// End everything.
    Shutdown,
    /// End everything now: kill what is left.
    ShutdownNow,
}

/// Why an edit was not taken; a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Nothing has that name.
    #[error("{0}")]
    NoSuchName(String),
    /// It cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(String),
}

/// Something worth telling, for the log and the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A process was started again.
    Restarted(ProcessId, RestartReason),
    /// A life ended: what happens next, as a sentence.
    Ended(ProcessId, String),
    /// A life that was asked to end is gone with all it left: how it ended, and how long that took.
    Stopped(ProcessId, ExitStatus, std::time::Duration),
    /// The shutdown has taken all of this, its time, and what is left is killed.
    ShutdownOverdue(std::time::Duration),
    /// A hook has failed, on which nothing depends; why, as a sentence.
    HookFailed(ProcessId, String),
    /// The tree was killed at its limit.
    Killed(ProcessId),
    /// The processes of a program die of their stop signal.
    NoStopHandler(ProgramName, String),
    /// The engine came to another outcome.
    Decided(ProgramName, Box<Decision>),
    /// A hold ended by itself.
    HoldEnded(ProgramName),
    /// A process is asked to end, so that a new one takes its place, and why.
    Recycled(ProcessId, String),
    /// Every canary of a rolling restart has proven itself.
    RolloutGoesOn(ProgramName),
    /// A rolling restart has replaced so many processes, which were all there were.
    RolloutDone(ProgramName, u32),
    /// A rolling restart, by its number, was halted: by whom if by a process of this program, and a sentence about it.
    RolloutHalted(ProgramName, u64, Option<Culprit>, String),
    /// A process of a critical program has ended for good: everything ends, with this exit code.
    CriticalEnded(ProcessId, u8),
    /// A run of a schedule began, and why.
    RunBegan(ProgramName, String),
    /// A run of a schedule is over: whether it succeeded, and how it ended.
    RunEnded(ProgramName, bool, String),
    /// A run of a schedule did not begin when it was due, and why.
    RunLeftOut(ProgramName, String),
    /// The wall clock was set, by so many seconds; schedules go by the new time.
    ClockSet(i64),
    /// A process is asked to end because it is of no use, and what is known of that.
    Unfit(ProcessId, Unfit, Option<String>),
    /// An auxiliary process ended.
    Auxiliary(AuxiliaryOutcome),
}

/// A life that ended too soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Whose.
    pub process: ProcessId,
    /// Which.
    pub incarnation: Incarnation,
    /// When it began.
    pub began_at: Time,
}

/// Why a process was started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartReason {
    /// It ended with a failure.
    Crash,
    /// It ended well after a useful life.
    CleanExit,
    /// It could not be started before.
    SpawnFailed,
    /// An operator asked for it.
    Operator,
    /// Its program was changed.
    Changed,
    /// It did not become ready in time.
    NotReady,
    /// It did not feed its watchdog.
    Watchdog,
    /// It failed its health checks.
    Unhealthy,
    /// It was its turn in a rolling restart.
    Rollout,
    /// It used too much memory, or was old.
    Recycle,
}

impl RestartReason {
    /// The label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CleanExit => "clean-exit",
            Self::SpawnFailed => "spawn-failed",
            Self::Operator => "operator",
            Self::Changed => "changed",
            Self::NotReady => "not-ready",
            Self::Watchdog => "watchdog",
            Self::Unhealthy => "unhealthy",
            Self::Rollout => "rollout",
            Self::Recycle => "recycle",
        }
    }
}
