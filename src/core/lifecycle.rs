//! The life of a slot: what each fact makes of each phase. Every pair is written down; a fact about another life than the
//! one in the slot changes nothing here.

use std::time::Duration;

use super::exit::ExitStatus;
use super::ids::Incarnation;
use super::observed::{Gone, Leftover, Life, Main, Phase, Slot, Stop, StopCause};
use super::time::Time;

/// What a fact did to a slot, as far as others need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The program was exec'd.
    Started,
    /// It could not be started, and nothing of it is left.
    NotStarted,
    /// It ended by itself and nothing is known to be left of it.
    EndedByItself(Gone),
    /// It ended, having been asked to or having left others behind; what it left is being waited for.
    LeaderGone(Gone),
    /// It is gone with all that it left.
    AllGone(Gone, Stop),
}

/// The program of `incarnation` was exec'd.
pub fn spawned(slot: &mut Slot, incarnation: Incarnation, main: Main) -> Change {
    match &slot.phase {
        Phase::Spawning(present) if present.incarnation == incarnation => {
            slot.phase = Phase::Starting(*present, main);
            slot.trouble = None;
            Change::Started
        }
        // A second word about the same life, or a word about one that is no longer here.
        Phase::Preparing(..)
        | Phase::Spawning(_)
        | Phase::Starting(..)
        | Phase::Running(..)
        | Phase::Stopping(..)
        | Phase::LeaderGone(..)
        | Phase::Empty
        | Phase::Backoff { .. }
        | Phase::Exited { .. }
        | Phase::Failed { .. } => Change::None,
    }
}

/// The program of `incarnation` could not be started. The caller decides what follows.
pub fn could_not_spawn(slot: &mut Slot, incarnation: Incarnation, trouble: String) -> Change {
    match &slot.phase {
        Phase::Spawning(present) if present.incarnation == incarnation => {
            slot.last_ended = incarnation;
            slot.phase = Phase::Empty;
            slot.trouble = Some(trouble);
            slot.last_exit = None;
            Change::NotStarted
        }
        // Only a life whose start is unanswered can fail to start.
        Phase::Preparing(..)
        | Phase::Spawning(_)
        | Phase::Starting(..)
        | Phase::Running(..)
        | Phase::Stopping(..)
        | Phase::LeaderGone(..)
        | Phase::Empty
        | Phase::Backoff { .. }
        | Phase::Exited { .. }
        | Phase::Failed { .. } => Change::None,
    }
}

/// The main process of `incarnation` ended. `timeout` limits what it left behind.
pub fn exited(
    slot: &mut Slot,
    incarnation: Incarnation,
    status: ExitStatus,
    left: u32,
    at: Time,
    timeout: Duration,
) -> Change {
    let gone = |started_at: Time, asked| Gone { status, at, lived: at.since(started_at), left, asked };
    match slot.phase.clone() {
        Phase::Starting(present, main) | Phase::Running(present, main)
            if present.incarnation == incarnation =>
        {
            ended_by_itself(slot, present, gone(main.started_at, false), timeout)
        }
        // The keeper says that a program was exec'd before it says that it ended; were that word lost, the end still counts.
        Phase::Spawning(present) if present.incarnation == incarnation => {
            ended_by_itself(slot, present, gone(present.ordered_at, false), timeout)
        }
        Phase::Stopping(present, main, stop) if present.incarnation == incarnation => {
            slot.last_exit = Some(status);
            let gone = gone(main.started_at, stop.cause != StopCause::LeaderEnded);
            slot.phase = Phase::LeaderGone(present, gone, stop);
            Change::LeaderGone(gone)
        }
        // A second word about the same end, or a word about a life that the slot does not wait for any more.
        Phase::Preparing(..)
        | Phase::Spawning(_)
        | Phase::Starting(..)
        | Phase::Running(..)
        | Phase::Stopping(..)
        | Phase::LeaderGone(..)
        | Phase::Empty
        | Phase::Backoff { .. }
        | Phase::Exited { .. }
        | Phase::Failed { .. } => {
            if let Some(leftover) = slot.leftovers.get_mut(&incarnation).filter(|_| left > 0) {
                leftover.left = left;
            }
            Change::None
        }
    }
}

fn ended_by_itself(slot: &mut Slot, life: Life, gone: Gone, timeout: Duration) -> Change {
    slot.last_exit = Some(gone.status);
    if gone.left == 0 {
        slot.last_ended = life.incarnation;
        slot.phase = Phase::Empty;
        // The next life need not wait for the search, but what is found still belongs to this slot.
        slot.leftovers.insert(life.incarnation, Leftover::unknown(life));
        return Change::EndedByItself(gone);
    }
    let deadline = Some(gone.at + timeout);
    let (cause, since) = (StopCause::LeaderEnded, gone.at);
    let stop = Stop {
        cause,
        since,
        deadline,
        killed_at: None,
        left_asked: false,
        step: 0,
        step_due: None,
        waits_for_hook: false,
    };
    slot.phase = Phase::LeaderGone(life, gone, stop);
    Change::LeaderGone(gone)
}

/// So many processes of `incarnation`, whose main process ended, live on.
pub fn left(slot: &mut Slot, incarnation: Incarnation, count: u32) -> Change {
    match &mut slot.phase {
        Phase::LeaderGone(present, gone, stop) if present.incarnation == incarnation => {
            if count > 0 {
                gone.left = count;
                return Change::None;
            }
            let (gone, stop) = (*gone, *stop);
            slot.last_ended = incarnation;
            slot.phase = Phase::Empty;
            Change::AllGone(gone, stop)
        }
        // The slot has moved on: what an earlier life left is kept beside it until it is gone.
        Phase::Preparing(..)
        | Phase::Spawning(_)
        | Phase::Starting(..)
        | Phase::Running(..)
        | Phase::Stopping(..)
        | Phase::LeaderGone(..)
        | Phase::Empty
        | Phase::Backoff { .. }
        | Phase::Exited { .. }
        | Phase::Failed { .. } => {
            if count == 0 {
                slot.leftovers.remove(&incarnation);
            } else if let Some(leftover) = slot.leftovers.get_mut(&incarnation) {
                leftover.left = count;
            }
            Change::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::hooks::Preparation;

    const LIFE: Life =
        Life { incarnation: Incarnation(7), fingerprint: 1, ordered_at: Time::from_millis(1_000) };
    const MAIN: Main = Main { pid: 42, started_at: Time::from_millis(1_001) };
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn stop() -> Stop {
        let (cause, since) = (StopCause::Operator, Time::from_millis(2_000));
        Stop {
            cause,
            since,
            deadline: None,
            killed_at: None,
            left_asked: false,
            step: 0,
            step_due: None,
            waits_for_hook: false,
        }
    }

    fn phases() -> Vec<Phase> {
        let gone = Gone {
            status: ExitStatus::Code(0),
            at: Time::from_millis(3_000),
            lived: Duration::from_secs(2),
            left: 1,
            asked: true,
        };
        vec![
            Phase::Empty,
            Phase::Preparing(LIFE, Preparation::until(Time::from_millis(2_000))),
            Phase::Spawning(LIFE),
            Phase::Starting(LIFE, MAIN),
            Phase::Running(LIFE, MAIN),
            Phase::Stopping(LIFE, MAIN, stop()),
            Phase::LeaderGone(LIFE, gone, stop()),
            Phase::Backoff { since: Time::default(), until: Time::default() },
            Phase::Exited { at: Time::default() },
            Phase::Failed { at: Time::default() },
        ]
    }

    #[test]
    fn a_fact_about_another_life_never_changes_the_phase() {
        let other = Life { incarnation: Incarnation(6), ..LIFE };
        let number = other.incarnation;
        for phase in phases() {
            let at = Time::from_millis(9_000);
            let mut slot = Slot { phase: phase.clone(), ..Slot::default() };
            slot.leftovers.insert(number, Leftover::unknown(other));
            assert_eq!(spawned(&mut slot, number, MAIN), Change::None);
            assert_eq!(could_not_spawn(&mut slot, number, "no".into()), Change::None);
            assert_eq!(exited(&mut slot, number, ExitStatus::Code(1), 3, at, TIMEOUT), Change::None);
            assert_eq!(slot.leftovers[&number].left, 3, "what it left is remembered");
            assert_eq!(left(&mut slot, number, 2), Change::None);
            assert_eq!(slot.leftovers[&number].left, 2);
            assert_eq!(left(&mut slot, number, 0), Change::None);
            assert_eq!(slot.phase, phase);
            assert!(slot.leftovers.is_empty());
        }
    }

    #[test]
    fn a_slot_is_not_vacant_until_nothing_is_looked_for_any_more() {
        let mut slot = Slot { phase: Phase::Running(LIFE, MAIN), ..Slot::default() };
        let at = Time::from_millis(5_000);
        let change = exited(&mut slot, LIFE.incarnation, ExitStatus::Code(0), 0, at, TIMEOUT);
        assert!(matches!(change, Change::EndedByItself(_)));
        assert!(!slot.is_vacant());
        left(&mut slot, LIFE.incarnation, 0);
        assert!(slot.is_vacant());
    }

    #[test]
    fn a_leader_that_leaves_a_worker_occupies_its_slot_until_the_worker_is_gone() {
        let mut slot = Slot { phase: Phase::Running(LIFE, MAIN), ..Slot::default() };
        let at = Time::from_millis(5_000);
        exited(&mut slot, LIFE.incarnation, ExitStatus::Signal(15), 1, at, TIMEOUT);
        let Phase::LeaderGone(_, gone, stop) = &slot.phase else { panic!("{:?}", slot.phase) };
        assert_eq!((gone.left, gone.asked, stop.deadline), (1, false, Some(at + TIMEOUT)));
        assert!(matches!(left(&mut slot, LIFE.incarnation, 0), Change::AllGone(..)));
        assert_eq!(slot.phase, Phase::Empty);
    }

    #[test]
    fn an_asked_end_is_complete_only_when_nothing_is_left() {
        let mut slot = Slot { phase: Phase::Stopping(LIFE, MAIN, stop()), ..Slot::default() };
        let at = Time::from_millis(5_000);
        exited(&mut slot, LIFE.incarnation, ExitStatus::Code(0), 0, at, TIMEOUT);
        assert!(slot.phase.is_ending());
        assert!(matches!(left(&mut slot, LIFE.incarnation, 0), Change::AllGone(gone, _) if gone.asked));
    }
}
