//! The engine where a consumer works on several messages at once, or takes more than it works on.

use std::time::Duration;

use proptest::prelude::*;

use super::Engine;
use super::decision::{Decision, Limit};
use super::hands::Hands;
use super::input::{Detail, Fleet, Goal, Learned, Observation};
use super::profile::Profile;
use crate::core::time::Time;

const GOAL: Goal = Goal {
    wait: Duration::from_secs(2),
    min: 1,
    max: 40,
    interval: Duration::from_secs(1),
    profile: Profile::Balanced,
};
const LEARNED: Learned = Learned { service_seconds: Some(0.05), startup_seconds: Some(0.2), polling: false };

/// An engine whose consumers have such hands, and a fleet that is at once what the engine asked for.
struct Bench {
    engine: Engine,
    now: Time,
    fleet: Fleet,
}

impl Bench {
    fn new(goal: Goal, concurrency: u32, prefetch: u32, running: u32) -> Self {
        // What is remembered is of a consumer, so that 50 ms are of each of its places.
        let service_seconds = Some(0.05 / f64::from(concurrency));
        let mut engine = Engine::new(goal, Learned { service_seconds, ..LEARNED });
        engine.set_hands(Hands { concurrency, prefetch });
        let fleet = Fleet { running, oldest_running: Some(Time::from_millis(1)), ..Fleet::default() };
        Self { engine, now: Time::from_millis(1_000), fleet }
    }

    fn tell(&mut self, ready: u64, detail: Option<(u64, u64)>) -> Decision {
        let at = self.now;
        let consumers = u64::from(self.fleet.running);
        self.engine.observe(Observation::Sample { at, ready, consumers });
        if let Some((unacknowledged, acknowledged)) = detail {
            let detail = Detail { at, ready, unacknowledged, acknowledged, published: None };
            self.engine.observe(Observation::Detail(detail));
        }
        let decision = self.engine.decide(&self.fleet, self.now);
        self.fleet.running = decision.target;
        self.now = self.now + Duration::from_secs(1);
        decision
    }
}

#[test]
fn those_that_do_four_at_once_are_a_quarter_as_many() {
    let targets = [(1, 1), (4, 4)].map(|(concurrency, prefetch)| {
        let mut bench = Bench::new(Goal { max: 200, ..GOAL }, concurrency, prefetch, 1);
        bench.tell(0, None);
        bench.tell(2_000, None)
    });
    let [one, four] = targets.each_ref().map(|decision| decision.target);
    // 2,000, and some more until they are up, at 50 ms each within a second.
    assert!((98..=105).contains(&one), "{:?}", targets[0]);
    assert!((24..=27).contains(&four), "{:?}", targets[1]);
    assert_eq!(targets[1].inputs.drain, four, "shown in consumers");
}

#[test]
fn what_four_at_once_take_is_learned_as_it_is() {
    let mut bench = Bench::new(GOAL, 4, 4, 10);
    // 40 messages in work all the time, 80 done each second: half a second each.
    let decision =
        (0..60).map(|second| bench.tell(100, Some((40, 80 * second)))).last().expect("there are some");
    let service = decision.inputs.service_seconds;
    assert!((0.4..0.6).contains(&service), "{service}: {decision:?}");
}

#[test]
fn what_is_known_of_the_work_stays_true_when_it_turns_out_to_be_of_several_at_once() {
    // One that does 20 a second.
    let mut bench = Bench::new(GOAL, 1, 1, 1);
    bench.tell(0, None);
    let one = bench.engine.clone();
    bench.engine.set_hands(Hands { concurrency: 10, prefetch: 10 });
    let wanted = |mut engine: Engine| {
        let at = Time::from_millis(2_000);
        let fleet = Fleet { running: 1, oldest_running: Some(Time::from_millis(1)), ..Fleet::default() };
        engine.observe(Observation::Sample { at, ready: 700, consumers: 1 });
        engine.decide(&fleet, at).target
    };
    let learned = bench.engine.learned().service_seconds.expect("it was learned before");
    assert!((learned - 0.05).abs() < 1e-9, "of a consumer: {learned}");
    let (before, after) = (wanted(one), wanted(bench.engine));
    assert!(after.abs_diff(before) <= 1 && before > 10, "{before} and {after}");
}

#[test]
fn more_load_never_asks_for_fewer_however_large_hands_are() {
    let mut before = 0;
    for step in 0..60 {
        let mut bench = Bench::new(Goal { wait: Duration::from_secs(5), ..GOAL }, 1, 10, 1);
        let mut done = 0;
        let load = 5 + step;
        let last = (0..120).map(|_| {
            done += load;
            bench.fleet.running = 40;
            bench.tell(0, Some((load, done)))
        });
        let steady = last.last().expect("there are some").inputs.steady;
        assert!(steady >= before, "{steady} after {before} at {load}");
        before = steady;
    }
    assert!(before > 20, "{before}");
}

#[test]
fn where_hands_are_unlimited_nobody_is_stopped_before_they_are_known_to_be_empty() {
    let mut bench = Bench::new(GOAL, 1, 0, 12);
    for _ in 0..600 {
        let decision = bench.tell(0, None);
        assert_eq!((decision.target, decision.limit), (12, Limit::Window), "{decision:?}");
    }
    let decision = bench.tell(0, Some((40, 1_000)));
    assert!(decision.reason.contains("without a limit (prefetch 0)"), "{}", decision.reason);
    assert_eq!(decision.target, 12, "40 messages are in their hands");
    let last = (0..120).map(|_| bench.tell(0, Some((0, 1_000)))).last().expect("there are some");
    assert_eq!(last.target, 1, "{last:?}");
}

#[test]
fn what_may_wait_in_hands_leaves_less_time_for_what_waits_in_the_queue() {
    let target = |prefetch, wait| {
        let goal = Goal { wait: Duration::from_secs(wait), max: 400, ..GOAL };
        let mut bench = Bench::new(goal, 1, prefetch, 1);
        bench.tell(0, None);
        bench.tell(2_000, None)
    };
    // 2,000 less the 4 that are done meanwhile, within half of 10 s less a start: 4.8 s, or less 19 times 50 ms.
    assert_eq!([target(1, 10).target, target(20, 10).target], [21, 26]);
    let reason = target(100, 4).reason;
    assert!(
        reason.contains("each takes 100 messages ahead, the last of which waits about 5s in its hands"),
        "{reason}"
    );
}

proptest! {
    #[test]
    fn unlimited_hands_only_ever_ask_for_more(depths in prop::collection::vec(0_u64..200, 1..200)) {
        let mut bench = Bench::new(GOAL, 1, 0, 3);
        let mut before = 3;
        for ready in depths {
            let target = bench.tell(ready, None).target;
            prop_assert!(target >= before, "{} after {}", target, before);
            before = target;
        }
    }
}
