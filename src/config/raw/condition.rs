//! How it is known how a process is: whether it is of use, and whether it still is.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::run::Command;
use crate::config::leaves;

/// What tells that a process is of use: one of the kinds, with how long it may take.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Ready {
    /// The time since its start.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["5s"]))]
    pub(in crate::config) after: Option<Duration>,
    /// Its own word: it sends READY=1 to the socket that NOTIFY_SOCKET names, as for systemd. A change of this replaces
    /// the processes.
    pub(in crate::config) notify: Option<bool>,
    /// An address that begins with http:// and answers to GET with a status from 200 to 399; redirections are not
    /// followed. In `${LEVERET_SLOT}`, `${LEVERET_PROGRAM}` and `${LEVERET_PROCESS}` each process has its own.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["http://127.0.0.1:8080/health"]))]
    pub(in crate::config) http: Option<String>,
    /// A host and a port that take a connection, with the same names as `http`.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["127.0.0.1:5432"]))]
    pub(in crate::config) tcp: Option<String>,
    /// What to run, as the program's own `command`: with its user, its directory, its environment and its shell, and the
    /// names of the process. It ends with exit code 0 if all is well; else its last line is shown.
    #[schemars(schema_with = "leaves::command", extend("examples" = ["pg_isready -q"]))]
    pub(in crate::config) command: Option<Command>,
    /// A regular expression that matches a line which it prints: `^` and `$` are the ends of the line, `\d` and the like are
    /// those of ASCII. At most 256 bytes.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["listening on port \\d+"]))]
    pub(in crate::config) log: Option<String>,
    /// How long after a look by `http`, `tcp` or `command` the next one is taken; the first ones come sooner. A look takes 5s at
    /// most.
    #[schemars(schema_with = "leaves::duration", extend("default" = "1s"))]
    pub(in crate::config) interval: Option<Duration>,
    /// How long it may take. A process that is not ready by then is stopped and has failed.
    #[schemars(schema_with = "leaves::duration", extend("default" = "60s"))]
    pub(in crate::config) timeout: Option<Duration>,
}

/// What tells that a process that runs is not well any more: one of the kinds, and how many looks in a row have to fail.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-renamed" = {"retries": "failures", "threshold": "failures", "period": "interval", "url": "http", "port": "tcp"}
))]
pub(in crate::config) struct Health {
    /// An address that begins with http:// and answers to GET with a status from 200 to 399; redirections are not
    /// followed. In `${LEVERET_SLOT}`, `${LEVERET_PROGRAM}` and `${LEVERET_PROCESS}` each process has its own.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["http://127.0.0.1:8080/health"]))]
    pub(in crate::config) http: Option<String>,
    /// A host and a port that take a connection, with the same names as `http`.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["127.0.0.1:5432"]))]
    pub(in crate::config) tcp: Option<String>,
    /// What to run, as the program's own `command`: with its user, its directory, its environment and its shell, and the
    /// names of the process. It ends with exit code 0 if all is well; else its last line is shown.
    #[schemars(schema_with = "leaves::command", extend("examples" = ["./healthy.sh"]))]
    pub(in crate::config) command: Option<Command>,
    /// How long after a look the next one is taken; up to a tenth less, so that not all are looked at together.
    #[schemars(schema_with = "leaves::duration", extend("default" = "10s"))]
    pub(in crate::config) interval: Option<Duration>,
    /// How long a look may take before it has failed; a command is killed then, with all that it started.
    #[schemars(schema_with = "leaves::duration", extend("default" = "5s"))]
    pub(in crate::config) timeout: Option<Duration>,
    /// How many looks in a row have to fail before the process is stopped and started again.
    #[schemars(range(min = 1, max = 1000), extend("default" = 3))]
    pub(in crate::config) failures: Option<u32>,
}
