//! What the pump is told and tells.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::ids::Incarnation;

/// How much of a last line is told.
pub const LAST_LINE_CHARACTERS_MAX: usize = 200;

/// A named pipe to be emptied into a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Whose output it is.
    pub incarnation: Incarnation,
    /// The named pipe; the keeper holds it open.
    pub pipe: PathBuf,
    /// Whether it is the stderr of a process that has a pipe for that; a life that turns out to have none prints all into
    /// its other one.
    pub is_errors: bool,
    /// The program, for JSON and for the count of what was dropped.
    pub program: String,
    /// The process as people know it, for prefixes: `orders:3`.
    pub label: String,
    /// Where the output goes.
    pub sink: Sink,
    /// What lines look like there; bytes of a [`Sink::Own`] stay as they are.
    pub format: Format,
    /// When a file is rotated, and what is kept.
    pub keeping: Keeping,
    /// A pattern that is waited for: when it is printed, [`PumpEvent::Matched`] is told, once.
    pub awaited: Option<String>,
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A file of this process alone: bytes are spliced.
    Own(PathBuf),
    /// A file that several processes share, or that has a format: written by whole lines.
    Lines(PathBuf),
    /// Leveret's own stdout, by whole lines.
    Stdout,
    /// Nowhere: the last line alone is told, as [`PumpEvent::LastLine`].
    LastLine,
}

/// What lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As they were printed.
    #[default]
    Raw,
    /// `orders:3 | text`
    Labelled,
    /// `2026-11-23T03:00:00.123Z orders:3 | text`
    Prefixed,
    /// `{"time":"..","program":"orders","process":"orders:3","line":"text"}`, with `"stream":"stderr"` before the line
    /// where that is known.
    Json,
}

/// When a file is rotated, and what is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    /// The size in bytes at which a file is rotated; 0 never rotates by size.
    pub max_size: u64,
    /// The age at which a file is rotated, counted from its first line; looked at when something is written to it.
    pub max_age: Option<Duration>,
    /// How many rotated files are kept: `FILE.1` is the newest.
    pub keep: u32,
    /// Whether rotated files are compressed, all but the newest.
    pub compress: bool,
}

/// What the pump tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PumpEvent {
    /// A life has printed something that matches the pattern that is waited for. It is told before the line leaves its pipe.
    Matched(Incarnation, String),
    /// What a finished incarnation printed last that is not blank, cut to [`LAST_LINE_CHARACTERS_MAX`].
    LastLine(Incarnation, String),
    /// All that a finished incarnation wrote is where it belongs, and the pipe is closed on this side.
    Drained(Incarnation),
    /// Output could not be written or read, as a sentence; told once until it works again.
    Trouble(String),
    /// What was in trouble works again, as a sentence that says what was lost meanwhile.
    Recovered(String),
}
