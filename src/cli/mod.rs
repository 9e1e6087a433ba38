//! What a person types. Every command but those that are the daemon itself reads snapshots and sends edits over the
//! HTTP API; nothing here decides anything, and nothing here may touch a process or a file of the daemon's.

mod act;
mod address;
mod arguments;
mod ask;
mod client;
mod console;
mod demo;
mod detach;
mod dispatch;
mod exit;
mod explain;
mod failure;
#[cfg(test)]
mod fixture;
mod holders;
mod line;
mod live;
mod logs;
mod observe;
mod patience;
mod progress;
mod reload;
mod roll;
mod scale;
mod select;
mod simulate;
mod sse;
mod status;
mod table;
mod text;
mod upgrade;
mod wait;
mod watch;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use self::arguments::DemoArgs;
use self::arguments::{Arguments, Command};
pub use self::demo::{demo, demo_consumer};
pub use self::dispatch::dispatch;
pub use self::exit::Exit;

use crate::config::settings::Settings;

/// What the binary can be beside a client, as functions, so that this room needs none of the others.
#[derive(Clone, Copy, Debug)]
pub struct Daemon {
    /// `leveret run`: the keeper.
    pub run: fn(RunOptions) -> ExitCode,
    /// `leveret demo`.
    pub demo: fn(DemoArgs) -> ExitCode,
    /// Reads a configuration file. The error is every mistake in it, rendered for a person, in colour if told so.
    pub load_config: fn(&Path, bool) -> Result<Settings, String>,
    /// The JSON schema of the configuration file.
    pub schema: fn() -> String,
}

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The configuration file.
    pub configuration: PathBuf,
    /// Where the process id is written.
    pub pid_file: Option<PathBuf>,
    /// Whether this is the process in the background.
    pub is_detached: bool,
}

/// The file that the process id was written to by the `leveret run` of this command line.
pub fn pid_file(words: impl IntoIterator<Item = OsString>) -> Option<PathBuf> {
    match Arguments::read(words).ok()?.command {
        Command::Run(arguments) => arguments.pid_file,
        Command::Check(_)
        | Command::Client(_)
        | Command::Demo(_)
        | Command::Observe(_)
        | Command::Simulate(_)
        | Command::Schema => None,
    }
}

/// A role that Leveret gives to a process that it starts itself. No person types these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Internal {
    /// Sets up a process as ordered and becomes the program.
    Shim,
    /// All of the daemon but the keeper.
    Controller,
    /// Says whether this binary can take over from a keeper that runs.
    Preflight,
    /// A consumer of the demo.
    DemoConsumer,
}

impl Internal {
    /// The first argument that means this role.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Shim => "__exec",
            Self::Controller => "__controller",
            Self::Preflight => "__preflight",
            Self::DemoConsumer => "__demo-consumer",
        }
    }

    /// The role that `argument` means. Cheap: the shim asks this before anything else.
    pub fn of(argument: &OsStr) -> Option<Self> {
        [Self::Shim, Self::Controller, Self::Preflight, Self::DemoConsumer]
            .into_iter()
            .find(|internal| argument == internal.argument())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_internal_roles_are_told_by_the_first_argument() {
        for internal in [Internal::Shim, Internal::Controller, Internal::Preflight, Internal::DemoConsumer] {
            assert_eq!(Internal::of(OsStr::new(internal.argument())), Some(internal));
        }
        assert_eq!(Internal::of(OsStr::new("run")), None);
    }
}
