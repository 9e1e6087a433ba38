//! Several policies over the same messages, for several seeds.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

use crate::simulation::catalogue::PolicyName;
use crate::simulation::queue::{Moment, Run, Scenario, run_all};
use crate::simulation::report::Report;
use crate::simulation::statistics::{Interval, interval};
use crate::simulation::workload::Workload;

/// A policy and its runs, one for each seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub policy: PolicyName,
    /// By seed.
    pub reports: Vec<Report>,
    /// The seconds of the first seed's run, where they were asked for.
    pub moments: Vec<Moment>,
}

/// A figure of a report.
pub type Figure = fn(&Report) -> f64;

/// The figures of an outcome: the key in JSON, and where it is in a report.
pub const FIGURES: [(&str, Figure); 18] = [
    ("messages", |report| report.messages as f64),
    ("wait_p50_seconds", |report| report.wait_p50),
    ("wait_p95_seconds", |report| report.wait_p95),
    ("wait_p99_seconds", |report| report.wait_p99),
    ("wait_max_seconds", |report| report.wait_max),
    ("over_goal_ratio", |report| report.over_goal),
    ("consumer_seconds", |report| report.consumer_seconds),
    ("utilisation", Report::utilisation),
    ("starts", |report| f64::from(report.starts)),
    ("reversals", |report| f64::from(report.reversals)),
    ("busy_stops", |report| f64::from(report.busy_stops)),
    ("time_to_capacity_seconds", |report| report.time_to_capacity),
    ("regret", Report::regret),
    ("most_consumers", |report| f64::from(report.most_consumers)),
    ("left_over", |report| report.left_over as f64),
    ("least_consumer_seconds", |report| report.least_consumer_seconds),
    ("seconds", |report| report.seconds),
    ("worst_queue_over_goal_ratio", |report| report.worst_queue_over_goal),
];

/// Runs every policy over the workload of every seed. `progress` is told how many runs are over. The seconds of
/// the first seed are kept `with_moments`.
pub fn compare(
    policies: &[PolicyName],
    seeds: u32,
    scenario: &Scenario,
    workload: &(dyn Fn(u64) -> Workload + Sync),
    with_moments: bool,
    progress: &(dyn Fn(usize) + Sync),
) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> =
        policies.iter().map(|&policy| Outcome { policy, reports: Vec::new(), moments: Vec::new() }).collect();
    let done = AtomicUsize::new(0);
    for seed in 1..=u64::from(seeds) {
        let workload = workload(seed);
        let scenario = Scenario { seed, ..scenario.clone() };
        let next = AtomicUsize::new(0);
        let work = || {
            let mut reports = Vec::new();
            while let Some((index, policy)) = take(&next, policies) {
                let watched = with_moments && seed == 1;
                let run = run_all(&workload, &scenario, &|service| policy.build(&scenario, service), watched);
                reports.push((index, run));
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            }
            reports
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(policies.len());
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut reports = work();
            for other in others {
                // A run that panics is a defect, which ends the others as well.
                reports.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            for (index, Run { report, moments, queues: _ }) in reports {
                outcomes[index].reports.push(report);
                if seed == 1 {
                    outcomes[index].moments = moments;
                }
            }
        });
    }
    outcomes
}

fn take<'a>(next: &AtomicUsize, policies: &'a [PolicyName]) -> Option<(usize, &'a PolicyName)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    policies.get(index).map(|policy| (index, policy))
}

impl Outcome {
    /// A figure over the seeds.
    pub fn figure(&self, figure: Figure) -> Interval {
        let values: Vec<f64> = self.reports.iter().map(figure).collect();
        interval(&values)
    }

    /// All figures; with several seeds each with the ends of its interval.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("policy".into(), json!(self.policy.to_string()));
        object.insert("signals".into(), json!(self.policy.signals()));
        for (name, figure) in FIGURES {
            let Interval { mean, low, high } = self.figure(figure);
            object.insert(name.into(), number(mean));
            if self.reports.len() > 1 {
                object.insert(format!("{name}_low"), number(low));
                object.insert(format!("{name}_high"), number(high));
            }
        }
        Value::Object(object)
    }
}

/// Whole numbers without a point; others to a millionth.
fn number(value: f64) -> Value {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.fract() == 0.0 && rounded < 9e15 { json!(rounded as u64) } else { json!(rounded) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::profile::Profile;
    use crate::simulation::builtin::Builtin;
    use crate::simulation::own::Signals;

    fn outcomes(seeds: u32) -> Vec<Value> {
        let policies = [
            PolicyName::Own(Profile::Balanced, Signals::Amqp),
            PolicyName::Keda,
            PolicyName::Celery,
            PolicyName::Fixed(40),
        ];
        let workload = |seed| Builtin::Step.workload(seed, 0.5);
        let outcomes = compare(&policies, seeds, &Scenario::default(), &workload, false, &|_| ());
        outcomes.iter().map(Outcome::to_json).collect()
    }

    #[test]
    fn the_same_seeds_give_the_same_bytes_in_the_order_asked_for() {
        let one = outcomes(2);
        assert_eq!(one, outcomes(2));
        let names: Vec<&str> = one.iter().filter_map(|outcome| outcome["policy"].as_str()).collect();
        assert_eq!(names, ["balanced:amqp", "keda", "celery", "fixed-40"]);
    }

    #[test]
    fn intervals_come_with_several_seeds_only() {
        let (one, two) = (outcomes(1), outcomes(2));
        assert!(one[0]["wait_p95_seconds_low"].is_null() && one[0]["starts"].is_u64());
        let value = |key: &str| two[0][key].as_f64().unwrap();
        assert!(value("consumer_seconds_low") <= value("consumer_seconds"));
        assert!(value("consumer_seconds") <= value("consumer_seconds_high"));
    }

    /// Where a reaction can keep the goal, with what the management API tells.
    #[test]
    fn told_everything_the_engine_keeps_the_goal_for_less_than_every_rival_that_does_and_stops_nobody_at_work()
     {
        let kept = 0.001;
        let workloads =
            [Builtin::Step, Builtin::Ramp, Builtin::Burst, Builtin::Sine, Builtin::Long, Builtin::RetryStorm];
        for (workload, startup) in
            workloads.into_iter().flat_map(|workload| [(workload, 0.3), (workload, 2.0)])
        {
            let scenario = Scenario { wait: workload.wait(), startup, ..Scenario::default() };
            let rivals = PolicyName::ALL.into_iter().filter(|policy| !matches!(policy, PolicyName::Own(..)));
            let own = PolicyName::Own(Profile::Balanced, Signals::Full);
            let policies: Vec<PolicyName> = std::iter::once(own).chain(rivals).collect();
            let messages = |seed| workload.workload(seed, workload.service());
            let outcomes = compare(&policies, 1, &scenario, &messages, false, &|_| ());
            let reports: Vec<&Report> = outcomes.iter().flat_map(|outcome| &outcome.reports).collect();
            let (own, rivals) = (reports[0], &reports[1..]);
            let name = format!("{} with a start of {startup} s", workload.name());
            assert!(own.over_goal <= kept, "{name}: {own:?}");
            assert_eq!(own.busy_stops, 0, "{name}");
            for (policy, rival) in
                policies[1..].iter().zip(rivals).filter(|(_, rival)| rival.over_goal <= kept)
            {
                assert!(own.consumer_seconds < rival.consumer_seconds, "{name}: {policy}, {own:?} {rival:?}");
            }
        }
    }

    /// Without the management API, where a reaction can keep the goal.
    #[test]
    fn told_the_depth_alone_the_engine_keeps_the_goal_for_at_most_half_as_much_again() {
        let out_of_reach = [Builtin::SlowDownstream, Builtin::TwentyQueues];
        for workload in Builtin::ALL.into_iter().filter(|workload| !out_of_reach.contains(workload)) {
            for startup in [0.3, 2.0] {
                let scenario = Scenario { wait: workload.wait(), startup, ..Scenario::default() };
                let policies =
                    [Signals::Full, Signals::Amqp].map(|signals| PolicyName::Own(Profile::Balanced, signals));
                let messages = |seed| workload.workload(seed, workload.service());
                let outcomes = compare(&policies, 1, &scenario, &messages, false, &|_| ());
                let [full, amqp] = [0, 1].map(|index| &outcomes[index].reports[0]);
                let name = format!("{} with a start of {startup} s", workload.name());
                assert!(full.over_goal <= 0.001 && amqp.over_goal <= 0.001, "{name}: {full:?} {amqp:?}");
                assert!(amqp.consumer_seconds <= 1.5 * full.consumer_seconds, "{name}: {full:?} {amqp:?}");
            }
        }
    }

    /// A database that is at its limit is not pushed further.
    #[test]
    fn where_more_consumers_do_no_more_fewer_are_paid_for_than_by_any_rival_that_adapts() {
        let scenario = Scenario { wait: Builtin::SlowDownstream.wait(), ..Scenario::default() };
        let own = PolicyName::Own(Profile::Balanced, Signals::Full);
        let policies = [own, PolicyName::Celery, PolicyName::Knative, PolicyName::KedaTuned];
        let messages = |seed| Builtin::SlowDownstream.workload(seed, 0.2);
        let outcomes = compare(&policies, 1, &scenario, &messages, false, &|_| ());
        let reports: Vec<&Report> = outcomes.iter().map(|outcome| &outcome.reports[0]).collect();
        for rival in &reports[1..] {
            assert!(reports[0].consumer_seconds < 0.9 * rival.consumer_seconds, "{reports:?}");
        }
        assert!(reports[0].most_consumers < scenario.max, "{reports:?}");
    }

    /// Twenty queues on one budget.
    #[test]
    fn on_one_budget_no_queue_starves_priorities_hold_and_the_budget_is_never_exceeded() {
        let workload = Builtin::TwentyQueues.workload(1, Builtin::TwentyQueues.service());
        let budget = workload.budget.unwrap();
        let own = |signals| PolicyName::Own(Profile::Balanced, signals);
        let policies = [own(Signals::Full), own(Signals::Amqp), PolicyName::Celery, PolicyName::Horizon10];
        let scenario = Scenario::default();
        let runs: Vec<Run> = policies
            .iter()
            .map(|policy| run_all(&workload, &scenario, &|service| policy.build(&scenario, service), false))
            .collect();
        for run in &runs {
            assert!(run.report.most_consumers <= budget, "{:?}", run.report);
            assert_eq!((run.report.messages, run.report.left_over), (workload.messages.len(), 0));
        }
        let (own, rivals) = runs.split_at(2);
        for run in own {
            let over = |queue: &Report| queue.over_goal;
            let first: Vec<f64> = run.queues.iter().take(2).map(over).collect();
            assert_eq!(first, [0.0, 0.0], "those of the higher priority keep the goal");
            for (rival, name) in rivals.iter().zip(&policies[2..]) {
                let (own, rival) = (&run.report, &rival.report);
                // Whoever waits longest anywhere waits longer with them.
                assert!(own.wait_max < rival.wait_max, "{name}: {own:?} {rival:?}");
                assert!(own.over_goal < rival.over_goal, "{name}: {own:?} {rival:?}");
                assert!(own.consumer_seconds < rival.consumer_seconds, "{name}: {own:?} {rival:?}");
            }
        }
    }

    /// What is known of the rivals: KEDA comes late, Celery never stops who is busy, a fixed number is never changed.
    #[test]
    fn the_rivals_are_like_themselves() {
        let outcomes = outcomes(1);
        let value = |index: usize, key: &str| outcomes[index][key].as_f64().unwrap();
        assert!(value(1, "over_goal_ratio") > 0.02, "{}", outcomes[1]);
        assert!(value(1, "busy_stops") > 0.0);
        assert_eq!(value(2, "busy_stops"), 0.0);
        assert_eq!((value(3, "starts"), value(3, "reversals")), (40.0, 0.0));
        assert!((value(3, "consumer_seconds") / 72_000.0 - 1.0).abs() < 0.02, "{}", outcomes[3]);
    }
}
