//! The keys of a configuration file, once: from these types come the schema, the check of every file with its
//! suggestions, and what deserializes the checked values. A key that is not here does not exist.
//!
//! All fields are optional because a value that was refused is left out and the rest is still looked at. Extensions
//! of the schema that begin with `x-` are for the check alone: `x-not-yet` lists keys of features to come, `x-renamed`
//! what other supervisors call our keys, `x-required` the keys that must be there, `x-shorthand` the key that a single
//! value stands for, `x-list-shorthand` the one that a list stands for, `x-required-without` those that must be there where another is not, `x-completed-by` the key that names who may have
//! what is required.

mod condition;
mod entries;
mod run;
mod template;
mod treatment;
mod work;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use condition::{Health, Ready};
pub(super) use entries::Entries;
pub(super) use run::{Bound, Cgroup, Command, EnvFile, EnvFiles, Limit, Limits, Unlimited};
pub(super) use template::Template;
pub(super) use treatment::{Backoff, Hook, Hooks, Log, Recycle, Restart, Stop, StopStep};
pub(super) use work::{DependsOn, Floor, QUEUES_MAX, Scale, Schedule};

use super::leaves;
use crate::core::secret::Secret;
use crate::core::spec::Stdin;

/// Configuration of Leveret. In every value `${NAME}`, `${NAME:-default}` and `${file:PATH}` are expanded; `$${` is a
/// literal `${`. Relative paths are relative to the file's own directory.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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
    /// Where the Unix socket, output pipes and records of lives are, best in memory. Without it: $RUNTIME_DIRECTORY; for root /run/leveret; else $XDG_RUNTIME_DIR/leveret,
    /// or the state directory.
    #[schemars(schema_with = "leaves::text")]
    pub(super) runtime_dir: Option<PathBuf>,
    /// Who may use the Unix socket.
    pub(super) socket: Option<Socket>,
    /// How often every queue is read: 100ms to 60s.
    #[schemars(schema_with = "leaves::duration", extend("default" = "1s"))]
    pub(super) probe_interval: Option<Duration>,
    /// How long the shutdown may take in all; then what is left is killed, whatever `stop.timeout` says. Keep it below
    /// what the service manager waits for. Without it: as long as the stops take.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["2m"]))]
    pub(super) shutdown_timeout: Option<Duration>,
    /// The brokers whose queues are watched, by name.
    pub(super) brokers: Option<Entries<Broker>>,
    /// How many processes and how much memory all programs together may use. What the file fixes or names as the least
    /// is guaranteed; programs that scale share the rest.
    pub(super) budget: Option<Budget>,
    /// Of what else there is only so much, by name: connections to a database, licences. A program says how much one of
    /// its processes uses: `uses: {mysql: 2}`.
    #[schemars(schema_with = "leaves::amounts", extend("default" = {}, "examples" = [{"mysql": 120}]))]
    pub(super) budgets: Option<BTreeMap<String, u32>>,
    /// What holds for every program that does not say otherwise.
    pub(super) defaults: Option<Defaults>,
    /// Files with more `programs`, `templates` and `brokers`, relative to this file. `*` and `?` may stand in the last part of a path.
    #[schemars(schema_with = "leaves::texts", extend("default" = []))]
    #[expect(
        dead_code,
        reason = "the files are found before this is read, because who extends whom is followed first"
    )]
    pub(super) include: Option<Vec<String>>,
    /// What programs have in common, by names of their own: the keys of a program, which a program takes with `extends`. A
    /// template does not run.
    #[expect(dead_code, reason = "what is in a template is read with the programs that extend it")]
    pub(super) templates: Option<Entries<Template>>,
    /// The programs, by name.
    pub(super) programs: Option<Entries<Program>>,
}

/// A file that another one includes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-main-only" = [
    "listen", "allowed_hosts", "state_dir", "runtime_dir", "socket", "probe_interval", "shutdown_timeout",
    "defaults", "include",
    "budget", "budgets"
]))]
pub(super) struct Included {
    /// More brokers.
    pub(super) brokers: Option<Entries<Broker>>,
    /// More templates.
    #[expect(dead_code, reason = "what is in a template is read with the programs that extend it")]
    pub(super) templates: Option<Entries<Template>>,
    /// More programs.
    pub(super) programs: Option<Entries<Program>>,
}

/// How much all programs together may use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    /// The most processes that may live at one time, those included that are finishing their last message. Without it, no
    /// limit.
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [64]))]
    pub(super) processes: Option<u32>,
    /// The resident memory up to which programs that scale start processes; one that starts counts as much as those of its
    /// program use on the average. Without it, 80 % of what the machine or the container has.
    #[schemars(schema_with = "leaves::size", extend("examples" = ["8GiB"]))]
    pub(super) memory: Option<u64>,
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
#[schemars(extend("x-shorthand" = "url"))]
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
    /// The address of the broker's management API, `http(s)://user:password@host:15672`, special characters
    /// percent-encoded: messages unacknowledged, acknowledged and published are read there every 5 s, and scaling needs
    /// to infer less. Without a login in it, the broker's own. The user needs the tag `monitoring`. Empty: none.
    #[schemars(schema_with = "leaves::secret")]
    pub(super) management: Option<Secret>,
    /// The address at which the broker exports metrics for Prometheus, `http(s)://host:15692`, of RabbitMQ 3.10 or later: in
    /// place of `management`, at less cost to the broker. Messages unacknowledged and acknowledged are read there every 5 s;
    /// who is idle is not told. Of a cluster it tells what is on that node. With a login in it, `user:password@` before
    /// the host, that is given. Empty: none.
    #[schemars(schema_with = "leaves::secret")]
    pub(super) metrics: Option<Secret>,
}

/// What holds for every program that does not say otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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
    /// What is on standard input: `null` is /dev/null, `closed` is nothing at all.
    #[schemars(schema_with = "leaves::stdin", extend("default" = "null"))]
    pub(super) stdin: Option<Stdin>,
    /// Whether programs start with Leveret.
    #[schemars(extend("default" = true))]
    pub(super) autostart: Option<bool>,
    /// What follows an exit that nobody asked for.
    pub(super) restart: Option<Restart>,
    /// How long to wait before a restart after a failure.
    pub(super) backoff: Option<Backoff>,
    /// How a process is asked to end.
    pub(super) stop: Option<Stop>,
    /// How it is known that a process is of use.
    pub(super) ready: Option<Ready>,
    /// How it is known that a process that runs is well.
    pub(super) health: Option<Health>,
    /// When a process that runs well is replaced by a new one.
    pub(super) recycle: Option<Recycle>,
    /// Commands that run at moments of a process's life.
    pub(super) hooks: Option<Hooks>,
    /// Where output goes.
    pub(super) log: Option<Log>,
}

/// A program: a command and how to treat it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-required" = ["command"],
    "x-completed-by" = "extends",
    "x-not-yet" = [
        "listen"
    ],
    "x-renamed" = {
        "pre_start": "hooks.pre_start", "post_ready": "hooks.post_ready", "post_start": "hooks.post_ready",
        "pre_stop": "hooks.pre_stop", "post_exit": "hooks.post_exit", "post_stop": "hooks.post_exit", "numprocs": "processes", "instances": "processes", "replicas": "processes", "count": "processes",
        "autorestart": "restart", "startretries": "backoff.give_up_after", "startsecs": "backoff.reset_after",
        "stopsignal": "stop.signal", "stopwaitsecs": "stop.timeout", "stopasgroup": "stop.to",
        "stdout_logfile": "log.path", "stderr_logfile": "log.stderr",
        "stdout_logfile_maxbytes": "log.max_size", "stdout_logfile_backups": "log.keep",
        "cmd": "command", "exec": "command", "cwd": "directory", "working_directory": "directory",
        "env": "environment", "enabled": "autostart"
    }
))]
pub(super) struct Program {
    /// The program or the template whose keys it takes: all that it does not have itself, in sections key by key.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["consumer"]))]
    #[expect(dead_code, reason = "who extends whom is followed before the programs are read")]
    pub(super) extends: Option<String>,
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
    /// What is on standard input: `null` is /dev/null, `closed` is nothing at all.
    #[schemars(schema_with = "leaves::stdin", extend("default" = "null"))]
    pub(super) stdin: Option<Stdin>,
    /// Limits for all processes of the program together, in a control group (version 2) of its own. Where the system has
    /// none that Leveret may write to, the program runs without, and `leveret check` says so.
    pub(super) cgroup: Option<Cgroup>,
    /// Whether it starts with Leveret.
    #[schemars(extend("default" = true))]
    pub(super) autostart: Option<bool>,
    /// What follows an exit that nobody asked for.
    pub(super) restart: Option<Restart>,
    /// How long to wait before a restart after a failure.
    pub(super) backoff: Option<Backoff>,
    /// When a process that runs well is replaced by a new one: one at a time, when all others are ready, and after it has
    /// finished its work. For programs that leak, or keep connections for too long.
    pub(super) recycle: Option<Recycle>,
    /// Whether Leveret ends with this program: once one of its processes is given up, rests by its restart policy or its
    /// exit code, everything is shut down, and Leveret exits with that process's exit code (128 and the number for a
    /// signal). For containers.
    #[schemars(extend("default" = false))]
    pub(super) critical: Option<bool>,
    /// How a process is asked to end.
    pub(super) stop: Option<Stop>,
    /// How it is known that a process is of use: one of the keys. Until then it is `starting`. Without it, after a second;
    /// a consumer, once the broker shows it or after the time that the consumers before it took.
    pub(super) ready: Option<Ready>,
    /// How it is known that a process that runs is well: one of `http`, `tcp` and `command`, looked at from when it is ready. One
    /// that is not is stopped and started again as after a failure.
    pub(super) health: Option<Health>,
    /// How often at least a process has to say that it does not hang, once it is ready: WATCHDOG=1 to the socket that
    /// NOTIFY_SOCKET names, as for systemd. One that does not is stopped and started again as after a failure.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["30s"]))]
    pub(super) watchdog: Option<Duration>,
    /// Commands that run at moments of a process's life.
    pub(super) hooks: Option<Hooks>,
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
    /// How much one process uses of each of the `budgets` of the file.
    #[schemars(schema_with = "leaves::amounts", extend("default" = {}, "examples" = [{"mysql": 2}]))]
    pub(super) uses: Option<BTreeMap<String, u32>>,
}
