//! What there is of a schedule: the moments that are dealt with, the run under way, and how runs went. Which moment is due
//! is asked of [`super::schedule`]; when runs begin and end is in [`super::machine`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::ProgramName;
use super::observed::StopCause;
use super::random::Random;
use super::schedule::Wall;
use super::spec::ScheduleSpec;
use super::time::{Time, human};

/// A run that begins no later than this after its moment was not missed.
pub const LATE: i64 = 60;

/// The wall clock may be set back by so many seconds before moments that were dealt with come again.
pub const SET_BACK: i64 = 300;

/// What there is of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// The schedule that the moments below are of.
    schedule: String,
    /// Moments up to this one are dealt with, in seconds since 1970; absent until the clock is known, and while it rests.
    pub dealt_with: Option<i64>,
    /// Seed of the jitter, so that a next controller comes to the same.
    #[serde(default)]
    seed: Option<u64>,
    /// The first moment after that, with its jitter.
    #[serde(skip)]
    pub next: Option<Next>,
    /// The run under way.
    pub current: Option<Run>,
    /// Why the run under way is to end, if it is.
    pub cut: Option<StopCause>,
    /// The run that is to begin as soon as nothing else runs.
    pub waiting: Option<Origin>,
    /// How the last run went.
    pub last: Option<LastRun>,
    /// When a run ended well for the last time, in seconds since 1970.
    pub last_success: Option<f64>,
    /// Runs by result, since Leveret was started.
    pub totals: BTreeMap<RunResult, u64>,
}

/// A moment to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// What the schedule names, in seconds since 1970.
    pub due: i64,
    /// When the run is to begin, in microseconds since 1970.
    pub start_micros: i64,
}

/// One run, from its beginning over all its attempts to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Why it is there.
    pub origin: Origin,
    /// When it began.
    pub began_at: Time,
}

/// Why there is a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was due at this moment, in seconds since 1970.
    Due(i64),
    /// It was due then and nobody could start it.
    Missed(i64),
    /// Somebody asked for it.
    Hand,
}

impl Origin {
    fn moment(self) -> Option<i64> {
        match self {
            Self::Due(moment) | Self::Missed(moment) => Some(moment),
            Self::Hand => None,
        }
    }
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// It ended well.
    Succeeded,
    /// It ended badly, took too long or could not be started.
    Failed,
    /// It was ended by somebody, by the run after it, or with Leveret.
    Stopped,
    /// It was due while another one went on, and left out.
    Skipped,
    /// It was due while nobody could start it, and left out.
    Missed,
}

impl RunResult {
    /// Every result.
    pub const ALL: [Self; 5] = [Self::Succeeded, Self::Failed, Self::Stopped, Self::Skipped, Self::Missed];

    /// The word of the API and of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// How it went.
    pub result: RunResult,
    /// How it ended: `exit code 1`, `took longer than 1h`.
    pub how: String,
    /// When it ended, in seconds since 1970.
    pub ended: f64,
    /// How long it took; absent where its end was not seen.
    pub lasted: Option<Duration>,
}

impl LastRun {
    /// For a sentence: `the last run took 3m and succeeded`.
    pub fn words(&self) -> String {
        let lasted = self.lasted.map(human);
        match (self.result, lasted) {
            (RunResult::Succeeded, Some(lasted)) => format!("the last run took {lasted} and succeeded"),
            (RunResult::Succeeded, None) => "the last run succeeded".to_owned(),
            (RunResult::Failed, Some(lasted)) => format!("the last run failed after {lasted}: {}", self.how),
            (RunResult::Stopped, Some(lasted)) => {
                format!("the last run was stopped after {lasted}: {}", self.how)
            }
            (RunResult::Failed | RunResult::Stopped | RunResult::Skipped | RunResult::Missed, _) => {
                format!("the last run did not come to its end: {}", self.how)
            }
        }
    }
}

impl Runs {
    /// A schedule of which nothing is known yet.
    pub fn new(spec: &ScheduleSpec) -> Self {
        Self { schedule: identity(spec), ..Self::default() }
    }

    /// Takes over another schedule: what was due by the old one is forgotten. The run under way goes on.
    pub fn reschedule(&mut self, spec: &ScheduleSpec) {
        self.next = None;
        if self.schedule != identity(spec) {
            self.schedule = identity(spec);
            self.dealt_with = None;
            self.waiting = self.waiting.filter(|origin| *origin == Origin::Hand);
        }
    }

    /// What a next machine should know; the moment to come is computed anew.
    pub fn to_remember(&self) -> Self {
        Self { next: None, ..self.clone() }
    }

    /// What is left of this when Leveret itself was started anew: the moments and the last results.
    #[must_use]
    pub fn over_restart(self, spec: &ScheduleSpec, now: f64) -> Self {
        let unseen = self.current.map(|_| LastRun {
            result: RunResult::Stopped,
            how: "Leveret ended while it ran".to_owned(),
            ended: now,
            lasted: None,
        });
        let mut runs = Self {
            schedule: self.schedule,
            dealt_with: self.dealt_with,
            seed: self.seed,
            last: unseen.or(self.last),
            last_success: self.last_success,
            ..Self::default()
        };
        runs.reschedule(spec);
        runs
    }

    /// A life of this run was there before the machine.
    pub fn adopt(&mut self, run: Run) {
        if self.current == Some(run) {
            return;
        }
        // What was waiting when this was written down is what began, or was dropped for it.
        self.waiting = None;
        self.cut = None;
        self.current = Some(run);
        self.deal_with(run.origin.moment().into_iter().chain(self.dealt_with).max());
    }

    /// Moments up to this one are dealt with.
    pub fn deal_with(&mut self, moment: Option<i64>) {
        if self.dealt_with != moment {
            self.dealt_with = moment;
            self.next = None;
        }
    }

    /// Counts what became of a run.
    pub fn count(&mut self, result: RunResult) {
        *self.totals.entry(result).or_default() += 1;
    }

    /// The run under way is over.
    pub fn end(&mut self, result: RunResult, how: String, at: Time, wall: Option<Wall>) {
        let Some(run) = self.current.take() else { return };
        self.cut = None;
        self.count(result);
        let ended = wall.map_or(0.0, |wall| wall.micros_at(at) as f64 / 1e6);
        if result == RunResult::Succeeded {
            self.last_success = Some(ended);
        }
        self.last = Some(LastRun { result, how, ended, lasted: Some(at.since(run.began_at)) });
    }

    /// The next moment to come, computed when it is not known.
    pub fn next(&mut self, spec: &ScheduleSpec, name: &ProgramName, seed: u64) -> Option<Next> {
        if self.next.is_none() {
            let seed = self.seed(seed);
            self.next = next_after(spec, self.dealt_with?, name, seed);
        }
        self.next
    }

    /// The seed of the jitter; `seed` where there is none yet.
    pub fn seed(&mut self, seed: u64) -> u64 {
        *self.seed.get_or_insert(seed)
    }
}

fn identity(spec: &ScheduleSpec) -> String {
    format!("{} {}", spec.cron, spec.timezone.name())
}

/// The first moment after `after`, with its jitter.
pub fn next_after(spec: &ScheduleSpec, after: i64, name: &ProgramName, seed: u64) -> Option<Next> {
    let due = spec.timezone.next(&spec.cron, after)?;
    let of_name = name.as_str().bytes().fold(seed, |hash, byte| hash.rotate_left(5) ^ u64::from(byte));
    let jitter = spec.jitter.mul_f64(Random::new(of_name ^ due.unsigned_abs()).unit());
    let jitter_micros = i64::try_from(jitter.as_micros()).unwrap_or(i64::MAX);
    Some(Next { due, start_micros: due.saturating_mul(1_000_000).saturating_add(jitter_micros) })
}

/// `runs next at 03:00 Europe/Berlin`, and when that is on the monotonic clock.
pub fn next_words(spec: &ScheduleSpec, runs: &Runs, wall: Wall, now: Time) -> Option<(String, Time)> {
    let next = runs.next?;
    let start = next.start_micros.div_euclid(1_000_000);
    let words = spec.timezone.words(start, wall.seconds_at(now))?;
    Some((format!("runs next {words}"), wall.moment(next.start_micros)))
}
