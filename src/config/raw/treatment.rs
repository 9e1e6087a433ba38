//! How a running process is treated: what follows its end, how it is asked to end, where its output goes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::run::Command;
use crate::config::leaves;
use crate::core::spec::{LogFormat, OnCode, RestartPolicy, StopTarget};

/// What follows an exit that nobody asked for: the policy alone, or with exceptions by exit code.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-shorthand" = "policy",
    "x-renamed" = {"exitcodes": "codes", "recycle_codes": "codes", "success_codes": "codes"}
))]
pub(in crate::config) struct Restart {
    /// Whether a new one starts: `always`; `on-failure`, so that a clean exit (code 0) ends it; or `never`. With `always`
    /// a clean exit is a recycle once the process has been of use for 10s: a new one starts at once, nothing is counted.
    #[schemars(schema_with = "leaves::restart", extend("default" = "always"))]
    pub(in crate::config) policy: Option<RestartPolicy>,
    /// What follows certain exit codes, whatever the policy is: `recycle` is a clean exit, followed by a new process;
    /// `backoff` is a failure, followed by a new process after the wait; `stay-down` lets it rest until somebody starts
    /// it. A program's own codes come on top of those in the defaults.
    #[schemars(schema_with = "leaves::codes", extend("default" = {}))]
    pub(in crate::config) codes: Option<BTreeMap<String, OnCode>>,
}

/// Waiting between failures: each failure in a row doubles the wait.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Backoff {
    /// The wait after the first failure; 0s starts again at once.
    #[schemars(schema_with = "leaves::duration", extend("default" = "1s"))]
    pub(in crate::config) initial: Option<Duration>,
    /// The longest wait.
    #[schemars(schema_with = "leaves::duration", extend("default" = "60s"))]
    pub(in crate::config) max: Option<Duration>,
    /// A process that ran this long is healthy: the failures before it are forgotten.
    #[schemars(schema_with = "leaves::duration", extend("default" = "10s"))]
    pub(in crate::config) reset_after: Option<Duration>,
    /// How many failures in a row end the attempts. Without it they never end.
    #[schemars(range(min = 1))]
    pub(in crate::config) give_up_after: Option<u32>,
}

/// How a process is asked to end.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-list-shorthand" = "steps"))]
pub(in crate::config) struct Stop {
    /// The signal that asks: a name, or a number from 1 to 31.
    #[schemars(schema_with = "leaves::signal", extend("default" = "TERM"))]
    pub(in crate::config) signal: Option<i32>,
    /// Who gets it: the process that was started, or its group, for wrappers that do not pass it on.
    #[schemars(schema_with = "leaves::stop_to", extend("default" = "main"))]
    pub(in crate::config) to: Option<StopTarget>,
    /// How long a stop by an operator or the shutdown waits before it kills. Scaling in never kills.
    #[schemars(schema_with = "leaves::duration", extend("default" = "60s"))]
    pub(in crate::config) timeout: Option<Duration>,
    /// Several signals in place of `signal` and `timeout`, each with the time that it has: `[{signal: TERM, for: 30s},
    /// {signal: QUIT, for: 10s}, KILL]`. After the last one the whole tree is killed. Scaling in sends the first alone.
    #[schemars(schema_with = "leaves::stop_steps")]
    pub(in crate::config) steps: Option<Vec<StopStep>>,
}

/// A signal of a stop, as it is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum StopStep {
    /// The signal alone.
    Alone(i32),
    /// With its time. One that has not both was refused.
    Timed {
        /// The signal.
        signal: Option<i32>,
        /// How long until the next one.
        #[serde(rename = "for")]
        lasts: Option<Duration>,
    },
}

/// Commands that run at moments of a process's life: with its user, its directory, its environment and its shell, and the
/// names of the process. Their output goes where the process's goes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-renamed" = {
        "before_start": "pre_start", "exec_start_pre": "pre_start",
        "post_start": "post_ready", "exec_start_post": "post_ready", "after_start": "post_ready",
        "exec_stop": "pre_stop", "before_stop": "pre_stop",
        "post_stop": "post_exit", "exec_stop_post": "post_exit", "after_stop": "post_exit"
    }
))]
pub(in crate::config) struct Hooks {
    /// Runs before every start of a process, which begins only when this has ended with exit code 0; otherwise the process
    /// could not be started, and it is tried again after the backoff.
    pub(in crate::config) pre_start: Option<Hook>,
    /// Runs once when a process has become ready. That it fails is said and changes nothing.
    pub(in crate::config) post_ready: Option<Hook>,
    /// Runs before a process that lives is sent its stop signal, which is sent when this has ended, however it has.
    pub(in crate::config) pre_stop: Option<Hook>,
    /// Runs whenever a process has ended, with LEVERET_EXIT_CODE or LEVERET_EXIT_SIGNAL. The next start does not wait for it,
    /// and that it fails is said and changes nothing.
    pub(in crate::config) post_exit: Option<Hook>,
}

/// A command that runs at a moment of a process's life.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-shorthand" = "command", "x-list-shorthand" = "command", "x-required" = ["command"]))]
pub(in crate::config) struct Hook {
    /// What to run, as the program's own `command`.
    #[schemars(schema_with = "leaves::command", extend("examples" = ["./migrate.sh"]))]
    pub(in crate::config) command: Option<Command>,
    /// How long it may run. Then it is killed with all that it started, and has failed.
    #[schemars(schema_with = "leaves::duration", extend("default" = "30s"))]
    pub(in crate::config) timeout: Option<Duration>,
}

/// When a process that runs well is replaced by a new one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-renamed" = {"max_memory": "memory", "max_memory_restart": "memory", "max_age": "age", "lifetime": "age"}))]
pub(in crate::config) struct Recycle {
    /// The resident memory of the main process above which it is replaced, once it has lived for a minute. It is read
    /// every 10s.
    #[schemars(schema_with = "leaves::size", extend("examples" = ["256MiB"]))]
    pub(in crate::config) memory: Option<u64>,
    /// How long a process lives at most before it is replaced; up to a fifth less, so that those that started together do
    /// not go together.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["6h"]))]
    pub(in crate::config) age: Option<Duration>,
}

/// Where output goes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Log {
    /// A file for all processes of the program, or `stdout` for Leveret's own output; `/dev/stdout` and `/dev/stderr`
    /// mean the same as `stdout`. Without it, a file per process in the state directory.
    #[schemars(schema_with = "leaves::text")]
    pub(in crate::config) path: Option<PathBuf>,
    /// Where stderr goes, if it is not to go with the rest: a file for all processes of the program; `separate` for a file per
    /// process in the state directory, `PROGRAM.SLOT.stderr.log`; or `stdout` for Leveret's own output. The other keys hold for it as
    /// well. Setting or leaving it out replaces the processes.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["separate"]))]
    pub(in crate::config) stderr: Option<PathBuf>,
    /// The size at which a file is rotated; 0 never rotates.
    #[schemars(schema_with = "leaves::size", extend("default" = "50MiB"))]
    pub(in crate::config) max_size: Option<u64>,
    /// The age at which a file is rotated, counted from its first line, when the next line is written. Without it, never.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["1d"]))]
    pub(in crate::config) max_age: Option<Duration>,
    /// How many rotated files are kept: `FILE.1` is the newest.
    #[schemars(range(min = 0, max = 1000), extend("default" = 5))]
    pub(in crate::config) keep: Option<u32>,
    /// Whether rotated files are compressed with gzip, all but the newest: `FILE.2.gz`.
    #[schemars(extend("default" = false))]
    pub(in crate::config) compress: Option<bool>,
    /// What lines look like: `raw`, as they were printed; `prefixed`, with time and process in front; `json`, an object
    /// each with `time`, `program`, `process` and `line`. Without it, files are raw, and on Leveret's own output the
    /// process stands in front.
    #[schemars(schema_with = "leaves::log_format")]
    pub(in crate::config) format: Option<LogFormat>,
}
