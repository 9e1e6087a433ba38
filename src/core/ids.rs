//! The names of things: programs, processes in numbered slots, and the lives of a slot.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest program or project name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The name of a program: 1 to 64 of `A-Z a-z 0-9 _ - .`, not beginning with `-` or `.`, and not `all`.
///
/// `:` and `@` are left out because they address a process (`orders:3`) and a project (`@shop`). Copies share the text:
/// every process, command and reason has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramName(Arc<str>);

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty or longer than [`NAME_BYTES_MAX`].
    #[error("a name has 1 to 64 characters")]
    Length,
    /// The text contains a character that no name may have, or begins with `-` or `.`.
    #[error(
        "\"{0}\" may contain only letters, digits, \"_\", \"-\" and \".\", and begins with a letter, a digit or \"_\""
    )]
    Character(String),
    /// The text is a word of the command line.
    #[error("\"all\" means every program and cannot be the name of one")]
    Reserved,
    /// The text after the colon is not the number of a slot.
    #[error("\"{0}\" is not a process: write the program, a colon and the slot's number, as in orders:3")]
    Slot(String),
}

impl ProgramName {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// Says which rule of [`ProgramName`] the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(NameError::Length);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !text.chars().all(plain) || text.starts_with(['-', '.']) {
            return Err(NameError::Character(text));
        }
        if text == "all" {
            return Err(NameError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProgramName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProgramName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for ProgramName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<ProgramName> for String {
    fn from(name: ProgramName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl AsRef<str> for ProgramName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// One copy of a program: the program and the number of its slot, written `orders:3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The program that this is a copy of.
    pub program: ProgramName,
    /// The slot's number, from 0.
    pub slot: u32,
}

impl ProcessId {
    /// The process of `program` in `slot`.
    pub fn new(program: ProgramName, slot: u32) -> Self {
        Self { program, slot }
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.program, self.slot)
    }
}

/// The processes that a text names, as the name of a connection does whose client put `LEVERET_PROCESS` into it: `orders:3`
/// in `shop [orders:3]@web1`.
pub fn processes_in(text: &str) -> impl Iterator<Item = ProcessId> {
    let words = text.split(|c: char| !c.is_alphanumeric() && !matches!(c, ':' | '_' | '-' | '.'));
    words.filter_map(|word| word.parse().ok())
}

impl FromStr for ProcessId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let slot = |digits: &str| digits.parse().map_err(|_| NameError::Slot(text.to_owned()));
        match text.split_once(':') {
            Some((program, digits)) => Ok(Self::new(ProgramName::new(program)?, slot(digits)?)),
            None => Err(NameError::Slot(text.to_owned())),
        }
    }
}

/// One life of a slot: counted up over the whole of Leveret at every spawn and never used twice, so that
/// a late fact about an older life is recognised and ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// The life after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What an action is aimed at, as a person writes it: `all`, `@project`, `program` or `program:slot`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Every program.
    All,
    /// Every program of a project.
    Project(String),
    /// A program with all its processes.
    Program(ProgramName),
    /// One process.
    Process(ProcessId),
}

impl FromStr for Target {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some(project) = text.strip_prefix('@') {
            return Ok(Self::Project(ProgramName::new(project)?.into()));
        }
        if text.contains(':') {
            return Ok(Self::Process(text.parse()?));
        }
        Ok(Self::Program(ProgramName::new(text)?))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Project(project) => write!(f, "@{project}"),
            Self::Program(program) => program.fmt(f),
            Self::Process(process) => process.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_as_it_was_written() {
        for text in ["all", "@shop", "orders", "orders:3"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_processes_that_a_text_names_stand_in_words_of_their_own() {
        let named = |text: &str| processes_in(text).map(|process| process.to_string()).collect::<Vec<_>>();
        assert_eq!(named("shop [orders:3]@web1, then big-orders:12"), ["orders:3", "big-orders:12"]);
        assert!(named("orders, orders:, :3, orders:three and old:orders:3").is_empty());
    }

    #[test]
    fn a_name_that_would_be_ambiguous_is_refused() {
        assert_eq!(ProgramName::new("all"), Err(NameError::Reserved));
        assert_eq!(ProgramName::new(""), Err(NameError::Length));
        for text in ["a:b", "@a", "a b", "-a", "../x", "ä"] {
            assert!(matches!(ProgramName::new(text), Err(NameError::Character(_))), "{text}");
        }
        assert!("orders:x".parse::<ProcessId>().is_err());
        assert!("orders:-1".parse::<Target>().is_err());
    }
}
