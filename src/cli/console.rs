//! Where a command's words go: stdout for results, stderr for progress and errors; colour and width only on a terminal.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::OwnedFd;

use super::address::Surroundings;
use super::failure::Failure;

/// The two outputs of a command and what they can show.
pub(crate) struct Console<'a> {
    /// Results.
    pub(crate) out: &'a mut dyn Write,
    /// Progress and errors.
    pub(crate) err: &'a mut dyn Write,
    /// What stdout can show.
    pub(crate) style: Style,
    /// Whether stderr is a terminal, on which a line can be written over.
    pub(crate) live: bool,
    /// Stdout's own descriptor, to notice when nobody reads it any more.
    pub(crate) reader: Option<OwnedFd>,
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("style", &self.style)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

impl<'a> Console<'a> {
    /// A console that is no terminal.
    #[cfg(test)]
    pub(crate) fn for_tests(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err, style: Style::default(), live: false, reader: None }
    }

    /// Writes a line to stdout, now.
    ///
    /// # Errors
    /// The output is closed or full.
    pub(crate) fn say(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{line}")?;
        Ok(self.out.flush()?)
    }

    /// Writes a line to stderr. Progress that cannot be written is no reason to give up.
    pub(crate) fn note(&mut self, line: impl fmt::Display) {
        drop(writeln!(self.err, "{line}"));
    }
}

/// What an output can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether to colour.
    pub(crate) colour: bool,
    /// The width of the terminal in columns; absent where it is no terminal, and nothing is wrapped then.
    pub(crate) width: Option<u16>,
    /// The height of the terminal in lines.
    pub(crate) height: Option<u16>,
}

impl Style {
    /// What stdout can show now; a terminal may change its size at any time.
    pub(crate) fn of_stdout(surroundings: &Surroundings) -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        Self {
            colour: surroundings.allows_colour(),
            width: size.map(|size| size.ws_col).filter(|columns| *columns > 0),
            height: size.map(|size| size.ws_row).filter(|rows| *rows > 0),
        }
    }

    /// `text` in `colour`, where colours are shown.
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if self.colour { format!("{}{text}\x1b[0m", colour.code()) } else { text.to_owned() }
    }
}

/// The few colours that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// All is well.
    Green,
    /// On its way.
    Yellow,
    /// Trouble.
    Red,
    /// Of less weight.
    Dim,
    /// A heading.
    Bold,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
            Self::Dim => "\x1b[2m",
            Self::Bold => "\x1b[1m",
        }
    }

    /// The colour of a state's word.
    pub(crate) fn of_state(state: &str) -> Option<Self> {
        match state {
            "running" => Some(Self::Green),
            "starting" | "stopping" | "waiting" => Some(Self::Yellow),
            "backoff" | "failed" => Some(Self::Red),
            "stopped" | "exited" => Some(Self::Dim),
            _ => None,
        }
    }
}

impl Surroundings {
    /// Whether the user lets a terminal be coloured. Source: no-color.org, and `TERM=dumb`.
    pub(crate) fn allows_colour(&self) -> bool {
        let set = |name: &str| self.environment.get(name).filter(|value| !value.is_empty());
        set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
    }
}
