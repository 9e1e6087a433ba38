//! What is: the slots of a program and the life in each of them, as the facts have told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::HealthSpec;
use super::event::RestartReason;
use super::exit::ExitStatus;
use super::hooks::Preparation;
use super::ids::Incarnation;
use super::readiness::{AtWork, BusyBy, Condition, Unfit, Voice};
use super::time::Time;

/// One numbered place of a program, over all its lives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Where the slot is in its life.
    pub phase: Phase,
    /// Failed lives in a row.
    pub failures: u32,
    /// How often it was started again.
    pub restarts: u64,
    /// The newest life whose end has been dealt with.
    pub last_ended: Incarnation,
    /// How the last life ended.
    pub last_exit: Option<ExitStatus>,
    /// Why the next start is a restart, when it is one.
    pub again: Option<RestartReason>,
    /// What kept the last life from starting: `chdir /srv/nope: No such file or directory`.
    pub trouble: Option<String>,
    /// Earlier lives whose end the slot did not wait for: what they left behind, until the keeper says that it is gone.
    pub leftovers: BTreeMap<Incarnation, Leftover>,
    /// What is known of the newest life beside that it lives.
    #[serde(default)]
    pub condition: Condition,
    /// What was wrong with the last life, where it was ended for that.
    #[serde(default)]
    pub unfit: Option<Unfit>,
}

impl Slot {
    /// Whether nothing lives here any more, of this life or an earlier one.
    pub fn is_vacant(&self) -> bool {
        self.leftovers.is_empty() && self.phase.life().is_none()
    }

    /// What is known of the life in the slot, if it is this one. Of an older one nothing is, where something is known of a newer
    /// one already: while a machine takes over, that may be about to come.
    pub fn condition_mut(&mut self, incarnation: Incarnation) -> Option<&mut Condition> {
        let is_present = self.phase.life().is_some_and(|life| life.incarnation == incarnation);
        if is_present && self.condition.incarnation < incarnation {
            self.condition = Condition::of(incarnation);
        }
        (is_present && self.condition.incarnation == incarnation).then_some(&mut self.condition)
    }

    /// Whether the life in the slot is known to be of use by more than the time that has passed.
    pub fn is_ready(&self) -> bool {
        let life = self.phase.life();
        life.is_some_and(|life| life.incarnation == self.condition.incarnation && self.condition.ready)
    }

    /// Why the life in the slot is of no use any more, if it is not.
    pub fn unfit_now(&self, health: Option<&HealthSpec>) -> Option<Unfit> {
        let is_unhealthy = health.is_some_and(|health| self.failed_checks() >= health.failures.max(1));
        let hangs = self.voice().filter(|voice| voice.hung).map(|_| Unfit::Watchdog);
        hangs.or(is_unhealthy.then_some(Unfit::Unhealthy))
    }

    /// How many looks at the health of the life in the slot have failed in a row.
    pub fn failed_checks(&self) -> u32 {
        let life = self.phase.life().filter(|life| life.incarnation == self.condition.incarnation);
        life.map_or(0, |_| self.condition.failures)
    }

    /// What was wrong with the last life, where it was ended for that: `was not ready in time (db:5432: Connection refused)`.
    pub fn unfit_words(&self) -> Option<String> {
        let unfit = self.unfit?;
        let found = self.condition.trouble.as_ref().filter(|_| unfit != Unfit::Watchdog);
        Some(match found {
            Some(found) => format!("{} ({found})", unfit.words()),
            None => unfit.words().to_owned(),
        })
    }

    /// Whether the life in the slot holds a message, if that is known: its own word counts before that of its channels.
    pub fn busy(&self) -> Option<bool> {
        self.says_busy().or_else(|| self.at_work()?.work.busy())
    }

    /// Whether the life in the slot holds a message, if it says so itself.
    pub fn says_busy(&self) -> Option<bool> {
        self.voice()?.busy
    }

    /// What the channels of the life in the slot say, where that counts.
    pub fn at_work(&self) -> Option<AtWork> {
        self.voice().filter(|voice| voice.busy.is_none())?;
        self.condition.at_work
    }

    /// Who tells whether the life in the slot holds a message.
    pub fn busy_by(&self) -> Option<BusyBy> {
        let itself = self.says_busy().map(|_| BusyBy::Itself);
        itself.or_else(|| self.at_work()?.work.busy().map(|_| BusyBy::Channels))
    }

    /// What the life in the slot said of itself.
    pub fn voice(&self) -> Option<&Voice> {
        let life = self.phase.life()?;
        (life.incarnation == self.condition.incarnation).then_some(&self.condition.voice)
    }
}

/// Where a slot is in its life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing lives here and nothing stands in the way of a start.
    #[default]
    Empty,
    /// What runs before the start of a process does, or has succeeded. The life is the hook's own; the process gets another.
    Preparing(Life, Preparation),
    /// A start was ordered and is not answered yet.
    Spawning(Life),
    /// The program runs and is not known to be of use yet.
    Starting(Life, Main),
    /// The program runs.
    Running(Life, Main),
    /// The program was asked to end.
    Stopping(Life, Main, Stop),
    /// The main process has ended; what it left behind is asked to end, or is being looked for.
    LeaderGone(Life, Gone, Stop),
    /// A failure; waiting before the next start.
    Backoff {
        /// When it failed.
        since: Time,
        /// When it may start again.
        until: Time,
    },
    /// Ended, and its restart policy lets it rest.
    Exited {
        /// When.
        at: Time,
    },
    /// Given up after too many failures in a row.
    Failed {
        /// When.
        at: Time,
    },
}

impl Phase {
    /// The life in the slot, if there is one.
    pub fn life(&self) -> Option<&Life> {
        match self {
            Self::Preparing(life, _)
            | Self::Spawning(life)
            | Self::Starting(life, _)
            | Self::Running(life, _)
            | Self::Stopping(life, ..)
            | Self::LeaderGone(life, ..) => Some(life),
            Self::Empty | Self::Backoff { .. } | Self::Exited { .. } | Self::Failed { .. } => None,
        }
    }

    /// The main process, while it lives.
    pub fn main(&self) -> Option<&Main> {
        match self {
            Self::Starting(_, main) | Self::Running(_, main) | Self::Stopping(_, main, _) => Some(main),
            Self::Empty
            | Self::Preparing(..)
            | Self::Spawning(_)
            | Self::LeaderGone(..)
            | Self::Backoff { .. }
            | Self::Exited { .. }
            | Self::Failed { .. } => None,
        }
    }

    /// The request that it end, if it was made.
    pub fn stop(&self) -> Option<&Stop> {
        match self {
            Self::Stopping(_, _, stop) | Self::LeaderGone(_, _, stop) => Some(stop),
            Self::Empty
            | Self::Preparing(..)
            | Self::Spawning(_)
            | Self::Starting(..)
            | Self::Running(..)
            | Self::Backoff { .. }
            | Self::Exited { .. }
            | Self::Failed { .. } => None,
        }
    }

    /// Whether something lives here that was not asked to end.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Preparing(..) | Self::Spawning(_) | Self::Starting(..) | Self::Running(..))
    }

    /// Whether something here was asked to end and has not ended.
    pub fn is_ending(&self) -> bool {
        matches!(self, Self::Stopping(..) | Self::LeaderGone(..))
    }
}

/// One life of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its number.
    pub incarnation: Incarnation,
    /// What it was made from: [`super::spec::RunSpec::fingerprint`].
    pub fingerprint: u64,
    /// When its start was ordered.
    pub ordered_at: Time,
}

/// The main process of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Main {
    /// Its process id.
    pub pid: i32,
    /// When the program was exec'd.
    pub started_at: Time,
}

/// A main process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// How.
    pub status: ExitStatus,
    /// When.
    pub at: Time,
    /// How long it had lived.
    pub lived: Duration,
    /// How many of its processes are known to live on.
    pub left: u32,
    /// Whether it had been asked to end.
    pub asked: bool,
}

/// A request to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// On whose behalf.
    pub cause: StopCause,
    /// When it was asked.
    pub since: Time,
    /// When the whole tree is killed; absent while it may take as long as it takes.
    pub deadline: Option<Time>,
    /// When the tree was last killed.
    pub killed_at: Option<Time>,
    /// Whether what the main process left behind was asked as well.
    #[serde(default)]
    pub left_asked: bool,
    /// How many signals were sent after the first one: which of [`super::spec::StopSpec::then`] comes next.
    #[serde(default)]
    pub step: u32,
    /// When that one comes; absent where there is none, or while the stop has no limit.
    #[serde(default)]
    pub step_due: Option<Time>,
    /// Whether the stop signal waits for the hook that runs before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_hook: bool,
}

/// On whose behalf a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// An operator stopped it.
    Operator,
    /// An operator restarts it.
    Restart,
    /// Its program was changed by a reload.
    Changed,
    /// Its program was removed by a reload.
    Removed,
    /// There are more than are wanted.
    ScaleIn,
    /// Leveret shuts down.
    Shutdown,
    /// Its main process ended by itself.
    LeaderEnded,
    /// A run of a schedule took longer than it may.
    Timeout,
    /// The next run of its schedule takes its place.
    Replaced,
    /// It lives and is of no use.
    Unfit(Unfit),
    /// It is its turn in a rolling restart.
    Rollout,
    /// It uses too much memory, or is old.
    Recycle,
}

impl StopCause {
    /// Whether the stop has a limit after which the tree is killed. Work that was begun is otherwise left to end.
    pub fn has_limit(self) -> bool {
        match self {
            Self::Operator | Self::Restart | Self::Removed | Self::Shutdown | Self::LeaderEnded => true,
            Self::Timeout | Self::Replaced | Self::Unfit(_) => true,
            Self::Changed | Self::ScaleIn | Self::Rollout | Self::Recycle => false,
        }
    }
}

/// What an ended main process may have left behind in a slot that has moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// The life that ended.
    pub life: Life,
    /// How many processes are known to live on; 0 while they are being looked for.
    pub left: u32,
    /// The request that they end; absent until it is made.
    pub stop: Option<Stop>,
}

impl Leftover {
    /// What may be left of a life whose main process has ended, as long as nothing is known of it.
    pub fn unknown(life: Life) -> Self {
        Self { life, left: 0, stop: None }
    }
}

/// How the processes of a program take their stop signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopManners {
    /// Not seen yet: one at a time is asked.
    #[default]
    Unknown,
    /// They finish what they have begun.
    Finishes,
    /// They die of it on the spot, whatever they were doing.
    DiesOfIt,
}

/// How a broker stands, as far as starts of consumers depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokerHealth {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// Its queues can be read.
    Up,
    /// It refuses Leveret; consumers may have a login of their own.
    Refused,
    /// It cannot be reached.
    Unreachable,
}
