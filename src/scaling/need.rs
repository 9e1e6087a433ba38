//! How many consumers the numbers ask for, before minimum, maximum and windows.
//!
//! Two counts, and the larger one holds:
//! - *steady*: the fewest for which at most a share `q` of the messages waits longer than `d T` (see [`super::erlang`]);
//!   both are the profile's;
//! - *drain*: the backlog that will be left when a consumer that is ordered now is up,
//!   `R' = R + arrivals L - (c L + sum over starting min(L, age)) / S`, divided by the time that is left for it,
//!   `D = max(d T - L, f T, 0.5 s)`: `R' S / D`, and never more than one for each message that waits beside those that
//!   are busy. A queue is first in, first out, so what arrives later does not delay what waits now.

use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::erlang;
use crate::scaling::input::{Fleet, Goal};

/// The most messages that may wait longer than planned where a start takes longer than planned waits allow: only headroom helps then, and it is cheaper than chasing.
const TOLERANCE_SLOW_START: f64 = 0.005;
/// Work is long when it takes this many times a start.
const LONG_WORK: f64 = 5.0;
/// What hands hide is answered with up to so many times the consumers.
const HANDS_WORTH: f64 = 2.0;
/// The least time in which a backlog is to be drained: less than one reading cannot be steered.
const DRAIN_LEAST_SECONDS: f64 = 0.5;

/// What is known when the need is computed. Seconds and messages per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) ready: u64,
    pub(super) arrivals_slow: f64,
    pub(super) arrivals_fast: f64,
    pub(super) service: f64,
    pub(super) startup: f64,
    /// Messages with consumers, where that is known.
    pub(super) unacknowledged: Option<u64>,
    /// Whether the depth has not fallen for too long, and nothing is known of the work.
    pub(super) stuck: bool,
    /// Messages that have waited for half of the planned wait, as far as the depth tells.
    pub(super) waiting_long: u64,
    /// Messages that come back from delayed queues before a consumer that is ordered now is up, and within one reading of that.
    pub(super) due: f64,
    /// How long a message may wait in the hands of a consumer before that begins it.
    pub(super) in_hand: f64,
}

impl State {
    /// Consumers that are busy on average.
    pub(super) fn load(&self) -> f64 {
        self.arrivals_slow * self.service
    }

    /// Whether messages wait, or are about to come back.
    pub(super) fn has_work(&self) -> bool {
        self.ready > 0 || self.due >= 1.0
    }

    /// What has to be done before the last message that waits is begun.
    pub(super) fn ahead(&self) -> Ahead {
        Ahead { seconds: self.ready as f64 * self.service, taken: 0.0 }
    }
}

/// What has to be done before a message is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ahead {
    /// Consumer-seconds of work.
    pub(super) seconds: f64,
    /// Consumers that are busy with what comes first and still arrives.
    pub(super) taken: f64,
}

/// The two counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) steady: u32,
    pub(super) drain: u32,
}

impl Need {
    /// The larger one, at least one while messages wait.
    pub(super) fn total(&self) -> u32 {
        self.steady.max(self.drain)
    }
}

/// Computes both counts. `steady` is at most `goal.max + 1`, which says "more than allowed".
pub(super) fn compute(state: &State, goal: &Goal, fleet: &Fleet, now: Time) -> Need {
    let doubled = if state.stuck { one_for_each(state, fleet).min(2 * fleet.live()) } else { 0 };
    Need { steady: steady(state, goal), drain: drain(state, goal, fleet, now).max(doubled) }
}

/// Whether a start takes longer than the planned wait, so that only consumers that already run can keep the goal.
pub(super) fn starts_too_slowly(startup: f64, goal: &Goal) -> bool {
    startup >= planned(goal)
}

/// Whether a consumer that is missing is there well before its messages have waited too long.
pub(super) fn starts_quickly(state: &State, goal: &Goal) -> bool {
    2.0 * (state.startup + goal.interval.as_secs_f64()) < planned(goal)
}

/// The share of messages that may wait longer than planned.
pub(super) fn tolerance(startup: f64, goal: &Goal) -> f64 {
    let tolerance = goal.profile.tuning().tolerance;
    if starts_too_slowly(startup, goal) { tolerance.min(TOLERANCE_SLOW_START) } else { tolerance }
}

/// How long a message is planned to wait at most, in seconds.
pub(super) fn planned(goal: &Goal) -> f64 {
    goal.profile.tuning().planned_share * goal.wait.as_secs_f64()
}

fn steady(state: &State, goal: &Goal) -> u32 {
    let (planned, tolerance) = (planned(goal), tolerance(state.startup, goal));
    let needed = steady_beside_hands(state, planned, tolerance, goal.max);
    match state.unacknowledged {
        Some(unacknowledged) if starts_for_each(state, planned, goal) => {
            let in_system = state.waiting_long.saturating_add(unacknowledged).max(1);
            needed.min(u32::try_from(in_system).unwrap_or(u32::MAX))
        }
        Some(_) | None => needed,
    }
}

/// The fewest for which at most a share `tolerance` of the messages waits longer than `planned` seconds, in the queue and in
/// hands together. Two counts are enough, each by itself: one that leaves so much less time for the queue as a message may
/// wait in a hand, and one that lets each consumer be a queue of its own, which is what hands that are large make of them.
/// Where both ask for far more, only smaller hands help, and so much more is not paid for in their place.
fn steady_beside_hands(state: &State, planned: f64, tolerance: f64, most: u32) -> u32 {
    let (load, service) = (state.load(), state.service);
    let needed = |wait: f64| erlang::consumers_needed(load, service, wait, tolerance, most);
    let least = needed(planned);
    if state.in_hand <= 0.0 {
        return least;
    }
    let apart = erlang::needed_apart(load, service, planned, tolerance, most);
    let left = planned - state.in_hand;
    let enough = if left > 0.0 { needed(left).min(apart) } else { apart };
    let worth = (HANDS_WORTH * f64::from(least)).ceil() as u32;
    enough.clamp(least, worth.max(least))
}

/// Whether a consumer can be started for each message in time, and at a small part of its work: then nobody need wait idle
/// for a message that may come.
pub(super) fn starts_for_each(state: &State, planned: f64, goal: &Goal) -> bool {
    state.startup + goal.interval.as_secs_f64() < planned && state.service >= LONG_WORK * state.startup
}

fn drain(state: &State, goal: &Goal, fleet: &Fleet, now: Time) -> u32 {
    if !state.has_work() {
        return 0;
    }
    let left = (state.ready as f64 + arriving_until_up(state)
        - worked_until_up(state, fleet, now) / state.service)
        .max(0.0);
    ((left * state.service / time_to_drain(state, goal)).ceil() as u32).clamp(1, one_for_each(state, fleet))
}

/// The time that is left for a backlog once a consumer that is ordered now is up, in seconds.
pub(super) fn time_to_drain(state: &State, goal: &Goal) -> f64 {
    let tuning = goal.profile.tuning();
    let wait = goal.wait.as_secs_f64();
    let share = if state.startup < wait / 2.0 { tuning.drain_share } else { tuning.drain_share_slow_start };
    let time = (tuning.planned_share * wait - state.startup).max(share * wait);
    (time - state.in_hand).max(time / HANDS_WORTH).max(DRAIN_LEAST_SECONDS)
}

/// Messages that arrive until a consumer that is ordered now is up.
pub(super) fn arriving_until_up(state: &State) -> f64 {
    // What comes back may be part of the flow, as retries are.
    (state.arrivals_slow.max(state.arrivals_fast) * state.startup).max(state.due)
}

/// Consumer-seconds that are worked until then.
pub(super) fn worked_until_up(state: &State, fleet: &Fleet, now: Time) -> f64 {
    f64::from(fleet.running) * state.startup
        + fleet.starting.iter().map(|&at| now.since(at).as_secs_f64().min(state.startup)).sum::<f64>()
}

/// One for each message that waits or is about to come back, beside those that are busy.
fn one_for_each(state: &State, fleet: &Fleet) -> u32 {
    let messages = state.ready.saturating_add(state.due.ceil() as u64);
    u32::try_from(messages).unwrap_or(u32::MAX).saturating_add(fleet.running)
}

/// How long from now until the last message that waits is begun; absent where nobody will begin it.
pub(super) fn until_begun(
    ahead: &Ahead,
    startup: f64,
    fleet: &Fleet,
    target: u32,
    now: Time,
) -> Option<Duration> {
    seconds_until_begun(ahead, startup, fleet, target, now)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// How long a message that arrives now is expected to wait: for those before it, or, where none are, the mean wait of a
/// random flow, `C(c, a) S / (c - a)`. Absent where nobody will begin it.
pub(super) fn expected_wait(state: &State, fleet: &Fleet, target: u32, now: Time) -> Option<Duration> {
    let load = state.load();
    let spare = f64::from(fleet.running) - load;
    if state.ready > 0 || spare <= 0.0 {
        let taken = until_begun(&state.ahead(), state.startup, fleet, target, now)?;
        return taken.checked_add(Duration::try_from_secs_f64(state.in_hand).ok()?);
    }
    let mean = erlang::probability_of_waiting(load, fleet.running) * state.service / spare;
    Duration::try_from_secs_f64(mean).ok()
}

/// When all the work that is ahead is taken up, in seconds from now, by those who run, those who start, and those who
/// are ordered now; absent where there is nobody.
fn seconds_until_begun(ahead: &Ahead, startup: f64, fleet: &Fleet, target: u32, now: Time) -> Option<f64> {
    let starting = fleet.starting.iter().map(|&at| ((startup - now.since(at).as_secs_f64()).max(0.0), 1));
    let groups = std::iter::once((0.0, fleet.running))
        .chain(starting)
        .chain(std::iter::once((startup, target.saturating_sub(fleet.live()))));
    // `starting` is oldest first, so the moments rise. Work done until t by those who began: the sum of (t - begin).
    let work = ahead.seconds;
    let mut workers = -ahead.taken;
    let mut sum_of_begins = 0.0;
    let mut done_at = None;
    for (begin, count) in groups.filter(|&(_, count)| count > 0) {
        if done_at.is_some_and(|at| at <= begin) {
            break;
        }
        workers += f64::from(count);
        sum_of_begins += begin * f64::from(count);
        done_at = (workers > 0.0).then(|| (work + sum_of_begins) / workers);
    }
    done_at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::profile::Profile;

    fn goal(wait_seconds: u64) -> Goal {
        Goal {
            wait: Duration::from_secs(wait_seconds),
            min: 1,
            max: 100,
            interval: Duration::from_secs(1),
            profile: Profile::Balanced,
        }
    }

    fn state(ready: u64) -> State {
        State {
            ready,
            arrivals_slow: 0.0,
            arrivals_fast: 0.0,
            service: 0.05,
            startup: 0.2,
            unacknowledged: None,
            stuck: false,
            waiting_long: ready,
            in_hand: 0.0,
            due: 0.0,
        }
    }

    #[test]
    fn a_backlog_is_divided_by_the_time_that_is_left_for_it() {
        let fleet = Fleet { running: 1, ..Fleet::default() };
        // 2,000 less the 4 that the one running does meanwhile, 50 ms each, within 1 s: 99.8.
        assert_eq!(compute(&state(2_000), &goal(2), &fleet, Time::default()).drain, 100);
        assert_eq!(compute(&state(0), &goal(2), &fleet, Time::default()), Need::default());
    }

    #[test]
    fn the_profiles_ask_for_more_the_less_they_let_wait() {
        let flow = State { arrivals_slow: 40.0, arrivals_fast: 40.0, service: 0.5, ..state(400) };
        let fleet = Fleet { running: 20, ..Fleet::default() };
        let [balanced, economy, latency, calm] =
            Profile::ALL.map(|profile| compute(&flow, &Goal { profile, ..goal(2) }, &fleet, Time::default()));
        assert!(
            economy.steady < balanced.steady && balanced.steady < latency.steady,
            "{economy:?} {latency:?}"
        );
        assert!(economy.drain < balanced.drain && balanced.drain < latency.drain, "{economy:?} {latency:?}");
        assert_eq!(calm, balanced, "calm differs in how long it waits before a step down");
    }

    #[test]
    fn nobody_waits_idle_for_long_work_where_one_can_be_started_for_each_message() {
        let long = State { arrivals_slow: 0.5, service: 60.0, startup: 2.0, ..state(0) };
        let steady = |state: State| compute(&state, &goal(60), &Fleet::default(), Time::default()).steady;
        assert!(steady(long) > 25);
        assert_eq!(steady(State { unacknowledged: Some(12), ..long }), 12);
        let waited = State { unacknowledged: Some(12), ready: 3, waiting_long: 2, ..long };
        assert_eq!(steady(waited), 14, "the third message has only just come");
        let slow_start = State { unacknowledged: Some(12), startup: 40.0, ..long };
        assert!(steady(slow_start) > 25, "a start takes longer than may be waited");
    }

    #[test]
    fn never_more_than_one_for_each_message() {
        let slow = State { service: 60.0, ..state(3) };
        let fleet = Fleet { running: 2, ..Fleet::default() };
        assert_eq!(compute(&slow, &goal(2), &fleet, Time::default()).drain, 5);
    }

    #[test]
    fn a_queue_that_does_not_move_gets_twice_as_many_up_to_one_for_each_message() {
        let stuck = State { stuck: true, service: 1e-3, ..state(3) };
        let drain = |running| {
            compute(&stuck, &goal(10), &Fleet { running, ..Fleet::default() }, Time::default()).drain
        };
        assert_eq!([drain(1), drain(2), drain(8)], [2, 4, 11]);
    }

    #[test]
    fn those_that_are_starting_are_credited_with_their_age() {
        let slow_start = State { startup: 20.0, service: 1.0, ..state(100) };
        let now = Time::from_millis(20_000);
        let none = Fleet::default();
        let nearly_up = Fleet { starting: vec![Time::from_millis(1_000); 4], ..Fleet::default() };
        let without = compute(&slow_start, &goal(10), &none, now).drain;
        let with = compute(&slow_start, &goal(10), &nearly_up, now).drain;
        assert!(with < without, "{with} < {without}");
    }

    #[test]
    fn the_expected_wait_counts_runners_starters_and_the_ordered() {
        let now = Time::from_millis(10_000);
        let fleet = Fleet { running: 1, starting: vec![Time::from_millis(9_500)], ..Fleet::default() };
        let work = State { startup: 1.0, service: 1.0, ..state(3) };
        // One from 0, one from 0.5, one from 1.0: 3 = 3t - 1.5.
        let begun = seconds_until_begun(&work.ahead(), 1.0, &fleet, 3, now).expect("somebody works");
        assert!((begun - 1.5).abs() < 1e-9, "{begun}");
        assert_eq!(seconds_until_begun(&work.ahead(), 1.0, &Fleet::default(), 0, now), None);
    }
}
