//! The workloads that are built in, each with the goal that it is usually looked at with.

use std::f64::consts::TAU;
use std::str::FromStr;
use std::time::Duration;

use crate::simulation::queue::{Fault, FaultKind};
use crate::simulation::workload::{Lane, Work, Workload};

/// A workload that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// 4 messages a second, 40 for ten minutes, 4 again.
    Step,
    /// Slowly from 2 to 40 a second and back.
    Ramp,
    /// 600 messages within 10 s, every 150 s.
    Burst,
    /// A wave between 1 and 19 a second.
    Sine,
    /// Few messages of a minute each.
    Long,
    /// For five minutes most messages fail and come back, three times.
    RetryStorm,
    /// Consumers beyond 20 only slow each other down, for a while under more than these can do.
    SlowDownstream,
    /// Readings of 0/0 for five minutes and none for one, while messages flow.
    Outage,
    /// Twenty queues on a budget of 40 consumers: two of a higher priority, a bulk import into three, and one that is
    /// woken once in a while. For ten minutes all together ask for more than there is.
    TwentyQueues,
}

impl Builtin {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Step,
        Self::Ramp,
        Self::Burst,
        Self::Sine,
        Self::Long,
        Self::RetryStorm,
        Self::SlowDownstream,
        Self::Outage,
        Self::TwentyQueues,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Ramp => "ramp",
            Self::Burst => "burst",
            Self::Sine => "sine",
            Self::Long => "long",
            Self::RetryStorm => "retry-storm",
            Self::SlowDownstream => "slow-downstream",
            Self::Outage => "outage",
            Self::TwentyQueues => "twenty-queues",
        }
    }

    /// The usual goal.
    pub fn wait(self) -> Duration {
        Duration::from_secs(match self {
            Self::Long => 60,
            Self::Burst => 15,
            Self::Step
            | Self::Ramp
            | Self::Sine
            | Self::RetryStorm
            | Self::SlowDownstream
            | Self::Outage
            | Self::TwentyQueues => 10,
        })
    }

    /// Usual seconds of work per message.
    pub fn service(self) -> f64 {
        match self {
            Self::Step | Self::Ramp | Self::Outage => 0.5,
            Self::Burst | Self::Sine | Self::TwentyQueues => 1.0,
            Self::Long => 60.0,
            Self::RetryStorm => 0.3,
            Self::SlowDownstream => 0.2,
        }
    }

    /// The messages of a seed, of `service` seconds each in the mean.
    pub fn workload(self, seed: u64, service: f64) -> Workload {
        let work = Work { mean: service, variation: 1.0 };
        match self {
            Self::Step => Workload::poisson(seed, 1_800.0, 40.0, work, |now| {
                if (600.0..1_200.0).contains(&now) { 40.0 } else { 4.0 }
            }),
            Self::Ramp => Workload::poisson(seed, 2_400.0, 40.0, work, |now| {
                2.0 + 38.0 * (1.0 - (now - 1_200.0).abs() / 1_200.0)
            }),
            Self::Burst => Workload::poisson(seed, 3_600.0, 60.0, work, |now| {
                if (60.0..70.0).contains(&(now % 150.0)) { 60.0 } else { 0.0 }
            }),
            Self::Sine => {
                Workload::poisson(seed, 3_600.0, 19.0, work, |now| 10.0 + 9.0 * (TAU * now / 1_200.0).sin())
            }
            Self::Long => Workload::poisson(seed, 7_200.0, 0.2, work, |_| 0.2),
            Self::RetryStorm => retry_storm(seed, work),
            Self::SlowDownstream => {
                let rate = |now: f64| if (600.0..780.0).contains(&now) { 140.0 * 0.2 } else { 40.0 * 0.2 };
                // In units of what one consumer can do, so that another service time strains it as much.
                let workload =
                    Workload::poisson(seed, 1_800.0, 28.0 / service, work, |now| rate(now) / service);
                Workload { downstream: Some(20), ..workload }
            }
            Self::Outage => {
                let faults = vec![
                    Fault { from: 600.5, to: 900.5, kind: FaultKind::Empty },
                    Fault { from: 1_500.5, to: 1_560.5, kind: FaultKind::Lost },
                ];
                Workload { faults, ..Workload::poisson(seed, 2_400.0, 20.0, work, |_| 20.0) }
            }
            Self::TwentyQueues => twenty_queues(seed, work),
        }
    }
}

/// In units of what one consumer can do: 14 queues with a load of 0.3 to 1.6 each, which doubles in the busy ten
/// minutes; an import of 300 messages into each of three; one that wakes every five minutes; and two that come first.
fn twenty_queues(seed: u64, work: Work) -> Workload {
    const BUDGET: u32 = 40;
    const LENGTH: f64 = 2_400.0;
    let is_busy = |now: f64| (900.0..1_500.0).contains(&now);
    let lane = |index: u64| {
        let seed = seed.wrapping_mul(100) + index;
        let steady =
            |load: f64| {
                let rate = load / work.mean;
                Workload::poisson(seed, LENGTH, 2.0 * rate, work, |now| {
                    if is_busy(now) { 2.0 * rate } else { rate }
                })
            };
        let (workload, priority) = match index {
            0 | 1 => (steady(2.0), 1),
            2 => {
                let wakes = (0..7)
                    .map(|wake| Workload::at_once(seed + wake, 200.0 + 300.0 * wake as f64, 5, LENGTH, work));
                (wakes.fold(Workload::default(), Workload::and), 0)
            }
            3..=5 => (Workload::at_once(seed, 1_000.0, 300, LENGTH, work), 0),
            _ => (steady(0.3 + 0.1 * (index - 6) as f64), 0),
        };
        Lane { workload, priority }
    };
    Workload::on_one_budget((0..20).map(lane).collect(), BUDGET)
}

/// Of what arrives between the fifth and the tenth minute 70 in 100 fail and come back after 5, 15 and 35 s.
fn retry_storm(seed: u64, work: Work) -> Workload {
    const FAILING: f64 = 0.7;
    let mut storm = Workload::poisson(seed, 1_500.0, 20.0, work, |_| 20.0);
    for (attempt, after) in [(1_u64, 5.0), (2, 15.0), (3, 35.0)] {
        let rate = 20.0 * FAILING.powi(attempt as i32);
        let again = Workload::poisson(seed + 1_000 * attempt, 1_500.0, rate, work, |now| {
            if (300.0 + after..600.0 + after).contains(&now) { rate } else { 0.0 }
        });
        storm = storm.and(again);
    }
    storm
}

impl FromStr for Builtin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|builtin| builtin.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            format!("there is no such workload; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name_and_is_the_same_for_the_same_seed() {
        for builtin in Builtin::ALL {
            assert_eq!(builtin.name().parse(), Ok(builtin));
            let (one, two) = (builtin.workload(3, builtin.service()), builtin.workload(3, builtin.service()));
            assert_eq!(one.messages, two.messages);
            assert!(one.messages.is_sorted_by_key(|message| message.arrival), "{builtin:?}");
            assert!(one.mean_service() / builtin.service() > 0.9, "{builtin:?} {}", one.mean_service());
        }
        assert!("thirty-queues".parse::<Builtin>().unwrap_err().contains("step, ramp, burst"));
    }

    #[test]
    fn retries_make_a_storm() {
        let workload = Builtin::RetryStorm.workload(1, 0.3);
        let rate = |from: f64| {
            let within = |arrival: f64| from <= arrival && arrival < from + 100.0;
            workload.messages.iter().filter(|message| within(message.arrival)).count() / 100
        };
        assert!((18..=22).contains(&rate(100.0)), "{}", rate(100.0));
        assert!((46..=55).contains(&rate(400.0)), "{}", rate(400.0));
    }
}
