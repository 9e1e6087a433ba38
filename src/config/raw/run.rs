//! What a process is made from: its command, its limits, its files of variables.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::config::leaves;

/// Limits of the system. A single value sets the soft and the hard limit; `{soft: .., hard: ..}` sets one or both.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// Open files: a number, or `unlimited`.
    #[schemars(schema_with = "leaves::count_limit")]
    pub(in crate::config) nofile: Option<Limit>,
    /// Processes and threads of the program's user, all of them counted: a number, or `unlimited`. root is not limited.
    #[schemars(schema_with = "leaves::count_limit")]
    pub(in crate::config) nproc: Option<Limit>,
    /// The size of a core file: a size, or `unlimited`; 0 writes none.
    #[schemars(schema_with = "leaves::size_limit")]
    pub(in crate::config) core: Option<Limit>,
    /// The stack of the main thread: a size, or `unlimited`.
    #[schemars(schema_with = "leaves::size_limit")]
    pub(in crate::config) stack: Option<Limit>,
    /// Processor time that a process may use in all: a duration in whole seconds, or `unlimited`. At the soft limit it
    /// gets SIGXCPU, at the hard one SIGKILL.
    #[schemars(schema_with = "leaves::time_limit")]
    pub(in crate::config) cpu: Option<Limit>,
    /// Address space, which is more than the memory in use: a size, or `unlimited`.
    #[schemars(schema_with = "leaves::size_limit")]
    pub(in crate::config) memory: Option<Limit>,
}

/// Limits for all processes of a program together.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cgroup {
    /// Memory in use. The kernel kills a process of the program that needs more.
    #[schemars(schema_with = "leaves::size")]
    pub(in crate::config) memory_max: Option<u64>,
    /// Processor time, in percent of one core: 150 is one core and a half.
    #[schemars(range(min = 1, max = 100_000))]
    pub(in crate::config) cpu_max: Option<u32>,
    /// Processes and threads.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub(in crate::config) pids_max: Option<u32>,
}

/// A limit as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Limit {
    /// The soft and the hard one.
    Both(Bound),
    /// One of them, or both.
    Each {
        /// The soft one.
        soft: Option<Bound>,
        /// The hard one.
        hard: Option<Bound>,
    },
}

/// How much, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Bound {
    /// So many.
    At(u64),
    /// A word.
    Word(Unlimited),
}

/// The word for no limit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Unlimited {
    /// No limit.
    Unlimited,
}

/// Files of variables as they are written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum EnvFiles {
    /// Several.
    Several(Vec<EnvFile>),
    /// One.
    One(EnvFile),
}

impl EnvFiles {
    /// All of them.
    pub(in crate::config) fn all(&self) -> &[EnvFile] {
        match self {
            Self::Several(files) => files,
            Self::One(file) => std::slice::from_ref(file),
        }
    }
}

/// A file of variables as it is written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum EnvFile {
    /// The path alone.
    Path(PathBuf),
    /// With what it is like.
    Described {
        /// The path; absent only in a file with mistakes.
        path: Option<PathBuf>,
        /// Whether it may be missing.
        #[serde(default)]
        optional: bool,
    },
}

impl EnvFile {
    /// The path, and whether it may be missing.
    pub(in crate::config) fn parts(&self) -> Option<(&PathBuf, bool)> {
        match self {
            Self::Path(path) => Some((path, false)),
            Self::Described { path, optional } => Some((path.as_ref()?, *optional)),
        }
    }
}

/// A command as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Command {
    /// One line.
    Line(String),
    /// A list of words.
    Words(Vec<String>),
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one line or a list of words")
            }

            fn visit_str<E>(self, line: &str) -> Result<Command, E> {
                Ok(Command::Line(line.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Command, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(Command::Words(words))
            }
        }

        deserializer.deserialize_any(Either)
    }
}
