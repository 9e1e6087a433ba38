//! What a program should be: the configuration after validation, as values.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::ProgramName;
use super::schedule::{Cron, Zone};
use super::secret::Secret;

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
    /// How long to wait before a restart after a failure.
    pub backoff: Backoff,
    /// How a process is asked to end.
    pub stop: StopSpec,
    /// Where the output goes.
    pub log: LogSpec,
}

impl ProgramSpec {
    /// The scaling goal, where the program is scaled.
    pub fn scale(&self) -> Option<&ScaleSpec> {
        match &self.kind {
            Kind::Scaled(scale) => Some(scale),
            Kind::Service { .. } | Kind::Scheduled(_) => None,
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
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// Added to the scheduling priority, -20 to 19.
    pub nice: Option<i32>,
}

impl RunSpec {
    /// A number that differs when anything of this differs, and is the same in every run of Leveret (FNV-1a, 64 bits, over
    /// the JSON form).
    pub fn fingerprint(&self) -> u64 {
        let json = serde_json::to_vec(self).expect("strings, numbers and ordered maps always serialize");
        json.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
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
    /// The queue's name.
    pub queue: String,
    /// How long a message may wait before a consumer begins it.
    pub wait: Duration,
    /// The fewest processes.
    pub min: u32,
    /// The most processes, those that are still draining included.
    pub max: u32,
    /// Whether decisions are carried out.
    pub mode: ScaleMode,
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

/// How a process is asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSpec {
    /// The number of the stop signal.
    pub signal: i32,
    /// Whom the stop signal goes to.
    pub to: StopTarget,
    /// How long an operator's stop, a replacement or the shutdown waits before it kills the whole tree.
    pub timeout: Duration,
}

impl Default for StopSpec {
    fn default() -> Self {
        Self { signal: 15, to: StopTarget::Main, timeout: Duration::from_secs(60) }
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
    /// The size in bytes at which a file is rotated, at the end of a line; 0 never rotates.
    pub max_size: u64,
    /// How many rotated files are kept beside the current one.
    pub keep: u32,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self { to: LogTarget::PerProcess, max_size: 50 * 1024 * 1024, keep: 5 }
    }
}

/// The destination of output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTarget {
    /// `logs/PROGRAM.SLOT.log` in the state directory, one file a process.
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
}
