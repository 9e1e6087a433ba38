//! Looks at processes from outside: what is looked at, how often, and what it means if it is not well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::ProcessId;

/// The names that stand for a process's own in what is looked at, as in its environment.
pub const OWN_NAMES: [&str; 3] = ["LEVERET_PROGRAM", "LEVERET_PROCESS", "LEVERET_SLOT"];

/// How often it is looked whether a process is ready unless the file says otherwise.
pub const READY_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether a process is well unless the file says otherwise.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(10);

/// How long one look may take unless the file says otherwise.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// How many looks in a row have to fail unless the file says otherwise.
pub const HEALTH_FAILURES: u32 = 3;

/// A look that is taken again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is looked at.
    pub probe: Probe,
    /// How long after a look the next one is taken.
    pub interval: Duration,
    /// How long one look may take.
    pub timeout: Duration,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// An address that answers to GET with a status from 200 to 399.
    Http(String),
    /// A host and a port that take a connection.
    Tcp(String),
    /// A command that ends with exit code 0.
    Command(Vec<String>),
}

/// What a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckFor {
    /// It is starting: one that is well is ready.
    Ready,
    /// It runs: one that is not well again and again is started anew.
    Health,
}

/// When a process that runs is not well any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSpec {
    /// What tells.
    pub check: Check,
    /// How many looks in a row have to fail; at least 1.
    pub failures: u32,
}

impl Check {
    /// The look at one process.
    pub fn of(&self, process: &ProcessId) -> Self {
        Self { probe: self.probe.of(process), ..self.clone() }
    }
}

impl Probe {
    /// What is looked at for one process: its own names stand in place of `${LEVERET_SLOT}` and the like.
    pub fn of(&self, process: &ProcessId) -> Self {
        let own = [process.program.to_string(), process.to_string(), process.slot.to_string()];
        let filled = |text: &String| {
            let names = OWN_NAMES.iter().zip(&own);
            names.fold(text.clone(), |text, (name, own)| text.replace(&format!("${{{name}}}"), own))
        };
        match self {
            Self::Http(url) => Self::Http(filled(url)),
            Self::Tcp(address) => Self::Tcp(filled(address)),
            Self::Command(words) => Self::Command(words.iter().map(filled).collect()),
        }
    }

    /// That there was no answer, before "within 5s".
    pub fn unanswered(&self) -> String {
        match self {
            Self::Http(url) => format!("{url} did not answer"),
            Self::Tcp(address) => format!("{address} took no connection"),
            Self::Command(_) => "its check did not end".to_owned(),
        }
    }

    /// What is waited for, after "waits until".
    pub fn awaited(&self) -> String {
        match self {
            Self::Http(url) => format!("{url} answers"),
            Self::Tcp(address) => format!("{address} takes connections"),
            Self::Command(_) => "its check ends with exit code 0".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_its_own_names_in_what_is_looked_at() {
        let process: ProcessId = "web:3".parse().unwrap();
        let url = "http://${LEVERET_PROGRAM}:80${LEVERET_SLOT}/${LEVERET_PROCESS}?${OTHER}".to_owned();
        let filled = Probe::Http("http://web:803/web:3?${OTHER}".to_owned());
        assert_eq!(Probe::Http(url).of(&process), filled);
        let tcp = Probe::Tcp("db:900${LEVERET_SLOT}".to_owned());
        let command = Probe::Command(vec!["check".to_owned(), "${LEVERET_SLOT}".to_owned()]);
        assert_eq!(command.of(&process), Probe::Command(vec!["check".to_owned(), "3".to_owned()]));
        assert_eq!(tcp.of(&process).awaited(), "db:9003 takes connections");
    }
}
