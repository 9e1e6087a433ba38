//! The engine of several queues, told what happens second by second.

use std::time::Duration;

use proptest::prelude::*;

use super::Engine;
use super::decision::{Decision, Limit};
use super::input::{Detail, Fleet, Goal, Learned, Observation, Order, QueueGoal};
use super::profile::Profile;
use crate::core::time::Time;

const GOAL: Goal = Goal {
    wait: Duration::ZERO,
    min: 1,
    max: 40,
    interval: Duration::from_secs(1),
    profile: Profile::Balanced,
};
const QUICK: Learned = Learned { service_seconds: Some(0.05), startup_seconds: Some(0.3), polling: false };
const LONG: Learned = Learned { service_seconds: Some(2.0), ..QUICK };

fn queues(waits: &[u64]) -> Vec<QueueGoal> {
    let names = ["high", "low", "third"];
    let queue =
        |(wait, name): (&u64, &str)| QueueGoal { name: name.to_owned(), wait: Duration::from_secs(*wait) };
    waits.iter().zip(names).map(queue).collect()
}

/// What the broker says of a queue.
#[derive(Clone, Copy, Debug)]
enum Told {
    Ready(u64),
    Lost,
    NoQueue,
    Silence,
}

/// An engine for `high` and `low`, and a fleet that is at once what the engine asked for.
struct Bench {
    engine: Engine,
    now: Time,
    fleet: Fleet,
}

impl Bench {
    fn new(order: Order, learned: &[Learned], running: u32) -> Self {
        let engine = Engine::of_several(GOAL, queues(&[2, 600]), order, learned, Some(0.3));
        let fleet = Fleet { running, oldest_running: Some(Time::from_millis(1)), ..Fleet::default() };
        Self { engine, now: Time::from_millis(1_000), fleet }
    }

    fn tell(&mut self, told: &[Told]) -> Decision {
        let consumers = u64::from(self.fleet.running);
        for (queue, told) in told.iter().enumerate() {
            let at = self.now;
            let observation = match *told {
                Told::Ready(ready) => Observation::Sample { at, ready, consumers },
                Told::Lost => Observation::Lost { at, why: "the broker does not answer for this queue" },
                Told::NoQueue => Observation::NoQueue { at },
                Told::Silence => continue,
            };
            self.engine.observe_queue(queue, observation);
        }
        let decision = self.engine.decide(&self.fleet, self.now);
        self.fleet.running = decision.target;
        self.now = self.now + Duration::from_secs(1);
        decision
    }

    fn read(&mut self, high: u64, low: u64) -> Decision {
        self.tell(&[Told::Ready(high), Told::Ready(low)])
    }

    fn quiet(&mut self, seconds: u64) -> Vec<u32> {
        (0..seconds).map(|_| self.read(0, 0).target).collect()
    }
}

fn starved(decision: &Decision) -> Vec<Option<&str>> {
    let several = decision.several.as_ref().expect("there are two queues");
    several.queues.iter().map(|queue| queue.starved_by.as_deref()).collect()
}

#[test]
fn the_queue_that_asks_for_most_decides_and_is_named() {
    let mut bench = Bench::new(Order::Strict, &[QUICK, QUICK], 1);
    bench.quiet(3);
    let high = bench.read(200, 0);
    // 200 x 50 ms within the second that is planned for.
    assert!((10..=14).contains(&high.target), "{high:?}");
    assert!(high.reason.starts_with("\"high\" decides: 200 messages wait and each takes"), "{}", high.reason);
    let mut bench = Bench::new(Order::Strict, &[QUICK, QUICK], 1);
    bench.quiet(3);
    let low = bench.read(0, 30_000);
    // 30,000 x 50 ms within the five minutes that are planned for.
    assert!((5..=8).contains(&low.target), "{low:?}");
    assert!(low.reason.starts_with("\"low\" decides: 30,000 messages wait"), "{}", low.reason);
    assert_eq!(low.several.map(|several| several.decided_by).as_deref(), Some("low"));
}

#[test]
fn what_comes_first_is_done_beside_what_a_later_queue_needs() {
    let needed = |order, high, low| {
        let mut bench = Bench::new(order, &[QUICK, QUICK], 1);
        bench.quiet(3);
        bench.read(high, low).target
    };
    assert_eq!(needed(Order::Strict, 200, 0), needed(Order::Strict, 200, 3_000), "low has five minutes");
    assert!(needed(Order::Fair, 200, 0) < needed(Order::Fair, 200, 3_000), "every other message is of low");
    let twice = f64::from(needed(Order::Fair, 200, 3_000)) / f64::from(needed(Order::Fair, 200, 0));
    assert!((1.7..=2.3).contains(&twice), "{twice}");
}

#[test]
fn long_work_of_a_later_queue_is_made_up_for_while_messages_of_the_first_are_to_be_expected() {
    let mut bench = Bench::new(Order::Strict, &[QUICK, LONG], 4);
    // Ten a second in the first queue, which four consumers do at once.
    let mut acknowledged = 0;
    for second in 0..120 {
        acknowledged += 10;
        if second % 5 == 0 {
            let detail = Detail { at: bench.now, ready: 0, unacknowledged: 1, acknowledged, published: None };
            bench.engine.observe_queue(0, Observation::Detail(detail));
        }
        bench.read(0, 0);
    }
    let alone = bench.engine.clone().decide(&bench.fleet, bench.now).target;
    let decision = bench.read(0, 100);
    assert!(decision.target > alone + 3, "{alone} -> {decision:?}");
    assert!(decision.reason.starts_with("\"high\" decides: about "), "{}", decision.reason);
}

#[test]
fn a_queue_that_gets_nothing_is_starved_by_the_one_before_it_and_that_is_said() {
    let mut bench = Bench::new(Order::Strict, &[QUICK, QUICK], 40);
    bench.quiet(2);
    // Far more than 40 consumers do, in the first one.
    let mut last = bench.read(0, 0);
    for second in 1..60 {
        last = bench.read(1_000 * second, 50);
    }
    assert_eq!((last.target, last.limit), (40, Limit::Max));
    assert_eq!(starved(&last), [None, Some("high")]);
    assert!(
        last.reason
            .ends_with("; \"low\" is starved by \"high\", which comes first and takes what it would need"),
        "{}",
        last.reason
    );
    let mut fair = Bench::new(Order::Fair, &[QUICK, QUICK], 40);
    fair.quiet(2);
    for second in 1..60 {
        last = fair.read(1_000 * second, 50);
    }
    assert_eq!(starved(&last), [None, None]);
}

#[test]
fn without_readings_of_one_queue_none_is_stopped_and_the_others_may_still_add() {
    let mut bench = Bench::new(Order::Strict, &[QUICK, QUICK], 1);
    bench.quiet(3);
    let up = bench.read(200, 0).target;
    for _ in 0..120 {
        let held = bench.tell(&[Told::Ready(0), Told::Lost]);
        assert_eq!((held.target, held.limit), (up, Limit::Data), "{}", held.reason);
    }
    let held = bench.tell(&[Told::Ready(0), Told::Lost]);
    assert!(
        held.reason.starts_with("\"low\": the broker does not answer for this queue, last"),
        "{}",
        held.reason
    );
    let more = bench.tell(&[Told::Ready(600), Told::Lost]);
    assert!(more.target > up, "{more:?}");
    assert!(more.trouble.is_some(), "what is wrong with the other one is still known");
    assert!(bench.quiet(8).iter().all(|&target| target == more.target));
    assert!(bench.quiet(60).last().is_some_and(|&target| target < more.target));
}

#[test]
fn a_queue_that_does_not_exist_keeps_what_runs_and_at_least_one() {
    let mut bench = Bench::new(Order::Fair, &[QUICK, QUICK], 0);
    bench.engine.set_goals(Goal { min: 0, ..GOAL }, queues(&[2, 600]), Order::Fair);
    let decision = bench.tell(&[Told::Ready(0), Told::NoQueue]);
    assert_eq!((decision.target, decision.limit), (1, Limit::Data));
    assert_eq!(decision.reason, "\"low\" does not exist: 1 consumer is kept so that it can declare it");
}

#[test]
fn work_is_learned_for_each_queue_by_what_the_others_leave() {
    let mut bench = Bench::new(Order::Strict, &[Learned::default(), Learned::default()], 10);
    bench.engine.set_goals(Goal { min: 10, max: 10, ..GOAL }, queues(&[2, 600]), Order::Strict);
    // Ten consumers: 100 ms a message in the first queue, while the second one waits; then 20 ms in that.
    bench.quiet(2);
    for second in 0..=60_u64 {
        bench.read(6_000 - 100 * second, 20_000);
    }
    let untouched = bench.engine.learned_of(1).service_seconds;
    for second in 0..=40_u64 {
        bench.read(0, 20_000 - 500 * second);
    }
    let [high, low] = [0, 1].map(|queue| bench.engine.learned_of(queue).service_seconds.unwrap_or_default());
    assert_eq!(untouched, None, "nothing of it was done");
    assert!((0.05..0.2).contains(&high) && (0.01..0.04).contains(&low), "{high} {low}");
}

#[test]
fn all_queues_have_to_be_empty_before_fewer_run_where_nobody_knows_who_is_idle() {
    let mut bench = Bench::new(Order::Strict, &[QUICK, QUICK], 20);
    for _ in 0..60 {
        let decision = bench.read(0, 3);
        assert_eq!(decision.target, 20, "{}", decision.reason);
    }
    assert!(bench.read(0, 3).reason.ends_with("none is stopped before all queues are empty"));
    assert_eq!(bench.quiet(300).last(), Some(&1));
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        20 => Just(Told::Ready(0)),
        8 => (1_u64..5_000).prop_map(Told::Ready),
        1 => any::<u64>().prop_map(Told::Ready),
        1 => Just(Told::Lost),
        1 => Just(Told::NoQueue),
        2 => Just(Told::Silence),
    ]
}

/// A second: what is told of each queue, and who is told to be busy where the broker tells that.
type Moment = (Vec<Told>, Option<(u64, u64)>);

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let moment = (
        proptest::collection::vec(told(), 3),
        prop_oneof![2 => Just(None), 1 => (0_u64..60, 0_u64..500).prop_map(Some)],
    );
    proptest::collection::vec(moment, 1..120)
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Strict), Just(Order::Fair)]
}

/// A history of three queues, with its newest decision.
fn live(bench: &mut Bench, moments: &[Moment], mut look: impl FnMut(&Moment, &Fleet, &Decision)) {
    let mut acknowledged = 0;
    for moment in moments {
        if let Some((unacknowledged, done)) = moment.1 {
            acknowledged += done;
            for queue in 0..3 {
                let detail =
                    Detail { at: bench.now, ready: 0, unacknowledged, acknowledged, published: None };
                bench.engine.observe_queue(queue, Observation::Detail(detail));
            }
        }
        let fleet = bench.fleet.clone();
        let decision = bench.tell(&moment.0);
        look(moment, &fleet, &decision);
    }
}

fn bench(order: Order, waits: &[u64], min: u32) -> Bench {
    let goal = Goal { min, ..GOAL };
    let engine = Engine::of_several(goal, queues(waits), order, &[], None);
    let fleet = Fleet { running: min, oldest_running: Some(Time::from_millis(1)), ..Fleet::default() };
    Bench { engine, now: Time::from_millis(1_000), fleet }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_keeps_the_rules(
        order in order(), waits in proptest::collection::vec(1_u64..900, 3), min in 0_u32..4, moments in moments(),
    ) {
        let mut bench = bench(order, &waits, min);
        let mut fresh = [0_u32; 3];
        let mut broken = Vec::new();
        live(&mut bench, &moments, |(told, _), fleet, decision| {
            for (fresh, told) in fresh.iter_mut().zip(told) {
                *fresh = match told {
                    Told::Ready(_) => *fresh + 1,
                    Told::Silence => *fresh,
                    Told::Lost | Told::NoQueue => 0,
                };
            }
            let is_down = decision.target < fleet.live();
            let is_within = (min..=GOAL.max).contains(&decision.target);
            // Five seconds are the shortest window.
            if !is_within || (is_down && fresh.iter().any(|&fresh| fresh < 3)) || decision.reason.is_empty() {
                broken.push(decision.clone());
            }
        });
        prop_assert!(broken.is_empty(), "{broken:?}");
    }

    #[test]
    fn more_waiting_messages_in_any_queue_never_give_a_lower_target(
        order in order(), waits in proptest::collection::vec(1_u64..900, 3), moments in moments(),
        ready in proptest::collection::vec(prop_oneof![Just(0_u64), 1_u64..50, 50_u64..3_000], 3),
        which in 0_usize..3, more in 0_u64..3_000,
    ) {
        let mut bench = bench(order, &waits, 1);
        live(&mut bench, &moments, |_, _, _| ());
        let consumers = u64::from(bench.fleet.running);
        let target = |more: u64| {
            let mut engine = bench.engine.clone();
            for (queue, ready) in ready.iter().enumerate() {
                let ready = ready + if queue == which { more } else { 0 };
                engine.observe_queue(queue, Observation::Sample { at: bench.now, ready, consumers });
            }
            engine.decide(&bench.fleet, bench.now)
        };
        let (low, high) = (target(0), target(more));
        prop_assert!(low.target <= high.target, "{low:?} {high:?}");
    }
}
