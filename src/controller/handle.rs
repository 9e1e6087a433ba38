//! The way into the controller's loop for the page, the API and the signals.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::snapshot::{DecisionView, Explanation, Snapshot};
use crate::core::configure::Class;
use crate::core::ids::{ProgramName, Target};
use crate::core::rollout::Rolling;

/// A request that the loop answers.
#[derive(Debug)]
pub enum Request {
    /// The picture of this moment.
    Snapshot(oneshot::Sender<Arc<Snapshot>>),
    /// Change what is desired.
    Act(Action, Origin, oneshot::Sender<Result<Accepted, Refusal>>),
    /// Why a program has as many processes as it has.
    Explain(ProgramName, oneshot::Sender<Result<Explanation, Refusal>>),
    /// The journal, newest first: of one program or of all, this many at most.
    Decisions(Option<ProgramName>, usize, oneshot::Sender<Result<Vec<DecisionView>, Refusal>>),
    /// Read the configuration file again.
    Reload(oneshot::Sender<Result<ReloadReport, Refusal>>),
    /// Read the configuration file and say what a reload would do.
    PlanReload(oneshot::Sender<Result<ReloadReport, Refusal>>),
    /// Have the binary that is at the place of this one take over.
    Upgrade(oneshot::Sender<Result<Accepted, Refusal>>),
    /// The measured durations for the metrics.
    Histograms(oneshot::Sender<Histograms>),
}

/// What a person, a script or a signal asks for. All of it ends in an edit of the desired state.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Should run; clears a backoff and an earlier stop.
    Start(Target),
    /// Should not run.
    Stop(Target),
    /// Every present process should be replaced by a new one.
    Restart(Target),
    /// Every present process should be replaced by a new one, some at a time.
    Roll(Target, Rolling),
    /// One process more.
    Copy(Target),
    /// This many processes; for a scaled program a hold, for so long.
    Scale(ProgramName, u32, Option<Duration>),
    /// Give the count back to the engine or to the file.
    Auto(Target),
    /// Freeze scaling.
    Pause(Target),
    /// Unfreeze scaling.
    Resume(Target),
    /// Send a signal to the main processes, once.
    Signal(Target, i32),
    /// End every process, then Leveret.
    Shutdown,
}

/// Who asks, for the records and for "set to 3 by ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The page.
    Page,
    /// The API over TCP.
    Api,
    /// The command line over the Unix socket.
    CommandLine,
    /// A signal to Leveret.
    Signal,
}

impl Origin {
    /// As shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Api => "API",
            Self::CommandLine => "command line",
            Self::Signal => "signal",
        }
    }
}

/// The action was taken; what it asked for is now desired, and comes about in its own time.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Accepted {
    /// One sentence about what will happen.
    pub message: String,
    /// The processes that it concerns, by slot.
    pub processes: Vec<String>,
    /// The number of the rolling restart, where one was asked for; the same for all programs that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<u64>,
}

/// Why a request was not taken. The text is a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no program, process or project of that name. HTTP 404, exit code 4.
    #[error("{0}")]
    NoSuchName(String),
    /// The request cannot be meant: a number out of range, `scale` on a project. HTTP 400.
    #[error("{0}")]
    Invalid(String),
    /// The state does not allow it: shutting down. HTTP 409.
    #[error("{0}")]
    Conflict(String),
    /// The configuration file has errors; the running configuration stays. HTTP 422.
    #[error("{0}")]
    Configuration(String),
    /// The loop has ended. HTTP 503.
    #[error("Leveret is ending")]
    Ending,
}

/// What a reload changed, or would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReloadReport {
    /// Programs that are new.
    pub added: Vec<String>,
    /// Programs that are gone; their processes are stopped.
    pub removed: Vec<String>,
    /// Programs whose processes are replaced.
    pub restarted: Vec<String>,
    /// Programs whose treatment changed while their processes go on.
    pub adjusted: Vec<String>,
    /// Every program: what becomes of it, and which keys are the cause.
    pub programs: Vec<ProgramChange>,
    /// Keys outside of the programs that changed and count at once, brokers included: `brokers.default`.
    pub settings: Vec<String>,
    /// What is worth knowing, a sentence each.
    pub warnings: Vec<String>,
}

/// What a reload does to a program.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProgramChange {
    /// The program.
    pub name: String,
    /// What becomes of it.
    pub change: Class,
    /// Keys for which its processes are replaced: `environment.APP_ENV`.
    pub restart: Vec<String>,
    /// Keys whose change its processes live through.
    pub in_place: Vec<String>,
    /// How many processes of it live: those that are replaced or stopped, where that is what becomes of it.
    pub processes: u32,
}

/// Measured durations since the controller started, in seconds.
#[derive(Clone, Debug, Default)]
pub struct Histograms {
    /// Of one round of probes, by broker.
    pub probe: Vec<(String, Histogram)>,
    /// From the stop signal to the end of the last process, by program.
    pub stop: Vec<(String, Histogram)>,
}

/// Counts by upper bound, as Prometheus has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds in seconds, ascending.
    pub bounds: Vec<f64>,
    /// How many were at or below each bound and above the one before it.
    pub counts: Vec<u64>,
    /// How many there were.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
}

impl Histogram {
    /// An empty histogram over `bounds`, in seconds, ascending.
    pub fn new(bounds: &[f64]) -> Self {
        Self { bounds: bounds.to_vec(), counts: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    /// Counts one duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some(at) = self.bounds.iter().position(|bound| seconds <= *bound) {
            self.counts[at] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

/// How many remarks a slow reader may be behind; more are lost to it.
const REMARKS_MAX: usize = 1_024;

/// What became of a process, for those who follow its output: it was started, it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The program.
    pub program: String,
    /// The process: `orders:3`.
    pub process: String,
    /// What became of it.
    pub text: String,
}

/// A clonable way to ask the loop.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    changed: watch::Receiver<u64>,
    remarks: broadcast::Sender<Remark>,
}

impl Handle {
    /// A handle to the loop that receives `requests` and counts its changes up in `changed`.
    pub fn new(requests: mpsc::Sender<Request>, changed: watch::Receiver<u64>) -> Self {
        Self { requests, changed, remarks: broadcast::channel(REMARKS_MAX).0 }
    }

    /// Where the loop tells what becomes of processes, for those who follow their output.
    pub fn remarks_in(&self) -> broadcast::Sender<Remark> {
        self.remarks.clone()
    }

    /// What becomes of processes from now on.
    pub fn remarks(&self) -> broadcast::Receiver<Remark> {
        self.remarks.subscribe()
    }

    /// Counts up whenever something that a snapshot shows may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// The picture of this moment.
    ///
    /// # Errors
    /// [`Refusal::Ending`] when the loop has ended.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, Refusal> {
        self.ask(Request::Snapshot).await
    }

    /// Changes what is desired.
    ///
    /// # Errors
    /// Says why the action was not taken.
    pub async fn act(&self, action: Action, origin: Origin) -> Result<Accepted, Refusal> {
        self.ask(|reply| Request::Act(action, origin, reply)).await?
    }

    /// Why a program has as many processes as it has.
    ///
    /// # Errors
    /// [`Refusal::NoSuchName`] for an unknown program.
    pub async fn explain(&self, program: ProgramName) -> Result<Explanation, Refusal> {
        self.ask(|reply| Request::Explain(program, reply)).await?
    }

    /// The journal of decisions, newest first.
    ///
    /// # Errors
    /// [`Refusal::NoSuchName`] for an unknown program.
    pub async fn decisions(
        &self,
        program: Option<ProgramName>,
        limit: usize,
    ) -> Result<Vec<DecisionView>, Refusal> {
        self.ask(|reply| Request::Decisions(program, limit, reply)).await?
    }

    /// Reads the configuration file again.
    ///
    /// # Errors
    /// [`Refusal::Configuration`] with every mistake of the file; the running configuration stays.
    pub async fn reload(&self) -> Result<ReloadReport, Refusal> {
        self.ask(Request::Reload).await?
    }

    /// What [`Handle::reload`] would change; nothing is changed.
    ///
    /// # Errors
    /// [`Refusal::Configuration`] with every mistake of the file.
    pub async fn plan_reload(&self) -> Result<ReloadReport, Refusal> {
        self.ask(Request::PlanReload).await?
    }

    /// Has the binary that is at the place of this one take over; [`Snapshot::upgrade`] tells how it goes.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] if it cannot begin now.
    pub async fn upgrade(&self) -> Result<Accepted, Refusal> {
        self.ask(Request::Upgrade).await?
    }

    /// The measured durations.
    ///
    /// # Errors
    /// [`Refusal::Ending`] when the loop has ended.
    pub async fn histograms(&self) -> Result<Histograms, Refusal> {
        self.ask(Request::Histograms).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Refusal::Ending)?;
        answer.await.map_err(|_| Refusal::Ending)
    }
}
