//! What follows an exit that nobody asked for: start again now, later, or never, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::RestartReason;
use super::exit::ExitStatus;
use super::observed::{Phase, Slot};
use super::random::Random;
use super::readiness::Unfit;
use super::spec::{Backoff, OnCode, RestartPolicy};
use super::time::{Time, human};
use super::words::counted;

/// What is known about an exit that nobody asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// How it ended, or nothing when it could not even be started.
    pub status: Option<ExitStatus>,
    /// What was wrong with it, where it was ended for that.
    pub unfit: Option<Unfit>,
    /// How long it had lived.
    pub lived: Duration,
    /// When it ended.
    pub at: Time,
    /// The least life after which a clean exit is a recycle.
    pub useful_life: Duration,
    /// The program's policy.
    pub policy: RestartPolicy,
    /// What follows certain exit codes, in place of the policy.
    pub codes: &'a BTreeMap<i32, OnCode>,
    /// The program's backoff.
    pub backoff: &'a Backoff,
    /// What excuses a failure.
    pub excuse: Excuse,
    /// Seed of the jitter.
    pub seed: u64,
}

/// Why a failure may not be the process's own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// It is its own.
    None,
    /// Its broker refuses Leveret, and perhaps the process too: it is tried again ever more seldom, but never given up.
    BrokerRefuses,
    /// Its broker cannot be reached: nothing counts, and the start waits for the broker.
    BrokerAway,
}

/// Puts the slot into the phase that follows, and says what follows in a sentence.
pub fn after_ending(slot: &mut Slot, ending: Ending<'_>) -> String {
    slot.unfit = ending.unfit;
    let how = how_it_ended(slot, ending.status, ending.lived);
    // With what code it ended when it was told to says nothing of what was wrong with it.
    let status = ending.status.filter(|_| ending.unfit.is_none());
    let clean = status.is_some_and(ExitStatus::is_clean);
    let by_code = status.and_then(ExitStatus::code).and_then(|code| ending.codes.get(&code)).copied();
    let (rests, ended_well) = match (by_code, ending.policy) {
        (Some(OnCode::Recycle), _) => (false, true),
        (Some(OnCode::Backoff), _) => (false, false),
        (Some(OnCode::StayDown), _) => (true, clean),
        (None, RestartPolicy::Always) => (false, clean),
        (None, RestartPolicy::OnFailure) => (clean, clean),
        (None, RestartPolicy::Never) => (ending.status.is_some(), clean),
    };
    if rests {
        slot.phase = Phase::Exited { at: ending.at };
        slot.failures = 0;
        slot.again = None;
        return match by_code {
            Some(_) => format!("{how}; it stays down after this code until somebody starts it"),
            None => format!("{how}; its restart policy lets it rest until somebody starts it"),
        };
    }
    if ended_well && ending.lived >= ending.useful_life {
        slot.phase = Phase::Empty;
        slot.failures = 0;
        slot.again = Some(RestartReason::CleanExit);
        return format!("{how}; a new one starts at once");
    }
    slot.again = Some(match (ending.unfit, ending.status) {
        (Some(Unfit::NotReady), _) => RestartReason::NotReady,
        (Some(Unfit::Watchdog), _) => RestartReason::Watchdog,
        (Some(Unfit::Unhealthy), _) => RestartReason::Unhealthy,
        (None, Some(_)) => RestartReason::Crash,
        (None, None) => RestartReason::SpawnFailed,
    });
    if ending.excuse == Excuse::BrokerAway {
        slot.phase = Phase::Backoff { since: ending.at, until: ending.at };
        return format!("{how}; starts again when its broker can be reached");
    }
    // A life in which it was of no use to anybody is no healthy one, however long.
    if ending.lived >= ending.backoff.reset_after && ending.unfit != Some(Unfit::NotReady) {
        slot.failures = 0;
    }
    slot.failures += 1;
    let own_fault = ending.excuse == Excuse::None;
    if own_fault && ending.backoff.give_up_after.is_some_and(|limit| slot.failures >= limit) {
        slot.phase = Phase::Failed { at: ending.at };
        let failures = counted(u64::from(slot.failures), "failure", "failures in a row");
        return format!("{how}; given up after {failures}, start it to try again");
    }
    let wait = delay(ending.backoff, slot.failures, ending.seed);
    slot.phase = Phase::Backoff { since: ending.at, until: ending.at + wait };
    if wait.is_zero() {
        format!("{how}; starts again at once")
    } else {
        format!("{how}; starts again in {}", human(wait))
    }
}

/// How the last life of a slot ended; without a status it could not even be started.
pub fn how_it_ended(slot: &Slot, status: Option<ExitStatus>, lived: Duration) -> String {
    match (slot.unfit_words(), status) {
        (Some(unfit), _) => format!("{unfit}, stopped after {}", human(lived)),
        (None, Some(status)) => ended(status, lived),
        (None, None) => format!("cannot start: {}", slot.trouble.as_deref().unwrap_or("unknown")),
    }
}

fn ended(status: ExitStatus, lived: Duration) -> String {
    let lived = human(lived);
    match status {
        ExitStatus::Code(_) => format!("ended with {status} after {lived}"),
        ExitStatus::Signal(_) => format!("{status} after {lived}"),
        ExitStatus::Unknown => format!("ended after {lived}, exit code unknown"),
    }
}

/// The wait after the `failures`th failure in a row: doubling from `initial` to `max`, less up to a quarter of jitter, so
/// that processes that failed together do not come back together.
pub fn delay(backoff: &Backoff, failures: u32, seed: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let full = backoff.initial.saturating_mul(1 << doublings).min(backoff.max);
    full - full.mul_f64(0.25 * Random::new(seed).unit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(60),
        reset_after: Duration::from_secs(10),
        give_up_after: Some(5),
    };

    static NO_CODES: BTreeMap<i32, OnCode> = BTreeMap::new();

    fn ending(status: ExitStatus, lived_seconds: u64) -> Ending<'static> {
        Ending {
            status: Some(status),
            unfit: None,
            lived: Duration::from_secs(lived_seconds),
            at: Time::from_millis(100_000),
            useful_life: Duration::from_secs(10),
            policy: RestartPolicy::Always,
            codes: &NO_CODES,
            backoff: &BACKOFF,
            excuse: Excuse::None,
            seed: 7,
        }
    }

    #[test]
    fn a_clean_exit_after_a_useful_life_starts_again_at_once_and_is_not_counted() {
        let mut slot = Slot { failures: 3, ..Slot::default() };
        after_ending(&mut slot, ending(ExitStatus::Code(0), 11));
        assert_eq!((slot.phase, slot.failures), (Phase::Empty, 0));
    }

    #[test]
    fn what_follows_is_one_sentence() {
        let told = |status, failures, policy| {
            let mut slot = Slot { failures, ..Slot::default() };
            after_ending(
                &mut slot,
                Ending {
                    policy,
                    backoff: &Backoff { initial: Duration::ZERO, ..BACKOFF },
                    ..ending(status, 5)
                },
            )
        };
        let (always, never) = (RestartPolicy::Always, RestartPolicy::Never);
        let cases = [
            (ExitStatus::Code(1), 0, always, "ended with exit code 1 after 5s; starts again at once"),
            (ExitStatus::Signal(11), 0, always, "killed by SIGSEGV after 5s; starts again at once"),
            (ExitStatus::Unknown, 0, always, "ended after 5s, exit code unknown; starts again at once"),
            (
                ExitStatus::Code(1),
                4,
                always,
                "ended with exit code 1 after 5s; given up after 5 failures in a row, start it to try again",
            ),
            (
                ExitStatus::Code(0),
                0,
                never,
                "ended with exit code 0 after 5s; its restart policy lets it rest until somebody starts it",
            ),
        ];
        for (status, failures, policy, text) in cases {
            assert_eq!(told(status, failures, policy), text);
        }
    }

    #[test]
    fn an_early_clean_exit_is_a_failure_like_any_other() {
        let mut slot = Slot::default();
        after_ending(&mut slot, ending(ExitStatus::Code(0), 2));
        assert!(matches!(slot.phase, Phase::Backoff { .. }));
        assert_eq!(slot.failures, 1);
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_the_maximum() {
        for (failures, full) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (40, 60.0)] {
            let wait = delay(&BACKOFF, failures, u64::from(failures)).as_secs_f64();
            assert!(wait <= full && wait >= 0.75 * full, "{failures}: {wait}");
        }
    }

    #[test]
    fn a_healthy_life_forgives_earlier_failures() {
        let mut slot = Slot { failures: 4, ..Slot::default() };
        after_ending(&mut slot, ending(ExitStatus::Signal(11), 3_600));
        assert_eq!(slot.failures, 1);
    }

    #[test]
    fn it_gives_up_only_when_told_to() {
        let mut slot = Slot { failures: 4, ..Slot::default() };
        after_ending(&mut slot, ending(ExitStatus::Code(1), 0));
        assert!(matches!(slot.phase, Phase::Failed { .. }));
        let never = Backoff { give_up_after: None, ..BACKOFF };
        let mut slot = Slot { failures: 400, ..Slot::default() };
        after_ending(&mut slot, Ending { backoff: &never, ..ending(ExitStatus::Code(1), 0) });
        assert!(matches!(slot.phase, Phase::Backoff { .. }));
    }

    #[test]
    fn policies_decide_who_rests() {
        let rests = |policy, status| {
            let mut slot = Slot::default();
            after_ending(&mut slot, Ending { policy, ..ending(status, 1) });
            matches!(slot.phase, Phase::Exited { .. })
        };
        assert!(!rests(RestartPolicy::Always, ExitStatus::Code(0)));
        assert!(rests(RestartPolicy::OnFailure, ExitStatus::Code(0)));
        assert!(!rests(RestartPolicy::OnFailure, ExitStatus::Code(1)));
        assert!(!rests(RestartPolicy::OnFailure, ExitStatus::Unknown));
        assert!(rests(RestartPolicy::Never, ExitStatus::Signal(9)));
    }

    #[test]
    fn a_code_in_the_table_counts_more_than_the_policy() {
        let codes = [(0, OnCode::Backoff), (64, OnCode::StayDown), (75, OnCode::Recycle)].into();
        let after = |policy, status, lived| {
            let mut slot = Slot { failures: 2, ..Slot::default() };
            let told = after_ending(&mut slot, Ending { policy, codes: &codes, ..ending(status, lived) });
            (slot.phase, slot.failures, told)
        };
        for policy in [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never] {
            let (phase, _, told) = after(policy, ExitStatus::Code(64), 5);
            assert!(matches!(phase, Phase::Exited { .. }), "{phase:?}");
            assert_eq!(
                told,
                "ended with exit code 64 after 5s; it stays down after this code until somebody starts it"
            );
            let (phase, failures, _) = after(policy, ExitStatus::Code(75), 11);
            assert_eq!((phase, failures), (Phase::Empty, 0), "after a useful life it is replaced at once");
            let (phase, failures, _) = after(policy, ExitStatus::Code(75), 1);
            assert!(matches!(phase, Phase::Backoff { .. }), "nothing spins: {phase:?}");
            assert_eq!(failures, 3);
            let (phase, failures, _) = after(policy, ExitStatus::Code(0), 1);
            assert!(matches!(phase, Phase::Backoff { .. }), "{phase:?}");
            assert_eq!(failures, 3);
        }
        let (phase, ..) = after(RestartPolicy::Never, ExitStatus::Signal(75), 1);
        assert!(matches!(phase, Phase::Exited { .. }), "a signal is no code: {phase:?}");
    }

    #[test]
    fn an_exit_while_the_broker_refuses_waits_longer_each_time_and_is_never_the_last() {
        let mut slot = Slot { failures: 5, ..Slot::default() };
        after_ending(&mut slot, Ending { excuse: Excuse::BrokerRefuses, ..ending(ExitStatus::Code(255), 1) });
        let Phase::Backoff { since, until } = slot.phase else { panic!("{:?}", slot.phase) };
        assert!(until.since(since) >= Duration::from_secs(24), "{:?}", until.since(since));
    }

    #[test]
    fn an_exit_while_the_broker_is_away_is_not_counted() {
        let mut slot = Slot { failures: 2, ..Slot::default() };
        after_ending(&mut slot, Ending { excuse: Excuse::BrokerAway, ..ending(ExitStatus::Code(255), 1) });
        assert_eq!(slot.failures, 2);
        assert!(matches!(slot.phase, Phase::Backoff { since, until } if since == until));
    }
}
