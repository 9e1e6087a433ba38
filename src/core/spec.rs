//! What a program should be: the configuration after validation, as values.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::{Check, CheckFor, HealthSpec};
use super::hooks::Hooks;
use super::ids::ProgramName;
use super::readiness::ReadySpec;
use super::schedule::{Cron, Zone};
use super::secret::Secret;
use super::share::Share;
use crate::scaling::input::Order;
use crate::scaling::profile::Profile;

/// A program as it is to be run and treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// The key under `programs`.
    pub name: ProgramName,
    /// The project that every command addresses as `@project`.
    pub project: Option<String>,
    /// What a process is made from; a change of it replaces the running processes.
    pub run: RunSpec,
    /// Whether the number of processes is fixed or follows a queue.
    pub kind: Kind,
    /// Whether it starts with Leveret.
    pub autostart: bool,
    /// What follows an exit that nobody asked for.
    pub restart: RestartPolicy,
    /// What follows certain exit codes, in place of the policy.
    #[serde(default)]
    pub codes: BTreeMap<i32, OnCode>,
    /// How long to wait before a restart after a failure.
    pub backoff: Backoff,
    /// Whether everything ends, with the exit code of its process, once one of its processes has ended for good.
    #[serde(default)]
    pub critical: bool,
    /// When a process that runs well is replaced by a new one.
    #[serde(default)]
    pub recycle: RecycleSpec,
    /// How a process is asked to end.
    pub stop: StopSpec,
    /// Where the output goes.
    pub log: LogSpec,
    /// What must be there before a process starts, and may end only afterwards.
    #[serde(default)]
    pub depends_on: Vec<Dependency>,
    /// How it is known that a process is of use; by time alone when absent.
    #[serde(default)]
    pub ready: Option<ReadySpec>,
    /// When a process that runs is not well any more.
    #[serde(default)]
    pub health: Option<HealthSpec>,
    /// What runs at moments of a process's life.
    #[serde(default)]
    pub hooks: Hooks,
    /// How much one process uses of budgets, by their names.
    #[serde(default)]
    pub uses: BTreeMap<String, u32>,
}

impl ProgramSpec {
    /// The scaling goal, where the program is scaled.
    pub fn scale(&self) -> Option<&ScaleSpec> {
        match &self.kind {
            Kind::Scaled(scale) => Some(scale),
            Kind::Service { .. } | Kind::Scheduled(_) => None,
        }
    }

    /// The look at its processes, where there is one.
    pub fn check(&self, purpose: CheckFor) -> Option<&Check> {
        match purpose {
            CheckFor::Ready => self.ready.as_ref()?.by.check(),
            CheckFor::Health => self.health.as_ref().map(|health| &health.check),
        }
    }

    /// What a process prints when it is of use, where that tells.
    pub fn awaited_output(&self) -> Option<&str> {
        self.ready.as_ref()?.by.pattern()
    }

    /// The processes that it has whatever others need: those that the file fixes or names as the least. A schedule keeps
    /// the place of its next run.
    pub fn least(&self) -> u32 {
        match &self.kind {
            Kind::Service { processes } => *processes,
            Kind::Scaled(scale) => scale.min,
            Kind::Scheduled(_) => 1,
        }
    }

    /// The schedule, where the program has one.
    pub fn schedule(&self) -> Option<&ScheduleSpec> {
        match &self.kind {
            Kind::Scheduled(schedule) => Some(schedule),
            Kind::Service { .. } | Kind::Scaled(_) => None,
        }
    }

    /// Whether the program always has just one process, which is then shown without a slot number.
    pub fn is_single(&self) -> bool {
        matches!(self.kind, Kind::Service { processes: 1 } | Kind::Scheduled(_))
    }
}

/// Another program that a program needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub program: ProgramName,
    /// How far it must have come.
    pub until: Until,
}

/// How far a program must have come for those that need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// A process of it was started.
    Started,
    /// All its processes run and are of use; of a scaled program at least one, or as many as are wanted.
    #[default]
    Ready,
    /// It ended well and rests.
    Completed,
}

/// What a process is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The program and its arguments; the first one is looked up in `PATH` unless it contains a slash.
    pub argv: Vec<String>,
    /// The working directory; Leveret's own when absent.
    pub directory: Option<PathBuf>,
    /// The user's name or number; Leveret's own when absent.
    pub user: Option<String>,
    /// The group's name or number; the user's primary group when absent.
    pub group: Option<String>,
    /// Variables added to Leveret's own environment.
    pub environment: BTreeMap<String, String>,
    /// Files of variables between Leveret's own environment and `environment`; read when a process starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_files: Vec<EnvFile>,
    /// A number that differs when what is in `env_files` differs, as it was when the configuration was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_files_digest: Option<u64>,
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// Added to the scheduling priority, -20 to 19.
    pub nice: Option<i32>,
    /// Limits of the system; Leveret's own where there is none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<Resource, Limit>,
    /// How willingly the kernel kills it when memory is short, -1000 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Whether nothing that it starts can gain rights, as by set-user-id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privs: bool,
    /// Whether it has to have a socket over which it says how it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notify: bool,
    /// What is on its standard input.
    #[serde(default, skip_serializing_if = "Stdin::is_null")]
    pub stdin: Stdin,
    /// Limits of all processes of the program together, where the system has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupSpec>,
    /// How often at least it has to say that it does not hang, once it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Duration>,
    /// Whether its stderr is something else than its stdout.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub separate_errors: bool,
}

/// What is on the standard input of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdin {
    /// `/dev/null`: reading finds the end at once.
    #[default]
    Null,
    /// Nothing: reading fails.
    Closed,
}

impl Stdin {
    /// Whether it is what there is unless somebody says otherwise.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

/// Limits of a control group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSpec {
    /// Bytes of memory; the kernel kills something in the group that needs more.
    pub memory_max: Option<u64>,
    /// Processor time, in percent of one core.
    pub cpu_max: Option<u32>,
    /// Processes and threads.
    pub pids_max: Option<u32>,
}

impl CgroupSpec {
    /// The kernel's controller, file and text for each limit.
    pub fn files(&self) -> Vec<(&'static str, &'static str, String)> {
        let memory = self.memory_max.map(|bytes| ("memory", "memory.max", bytes.to_string()));
        // So many microseconds in each 100 ms.
        let cpu =
            self.cpu_max.map(|percent| ("cpu", "cpu.max", format!("{} 100000", u64::from(percent) * 1_000)));
        let pids = self.pids_max.map(|count| ("pids", "pids.max", count.to_string()));
        memory.into_iter().chain(cpu).chain(pids).collect()
    }
}

/// What the system limits for each process, or for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Open files.
    Nofile,
    /// Processes and threads of the user.
    Nproc,
    /// Bytes of a core file.
    Core,
    /// Bytes of the stack.
    Stack,
    /// Seconds of processor time.
    Cpu,
    /// Bytes of address space. The last one, because whoever sets the limits lives under it, too.
    Memory,
}

impl Resource {
    /// The name as people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Core => "core",
            Self::Stack => "stack",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// A soft limit, which the process may change up to the hard one, and a hard one. What is absent stays as it is, but that
/// the soft one is never above the hard one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What holds.
    pub soft: Option<Bound>,
    /// What the soft limit may be raised to.
    pub hard: Option<Bound>,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// So many.
    At(u64),
    /// No limit.
    Unlimited,
}

/// A file of variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether processes start without it where it is not there.
    pub optional: bool,
}

impl RunSpec {
    /// A number that differs when anything of this differs, and is the same in every run of Leveret (FNV-1a, 64 bits, over
    /// the JSON form). A later version of Leveret has to come to the same number, or it would replace every process: what
    /// is new is left out of the JSON where it is not set.
    pub fn fingerprint(&self) -> u64 {
        digest(&serde_json::to_vec(self).expect("strings, numbers and ordered maps always serialize"))
    }
}

/// FNV-1a, 64 bits.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// How many processes a program has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A fixed number of processes.
    Service {
        /// How many.
        processes: u32,
    },
    /// A number that follows the depth of a queue.
    Scaled(ScaleSpec),
    /// One process at certain times, which runs to its end.
    Scheduled(ScheduleSpec),
}

/// When a program runs, and what happens when that does not go by the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// The moments.
    pub cron: Cron,
    /// Whose clock shows them.
    pub timezone: Zone,
    /// What happens when a run is due while the one before goes on.
    pub overlap: Overlap,
    /// What happens with runs that were due while nobody could start them.
    pub missed: Missed,
    /// How long a run may take before it is stopped and counts as failed.
    pub timeout: Option<Duration>,
    /// Up to so much later each run begins, so that not everything begins at once.
    pub jitter: Duration,
}

/// What happens when a run is due while the one before goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It begins when the one before has ended; one waits at most.
    Queue,
    /// The one before is stopped.
    Replace,
}

/// What happens with runs that were due while nobody could start them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// They are left out.
    #[default]
    Skip,
    /// One run makes up for all of them.
    Once,
}

/// The goal of a scaled program and the queue that it consumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleSpec {
    /// The key under `brokers`.
    pub broker: String,
    /// The queue's name; the first one's where there are several.
    pub queue: String,
    /// How long a message in it may wait before a consumer begins it.
    pub wait: Duration,
    /// Further queues that the same processes consume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<QueueSpec>,
    /// How processes take from several queues.
    #[serde(default)]
    pub order: Order,
    /// Queues that are shown and never answered with processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observe: Vec<String>,
    /// Queues from which messages come back into the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delayed: Vec<DelayedSpec>,
    /// The fewest processes at certain times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<FloorSpec>,
    /// The most messages an hour that all processes together may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_hour: Option<u64>,
    /// Whether no process may begin before everything of the one before it has ended; `max` is 1 then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ordered: bool,
    /// Where several servers consume the same queues: this one's part. `min` and `max` are of this one then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// The fewest processes.
    pub min: u32,
    /// The most processes, those that are still draining included.
    pub max: u32,
    /// Whether decisions are carried out.
    pub mode: ScaleMode,
    /// What scaling prefers.
    #[serde(default)]
    pub profile: Profile,
    /// Who comes first where a budget is not enough for all: higher numbers.
    #[serde(default)]
    pub priority: i32,
    /// How many messages a process takes before it has done them, where that is said; 0 is without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefetch: Option<u32>,
    /// How many messages a process works on at once, where that is said; one at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// The fewest processes at certain times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorSpec {
    /// When it begins.
    pub cron: Cron,
    /// Whose clock shows that.
    pub timezone: Zone,
    /// How long it holds, from each moment on; at least a second.
    pub lasts: Duration,
    /// How many.
    pub min: u32,
}

/// A queue from which messages come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedSpec {
    /// Its name.
    pub queue: String,
    /// How long they stay in it.
    pub after: Duration,
}

/// One of several queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSpec {
    /// Its name.
    pub name: String,
    /// How long a message in it may wait before a consumer begins it.
    pub wait: Duration,
}

impl ScaleSpec {
    /// A goal for one queue, with everything as it is where a file says nothing of it.
    pub fn new(broker: String, queue: String, wait: Duration, min: u32, max: u32) -> Self {
        Self {
            broker,
            queue,
            wait,
            min,
            max,
            mode: ScaleMode::default(),
            profile: Profile::default(),
            more: Vec::new(),
            order: Order::default(),
            observe: Vec::new(),
            priority: 0,
            floors: Vec::new(),
            rate_per_hour: None,
            ordered: false,
            share: None,
            prefetch: None,
            concurrency: None,
            delayed: Vec::new(),
        }
    }

    /// The queues that are consumed, in their order, each with its goal.
    pub fn queues(&self) -> impl Iterator<Item = (&str, Duration)> {
        let more = self.more.iter().map(|queue| (queue.name.as_str(), queue.wait));
        std::iter::once((self.queue.as_str(), self.wait)).chain(more)
    }

    /// The place of a queue among those that are consumed.
    pub fn place_of(&self, queue: &str) -> Option<usize> {
        self.queues().position(|(name, _)| name == queue)
    }

    /// The names of all queues that are read, those that are only observed last.
    pub fn read(&self) -> impl Iterator<Item = &str> {
        let delayed = self.delayed.iter().map(|delayed| delayed.queue.as_str());
        self.queues().map(|(name, _)| name).chain(self.observe.iter().map(String::as_str)).chain(delayed)
    }

    /// How long messages stay in each delayed queue.
    pub fn delays(&self) -> Vec<Duration> {
        self.delayed.iter().map(|delayed| delayed.after).collect()
    }
}

/// Whether the engine's decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleMode {
    /// They are.
    #[default]
    Auto,
    /// They are computed, journaled and exported, and `min` processes run.
    DryRun,
}

/// What follows an exit that nobody asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Always start again.
    #[default]
    Always,
    /// Start again after a failure; a clean exit ends the process.
    OnFailure,
    /// Never start again by itself.
    Never,
}

/// What follows an exit code, whatever the policy says of other ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnCode {
    /// The process has done its share: after a useful life a new one starts at once and nothing is counted.
    Recycle,
    /// A failure: start again after the backoff.
    Backoff,
    /// Starting again would not help: rest until somebody starts it.
    StayDown,
}

/// Exponential waiting between failed lives of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The wait after the first failure; zero starts again at once.
    pub initial: Duration,
    /// The longest wait; each failure doubles the wait up to here.
    pub max: Duration,
    /// A life of this length forgives the failures before it.
    pub reset_after: Duration,
    /// Failures in a row after which the slot is given up; never when absent.
    pub give_up_after: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            reset_after: Duration::from_secs(10),
            give_up_after: None,
        }
    }
}

/// When a process that runs well is replaced by a new one, because it uses too much or grew old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecycleSpec {
    /// Once its resident memory is above so many bytes; never when absent.
    pub memory_bytes: Option<u64>,
    /// Once it has lived for so long, or up to a fifth less; never when absent.
    pub age: Option<Duration>,
}

/// How a process is asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSpec {
    /// The number of the stop signal.
    pub signal: i32,
    /// Whom the stop signal goes to.
    pub to: StopTarget,
    /// How long an operator's stop, a replacement or the shutdown waits before it kills the whole tree.
    pub timeout: Duration,
    /// Further signals on the way to the kill, in the order of their moments, all before `timeout`.
    #[serde(default)]
    pub then: Vec<StopStep>,
}

/// A further signal of a stop that has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopStep {
    /// How long after the first signal, or after the moment from which the stop has a limit.
    pub after: Duration,
    /// The signal's number.
    pub signal: i32,
}

impl Default for StopSpec {
    fn default() -> Self {
        Self { signal: 15, to: StopTarget::Main, timeout: Duration::from_secs(60), then: Vec::new() }
    }
}

/// Whom the stop signal goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopTarget {
    /// The process that was started.
    #[default]
    Main,
    /// Its process group, for wrappers that do not pass the signal on.
    Group,
}

/// Where the output of a program's processes goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// The destination.
    pub to: LogTarget,
    /// The destination of stderr, where it is not the same.
    #[serde(default)]
    pub stderr: Option<LogTarget>,
    /// The size in bytes at which a file is rotated, at the end of a line; 0 never rotates.
    pub max_size: u64,
    /// The age at which a file is rotated, at the end of a line.
    #[serde(default)]
    pub max_age: Option<Duration>,
    /// How many rotated files are kept beside the current one.
    pub keep: u32,
    /// Whether rotated files are compressed.
    #[serde(default)]
    pub compress: bool,
    /// What lines look like; as the destination has them when absent.
    #[serde(default)]
    pub format: Option<LogFormat>,
}

/// What lines look like where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// As they were printed.
    Raw,
    /// With time and process in front.
    Prefixed,
    /// A JSON object each.
    Json,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self {
            to: LogTarget::PerProcess,
            stderr: None,
            max_size: 50 * 1024 * 1024,
            max_age: None,
            keep: 5,
            compress: false,
            format: None,
        }
    }
}

/// The destination of output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTarget {
    /// `logs/PROGRAM.SLOT.log` in the state directory, one file a process; of stderr `logs/PROGRAM.SLOT.stderr.log`.
    #[default]
    PerProcess,
    /// One file for the program's processes, written by whole lines.
    File(PathBuf),
    /// Leveret's own output, by whole lines, each with the process in front.
    Stdout,
}

/// A broker that queues are read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerSpec {
    /// The key under `brokers`.
    pub name: String,
    /// `amqp://` or `amqps://` address with user, password and virtual host.
    pub url: Secret,
    /// The same address without the password, for people.
    pub shown: String,
    /// Its management API, where it is to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management: Option<ManagementSpec>,
    /// What it exports for Prometheus, where that is to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsSpec>,
}

/// Where a broker tells more than over AMQP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagementSpec {
    /// `http://` or `https://` address with what stands before `/api`, without a login and without a slash at its end.
    pub address: String,
    /// The user's name as it is, nothing encoded.
    pub user: String,
    /// The password as it is.
    pub password: Secret,
}

/// Where a broker exports metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsSpec {
    /// `http://` or `https://` address with what stands before `/metrics`, without a login and without a slash at its end.
    pub address: String,
    /// Whom to be, where that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginSpec>,
}

/// A user and a password, both as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginSpec {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_leveret_does_not_replace_the_processes_of_an_older_one() {
        let run = RunSpec {
            argv: vec!["./server".to_owned(), "--port".to_owned()],
            environment: [("A".to_owned(), "1".to_owned())].into(),
            umask: Some(0o27),
            ..RunSpec::default()
        };
        // The JSON form and the number as version 0.1.0 made them.
        let json = r#"{"argv":["./server","--port"],"directory":null,"user":null,"group":null,"environment":{"A":"1"},"umask":23,"nice":null}"#;
        assert_eq!(serde_json::to_string(&run).unwrap(), json);
        assert_eq!(run.fingerprint(), digest(json.as_bytes()));
        assert_eq!(digest(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(serde_json::from_str::<RunSpec>(json).unwrap(), run);
    }
}
