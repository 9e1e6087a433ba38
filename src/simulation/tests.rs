//! Runs of the real engine over many workloads and seeds.

use std::f64::consts::TAU;
use std::time::Duration;

use super::report::Report;
use super::workload::{Message, Work, Workload};
use super::world::{Fault, FaultKind, Scenario, run, run_watched};
use crate::scaling::input::{Goal, Learned};

fn scenario(wait: u64, min: u32, max: u32, startup: f64, start_limit: u32, seed: u64) -> Scenario {
    let goal = Goal { wait: Duration::from_secs(wait), min, max, interval: Duration::from_secs(1) };
    Scenario {
        goal,
        learned: Learned::default(),
        startup,
        start_limit,
        polling: false,
        faults: Vec::new(),
        seed,
    }
}

fn work(mean: f64) -> Work {
    Work { mean, variation: 1.0 }
}

fn step(seed: u64) -> Workload {
    Workload::poisson(seed, 1_600.0, 40.0, work(0.5), |now| {
        if (400.0..1_300.0).contains(&now) { 40.0 } else { 4.0 }
    })
}

fn bursts(seed: u64) -> Workload {
    Workload::poisson(seed, 1_800.0, 60.0, work(1.0), |now| if now % 60.0 < 10.0 { 60.0 } else { 0.0 })
}

fn sine(seed: u64) -> Workload {
    Workload::poisson(seed, 3_600.0, 19.0, work(1.0), |now| 10.0 + 9.0 * (TAU * now / 1_200.0).sin())
}

fn long_tasks(seed: u64) -> Workload {
    Workload::poisson(seed, 7_200.0, 0.2, work(60.0), |_| 0.2)
}

fn steady(seed: u64) -> Workload {
    Workload::poisson(seed, 1_800.0, 40.0, work(0.5), |_| 40.0)
}

#[test]
fn table() {
    println!("{}", Report::heading());
    for startup in [0.3, 2.0] {
        for (name, make, wait, max) in [
            ("step 4-40/s", step as fn(u64) -> Workload, 10, 200),
            ("bursts 60/s", bursts, 15, 200),
            ("sine 1-19/s", sine, 10, 200),
            ("long tasks", long_tasks, 60, 200),
            ("steady 40/s", steady, 10, 200),
        ] {
            for limit in [4] {
                for seed in 0..1 {
                    let scenario = scenario(wait, 1, max, startup, limit, seed);
                    match run(&make(seed), &scenario) {
                        Ok(report) => println!("{}", report.row(&format!("{name} L={startup} n={limit}"))),
                        Err(broken) => println!("{name} L={startup} {seed}: {broken}"),
                    }
                }
            }
        }
    }
}

#[test]
fn burst() {
    let w = Workload::at_once(1, 10.5, 2_000, 20.0, Work { mean: 0.05, variation: 0.2 });
    for polling in [false, true] {
        let mut s = scenario(2, 1, 20, 0.3, 4, 1);
        s.polling = polling;
        let r = run_watched(&w, &s, |step| {
            println!(
                "{:6.2} ready {} run {} -> {} S={:.3} lam={:.1} {}",
                step.at,
                step.ready,
                step.running,
                step.decision.target,
                step.decision.inputs.service_seconds,
                step.decision.inputs.arrivals_per_second.unwrap_or(-1.),
                step.decision.reason
            )
        });
        println!("{}\n{:?}", Report::heading(), r);
    }
}
#[test]
fn trace() {
    let w = step(0);
    let s = scenario(10, 1, 200, 0.3, 4, 0);
    let mut last = -100.0;
    let r = run_watched(&w, &s, |step| {
        if step.at < last + 4.0 {
        } else {
            last = step.at;
            let d = &step.decision;
            let i = &d.inputs;
            println!(
                "long {:6.0} R {} run {} -> {} S={:.3} lam={:.2}/{:.2} ss {} dr {} wp {} L={:.1} {}",
                step.at,
                step.ready,
                step.running,
                d.target,
                i.service_seconds,
                i.arrivals_per_second.unwrap_or(-1.),
                i.arrivals_per_second_fast.unwrap_or(-1.),
                i.steady,
                i.drain,
                i.window_peak,
                i.startup_seconds,
                d.reason
            )
        }
    });
    println!("{}\n{:?}", Report::heading(), r);
}
