//! Rolling restarts: some processes at a time, the next one only when the new one is of use.
//!
//! What was asked for and how far it has come is part of the wish of a program; who goes next follows from what there is,
//! and is asked anew at every plan. Nothing here counts what is already under way, so nothing is lost or done twice when
//! a controller is replaced in the middle.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::gap::Gap;
use super::ids::Incarnation;
use super::observed::{Life, Phase, Slot, StopCause};
use super::slots::Slots;
use super::spec::Kind;
use super::time::{Time, human};
use super::words::processes;
use super::world::{Program, World};

/// How a rolling restart is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// How many processes of a program may be on the way at one time, at least 1.
    pub batch: u32,
    /// One new process must live first, for so long after it is ready.
    pub canary: Option<Duration>,
}

/// A rolling restart of one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The same for all programs that were named together: they go on together and halt together.
    pub id: u64,
    /// How it was asked for: `page`, `command line`.
    pub by: String,
    /// When it was asked for.
    pub since: Time,
    /// Lives up to this one are of before.
    pub until: Incarnation,
    /// How many may be on the way at one time.
    pub batch: u32,
    /// How many lives there were to replace.
    pub total: u32,
    /// A slot that has a process in addition to those that are wanted otherwise.
    pub extra: Option<u32>,
    /// How far it has come.
    pub stage: Stage,
}

/// How far a rolling restart has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// One new process proves itself; nothing else is touched.
    Canary(Canary),
    /// Process after process is replaced.
    Rolling,
    /// It is over.
    Over(End),
}

/// The new process that proves itself before any other is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// How long it must live after it is ready.
    pub lasting: Duration,
    /// Where it is; absent until that is chosen.
    pub slot: Option<u32>,
    /// The life that is ready, and since when.
    pub ready: Option<(Incarnation, Time)>,
    /// Whether it has proven itself. It may wait for the canaries of other programs then.
    pub passed: bool,
}

/// The end of a rolling restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: Time,
    /// What became of it.
    pub result: RolloutResult,
    /// How many had been replaced.
    pub replaced: u32,
    /// Why, where it did not come to its end.
    pub why: String,
    /// The last line that the process wrote which failed.
    #[serde(default)]
    pub last_words: Option<String>,
}

/// What became of a rolling restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutResult {
    /// Every process of before was replaced.
    Done,
    /// A new process failed: what is left of before goes on.
    Halted,
    /// Somebody wanted something else meanwhile.
    Ended,
}

impl Rollout {
    /// Whether it goes on.
    pub fn is_going(&self) -> bool {
        match self.stage {
            Stage::Canary(_) | Stage::Rolling => true,
            Stage::Over(_) => false,
        }
    }

    /// The word of the API for how far it has come.
    pub fn state(&self) -> &'static str {
        match &self.stage {
            Stage::Canary(_) => "canary",
            Stage::Rolling => "rolling",
            Stage::Over(End { result: RolloutResult::Done, .. }) => "done",
            Stage::Over(End { result: RolloutResult::Halted, .. }) => "halted",
            Stage::Over(End { result: RolloutResult::Ended, .. }) => "ended",
        }
    }

    /// When the canary has lived for long enough, if it goes on as it is.
    pub fn canary_passes_at(&self) -> Option<Time> {
        match &self.stage {
            Stage::Canary(canary) if !canary.passed => canary.ready.map(|(_, since)| since + canary.lasting),
            Stage::Canary(_) | Stage::Rolling | Stage::Over(_) => None,
        }
    }

    fn canary_slot(&self) -> Option<u32> {
        match &self.stage {
            Stage::Canary(canary) => canary.slot,
            Stage::Rolling | Stage::Over(_) => None,
        }
    }
}

impl Program {
    /// The rolling restart that goes on.
    pub fn rollout(&self) -> Option<&Rollout> {
        self.wish.rollout.as_ref().filter(|rollout| rollout.is_going())
    }

    /// The end of the last rolling restart, where a new process failed.
    pub fn halted_rollout(&self) -> Option<(&Rollout, &End)> {
        let rollout = self.wish.rollout.as_ref()?;
        match &rollout.stage {
            Stage::Over(end) if end.result == RolloutResult::Halted => Some((rollout, end)),
            Stage::Over(_) | Stage::Canary(_) | Stage::Rolling => None,
        }
    }

    /// Whether a rolling restart decides when a changed process is replaced: while it goes on, and after it has halted,
    /// because what was to take its place does not live.
    pub fn replaces_one_by_one(&self) -> bool {
        self.rollout().is_some() || self.halted_rollout().is_some()
    }

    /// A slot that has a process in addition to those that are wanted otherwise, if any are.
    pub fn extra_slot(&self) -> Option<u32> {
        let extra = self.rollout()?.extra?;
        (!self.wish.stopped_slots.contains(&extra) && self.count() > 0).then_some(extra)
    }

    /// The slot of a canary that takes another one's place.
    pub fn canary_in_place(&self) -> Option<u32> {
        let rollout = self.rollout().filter(|rollout| rollout.extra.is_none())?;
        rollout.canary_slot().filter(|slot| !self.wish.stopped_slots.contains(slot))
    }

    /// Whether a life is to be replaced by the rolling restart that goes on. One that a reload changed is, too.
    pub fn is_of_before(&self, life: &Life) -> bool {
        let is_older = self.rollout().is_some_and(|rollout| life.incarnation <= rollout.until);
        is_older || self.rollout().is_some() && life.fingerprint != self.fingerprint
    }

    /// Whether a life goes before others when fewer are needed, because it is to be replaced anyway.
    pub fn is_rolled_out_over(&self, life: &Life) -> bool {
        self.rollout().is_some_and(|rollout| rollout.stage == Stage::Rolling) && self.is_of_before(life)
    }

    /// Whether the end of the life in `slot` would say that the new ones do not live.
    pub fn is_unproven(&self, number: u32) -> bool {
        let Some(rollout) = self.rollout() else { return false };
        let Some(slot) = self.slots.get(&number) else { return false };
        let is_new = slot.phase.life().is_some_and(|life| !self.is_of_before(life));
        let is_canary = rollout.canary_slot() == Some(number);
        let is_young = matches!(slot.phase, Phase::Preparing(..) | Phase::Spawning(_) | Phase::Starting(..));
        is_new && slot.phase.is_live() && (is_young || is_canary)
    }
}

/// Where the processes of a program stand that is restarted one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Those of before that were not asked to end, in the order in which they go.
    pub next: Vec<u32>,
    /// Those that are wanted and not ready, or that were asked to end for this.
    pub away: Vec<u32>,
    /// Lives of before that have not ended.
    pub left: u32,
    /// How many of those that are away are new ones.
    pub coming: u32,
}

impl Standing {
    /// Where the processes of `program` stand, of which these are wanted.
    pub fn of(program: &Program, wanted: &Slots) -> Self {
        let mut standing = Self::default();
        let mut next = Vec::new();
        for (number, slot) in &program.slots {
            let is_old = slot.phase.life().is_some_and(|life| program.is_of_before(life));
            standing.left += u32::from(is_old);
            let is_wanted = wanted.contains(*number);
            let is_leaving = slot.phase.stop().is_some_and(|stop| stop.cause == StopCause::Rollout);
            let is_away = match &slot.phase {
                Phase::Running(..) | Phase::Starting(..) if is_old => {
                    if !program.wish.stopped_slots.contains(number) {
                        next.push((turn(*number, slot), *number));
                    }
                    false
                }
                Phase::Running(..) => false,
                Phase::Exited { at } | Phase::Failed { at } => {
                    is_wanted && program.wish.forgives(*number, *at)
                }
                Phase::Preparing(..)
                | Phase::Spawning(_)
                | Phase::Starting(..)
                | Phase::Stopping(..)
                | Phase::LeaderGone(..)
                | Phase::Empty
                | Phase::Backoff { .. } => is_wanted || is_leaving,
            };
            if is_away {
                standing.away.push(*number);
            }
        }
        standing.away.extend(wanted.iter().filter(|number| !program.slots.contains_key(number)));
        let is_old = |number: &&u32| {
            let life = program.slots.get(number).and_then(|slot| slot.phase.life());
            life.is_some_and(|life| program.is_of_before(life))
        };
        standing.coming = standing.away.iter().filter(|number| !is_old(number)).count() as u32;
        next.sort_unstable();
        standing.next = next.into_iter().map(|(_, number)| number).collect();
        standing
    }

    /// How many have been replaced by new ones that are of use.
    pub fn replaced(&self, rollout: &Rollout) -> u32 {
        rollout.total.saturating_sub(self.left + self.coming.min(rollout.batch))
    }

    /// Whether nothing of before is left, and all that is wanted is of use.
    pub fn is_complete(&self) -> bool {
        self.left == 0 && self.away.is_empty()
    }
}

/// Whose turn it is: one that is of no use yet first, because nobody misses it, then those that say that they are idle, then
/// the youngest, as when fewer are needed.
fn turn(number: u32, slot: &Slot) -> (bool, u8, Reverse<(Time, u32)>) {
    let started_at = slot.phase.main().map_or(Time::default(), |main| main.started_at);
    let work = match slot.busy() {
        Some(false) => 0,
        None => 1,
        Some(true) => 2,
    };
    let is_of_use = matches!(slot.phase, Phase::Running(..)) || slot.busy() == Some(true);
    (is_of_use, work, Reverse((started_at, number)))
}

/// The processes that are to be asked to end now.
pub fn victims(program: &Program, wanted: &Slots) -> BTreeSet<u32> {
    let Some(rollout) = program.rollout() else { return BTreeSet::new() };
    let standing = Standing::of(program, wanted);
    let room = (rollout.batch as usize).saturating_sub(standing.away.len());
    let canary = program.canary_in_place();
    let may_go = |number: &u32| match &rollout.stage {
        Stage::Canary(_) => canary == Some(*number),
        Stage::Rolling => true,
        Stage::Over(_) => false,
    };
    // One that dies of its stop signal and says that it is at work would lose what it has begun.
    let would_lose =
        |number: &u32| program.slots.get(number).is_some_and(|slot| program.would_lose_work(slot));
    standing.next.into_iter().filter(|number| may_go(number) && !would_lose(number)).take(room).collect()
}

/// Why processes of before are not replaced yet, by slot.
pub fn gaps(world: &World, program: &Program, wanted: &Slots) -> Vec<(u32, Gap)> {
    let Some(rollout) = program.rollout() else { return halted_gaps(program) };
    let standing = Standing::of(program, wanted);
    let (replaced, total) = (standing.replaced(rollout), rollout.total);
    let going = victims(program, wanted);
    let waiting = standing.next.iter().filter(|number| !going.contains(number));
    let until = |number: u32| match &rollout.stage {
        Stage::Canary(Canary { passed: true, .. }) => other_canaries(world, rollout),
        Stage::Canary(Canary { slot: Some(slot), .. }) if *slot != number => {
            format!("{} has proven itself as the canary", program.label(*slot))
        }
        Stage::Canary(_) | Stage::Rolling | Stage::Over(_) => {
            let away = standing.away.iter().chain(&going).map(|slot| program.label(*slot));
            one_is_ready(&away.collect::<Vec<_>>())
        }
    };
    let gap = |number: u32| Gap::WaitsForRollout { until: until(number), replaced, total };
    waiting.map(|number| (*number, gap(*number))).collect()
}

fn one_is_ready(away: &[String]) -> String {
    match away {
        [] => "those before it are ready".to_owned(),
        [one] => format!("{one} is ready"),
        [one, other] => format!("{one} or {other} is ready"),
        [one, .., last] => format!("one of {one} to {last} is ready"),
    }
}

fn other_canaries(world: &World, rollout: &Rollout) -> String {
    let is_waited_for = |program: &&Program| {
        program.rollout().is_some_and(|other| {
            other.id == rollout.id && matches!(other.stage, Stage::Canary(Canary { passed: false, .. }))
        })
    };
    match world.programs.values().find(is_waited_for) {
        Some(program) => format!("the canary of {} has proven itself", program.spec.name),
        None => "the canaries have proven themselves".to_owned(),
    }
}

/// After a halt those of before go on, and a person should see which these are.
fn halted_gaps(program: &Program) -> Vec<(u32, Gap)> {
    let Some((rollout, end)) = program.halted_rollout() else { return Vec::new() };
    let is_old = |slot: &Slot| {
        slot.phase.is_live()
            && slot.phase.life().is_some_and(|life| {
                life.incarnation <= rollout.until || life.fingerprint != program.fingerprint
            })
    };
    let old = program.slots.iter().filter(|(_, slot)| is_old(slot));
    old.map(|(number, _)| (*number, Gap::RolloutHalted { why: end.why.clone() })).collect()
}

/// How many processes have been replaced by new ones that are of use.
pub fn replaced(program: &Program, rollout: &Rollout) -> u32 {
    match &rollout.stage {
        Stage::Over(end) => end.replaced,
        Stage::Canary(_) | Stage::Rolling => {
            Standing::of(program, &program.wanted(false).slots).replaced(rollout)
        }
    }
}

/// How far it has come, in one sentence.
pub fn sentence(program: &Program, rollout: &Rollout, replaced: u32, now: Time) -> String {
    let total = rollout.total;
    let ago = |at: Time| human(whole_seconds(now.since(at)));
    match &rollout.stage {
        Stage::Canary(Canary { passed: true, .. }) => {
            "rolling restart: the canary has proven itself, those of other programs have not".to_owned()
        }
        Stage::Canary(canary) => {
            let name = canary.slot.map_or_else(|| "one process".to_owned(), |slot| program.label(slot));
            let lasting = match canary.lasting {
                Duration::ZERO => String::new(),
                lasting => format!(" for {}", human(lasting)),
            };
            format!(
                "rolling restart: {name} is the canary and must be ready{lasting} before the next one goes"
            )
        }
        Stage::Rolling => format!("rolling restart: {replaced} of {total} replaced"),
        Stage::Over(end) => {
            let (replaced, ago, why) = (end.replaced, ago(end.at), &end.why);
            match end.result {
                RolloutResult::Done => {
                    format!("rolling restart done {ago} ago: {} replaced", processes(replaced))
                }
                RolloutResult::Halted => {
                    let words = end.last_words.as_ref().map(|words| format!("; it wrote last: {words}"));
                    format!(
                        "rolling restart halted {ago} ago with {replaced} of {total} replaced, because {why}{}",
                        words.unwrap_or_default()
                    )
                }
                RolloutResult::Ended => {
                    format!(
                        "rolling restart ended {ago} ago with {replaced} of {total} replaced, because {why}"
                    )
                }
            }
        }
    }
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

/// Where one process can be started in addition, where it can. Budgets are not looked at.
pub fn room_for_one_more(program: &Program) -> Option<u32> {
    let is_free = |slot: &u32| {
        !program.wish.stopped_slots.contains(slot)
            && program.slots.get(slot).is_none_or(|slot| slot.phase.life().is_none())
    };
    match &program.spec.kind {
        Kind::Service { .. } if program.count() > 1 => (program.count()..).find(is_free),
        Kind::Scaled(scale) if program.alive() < scale.max => {
            let wanted = program.wanted(false).slots;
            (0..).find(|slot| is_free(slot) && !wanted.contains(*slot))
        }
        Kind::Service { .. } | Kind::Scaled(_) | Kind::Scheduled(_) => None,
    }
}
