//! The engine, told what happens second by second.

use std::time::Duration;

use super::Engine;
use super::decision::{Decision, Limit};
use super::input::{Detail, Fleet, Floor, Goal, Learned, Observation};
use super::profile::Profile;
use crate::core::time::Time;

const GOAL: Goal = Goal {
    wait: Duration::from_secs(2),
    min: 1,
    max: 20,
    interval: Duration::from_secs(1),
    profile: Profile::Balanced,
};
const LEARNED: Learned = Learned { service_seconds: Some(0.05), startup_seconds: Some(0.3), polling: false };
const UNREACHABLE: &str = "the broker is unreachable";

/// An engine, its clock, and a fleet that is at once what the engine asked for.
struct Bench {
    engine: Engine,
    now: Time,
    fleet: Fleet,
    /// Whether the queue shows the fleet.
    visible: bool,
}

impl Bench {
    fn new(goal: Goal, learned: Learned, running: u32) -> Self {
        let started = Time::from_millis(1);
        let fleet = Fleet { running, oldest_running: (running > 0).then_some(started), ..Fleet::default() };
        Self { engine: Engine::new(goal, learned), now: Time::from_millis(1_000), fleet, visible: true }
    }

    fn read(&mut self, ready: u64) -> Decision {
        let consumers = if self.visible { u64::from(self.fleet.running) } else { 0 };
        self.tell(Observation::Sample { at: self.now, ready, consumers })
    }

    fn lost(&mut self) -> Decision {
        self.tell(Observation::Lost { at: self.now, why: UNREACHABLE })
    }

    fn no_queue(&mut self) -> Decision {
        self.tell(Observation::NoQueue { at: self.now })
    }

    fn tell(&mut self, observation: Observation) -> Decision {
        self.engine.observe(observation);
        let decision = self.engine.decide(&self.fleet, self.now);
        if self.fleet.running == 0 && decision.target > 0 {
            self.fleet.oldest_running = Some(self.now);
        }
        self.fleet.running = decision.target;
        self.now = self.now + Duration::from_secs(1);
        decision
    }

    fn quiet(&mut self, seconds: u64) -> Vec<u32> {
        (0..seconds).map(|_| self.read(0).target).collect()
    }
}

#[test]
fn calm_and_latency_keep_consumers_longer_than_balanced_and_economy() {
    let kept = Profile::ALL.map(|profile| {
        let learned = Learned { startup_seconds: Some(5.0), ..LEARNED };
        let mut bench = Bench::new(Goal { profile, wait: Duration::from_secs(30), ..GOAL }, learned, 20);
        bench.quiet(100).iter().position(|&target| target < 20)
    });
    let [balanced, economy, latency, calm] = kept;
    assert!(balanced.is_some() && economy.is_some() && balanced < latency && economy < calm, "{kept:?}");
}

#[test]
fn a_backlog_is_answered_at_once_with_the_number_that_it_needs() {
    let mut bench = Bench::new(GOAL, LEARNED, 1);
    bench.quiet(3);
    let decision = bench.read(200);
    // 200 x 50 ms in the 1 s that is planned for, a little more for what is not known exactly.
    assert!((10..=16).contains(&decision.target), "{decision:?}");
    assert_eq!((decision.before, decision.limit), (1, Limit::None));
    assert!(decision.reason.starts_with("200 messages wait and each takes about"), "{}", decision.reason);
}

#[test]
fn a_backlog_beyond_the_maximum_says_how_long_it_takes() {
    let mut bench = Bench::new(GOAL, LEARNED, 1);
    bench.quiet(3);
    let decision = bench.read(2_000);
    assert_eq!((decision.target, decision.limit), (20, Limit::Max));
    assert!(decision.reason.contains("20 consumers (the maximum) need 5"), "{}", decision.reason);
    assert!(decision.reason.ends_with("over the goal of 2s"), "{}", decision.reason);
}

#[test]
fn twenty_consumers_are_back_at_one_within_about_a_minute_without_ever_rising() {
    let mut bench = Bench::new(GOAL, LEARNED, 1);
    bench.quiet(3);
    assert_eq!(bench.read(2_000).target, 20);
    for left in [1_700, 1_300, 900, 500, 100] {
        assert_eq!(bench.read(left).target, 20);
    }
    let targets = bench.quiet(75);
    assert!(targets.windows(2).all(|pair| pair[1] <= pair[0]), "{targets:?}");
    assert!(targets[..8].iter().all(|&target| target == 20), "{targets:?}");
    assert_eq!(targets.iter().position(|&target| target == 10), Some(8), "{targets:?}");
    assert!(targets.iter().position(|&target| target == 1).is_some_and(|at| at <= 65), "{targets:?}");
}

#[test]
fn steps_down_say_what_is_waited_for_and_where_they_lead() {
    let mut bench = Bench::new(GOAL, LEARNED, 1);
    bench.quiet(3);
    bench.read(2_000);
    let waiting = bench.read(0);
    assert_eq!((waiting.target, waiting.limit), (20, Limit::Window));
    assert_eq!(waiting.reason, "the queue is empty; if it stays so for another 8s, fewer consumers run");
    bench.quiet(7);
    let step = bench.read(0);
    assert_eq!(step.target, 10, "{}", step.reason);
    assert!(step.reason.starts_with("the queue has been empty for 8s and "), "{}", step.reason);
}

#[test]
fn one_waiting_message_begins_the_window_anew() {
    let mut bench = Bench::new(GOAL, LEARNED, 1);
    bench.quiet(3);
    bench.read(2_000);
    bench.quiet(6);
    let decision = bench.read(1);
    assert_eq!((decision.target, decision.limit), (20, Limit::Window));
    assert_eq!(
        decision.reason,
        "fewer consumers would do, but 1 message waits and none is stopped before the queue is empty"
    );
    assert!(bench.quiet(7).iter().all(|&target| target == 20));
}

#[test]
fn lost_readings_hold_the_number_and_say_so() {
    let mut bench = Bench::new(GOAL, LEARNED, 4);
    bench.read(0);
    for _ in 0..11 {
        bench.lost();
    }
    let decision = bench.lost();
    assert_eq!((decision.target, decision.limit), (4, Limit::Data));
    assert!(
        decision.reason.starts_with("the broker is unreachable, last reading 12s ago; no consumer is"),
        "{}",
        decision.reason
    );
    assert_eq!((decision.predicted_wait, decision.review_at), (None, None));
}

#[test]
fn a_broker_that_was_never_reached_holds_what_runs() {
    let mut bench = Bench::new(GOAL, LEARNED, 4);
    let lost = bench.lost();
    assert_eq!((lost.target, lost.limit), (4, Limit::Data));
    assert!(lost.reason.starts_with("the broker is unreachable, no reading yet; "), "{}", lost.reason);
    let mut unread = Engine::new(GOAL, LEARNED);
    let decision = unread.decide(&Fleet::default(), Time::from_millis(5));
    assert_eq!((decision.target, decision.limit), (1, Limit::Data));
    assert_eq!(decision.reason, "no consumer is added or stopped until the queue is read for the first time");
}

#[test]
fn the_window_begins_anew_after_an_outage_and_the_way_up_does_not_wait() {
    let mut bench = Bench::new(GOAL, LEARNED, 8);
    bench.quiet(7);
    bench.lost();
    assert!(bench.quiet(8).iter().all(|&target| target == 8));
    let mut bench = Bench::new(GOAL, LEARNED, 1);
    bench.lost();
    assert_eq!(bench.read(2_000).target, 20);
}

#[test]
fn silence_of_the_reader_is_missing_data_and_is_looked_at_when_it_begins() {
    let mut bench = Bench::new(GOAL, LEARNED, 4);
    let fresh = bench.read(0);
    let review = fresh.review_at.expect("a good reading grows old");
    let decision = bench.engine.decide(&bench.fleet, review);
    assert_eq!((decision.target, decision.limit), (4, Limit::Data));
    assert!(decision.reason.starts_with("no reading of the queue for 3s; "), "{}", decision.reason);
}

#[test]
fn nothing_and_nobody_is_missing_data_where_the_same_processes_were_seen() {
    let mut bench = Bench::new(GOAL, LEARNED, 6);
    bench.read(3);
    bench.visible = false;
    for _ in 0..40 {
        let decision = bench.read(0);
        assert_eq!((decision.target, decision.limit), (6, Limit::Data), "{}", decision.reason);
    }
    assert!(bench.read(0).reason.contains("no consumers although ours are running"));
    bench.visible = true;
    assert!(bench.quiet(12).last().is_some_and(|&target| target < 6));
}

#[test]
fn polling_workers_are_recognised_said_and_scaled_in() {
    let mut bench = Bench::new(GOAL, LEARNED, 1);
    bench.visible = false;
    bench.quiet(2);
    for left in [2_000, 1_600, 1_200, 800, 400] {
        bench.read(left);
    }
    assert!(bench.engine.is_polling(0) && bench.engine.learned().polling);
    let decision = bench.read(0);
    assert!(decision.reason.contains("the workers poll"), "{}", decision.reason);
    assert_eq!(bench.quiet(75).last(), Some(&1));
}

#[test]
fn a_missing_queue_keeps_what_runs_and_at_least_one() {
    let zero = Goal { min: 0, ..GOAL };
    let mut bench = Bench::new(zero, LEARNED, 0);
    let decision = bench.no_queue();
    assert_eq!((decision.target, decision.limit), (1, Limit::Data));
    assert_eq!(decision.reason, "the queue does not exist: 1 consumer is kept so that it can declare it");
    let mut bench = Bench::new(GOAL, LEARNED, 5);
    bench.read(0);
    for _ in 0..60 {
        assert_eq!(bench.no_queue().target, 5);
    }
}

#[test]
fn zero_is_reached_after_a_silence_and_left_straight_to_the_needed_number() {
    let zero = Goal { min: 0, ..GOAL };
    let mut bench = Bench::new(zero, LEARNED, 1);
    let targets = bench.quiet(62);
    assert_eq!(targets[..60], [1; 60]);
    assert_eq!(targets[61], 0, "{targets:?}");
    assert_eq!(bench.read(0).reason, "the queue is empty: no consumer runs until a message arrives");
    assert!(bench.quiet(100).iter().all(|&target| target == 0));
    let decision = bench.read(200);
    assert!(decision.target >= 10, "{decision:?}");
    assert_eq!(decision.before, 0);
}

#[test]
fn those_that_still_finish_count_against_the_maximum() {
    let mut bench = Bench::new(GOAL, LEARNED, 5);
    bench.fleet.draining = 8;
    bench.read(0);
    let decision = bench.read(2_000);
    assert_eq!((decision.target, decision.limit), (12, Limit::Max));
    assert_eq!(
        decision.reason,
        "20 consumers are needed, but 8 are still finishing their work and count against the maximum of 20: more start as they end"
    );
    bench.fleet.draining = 0;
    assert_eq!(bench.read(2_000).target, 20);
}

#[test]
fn a_reload_keeps_what_was_learned_and_bounds_even_what_is_held() {
    let mut bench = Bench::new(GOAL, LEARNED, 12);
    bench.read(0);
    bench.engine.set_goal(Goal { max: 6, ..GOAL });
    assert_eq!(bench.lost().target, 6);
    bench.engine.set_goal(Goal { min: 8, ..GOAL });
    assert_eq!(bench.lost().target, 8);
    assert_eq!(bench.engine.learned(), LEARNED);
}

#[test]
fn a_goal_that_no_start_can_keep_is_said() {
    let slow = Learned { startup_seconds: Some(20.0), ..LEARNED };
    let mut bench = Bench::new(Goal { max: 200, ..GOAL }, slow, 1);
    bench.quiet(2);
    let decision = bench.read(500);
    assert!(
        decision.reason.contains("a start takes 20s, too long for the goal of 2s"),
        "{}",
        decision.reason
    );
}

#[test]
fn starts_are_learned() {
    let mut engine = Engine::new(GOAL, Learned::default());
    assert_eq!(engine.startup(), Duration::from_secs(1));
    engine.observe_started(Duration::from_secs(3));
    assert_eq!(engine.startup(), Duration::from_secs(3));
    assert_eq!(engine.learned().startup_seconds, Some(3.0));
}

#[test]
fn the_expected_wait_is_that_of_the_backlog() {
    let mut bench = Bench::new(GOAL, LEARNED, 10);
    bench.read(0);
    let wait = bench.read(100).predicted_wait.expect("ten consumers run");
    assert!(wait > Duration::from_millis(400) && wait < Duration::from_millis(900), "{wait:?}");
}

#[test]
fn numbers_without_bounds_neither_panic_nor_hang() {
    let goal = Goal { max: u32::MAX, wait: Duration::ZERO, ..GOAL };
    let mut bench = Bench::new(goal, Learned::default(), 1);
    for ready in [u64::MAX, 1, u64::MAX, 0, u64::MAX] {
        bench.fleet.running = 1;
        bench.read(ready);
    }
    bench.now = Time::from_micros(u64::MAX);
    bench.fleet.running = 1;
    assert_eq!(bench.lost().limit, Limit::Data);
}

#[test]
fn within_one_reading_a_deeper_queue_never_means_fewer_consumers() {
    let goal = Goal { max: 500, wait: Duration::from_secs(10), ..GOAL };
    let mut bench = Bench::new(goal, Learned::default(), 20);
    for ready in [0, 2_000, 1_900, 1_800] {
        bench.fleet.running = 20;
        bench.read(ready);
    }
    bench.fleet.running = 20;
    let targets = (0..1_800).step_by(10).map(|ready| {
        let mut engine = bench.engine.clone();
        engine.observe(Observation::Sample { at: bench.now, ready, consumers: 20 });
        engine.set_goal(Goal { wait: Duration::from_secs(60), ..goal });
        engine.decide(&bench.fleet, bench.now).inputs
    });
    let needs = targets.map(|inputs| inputs.steady.max(inputs.drain)).collect::<Vec<_>>();
    assert!(needs.windows(2).all(|pair| pair[0] <= pair[1]), "{needs:?}");
}

/// A broker that tells of everything, five seconds apart: `busy` at work, `done` messages acknowledged since.
fn told(bench: &mut Bench, seconds: u64, busy: u64, rate: u64, acknowledged: &mut u64) -> Vec<u32> {
    (0..seconds)
        .map(|second| {
            *acknowledged += rate;
            if second % 5 == 0 {
                bench.engine.observe(Observation::Detail(Detail {
                    at: bench.now,
                    ready: 0,
                    unacknowledged: busy,
                    acknowledged: *acknowledged,
                    published: None,
                }));
            }
            bench.read(0).target
        })
        .collect()
}

#[test]
fn where_it_is_known_who_is_at_work_all_idle_ones_go_after_one_window_and_no_busy_one() {
    let mut bench = Bench::new(Goal { max: 100, ..GOAL }, LEARNED, 60);
    let mut acknowledged = 0;
    // 20 a second, half a second each: 10 are at work.
    let targets = told(&mut bench, 120, 10, 20, &mut acknowledged);
    let settled = targets.last().copied().unwrap_or_default();
    assert!((12..=20).contains(&settled), "{targets:?}");
    let steps = targets.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(steps <= 3, "{targets:?}");
    let busy = told(&mut bench, 300, 9, 0, &mut acknowledged);
    assert_eq!(busy.last(), Some(&9), "nothing arrives, and nine go on with what they have: {busy:?}");
    let decision = bench.read(0);
    assert!(
        decision.reason.ends_with("9 are at work: none is stopped before its message is done"),
        "{decision:?}"
    );
}

#[test]
fn what_a_broker_tells_is_called_learned_once_messages_were_done() {
    let mut bench = Bench::new(GOAL, Learned::default(), 1);
    let mut acknowledged = 0;
    told(&mut bench, 20, 0, 0, &mut acknowledged);
    assert_eq!(bench.engine.learned().service_seconds, None);
    told(&mut bench, 20, 1, 5, &mut acknowledged);
    let learned = bench.engine.learned().service_seconds.expect("a hundred messages were done");
    assert!((0.1..0.3).contains(&learned), "{learned}");
}

#[test]
fn a_broker_that_stops_telling_more_leaves_the_engine_with_what_it_learned() {
    let mut bench = Bench::new(Goal { max: 100, ..GOAL }, LEARNED, 60);
    let mut acknowledged = 0;
    told(&mut bench, 120, 10, 20, &mut acknowledged);
    let before = bench.read(0);
    let targets = bench.quiet(20);
    assert!(
        targets.iter().all(|&target| (before.target / 2..=before.target).contains(&target)),
        "{targets:?}"
    );
    let after = bench.read(0);
    let (known, left) = (before.inputs, after.inputs);
    assert!((known.service_seconds / left.service_seconds - 1.0).abs() < 0.4, "{known:?} {left:?}");
}

#[test]
fn a_floor_holds_while_it_lasts_and_what_is_above_the_need_then_goes_as_ever() {
    let mut bench = Bench::new(GOAL, LEARNED, 1);
    bench.quiet(3);
    let floor = |min| Some(Floor { min, until: "18:00 Europe/Berlin".to_owned() });
    bench.engine.set_floor(floor(8));
    let decision = bench.read(0);
    assert_eq!((decision.target, decision.limit), (8, Limit::Min));
    assert_eq!(decision.reason, "a floor holds: at least 8 consumers until 18:00 Europe/Berlin");
    assert!(bench.quiet(120).iter().all(|&target| target == 8));
    assert_eq!(bench.read(2_000).target, 20, "what is needed goes beyond it");
    assert_eq!(bench.quiet(120).last(), Some(&8));
    bench.engine.set_goal(Goal { max: 6, ..GOAL });
    assert_eq!(bench.read(0).target, 6, "never above the maximum");
    bench.engine.set_floor(None);
    let targets = bench.quiet(120);
    assert!(targets[..7].iter().all(|&target| target == 6), "{targets:?}");
    assert_eq!(targets.last(), Some(&1));
}

#[test]
fn a_floor_counts_without_readings_as_well() {
    let mut bench = Bench::new(GOAL, LEARNED, 2);
    bench.lost();
    bench.engine.set_floor(Some(Floor { min: 8, until: "18:00 UTC".to_owned() }));
    let raised = bench.lost();
    assert_eq!((raised.target, raised.limit), (8, Limit::Min), "{raised:?}");
    assert!(raised.trouble.is_some());
    bench.engine.set_floor(None);
    for _ in 0..60 {
        assert_eq!(bench.lost().target, 8, "nobody is stopped without readings");
    }
}

#[test]
fn no_more_run_than_do_the_messages_that_the_rate_allows() {
    let half_a_second = Learned { service_seconds: Some(0.5), ..LEARNED };
    let mut bench = Bench::new(GOAL, half_a_second, 1);
    bench.engine.set_rate(Some(36_000));
    bench.quiet(3);
    let decision = bench.read(2_000);
    assert_eq!((decision.target, decision.limit), (5, Limit::Rate), "{decision:?}");
    assert_eq!(
        decision.reason,
        "10 messages a second are allowed by the rate, which 5 consumers do at about 500ms each: no more run"
    );
    for second in 1..60 {
        let target = bench.read(2_000 - 10 * second).target;
        assert!((4..=6).contains(&target), "{target} after {second} s");
    }
    let mut bench = Bench::new(Goal { min: 8, ..GOAL }, half_a_second, 8);
    bench.engine.set_rate(Some(36_000));
    bench.quiet(3);
    assert_eq!(bench.read(2_000).target, 8, "the minimum runs");
}

#[test]
fn a_number_that_is_far_above_the_rate_falls_at_once_where_the_work_is_known() {
    let fall = |learned| {
        let mut bench = Bench::new(GOAL, learned, 20);
        bench.engine.set_rate(Some(36_000));
        bench.read(50)
    };
    let decision = fall(Learned { service_seconds: Some(0.5), ..LEARNED });
    assert_eq!((decision.target, decision.limit), (5, Limit::Rate), "{decision:?}");
    assert_eq!(fall(Learned { service_seconds: None, ..LEARNED }).target, 20, "it is only assumed");
}
