//! What the pump is told and tells.

use std::path::PathBuf;

use crate::core::ids::Incarnation;

/// A named pipe to be emptied into a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Whose output it is.
    pub incarnation: Incarnation,
    /// The named pipe; the keeper holds it open.
    pub pipe: PathBuf,
    /// The process as people know it, for prefixes: `orders:3`.
    pub label: String,
    /// Where the output goes.
    pub sink: Sink,
    /// The size in bytes at which a file is rotated; 0 never rotates.
    pub max_size: u64,
    /// How many rotated files are kept: `FILE.1` is the newest.
    pub keep: u32,
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A file of this process alone: bytes are spliced.
    Own(PathBuf),
    /// A file that several processes share: written by whole lines, without a prefix.
    Shared(PathBuf),
    /// Leveret's own stdout, by whole lines, each with the label in front.
    Stdout,
}

/// What the pump tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PumpEvent {
    /// All that a finished incarnation wrote is where it belongs, and the pipe is closed on this side.
    Drained(Incarnation),
    /// Output could not be written or read, as a sentence; told once until it works again.
    Trouble(Incarnation, String),
    /// What was in trouble works again, as a sentence that says what was lost meanwhile.
    Recovered(Incarnation, String),
}
