//! How it is known how a process is: whether it is of use.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::leaves;

/// What tells that a process is of use: one of the kinds, with how long it may take.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-not-yet" = ["http", "tcp", "command", "log", "interval"]))]
pub(in crate::config) struct Ready {
    /// The time since its start.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["5s"]))]
    pub(in crate::config) after: Option<Duration>,
    /// Its own word: it sends READY=1 to the socket that NOTIFY_SOCKET names, as for systemd. A change of this replaces
    /// the processes.
    pub(in crate::config) notify: Option<bool>,
    /// How long it may take. A process that is not ready by then is stopped and has failed.
    #[schemars(schema_with = "leaves::duration", extend("default" = "60s"))]
    pub(in crate::config) timeout: Option<Duration>,
}
