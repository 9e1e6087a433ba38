//! One immutable picture of everything, which the page, the API, the metrics and the command line all read.
//!
//! Its JSON form is `GET /api/v1/status`; the fields are names that others depend on: add, never rename.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::keeper::protocol::Upgrade;

/// Everything that can be shown, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Leveret's version.
    pub version: String,
    /// The keeper's process id: the one to signal.
    pub pid: i32,
    /// The controller's process id; it changes when the controller is replaced.
    pub controller_pid: i32,
    /// Seconds since the keeper started.
    pub uptime_seconds: f64,
    /// How many controllers there were before this one.
    pub controller_restarts: u32,
    /// Whether every program that starts with Leveret has what it wants, at least once since the start.
    pub ready: bool,
    /// Set while Leveret shuts down.
    pub shutting_down: bool,
    /// Set while scaling is paused for everything.
    pub paused: bool,
    /// The last reload that failed, until one succeeds: what stands against the file.
    pub config_error: Option<String>,
    /// The last upgrade that was asked for since Leveret was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
    /// The brokers, by name.
    pub brokers: Vec<BrokerView>,
    /// Of what there is only so much for all programs together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetView>,
    /// The programs, in the order of the configuration file.
    pub programs: Vec<ProgramView>,
}

/// How much of a budget is in use now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetView {
    /// `processes`, `memory` (in bytes) or a name of the configuration.
    pub name: String,
    /// How much there is.
    pub limit: u64,
    /// How much of it everything uses that lives.
    pub used: u64,
    /// The same for people: `40 of 64 processes`, `5 GiB of 8 GiB memory`.
    pub sentence: String,
}

/// A broker as seen now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BrokerView {
    /// Its name in the configuration.
    pub name: String,
    /// `connecting`, `connected`, `refused` or `unreachable`.
    pub state: String,
    /// Its address without the password.
    pub url: String,
    /// What stands in the way, as a sentence.
    pub error: Option<String>,
    /// Its management API, where one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management: Option<ManagementView>,
    /// The metrics that it exports, where their address is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<ManagementView>,
}

/// A broker's management API as seen now, or the metrics that it exports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ManagementView {
    /// `connecting`, `answering`, `limited` (it answers and does not tell everything), `failing`, or `unused`.
    pub state: String,
    /// Its address without the login.
    pub url: String,
    /// What stands in the way, as a sentence.
    pub error: Option<String>,
}

/// A program as seen now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgramView {
    /// Its name.
    pub name: String,
    /// The project that it belongs to.
    pub project: Option<String>,
    /// `service`, `scaled` or `scheduled`.
    pub kind: String,
    /// How many processes there should be.
    pub desired: u32,
    /// How many are running: started and not ending.
    pub running: u32,
    /// The configured number of a service's processes; the minimum of a scaled program.
    pub configured: u32,
    /// The least; for a service the configured number.
    pub min: u32,
    /// The most; for a service the configured number.
    pub max: u32,
    /// `auto`, `hold`, `dry-run` or `off` (a service, or scaling paused).
    pub mode: String,
    /// Why this many, in one sentence.
    pub reason: String,
    /// The operator's count that the engine leaves alone.
    pub hold: Option<HoldView>,
    /// The queues that it follows.
    pub queues: Vec<QueueView>,
    /// The goal in seconds, where the program is scaled; the shortest one of several queues.
    pub wait_goal_seconds: Option<f64>,
    /// How long a message that arrives now is expected to wait, in seconds, where it can be said; in the queue with the
    /// shortest goal.
    pub wait_predicted_seconds: Option<f64>,
    /// How many processes the engine would have if budgets were enough for all; absent where it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u32>,
    /// When the next run of a schedule begins, RFC 3339 with the offset of its time zone.
    pub next_run: Option<String>,
    /// The schedule, where the program has one.
    #[serde(default)]
    pub schedule: Option<ScheduleView>,
    /// How many bytes of output this controller has dropped, because they could not be written.
    #[serde(default)]
    pub log_dropped_bytes: u64,
    /// The newest rolling restart since Leveret was started.
    #[serde(default)]
    pub rollout: Option<RolloutView>,
    /// Its processes, by slot.
    pub processes: Vec<ProcessView>,
    /// Restarts since the keeper started, by reason: `crash`, `clean-exit`, `operator`, `changed`, `rollout`,
    /// `recycle`, `spawn-failed`.
    pub restarts_by_reason: BTreeMap<String, u64>,
    /// Decisions since the controller's state began, by direction: `up`, `down`, `hold`.
    pub decisions_by_direction: BTreeMap<String, u64>,
}

/// A rolling restart of a program as seen now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutView {
    /// Its number, the same for all programs that were named together.
    pub id: u64,
    /// `canary`, `rolling`, `done`, `halted` (a new process failed) or `ended` (somebody wanted something else).
    pub state: String,
    /// How many processes may be on the way at one time.
    pub batch: u32,
    /// How many processes there were to replace.
    pub total: u32,
    /// How many were replaced by new ones that are of use.
    pub replaced: u32,
    /// The process that proves itself, while one does.
    pub canary: Option<String>,
    /// Who asked for it and how: `page`, `command line`, `API`.
    pub by: String,
    /// Seconds since it was asked for.
    pub age_seconds: f64,
    /// What the process wrote last that halted it.
    pub last_words: Option<String>,
    /// How far it is or what became of it, in one sentence.
    pub sentence: String,
}

/// A schedule as seen now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// The moments, as configured.
    pub cron: String,
    /// Whose clock shows them.
    pub timezone: String,
    /// When the next run begins, in seconds since 1970.
    pub next_run_seconds: Option<f64>,
    /// The last run that is over.
    pub last: Option<RunView>,
    /// When a run ended well for the last time, in seconds since 1970.
    pub last_success_seconds: Option<f64>,
    /// Runs since the keeper started, by result: `succeeded`, `failed`, `stopped`, `skipped`, `missed`.
    pub runs_by_result: BTreeMap<String, u64>,
}

/// A run of a schedule that is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// `succeeded`, `failed` or `stopped`.
    pub result: String,
    /// How it ended: `exit code 1`, `took longer than 1h`.
    pub exit: String,
    /// When it ended, RFC 3339.
    pub ended: String,
    /// How long it took, in seconds; absent where its end was not seen.
    pub seconds: Option<f64>,
}

/// An operator's count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HoldView {
    /// How many processes.
    pub processes: u32,
    /// Seconds until it ends by itself; absent when it lasts until it is released.
    pub ends_in_seconds: Option<f64>,
    /// Who set it and how: `page`, `command line`, `API`.
    pub by: String,
    /// All of that in one sentence, which is also the program's reason while nothing else stands above the hold.
    #[serde(default)]
    pub sentence: String,
}

/// A queue as last read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    /// The broker's name.
    pub broker: String,
    /// The queue's name.
    pub queue: String,
    /// Messages ready for delivery; absent before the first reading.
    pub ready: Option<u64>,
    /// Messages delivered and not acknowledged; absent where no management API tells.
    pub unacked: Option<u64>,
    /// Consumers on the queue, ours and others'; absent before the first reading.
    pub consumers: Option<u64>,
    /// Whether it is only shown and never answered with processes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// How long messages stay in it before they come back into the program's queue, in seconds; only of delayed queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed_seconds: Option<f64>,
    /// Whether its workers poll (basic.get) and are therefore never visible as consumers.
    pub polling: bool,
    /// How long a message in it may wait, in seconds; absent where it is only observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_goal_seconds: Option<f64>,
    /// How long a message that arrives in it now is expected to wait, in seconds, where it can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_predicted_seconds: Option<f64>,
    /// The queue of the same program that takes what it would need, where its goal is missed because of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starved_by: Option<String>,
    /// The age of this reading in seconds.
    pub age_seconds: Option<f64>,
    /// Why there is no fresh reading, as a sentence.
    pub error: Option<String>,
    /// What else is to be known of how it is read, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// A process as seen now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessView {
    /// `orders:3`, or `web` where a program has one fixed process.
    pub id: String,
    /// Its slot.
    pub slot: u32,
    /// `stopped`, `starting`, `running`, `stopping`, `backoff`, `exited` or `failed`.
    pub state: String,
    /// The main process, while it lives.
    pub pid: Option<i32>,
    /// The life of the slot.
    pub incarnation: Option<u64>,
    /// Seconds since it was exec'd, while it lives.
    pub uptime_seconds: Option<f64>,
    /// Wall-clock start, in seconds since 1970, while it lives.
    pub start_time_seconds: Option<f64>,
    /// How often this slot was started again.
    pub restarts: u64,
    /// Share of one core over the last sampling interval, in percent.
    pub cpu_percent: Option<f64>,
    /// Processor time used, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// The directory that it runs in at present, without symbolic links; absent where it cannot be read.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// How the last life ended: `exit code 1`, `killed by SIGKILL`.
    pub exit: Option<String>,
    /// Why it is not what it should be, or what it says of itself, as a sentence.
    pub reason: Option<String>,
    /// Whether it holds a message or not; absent where nobody tells.
    #[serde(default)]
    pub busy: Option<bool>,
    /// Who tells that: `process` (`BUSY=0` and `BUSY=1`) or `channel` (the broker, of its channels).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_by: Option<String>,
    /// What it says of itself (`STATUS=`), as it says it.
    #[serde(default)]
    pub says: Option<String>,
    /// The file that its output is in; absent where output goes to Leveret's own.
    pub log: Option<PathBuf>,
    /// The file that its stderr is in; absent where that goes with the rest of the output, or to Leveret's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_stderr: Option<PathBuf>,
}

/// What one scaling decision was made from and what it was: an entry of the journal and of `explain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionView {
    /// Wall-clock time, RFC 3339.
    pub at: String,
    /// The program.
    pub program: String,
    /// `up`, `down` or `hold`.
    pub direction: String,
    /// How many processes were wanted before.
    pub from: u32,
    /// How many are wanted now.
    pub to: u32,
    /// Why, in one sentence.
    pub reason: String,
    /// What limited it: `none`, `max`, `min`, `data`, `hold`, `start limit`, `dry-run`.
    pub limit: String,
    /// The numbers that it was made from, by name, with the unit last; of several queues, of all together.
    pub inputs: BTreeMap<String, f64>,
    /// Of several queues, the one that asked for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Of several queues, the numbers of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<DecisionOfQueueView>,
}

/// The numbers of one of several queues that a decision was made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionOfQueueView {
    /// Its name.
    pub queue: String,
    /// The numbers, by name, with the unit last.
    pub inputs: BTreeMap<String, f64>,
    /// The queue that takes what it would need, where its goal is missed because of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starved_by: Option<String>,
}

impl ProcessView {
    /// Its state, with what it says of its work: `running, busy`.
    pub fn state_words(&self) -> String {
        match self.busy {
            Some(true) => format!("{}, busy", self.state),
            Some(false) => format!("{}, idle", self.state),
            None => self.state.clone(),
        }
    }
}

impl DecisionView {
    /// What was decided, for the sentence that goes on with the reason: `1 -> 13`, `stays at 4`.
    pub fn change(&self) -> String {
        if self.from == self.to {
            format!("stays at {}", self.to)
        } else {
            format!("{} -> {}", self.from, self.to)
        }
    }
}

/// Ends that nobody asked for, of one cause.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeathView {
    /// `exit code 1`, `killed by SIGKILL`, `could not be started`.
    pub cause: String,
    /// How many.
    pub count: u64,
    /// When the last one was: wall-clock time, RFC 3339.
    pub last_at: String,
    /// How many seconds ago that was.
    pub last_seconds_ago: f64,
}

/// `GET /api/v1/explain/{program}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The program.
    pub program: String,
    /// Why this many, in one sentence.
    pub reason: String,
    /// Every gap between wanted and actual, one sentence each.
    pub gaps: Vec<String>,
    /// The newest decision, where the program is scaled.
    pub decision: Option<DecisionView>,
    /// The newest decisions that changed something, newest first.
    pub history: Vec<DecisionView>,
    /// Ends that nobody asked for, by cause, most frequent first; remembered over restarts of Leveret.
    #[serde(default)]
    pub deaths: Vec<DeathView>,
    /// The program as it stands.
    pub status: Option<ProgramView>,
}
