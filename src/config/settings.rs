//! The configuration after validation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::budget::Budget;
use crate::core::spec::{BrokerSpec, ProgramSpec};

/// Everything that a configuration file says, with defaults filled in.
///
/// It is serialized for one purpose: the keeper holds it in memory, so that a new controller goes on with what is
/// running and not with what the file says by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where the page and the API listen.
    pub listen: SocketAddr,
    /// Names, beside the address itself and localhost, that a Host header may have.
    pub allowed_hosts: Vec<String>,
    /// Where what must outlive a restart of the machine is kept: logs, holds, decisions.
    pub state_dir: PathBuf,
    /// Where what is of use to this boot alone is kept, best in memory: the Unix socket, pipes, records of lives.
    pub runtime_dir: PathBuf,
    /// Who may use the Unix socket.
    pub socket: SocketSettings,
    /// How often every queue is read.
    pub probe_interval: Duration,
    /// How long the shutdown may take in all before what is left is killed.
    #[serde(default)]
    pub shutdown_timeout: Option<Duration>,
    /// Of what there is only so much for all programs together.
    #[serde(default)]
    pub budgets: Vec<Budget>,
    /// The brokers, by name.
    pub brokers: Vec<BrokerSpec>,
    /// The programs, in the order of the file.
    pub programs: Vec<ProgramSpec>,
    /// What is not an error but worth knowing, a sentence each.
    pub warnings: Vec<String>,
}

/// Who may use the Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketSettings {
    /// The group that owns it; Leveret's own when absent.
    pub group: Option<String>,
    /// Its mode.
    pub mode: u32,
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self { group: None, mode: 0o600 }
    }
}
