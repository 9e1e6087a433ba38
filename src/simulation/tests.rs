//! Runs of the real engine over many workloads and seeds: the rules that always hold are checked at every decision; here
//! stand the goals and what they may cost.

use std::f64::consts::TAU;
use std::time::Duration;

use super::own::{Own, Signals};
use super::policy::{Policy, Removal, Rhythm, Tick};
use super::queue::{Fault, FaultKind, Scenario, run};
use super::report::Report;
use super::workload::{Work, Workload};
use crate::core::random::Random;
use crate::core::time::Time;
use crate::scaling::decision::Decision;
use crate::scaling::input::Learned;
use crate::scaling::profile::Profile;

/// Two cores may start four at a time.
const START_LIMIT: u32 = 4;

/// How long runs go on after their last message, so that the way back is seen.
const EPILOGUE_SECONDS: f64 = 150.0;

fn scenario(wait_seconds: u64, max: u32, startup: f64, seed: u64) -> Scenario {
    Scenario {
        wait: Duration::from_secs(wait_seconds),
        min: 1,
        max,
        startup,
        start_limit: START_LIMIT,
        epilogue: EPILOGUE_SECONDS,
        seed,
        ..Scenario::default()
    }
}

/// One decision, for those who look on.
#[derive(Debug)]
struct Step {
    at: f64,
    decision: Decision,
}

/// The engine under watch: what must always hold is asked after every decision.
struct Watched<'a, W> {
    own: Own,
    signals: Signals,
    scenario: &'a Scenario,
    faults: &'a [Fault],
    target: u32,
    watch: W,
}

impl<W> std::fmt::Debug for Watched<'_, W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.own.fmt(formatter)
    }
}

impl<W: FnMut(&Step)> Watched<'_, W> {
    fn check(&self, tick: &Tick<'_>, decision: &Decision, again: &Decision) {
        let (now, seed, target) = (tick.now.as_seconds(), self.scenario.seed, decision.target);
        let down = target < self.target;
        let is_faulty = self.faults.iter().any(|fault| fault.from <= now && now < fault.to);
        let rules = [
            (again.target == target, "asked twice, it says something else"),
            ((self.scenario.min..=self.scenario.max).contains(&target), "out of bounds"),
            (!down || tick.depth.ready == 0 || self.signals == Signals::Full, "down while messages wait"),
            (!down || !is_faulty, "down on missing data"),
            (decision.review_at.is_none_or(|at| at > tick.now), "a review in the past"),
            (!decision.reason.is_empty(), "a decision without a reason"),
            (tick.consumers.all() <= self.scenario.max, "more than the maximum"),
        ];
        for (holds, rule) in rules {
            assert!(
                holds,
                "seed {seed}, at {now} s, {} -> {target}: {rule} in {:?}",
                self.target, self.scenario
            );
        }
    }
}

impl<W: FnMut(&Step)> Policy for Watched<'_, W> {
    fn rhythm(&self) -> Rhythm {
        self.own.rhythm()
    }

    fn removal(&self) -> Removal {
        self.own.removal()
    }

    fn decide(&mut self, tick: &Tick<'_>) -> u32 {
        if let Some(decision) = self.own.decision(tick) {
            let again = self.own.again(tick);
            self.check(tick, &decision, &again);
            self.target = decision.target;
            (self.watch)(&Step { at: tick.now.as_seconds(), decision });
        }
        self.target
    }

    fn counts_draining(&self) -> bool {
        self.own.counts_draining()
    }

    fn observe_started(&mut self, took: Duration) {
        self.own.observe_started(took);
    }

    fn review_at(&self) -> Option<Time> {
        self.own.review_at()
    }
}

fn varied(mean: f64) -> Work {
    Work { mean, variation: 1.0 }
}

fn step(seed: u64) -> Workload {
    let rate = |now: f64| if (150.0..500.0).contains(&now) { 40.0 } else { 4.0 };
    Workload::poisson(seed, 700.0, 40.0, varied(0.5), rate)
}

fn bursts(seed: u64) -> Workload {
    let rate = |now: f64| if now % 60.0 < 10.0 { 60.0 } else { 0.0 };
    Workload::poisson(seed, 600.0, 60.0, varied(1.0), rate)
}

fn sine(seed: u64) -> Workload {
    let rate = |now: f64| 10.0 + 9.0 * (TAU * now / 1_200.0).sin();
    Workload::poisson(seed, 1_200.0, 19.0, varied(1.0), rate)
}

fn long_tasks(seed: u64) -> Workload {
    Workload::poisson(seed, 7_200.0, 0.2, varied(60.0), |_| 0.2)
}

fn steady(seed: u64) -> Workload {
    Workload::poisson(seed, 600.0, 40.0, varied(0.5), |_| 40.0)
}

/// What the demo plays every minute: calm, a ramp, 300 at once at its end, and calm again.
fn minutes(seed: u64) -> Workload {
    let rate = |now: f64| match now % 60.0 {
        second if second < 10.0 => 2.0,
        second if second < 25.0 => 2.0 + 38.0 * (second - 10.0) / 15.0,
        second if second < 35.0 => 40.0 - 38.0 * (second - 25.0) / 10.0,
        _ => 2.0,
    };
    let first = Workload::poisson(seed, 240.0, 40.0, varied(0.2), rate);
    (0_u32..4).fold(first, |workload, minute| {
        let burst_at = 60.0 * f64::from(minute) + 25.0;
        workload.and(Workload::at_once(seed + 100 + u64::from(minute), burst_at, 300, 240.0, varied(0.2)))
    })
}

fn two_thousand(seed: u64) -> Workload {
    Workload::at_once(seed, 10.3, 2_000, 20.0, Work { mean: 0.05, variation: 0.1 })
}

fn must(workload: &Workload, scenario: &Scenario, watch: impl FnMut(&Step)) -> Report {
    must_with(workload, scenario, Profile::Balanced, Signals::Amqp, watch)
}

fn must_with(
    workload: &Workload,
    scenario: &Scenario,
    profile: Profile,
    signals: Signals,
    watch: impl FnMut(&Step),
) -> Report {
    let own = Own::new(scenario, Learned::default(), profile, signals);
    let (faults, target) = (&workload.faults[..], scenario.min);
    let mut policy = Watched { own, signals, scenario, faults, target, watch };
    let report = run(workload, scenario, &mut policy, false).report;
    assert_eq!(report.left_over, 0, "seed {}: messages were left over", scenario.seed);
    report
}

/// A row: its workload, goal, maximum, start-up, and what is allowed: the share over the goal, the multiple of the least
/// cost.
struct Row {
    name: &'static str,
    workload: fn(u64) -> Workload,
    wait_seconds: u64,
    max: u32,
    startup: f64,
    over_goal: f64,
    regret: f64,
}

/// The figures are means over seeds, with room for other seeds but not for another engine. Bursts cost three times the
/// work in them because a consumer that is needed for 10 s runs for at least the window, too; with a start-up of 2 s they
/// want more consumers than four at a time can be started, and with 20 s nobody could keep those goals by reacting. The
/// demo's bursts are as much as its maximum can do within the goal.
const ROWS: [Row; 15] = [
    Row {
        name: "step 4-40/s",
        workload: step,
        wait_seconds: 10,
        max: 200,
        startup: 0.3,
        over_goal: 0.001,
        regret: 1.4,
    },
    Row {
        name: "bursts 60/s",
        workload: bursts,
        wait_seconds: 15,
        max: 200,
        startup: 0.3,
        over_goal: 0.02,
        regret: 4.0,
    },
    Row {
        name: "sine 1-19/s",
        workload: sine,
        wait_seconds: 10,
        max: 200,
        startup: 0.3,
        over_goal: 0.001,
        regret: 1.5,
    },
    Row {
        name: "long tasks",
        workload: long_tasks,
        wait_seconds: 60,
        max: 200,
        startup: 0.3,
        over_goal: 0.02,
        regret: 1.6,
    },
    Row {
        name: "steady 40/s",
        workload: steady,
        wait_seconds: 10,
        max: 200,
        startup: 0.3,
        over_goal: 0.001,
        regret: 1.3,
    },
    Row {
        name: "demo's minutes",
        workload: minutes,
        wait_seconds: 3,
        max: 20,
        startup: 0.3,
        over_goal: 0.12,
        regret: 4.5,
    },
    Row {
        name: "demo's minutes",
        workload: minutes,
        wait_seconds: 3,
        max: 20,
        startup: 1.0,
        over_goal: 0.2,
        regret: 4.5,
    },
    Row {
        name: "step 4-40/s",
        workload: step,
        wait_seconds: 10,
        max: 200,
        startup: 2.0,
        over_goal: 0.001,
        regret: 1.4,
    },
    Row {
        name: "bursts 60/s",
        workload: bursts,
        wait_seconds: 15,
        max: 200,
        startup: 2.0,
        over_goal: 0.1,
        regret: 4.5,
    },
    Row {
        name: "sine 1-19/s",
        workload: sine,
        wait_seconds: 10,
        max: 200,
        startup: 2.0,
        over_goal: 0.005,
        regret: 1.6,
    },
    Row {
        name: "long tasks",
        workload: long_tasks,
        wait_seconds: 60,
        max: 200,
        startup: 2.0,
        over_goal: 0.02,
        regret: 1.6,
    },
    Row {
        name: "steady 40/s",
        workload: steady,
        wait_seconds: 10,
        max: 200,
        startup: 2.0,
        over_goal: 0.001,
        regret: 1.3,
    },
    Row {
        name: "step 4-40/s",
        workload: step,
        wait_seconds: 10,
        max: 200,
        startup: 20.0,
        over_goal: 0.4,
        regret: 3.0,
    },
    Row {
        name: "sine 1-19/s",
        workload: sine,
        wait_seconds: 10,
        max: 200,
        startup: 20.0,
        over_goal: 0.2,
        regret: 3.0,
    },
    Row {
        name: "long tasks",
        workload: long_tasks,
        wait_seconds: 60,
        max: 200,
        startup: 20.0,
        over_goal: 0.05,
        regret: 1.8,
    },
];

#[test]
#[expect(clippy::print_stdout, reason = "the table is for people who ask for it with --nocapture")]
fn goals_are_kept_at_a_bounded_cost() {
    const SEEDS: u64 = 2;
    for row in ROWS {
        let mut over_goal = 0.0;
        let mut regret = 0.0;
        for seed in 1..=SEEDS {
            let scenario = scenario(row.wait_seconds, row.max, row.startup, seed);
            let report = must(&(row.workload)(seed), &scenario, |_| ());
            println!("{} start {}s #{seed}: {report:?}", row.name, row.startup);
            over_goal += report.over_goal / SEEDS as f64;
            regret += report.regret() / SEEDS as f64;
        }
        let Row { name, startup, .. } = row;
        assert!(over_goal <= row.over_goal, "{name}, start-up {startup}: {over_goal} over the goal");
        assert!(regret <= row.regret, "{name}, start-up {startup}: {regret} times the least cost");
    }
}

#[test]
fn two_thousand_messages_raise_twenty_consumers_and_all_leave_again() {
    for seed in 1..=5 {
        for polling in [false, true] {
            let scenario = Scenario { polling, ..scenario(2, 20, 0.3, seed) };
            let mut first_up = None;
            let mut learned = 0.0;
            let mut back_at = f64::INFINITY;
            let report = must(&two_thousand(seed), &scenario, |step| {
                if step.decision.target == 20 {
                    first_up.get_or_insert(step.at);
                }
                learned = step.decision.inputs.service_seconds;
                back_at = if step.decision.target == 1 { back_at.min(step.at) } else { f64::INFINITY };
            });
            assert_eq!((report.messages, report.most_consumers, report.consumers_at_end), (2_000, 20, 1));
            assert_eq!(first_up, Some(11.0), "the first reading after the burst");
            assert!((learned / 0.05 - 1.0).abs() < 0.2, "a message takes 50 ms, not {learned}");
            // 10.3 s when they come, 8 s until the last is begun, 75 s for the way back.
            assert!(back_at < 94.0, "{back_at}");
            // 5 s of work for twenty, two readings, and the starts by fours.
            assert!(report.wait_max < 8.0, "{report:?}");
        }
    }
}

#[test]
fn a_constant_load_leaves_the_count_nearly_alone() {
    for startup in [0.3, 2.0] {
        let mut reversals = 0;
        for seed in 1..=3 {
            let workload = Workload::poisson(seed, 1_200.0, 40.0, varied(0.25), |_| 40.0);
            reversals += must(&workload, &scenario(10, 100, startup, seed), |_| ()).reversals;
        }
        assert!(reversals <= 3 * 20, "{reversals} changes of direction in an hour, start-up {startup}");
    }
}

#[test]
fn outages_of_every_kind_hold_the_count_and_end_by_themselves() {
    let kinds = [FaultKind::Lost, FaultKind::Silent, FaultKind::Empty, FaultKind::NoQueue];
    for (seed, kind) in (1..).zip(kinds) {
        let fault = Fault { from: 250.5, to: 310.5, kind };
        let scenario = scenario(10, 100, 0.3, seed);
        let workload = Workload { faults: vec![fault], ..step(seed) };
        let mut during = Vec::new();
        let mut reasons = Vec::new();
        let report = must(&workload, &scenario, |step| {
            if (255.0..310.5).contains(&step.at) {
                during.push(step.decision.target);
                reasons.push(step.decision.limit);
            }
        });
        assert!(during.windows(2).all(|pair| pair[0] == pair[1]), "{kind:?}: {during:?}");
        assert!(reasons.iter().all(|&limit| limit == crate::scaling::decision::Limit::Data));
        assert_eq!(during.is_empty(), kind == FaultKind::Silent);
        assert!(report.over_goal < 0.01, "{kind:?}: {report:?}");
    }
}

/// They cost more: a message that waits for the next look is not told from one that waits for a free worker.
#[test]
fn polling_workers_keep_the_goal_as_others_do() {
    for seed in 1..=2 {
        let scenario = Scenario { polling: true, ..scenario(10, 100, 0.3, seed) };
        let report = must(&step(seed), &scenario, |_| ());
        assert!(report.over_goal < 0.001 && report.regret() < 2.0, "{report:?}");
        assert_eq!(report.consumers_at_end, 1);
    }
}

#[test]
fn rare_messages_wake_a_program_from_zero_and_it_sleeps_again() {
    let mut workload = Workload::at_once(1, 100.3, 1, 2_000.0, varied(0.1));
    for at in [700.3, 1_500.3] {
        workload = workload.and(Workload::at_once(2, at, 40, 2_000.0, varied(0.1)));
    }
    let mut scenario = scenario(5, 20, 0.3, 1);
    scenario.min = 0;
    let report = must(&workload, &scenario, |_| ());
    assert_eq!((report.messages, report.consumers_at_end), (81, 0));
    assert!(report.wait_max < 5.0, "{report:?}");
    assert!(report.consumer_seconds < 700.0, "{report:?}");
}

#[test]
fn a_start_that_takes_longer_than_the_goal_is_said_in_the_reason() {
    let mut said = false;
    must(&step(1), &scenario(10, 200, 20.0, 1), |step| {
        said |= step.decision.reason.contains("too long for the goal of 10s");
    });
    assert!(said);
}

#[test]
fn the_same_seed_gives_the_same_run_to_the_last_word() {
    let history = || {
        let mut lines = Vec::new();
        let scenario = scenario(15, 100, 2.0, 7);
        let report = must(&bursts(7), &scenario, |step| lines.push(format!("{step:?}")));
        (report, lines)
    };
    assert_eq!(history(), history());
}

/// Random loads, goals, start-ups and faults: the world checks its rules after every step.
#[test]
fn no_random_world_breaks_a_rule() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut between = |least: f64, most: f64| least + (most - least) * random.unit();
        let length = 300.0;
        let work = Work { mean: between(0.01, 3.0), variation: between(0.0, 2.0) };
        let highest = between(0.2, 20.0) / work.mean;
        let (period, low) = (between(20.0, 300.0), between(0.0, 1.0));
        let rate = |now: f64| if now % period < period / 2.0 { highest } else { highest * low };
        let workload = Workload::poisson(seed, length, highest, work, rate);
        let kinds = [FaultKind::Lost, FaultKind::Silent, FaultKind::NoQueue, FaultKind::Empty];
        // Where workers poll, an empty answer cannot be told from an empty queue.
        let polling = between(0.0, 1.0) < 0.3;
        let faults = (0..3)
            .map(|_| {
                let from = between(0.0, length);
                let kind = kinds[between(0.0, if polling { 3.0 } else { 4.0 }) as usize];
                Fault { from, to: from + between(0.5, 30.0), kind }
            })
            .collect();
        let min = between(0.0, 4.0) as u32;
        let scenario = Scenario {
            wait: Duration::from_secs_f64(between(0.2, 30.0)),
            min,
            max: min + between(25.0, 60.0) as u32,
            interval: Duration::from_millis(between(300.0, 2_000.0) as u64),
            startup: between(0.0, 10.0),
            start_limit: between(1.0, 20.0) as u32,
            polling,
            epilogue: EPILOGUE_SECONDS,
            seed,
            ..Scenario::default()
        };
        let workload = Workload { faults, ..workload };
        let profile = Profile::ALL[seed as usize % Profile::ALL.len()];
        for signals in [Signals::Amqp, Signals::Full] {
            must_with(&workload, &scenario, profile, signals, |_| ());
        }
    }
}

#[test]
fn what_a_stopped_consumer_had_only_fetched_goes_back_and_nothing_is_lost() {
    for prefetch in [2, 10, 50] {
        let scenario = Scenario { prefetch, ..scenario(10, 100, 0.3, 1) };
        let mut policy = super::rivals::horizon::Horizon::new(1, 60, 10);
        let report = run(&step(1), &scenario, &mut policy, false).report;
        assert_eq!((report.left_over, report.messages), (0, step(1).messages.len()));
        assert!(report.busy_stops > 0);
    }
}

#[test]
fn more_consumers_than_a_downstream_can_take_do_no_more() {
    let workload = Workload { downstream: Some(5), ..steady(1) };
    let seconds = |count| {
        let mut policy = super::rivals::fixed::Fixed(count);
        run(&workload, &scenario(10, 100, 0.3, 1), &mut policy, false).report.wait_p95
    };
    assert!((seconds(40) / seconds(5) - 1.0).abs() < 0.1, "{} {}", seconds(40), seconds(5));
}
