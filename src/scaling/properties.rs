//! Rules that hold whatever happens, tried with random histories.

use std::time::Duration;

use proptest::prelude::*;

use super::Engine;
use super::decision::Decision;
use super::input::{Detail, Fleet, Goal, Learned, Observation};
use super::profile::Profile;
use crate::core::time::Time;

/// One second, more or less, of a history.
#[derive(Clone, Debug)]
struct Moment {
    passed_ms: u64,
    told: Told,
    draining: u32,
    /// The share of the wanted consumers that run; the rest is starting.
    running_percent: u32,
    started_took_ms: Option<u64>,
    /// Messages with consumers, and those acknowledged since the last time, where a broker tells them.
    detail: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
enum Told {
    Ready(u64),
    /// 0 ready and 0 consumers, whatever runs.
    Nothing,
    NoQueue,
    Lost,
    Silence,
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        30 => Just(Told::Ready(0)),
        6 => (1_u64..40).prop_map(Told::Ready),
        3 => (40_u64..5_000).prop_map(Told::Ready),
        1 => any::<u64>().prop_map(Told::Ready),
        2 => Just(Told::Nothing),
        1 => Just(Told::NoQueue),
        1 => Just(Told::Lost),
        2 => Just(Told::Silence),
    ]
}

fn moment() -> impl Strategy<Value = Moment> {
    let passed = prop_oneof![20 => Just(1_000_u64), 4 => 1_u64..1_500, 1 => 1_500_u64..60_000];
    let took = prop_oneof![9 => Just(None), 1 => (0_u64..30_000).prop_map(Some)];
    let draining = prop_oneof![4 => Just(0_u32), 1 => 0_u32..30];
    let detail = prop_oneof![2 => Just(None), 1 => (0_u64..60, 0_u64..500).prop_map(Some)];
    (passed, told(), draining, 0_u32..=100, took, detail).prop_map(
        |(passed_ms, told, draining, running_percent, started_took_ms, detail)| Moment {
            passed_ms,
            told,
            draining,
            running_percent,
            started_took_ms,
            detail,
        },
    )
}

fn goal() -> impl Strategy<Value = Goal> {
    let profile = proptest::sample::select(Profile::ALL.as_slice());
    (100_u64..60_000, 0_u32..5, 0_u32..40, profile).prop_map(|(wait_ms, min, more, profile)| Goal {
        wait: Duration::from_millis(wait_ms),
        min,
        max: (min + more).max(1),
        interval: Duration::from_secs(1),
        profile,
    })
}

fn learned() -> impl Strategy<Value = Learned> {
    (proptest::option::of(0.001_f64..100.0), proptest::option::of(0.0_f64..30.0), any::<bool>()).prop_map(
        |(service_seconds, startup_seconds, polling)| Learned { service_seconds, startup_seconds, polling },
    )
}

/// A history on its way.
struct History {
    engine: Engine,
    goal: Goal,
    now: Time,
    target: u32,
    oldest_running: Time,
    /// Since when every reading was good, empty, and at most three intervals after the one before.
    empty_since: Option<Time>,
    read_at: Option<Time>,
    consumers_seen_at: Option<Time>,
    /// Since when every reading was good, and at most three intervals after the one before.
    good_since: Option<Time>,
    acknowledged: u64,
}

/// A decision and what it was made on.
struct Made {
    decision: Decision,
    again: Decision,
    before: u32,
    fleet: Fleet,
    missing: bool,
    no_queue: bool,
    ready: u64,
    empty_for: Duration,
    good_for: Duration,
    /// How many are at work, where that is known.
    busy: Option<u32>,
}

impl History {
    fn new(goal: Goal, learned: Learned) -> Self {
        Self {
            engine: Engine::new(goal, learned),
            goal,
            now: Time::from_millis(1_000),
            target: goal.min,
            oldest_running: Time::from_millis(500),
            empty_since: None,
            read_at: None,
            consumers_seen_at: None,
            good_since: None,
            acknowledged: 0,
        }
    }

    fn fleet(&self, moment: &Moment) -> Fleet {
        let running = self.target * moment.running_percent / 100;
        Fleet {
            running,
            starting: vec![self.now; (self.target - running) as usize],
            draining: moment.draining,
            oldest_running: (running > 0).then_some(self.oldest_running),
        }
    }

    fn live(&mut self, moment: &Moment) -> Made {
        self.now = self.now + Duration::from_millis(moment.passed_ms);
        if let Some(took) = moment.started_took_ms {
            self.engine.observe_started(Duration::from_millis(took));
        }
        let fleet = self.fleet(moment);
        let polling_before = self.engine.is_polling(0);
        let consumers = u64::from(fleet.running);
        let observation = match moment.told {
            Told::Ready(ready) => Some(Observation::Sample { at: self.now, ready, consumers }),
            Told::Nothing => Some(Observation::Sample { at: self.now, ready: 0, consumers: 0 }),
            Told::NoQueue => Some(Observation::NoQueue { at: self.now }),
            Told::Lost => Some(Observation::Lost { at: self.now, why: "the broker is unreachable" }),
            Told::Silence => None,
        };
        let lived_then =
            self.consumers_seen_at.is_some_and(|seen| fleet.running > 0 && self.oldest_running < seen);
        let late = self.read_at.is_none_or(|at| self.now.since(at) > self.goal.interval * 3);
        let (missing, ready) = match moment.told {
            Told::Ready(ready) if consumers > 0 || ready > 0 => (false, ready),
            Told::Ready(_) | Told::Nothing => (lived_then && !polling_before, 0),
            Told::NoQueue => (false, 0),
            Told::Lost => (true, 0),
            Told::Silence => (late || self.empty_since.is_none(), 0),
        };
        let sampled = matches!(moment.told, Told::Ready(_) | Told::Nothing) && !missing;
        if sampled {
            let unbroken = self.empty_since.filter(|_| !late);
            self.empty_since = (ready == 0).then(|| unbroken.unwrap_or(self.now));
            self.good_since = self.good_since.filter(|_| !late).or(Some(self.now));
            self.read_at = Some(self.now);
        } else if observation.is_some() {
            self.empty_since = None;
            self.good_since = None;
        }
        if sampled && consumers > 0 && matches!(moment.told, Told::Ready(_)) {
            self.consumers_seen_at = Some(self.now);
        }
        if let Some(observation) = observation {
            self.engine.observe(observation);
        }
        if let Some((unacknowledged, acknowledged)) = moment.detail {
            self.acknowledged += acknowledged;
            self.engine.observe(Observation::Detail(Detail {
                at: self.now,
                ready,
                unacknowledged,
                acknowledged: self.acknowledged,
                published: None,
            }));
        }
        let before = self.target;
        let decision = self.engine.decide(&fleet, self.now);
        let again = self.engine.decide(&fleet, self.now);
        if before == 0 && decision.target > 0 {
            self.oldest_running = self.now;
        }
        self.target = decision.target;
        let empty_for = self.empty_since.map_or(Duration::ZERO, |since| self.now.since(since));
        let good_for = self.good_since.map_or(Duration::ZERO, |since| self.now.since(since));
        let no_queue = matches!(moment.told, Told::NoQueue);
        let busy = self.engine.busy(&fleet, self.now);
        // Between two readings: where it is known who is idle, messages that waited at the last one are no lack of data.
        let missing = match moment.told {
            Told::Silence if busy.is_some() => late || self.good_since.is_none(),
            Told::Ready(_) | Told::Nothing | Told::NoQueue | Told::Lost | Told::Silence => missing,
        };
        Made { decision, again, before, fleet, missing, no_queue, ready, empty_for, good_for, busy }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_keeps_the_rules(
        goal in goal(), learned in learned(), moments in proptest::collection::vec(moment(), 1..150)
    ) {
        let mut history = History::new(goal, learned);
        for moment in &moments {
            let Made { decision, again, before, fleet, missing, no_queue, ready, empty_for, good_for, busy } =
                history.live(moment);
            let target = decision.target;
            prop_assert!((goal.min..=goal.max).contains(&target), "out of bounds: {decision:?}");
            prop_assert_eq!(again.target, target, "asked twice: {:?} {:?}", decision, again);
            prop_assert!(decision.review_at.is_none_or(|at| at > history.now));
            prop_assert!(!decision.reason.is_empty());
            if no_queue {
                prop_assert!(target >= before.max(1), "{decision:?}");
            }
            if target < before {
                prop_assert!(!missing && !no_queue, "down on missing data: {decision:?}");
                prop_assert!(good_for >= Duration::from_secs(5), "down after {good_for:?}: {decision:?}");
                if let Some(busy) = busy {
                    prop_assert!(target >= busy, "down to {target} while {busy} are at work: {decision:?}");
                } else {
                    prop_assert!(ready == 0, "down while {ready} wait: {decision:?}");
                    prop_assert!(empty_for >= Duration::from_secs(8), "down after {empty_for:?}: {decision:?}");
                    // Three quarters of the gap at the most, where a start is quick.
                    prop_assert!(before - target <= (3 * (before - goal.min)).div_ceil(4), "{decision:?}");
                }
            }
            if target > before {
                let room = goal.max.saturating_sub(fleet.draining);
                let declares = no_queue && target == 1;
                prop_assert!(target <= room.max(before).max(goal.min) || declares, "{decision:?} {fleet:?}");
            }
        }
    }

    #[test]
    fn more_waiting_messages_never_give_a_lower_target(
        goal in goal(), learned in learned(), moments in proptest::collection::vec(moment(), 1..60),
        fewer in prop_oneof![Just(0_u64), 1_u64..50, 50_u64..3_000], more in 0_u64..3_000,
    ) {
        let mut history = History::new(goal, learned);
        for moment in &moments {
            history.live(moment);
        }
        let last = Moment { passed_ms: 1_000, told: Told::Silence, draining: 0, running_percent: 100, started_took_ms: None, detail: None };
        let at = history.now + Duration::from_secs(1);
        let fleet = history.fleet(&last);
        let target = |ready| {
            let mut engine = history.engine.clone();
            engine.observe(Observation::Sample { at, ready, consumers: u64::from(fleet.running) });
            engine.decide(&fleet, at)
        };
        let (low, high) = (target(fewer), target(fewer + more));
        prop_assert!(low.target <= high.target, "{low:?} {high:?}");
    }

    #[test]
    fn the_same_history_gives_the_same_decisions(
        goal in goal(), learned in learned(), moments in proptest::collection::vec(moment(), 1..60)
    ) {
        let run = || {
            let mut history = History::new(goal, learned);
            moments.iter().map(|moment| history.live(moment).decision).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}
