//! What the exit code tells a script. The numbers are names that others depend on: add, never change.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It was tried and failed, or did not come about in time.
    Failed = 1,
    /// Wrong usage, or a configuration with errors.
    Usage = 2,
    /// `status`: something is not running that should.
    NotRunning = 3,
    /// There is no program, process or project of that name.
    NoSuchName = 4,
    /// No Leveret answers there.
    Unreachable = 5,
}

impl Exit {
    /// Every exit code, ascending.
    pub const ALL: [Self; 6] =
        [Self::Done, Self::Failed, Self::Usage, Self::NotRunning, Self::NoSuchName, Self::Unreachable];

    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for the help.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "wrong usage or bad configuration",
            Self::NotRunning => "something is not running that should (status)",
            Self::NoSuchName => "no such name",
            Self::Unreachable => "Leveret is not reachable",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_that_scripts_know() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 4, 5]);
    }
}
