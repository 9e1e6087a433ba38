//! Short processes beside a program's own: a check, a preflight. They run once, within a limit, and tell how it went.

use std::time::Duration;

use super::exit::ExitStatus;
use super::ids::{Incarnation, ProcessId, ProgramName};
use super::time::Time;

/// Identifies a request for an auxiliary process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuxiliaryId(pub u64);

/// What an auxiliary process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Says whether a process is well.
    Check,
    /// Runs before a program is trusted with work.
    Preflight,
}

/// A request for an auxiliary process and how far it got.
#[derive(Clone, Debug, PartialEq)]
pub struct Auxiliary {
    /// The program whose user, directory and environment it runs with.
    pub program: ProgramName,
    /// The life of a process that it is about, whose names it gets: when that ends or is asked to, nobody waits for it any
    /// more.
    pub about: Option<(ProcessId, Incarnation)>,
    /// What it is for.
    pub purpose: Purpose,
    /// What to run.
    pub argv: Vec<String>,
    /// How long it may run before its tree is killed.
    pub timeout: Duration,
    /// How far it got.
    pub phase: AuxiliaryPhase,
}

/// How far an auxiliary process got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuxiliaryPhase {
    /// Not ordered yet.
    Wanted,
    /// Ordered and running, or about to.
    Running {
        /// Its life.
        incarnation: Incarnation,
        /// When its tree is killed.
        deadline: Time,
        /// When it was killed last.
        killed_at: Option<Time>,
    },
}

/// How an auxiliary process went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuxiliaryOutcome {
    /// Which request.
    pub id: AuxiliaryId,
    /// For which program.
    pub program: ProgramName,
    /// What it was for.
    pub purpose: Purpose,
    /// How it ended.
    pub result: AuxiliaryResult,
}

/// How an auxiliary process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuxiliaryResult {
    /// By itself, within its limit.
    Ended(ExitStatus),
    /// It was killed at its limit.
    TimedOut,
    /// It could not be started; the text says which step failed and why.
    CouldNotStart(String),
}
