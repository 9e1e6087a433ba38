//! The keys of a configuration file, once: from these types come the schema, the check of every file with its
//! suggestions, and what deserializes the checked values. A key that is not here does not exist.
//!
//! All fields are optional because a value that was refused is left out and the rest is still looked at. Extensions
//! of the schema that begin with `x-` are for the check alone: `x-not-yet` lists keys of features to come, `x-renamed`
//! what other supervisors call our keys, `x-required` the keys that must be there, `x-shorthand` the key that a single
//! value stands for, `x-list-shorthand` the one that a list stands for.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::leaves;
use crate::core::secret::Secret;
use crate::core::spec::{Missed, OnCode, Overlap, RestartPolicy, ScaleMode, StopTarget, Until};

/// Configuration of Leveret. In every value `${NAME}`, `${NAME:-default}` and `${file:PATH}` are expanded; `$${` is a
/// literal `${`. Relative paths are relative to the file's own directory.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-not-yet" = ["budget", "budgets"]))]
pub(super) struct File {
    /// The address and port of the page and the API. There is no sign-in yet, so keep it on loopback or behind a proxy
    /// that asks who is there.
    #[schemars(schema_with = "leaves::address", extend("default" = "127.0.0.1:7865"))]
    pub(super) listen: Option<SocketAddr>,
    /// Names, beside the listen address and localhost, under which browsers may reach the page.
    #[schemars(schema_with = "leaves::host_names", extend("default" = []))]
    pub(super) allowed_hosts: Option<Vec<String>>,
    /// Where logs, holds and decisions are kept. Without it: $STATE_DIRECTORY; for root /var/lib/leveret; else
    /// $XDG_STATE_HOME/leveret or ~/.local/state/leveret.
    #[schemars(schema_with = "leaves::text")]
    pub(super) state_dir: Option<PathBuf>,
    /// Where the Unix socket is. Without it: $RUNTIME_DIRECTORY; for root /run/leveret; else $XDG_RUNTIME_DIR/leveret,
    /// or the state directory.
    #[schemars(schema_with = "leaves::text")]
    pub(super) runtime_dir: Option<PathBuf>,
    /// Who may use the Unix socket.
    pub(super) socket: Option<Socket>,
    /// How often every queue is read: 100ms to 60s.
    #[schemars(schema_with = "leaves::duration", extend("default" = "1s"))]
    pub(super) probe_interval: Option<Duration>,
    /// The brokers whose queues are watched, by name.
    pub(super) brokers: Option<Entries<Broker>>,
    /// What holds for every program that does not say otherwise.
    pub(super) defaults: Option<Defaults>,
    /// Files with more `programs` and `brokers`, relative to this file. `*` and `?` may stand in the last part of a path.
    #[schemars(schema_with = "leaves::texts", extend("default" = []))]
    pub(super) include: Option<Vec<String>>,
    /// The programs, by name.
    pub(super) programs: Option<Entries<Program>>,
}

/// A file that another one includes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-main-only" = [
    "listen", "allowed_hosts", "state_dir", "runtime_dir", "socket", "probe_interval", "defaults", "include",
    "budget", "budgets"
]))]
pub(super) struct Included {
    /// More brokers.
    pub(super) brokers: Option<Entries<Broker>>,
    /// More programs.
    pub(super) programs: Option<Entries<Program>>,
}

/// Who may use the Unix socket.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Socket {
    /// The group that owns the socket: a name or a number. Without it, Leveret's own.
    #[schemars(schema_with = "leaves::account")]
    pub(super) group: Option<String>,
    /// The socket's permissions, octal.
    #[schemars(schema_with = "leaves::mode", extend("default" = "0600"))]
    pub(super) mode: Option<u32>,
}

/// A broker: its address, or the parts of the address.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-shorthand" = "url", "x-not-yet" = ["management"]))]
pub(super) struct Broker {
    /// `amqp://user:password@host:5672/vhost`, or amqps:// for TLS. Special characters are percent-encoded: the virtual
    /// host `/` is `%2f`.
    #[schemars(schema_with = "leaves::secret")]
    pub(super) url: Option<Secret>,
    /// The broker's host, in place of `url`.
    #[schemars(schema_with = "leaves::text")]
    pub(super) host: Option<String>,
    /// The broker's port. Without it: 5672, or 5671 with TLS.
    #[schemars(range(min = 1, max = 65535))]
    pub(super) port: Option<u16>,
    /// The user's name as it is, nothing encoded.
    #[schemars(schema_with = "leaves::text", extend("default" = "guest"))]
    pub(super) user: Option<String>,
    /// The password as it is; better `${file:PATH}` or `${NAME}`.
    #[schemars(schema_with = "leaves::secret", extend("default" = "guest"))]
    pub(super) password: Option<Secret>,
    /// The virtual host as it is.
    #[schemars(schema_with = "leaves::text", extend("default" = "/"))]
    pub(super) vhost: Option<String>,
    /// Whether to use TLS.
    #[schemars(extend("default" = false))]
    pub(super) tls: Option<bool>,
}

/// What holds for every program that does not say otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-not-yet" = ["ready", "health", "recycle"]))]
pub(super) struct Defaults {
    /// Whether commands are run by /bin/sh.
    #[schemars(extend("default" = false))]
    pub(super) shell: Option<bool>,
    /// The working directory.
    #[schemars(schema_with = "leaves::text")]
    pub(super) directory: Option<PathBuf>,
    /// The user that programs run as: a name or a number.
    #[schemars(schema_with = "leaves::account")]
    pub(super) user: Option<String>,
    /// The group that programs run as: a name or a number.
    #[schemars(schema_with = "leaves::account")]
    pub(super) group: Option<String>,
    /// Variables for all programs; a program's own come on top.
    #[schemars(schema_with = "leaves::environment", extend("default" = {}))]
    pub(super) environment: Option<BTreeMap<String, String>>,
    /// Files of variables in the form NAME=VALUE, between Leveret's own environment and `environment`, for all programs.
    #[schemars(schema_with = "leaves::env_files")]
    pub(super) env_file: Option<EnvFiles>,
    /// The file mode creation mask, octal. Without it, Leveret's own.
    #[schemars(schema_with = "leaves::mode")]
    pub(super) umask: Option<u32>,
    /// Added to the scheduling priority.
    #[schemars(range(min = -20, max = 19))]
    pub(super) nice: Option<i32>,
    /// Limits that the system sets for each process, as `ulimit` shows them. Without one, Leveret's own hold.
    pub(super) limits: Option<Limits>,
    /// How willingly the kernel kills it when memory is short: -1000 never, 1000 first. Without it, as Leveret itself.
    #[schemars(range(min = -1000, max = 1000))]
    pub(super) oom_score_adj: Option<i32>,
    /// Whether neither the program nor what it starts can gain rights, as by a set-user-id file.
    #[schemars(extend("default" = false))]
    pub(super) no_new_privs: Option<bool>,
    /// Whether programs start with Leveret.
    #[schemars(extend("default" = true))]
    pub(super) autostart: Option<bool>,
    /// What follows an exit that nobody asked for.
    pub(super) restart: Option<Restart>,
    /// How long to wait before a restart after a failure.
    pub(super) backoff: Option<Backoff>,
    /// How a process is asked to end.
    pub(super) stop: Option<Stop>,
    /// Where output goes.
    pub(super) log: Option<Log>,
}

/// A program: a command and how to treat it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-required" = ["command"],
    "x-not-yet" = [
        "ready", "health", "recycle", "extends", "uses",
        "hooks", "pre_start", "post_start", "pre_stop", "post_stop", "listen"
    ],
    "x-renamed" = {
        "numprocs": "processes", "instances": "processes", "replicas": "processes", "count": "processes",
        "autorestart": "restart", "startretries": "backoff.give_up_after", "startsecs": "backoff.reset_after",
        "stopsignal": "stop.signal", "stopwaitsecs": "stop.timeout", "stopasgroup": "stop.to",
        "stdout_logfile": "log.path", "stderr_logfile": "log.path", 
        "stdout_logfile_maxbytes": "log.max_size", "stdout_logfile_backups": "log.keep",
        "cmd": "command", "exec": "command", "cwd": "directory", "working_directory": "directory",
        "env": "environment", "enabled": "autostart"
    }
))]
pub(super) struct Program {
    /// The project that every command addresses as `@project`.
    #[schemars(schema_with = "leaves::name")]
    pub(super) project: Option<String>,
    /// What to run: one line that is split into words as a shell does, without expanding anything; or a list of words.
    #[schemars(schema_with = "leaves::command", extend("examples" = ["php worker.php"]))]
    pub(super) command: Option<Command>,
    /// Whether /bin/sh runs the command; it is one line then. Have the shell `exec` what it runs last, or set
    /// `stop: {to: group}`, so that the stop signal arrives.
    #[schemars(extend("default" = false))]
    pub(super) shell: Option<bool>,
    /// The working directory. Without it, Leveret's own.
    #[schemars(schema_with = "leaves::text")]
    pub(super) directory: Option<PathBuf>,
    /// The user that it runs as: a name or a number. Without it, Leveret's own.
    #[schemars(schema_with = "leaves::account")]
    pub(super) user: Option<String>,
    /// The group that it runs as: a name or a number. Without it, the user's primary group.
    #[schemars(schema_with = "leaves::account")]
    pub(super) group: Option<String>,
    /// Variables added to Leveret's own environment.
    #[schemars(schema_with = "leaves::environment", extend("default" = {}))]
    pub(super) environment: Option<BTreeMap<String, String>>,
    /// Files of variables in the form NAME=VALUE, between Leveret's own environment and `environment`; after those of the
    /// defaults, and later ones over earlier ones. They are read when a process starts, with Leveret's rights, and at
    /// a reload, which replaces the processes if the content changed. A missing file keeps processes from starting
    /// unless it is `{path: FILE, optional: true}`.
    #[schemars(schema_with = "leaves::env_files")]
    pub(super) env_file: Option<EnvFiles>,
    /// The file mode creation mask, octal. Without it, Leveret's own.
    #[schemars(schema_with = "leaves::mode")]
    pub(super) umask: Option<u32>,
    /// Added to the scheduling priority.
    #[schemars(range(min = -20, max = 19))]
    pub(super) nice: Option<i32>,
    /// Limits that the system sets for each process, as `ulimit` shows them. Without one, Leveret's own hold.
    pub(super) limits: Option<Limits>,
    /// How willingly the kernel kills it when memory is short: -1000 never, 1000 first. Without it, as Leveret itself.
    #[schemars(range(min = -1000, max = 1000))]
    pub(super) oom_score_adj: Option<i32>,
    /// Whether neither the program nor what it starts can gain rights, as by a set-user-id file.
    #[schemars(extend("default" = false))]
    pub(super) no_new_privs: Option<bool>,
    /// Whether it starts with Leveret.
    #[schemars(extend("default" = true))]
    pub(super) autostart: Option<bool>,
    /// What follows an exit that nobody asked for.
    pub(super) restart: Option<Restart>,
    /// How long to wait before a restart after a failure.
    pub(super) backoff: Option<Backoff>,
    /// Whether Leveret ends with this program: once one of its processes is given up, rests by its restart policy or its
    /// exit code, everything is shut down, and Leveret exits with that process's exit code (128 and the number for a
    /// signal). For containers.
    #[schemars(extend("default" = false))]
    pub(super) critical: Option<bool>,
    /// How a process is asked to end.
    pub(super) stop: Option<Stop>,
    /// Where output goes.
    pub(super) log: Option<Log>,
    /// Programs that must be there before a process of this one starts; they are stopped after it.
    #[schemars(extend("default" = []))]
    pub(super) depends_on: Option<Vec<DependsOn>>,
    /// How many processes run, where the number is fixed.
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    pub(super) processes: Option<u32>,
    /// The queue that the program consumes, where the number of processes follows it.
    pub(super) scale: Option<Scale>,
    /// When the program runs, where it is one that comes to an end.
    pub(super) schedule: Option<Schedule>,
}

/// Moments at which one process runs to its end: `schedule: "0 3 * * *"` is the cron expression alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-shorthand" = "cron",
    "x-required" = ["cron"],
    "x-renamed" = {"tz": "timezone", "time_zone": "timezone", "concurrency": "overlap", "catch_up": "missed"}
))]
pub(super) struct Schedule {
    /// Minute, hour, day of the month, month, day of the week; a sixth field in front is the second. `*`, numbers, names,
    /// ranges, lists and steps; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["0 3 * * *"]))]
    pub(super) cron: Option<String>,
    /// Whose clock shows it, as in Europe/Berlin. Without it, the machine's.
    #[schemars(schema_with = "leaves::text")]
    pub(super) timezone: Option<String>,
    /// What happens when a run is due while the one before goes on: it is left out, it waits (one at most), or the one
    /// before is stopped.
    #[schemars(schema_with = "leaves::overlap", extend("default" = "skip"))]
    pub(super) overlap: Option<Overlap>,
    /// What happens with runs that were due while Leveret or the machine was not running: they are left out, or one makes
    /// up for all. A minute late is not missed.
    #[schemars(schema_with = "leaves::missed", extend("default" = "skip"))]
    pub(super) missed: Option<Missed>,
    /// How long a run may take before it is stopped and counts as failed. Without it, as long as it takes.
    #[schemars(schema_with = "leaves::duration")]
    pub(super) timeout: Option<Duration>,
    /// Up to so much later each run begins, so that not everything begins at once.
    #[schemars(schema_with = "leaves::duration", extend("default" = "0s"))]
    pub(super) jitter: Option<Duration>,
}

/// A program that must be there first: its name, or with how far it must have come.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-shorthand" = "program", "x-required" = ["program"]))]
pub(super) struct DependsOn {
    /// The program's name.
    #[schemars(schema_with = "leaves::text")]
    pub(super) program: Option<String>,
    /// `started`: a process of it was started. `ready`: all its processes run and are of use (of a scaled program, one).
    /// `completed`: it ended well and its restart policy lets it rest.
    #[schemars(schema_with = "leaves::until", extend("default" = "ready"))]
    pub(super) until: Option<Until>,
}

/// A goal for a queue.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-required" = ["queue", "wait", "max"],
    "x-not-yet" = ["prefetch", "concurrency", "profile", "queues", "observe", "floors", "rate", "ordered", "share"
    ],
    "x-renamed" = {"min_processes": "min", "max_processes": "max", "goal": "wait", "target_wait": "wait"}
))]
pub(super) struct Scale {
    /// The queue's name.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["orders"]))]
    pub(super) queue: Option<String>,
    /// The broker's name. Without it: the only one, or the one called `default`.
    #[schemars(schema_with = "leaves::text")]
    pub(super) broker: Option<String>,
    /// How long a message may wait before a consumer begins it; more than zero.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["5s"]))]
    pub(super) wait: Option<Duration>,
    /// The fewest processes.
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    pub(super) min: Option<u32>,
    /// The most processes, those included that are finishing their last message.
    #[schemars(range(min = 1, max = 1000), extend("examples" = [20]))]
    pub(super) max: Option<u32>,
    /// `dry-run` computes and shows decisions and runs `min` processes.
    #[schemars(schema_with = "leaves::scale_mode", extend("default" = "auto"))]
    pub(super) mode: Option<ScaleMode>,
}

/// Limits of the system. A single value sets the soft and the hard limit; `{soft: .., hard: ..}` sets one or both.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Open files: a number, or `unlimited`.
    #[schemars(schema_with = "leaves::count_limit")]
    pub(super) nofile: Option<Limit>,
    /// Processes and threads of the program's user, all of them counted: a number, or `unlimited`. root is not limited.
    #[schemars(schema_with = "leaves::count_limit")]
    pub(super) nproc: Option<Limit>,
    /// The size of a core file: a size, or `unlimited`; 0 writes none.
    #[schemars(schema_with = "leaves::size_limit")]
    pub(super) core: Option<Limit>,
    /// The stack of the main thread: a size, or `unlimited`.
    #[schemars(schema_with = "leaves::size_limit")]
    pub(super) stack: Option<Limit>,
    /// Processor time that a process may use in all: a duration in whole seconds, or `unlimited`. At the soft limit it
    /// gets SIGXCPU, at the hard one SIGKILL.
    #[schemars(schema_with = "leaves::time_limit")]
    pub(super) cpu: Option<Limit>,
    /// Address space, which is more than the memory in use: a size, or `unlimited`.
    #[schemars(schema_with = "leaves::size_limit")]
    pub(super) memory: Option<Limit>,
}

/// A limit as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Limit {
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
pub(super) enum Bound {
    /// So many.
    At(u64),
    /// A word.
    Word(Unlimited),
}

/// The word for no limit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unlimited {
    /// No limit.
    Unlimited,
}

/// What follows an exit that nobody asked for: the policy alone, or with exceptions by exit code.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-shorthand" = "policy",
    "x-renamed" = {"exitcodes": "codes", "recycle_codes": "codes", "success_codes": "codes"}
))]
pub(super) struct Restart {
    /// Whether a new one starts: `always`; `on-failure`, so that a clean exit (code 0) ends it; or `never`. With `always`
    /// a clean exit is a recycle once the process has been of use for 10s: a new one starts at once, nothing is counted.
    #[schemars(schema_with = "leaves::restart", extend("default" = "always"))]
    pub(super) policy: Option<RestartPolicy>,
    /// What follows certain exit codes, whatever the policy is: `recycle` is a clean exit, followed by a new process;
    /// `backoff` is a failure, followed by a new process after the wait; `stay-down` lets it rest until somebody starts
    /// it. A program's own codes come on top of those in the defaults.
    #[schemars(schema_with = "leaves::codes", extend("default" = {}))]
    pub(super) codes: Option<BTreeMap<String, OnCode>>,
}

/// Waiting between failures: each failure in a row doubles the wait.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Backoff {
    /// The wait after the first failure; 0s starts again at once.
    #[schemars(schema_with = "leaves::duration", extend("default" = "1s"))]
    pub(super) initial: Option<Duration>,
    /// The longest wait.
    #[schemars(schema_with = "leaves::duration", extend("default" = "60s"))]
    pub(super) max: Option<Duration>,
    /// A process that ran this long is healthy: the failures before it are forgotten.
    #[schemars(schema_with = "leaves::duration", extend("default" = "10s"))]
    pub(super) reset_after: Option<Duration>,
    /// How many failures in a row end the attempts. Without it they never end.
    #[schemars(range(min = 1))]
    pub(super) give_up_after: Option<u32>,
}

/// How a process is asked to end.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-list-shorthand" = "steps"))]
pub(super) struct Stop {
    /// The signal that asks: a name, or a number from 1 to 31.
    #[schemars(schema_with = "leaves::signal", extend("default" = "TERM"))]
    pub(super) signal: Option<i32>,
    /// Who gets it: the process that was started, or its group, for wrappers that do not pass it on.
    #[schemars(schema_with = "leaves::stop_to", extend("default" = "main"))]
    pub(super) to: Option<StopTarget>,
    /// How long a stop by an operator or the shutdown waits before it kills. Scaling in never kills.
    #[schemars(schema_with = "leaves::duration", extend("default" = "60s"))]
    pub(super) timeout: Option<Duration>,
    /// Several signals in place of `signal` and `timeout`, each with the time that it has: `[{signal: TERM, for: 30s},
    /// {signal: QUIT, for: 10s}, KILL]`. After the last one the whole tree is killed. Scaling in sends the first alone.
    #[schemars(schema_with = "leaves::stop_steps")]
    pub(super) steps: Option<Vec<StopStep>>,
}

/// A signal of a stop, as it is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum StopStep {
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

/// Where output goes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-not-yet" = ["compress", "format"]))]
pub(super) struct Log {
    /// A file for all processes of the program, or `stdout` for Leveret's own output; `/dev/stdout` and `/dev/stderr`
    /// mean the same as `stdout`. Without it, a file per process in the state directory.
    #[schemars(schema_with = "leaves::text")]
    pub(super) path: Option<PathBuf>,
    /// The size at which a file is rotated; 0 never rotates.
    #[schemars(schema_with = "leaves::size", extend("default" = "50MiB"))]
    pub(super) max_size: Option<u64>,
    /// How many rotated files are kept.
    #[schemars(range(min = 0, max = 1000), extend("default" = 5))]
    pub(super) keep: Option<u32>,
}

/// Files of variables as they are written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum EnvFiles {
    /// Several.
    Several(Vec<EnvFile>),
    /// One.
    One(EnvFile),
}

impl EnvFiles {
    /// All of them.
    pub(super) fn all(&self) -> &[EnvFile] {
        match self {
            Self::Several(files) => files,
            Self::One(file) => std::slice::from_ref(file),
        }
    }
}

/// A file of variables as it is written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum EnvFile {
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
    pub(super) fn parts(&self) -> Option<(&PathBuf, bool)> {
        match self {
            Self::Path(path) => Some((path, false)),
            Self::Described { path, optional } => Some((path.as_ref()?, *optional)),
        }
    }
}

/// A command as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
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

/// Named entries in the order of the file.
#[derive(Debug)]
pub(super) struct Entries<T>(pub(super) Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("named entries")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("EntriesOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let name = leaves::name(generator);
        json_schema!({
            "type": "object",
            "propertyNames": name,
            "additionalProperties": T::json_schema(generator),
            "default": {}
        })
    }
}
