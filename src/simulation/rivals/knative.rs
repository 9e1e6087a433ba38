//! Knative's KPA (pkg/autoscaler/scaling/autoscaler.go): messages in the system as concurrency, averaged over 60 s, or over
//! 6 s in panic, against what a pod may have; to zero after 30 s more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Time;
use crate::simulation::policy::{Policy, Reading, Removal, Rhythm, Tick};

const TICK_SECONDS: u64 = 2;
const STABLE: usize = 60;
const PANIC: usize = 6;
const PANIC_THRESHOLD: f64 = 2.0;
const UP_RATE: f64 = 1_000.0;
const DOWN_RATE: f64 = 2.0;
const GRACE: Duration = Duration::from_secs(30);
/// A pod that takes one request at a time, by the default of 70 % of it.
const TARGET: f64 = 0.7;

/// One revision.
#[derive(Debug)]
pub struct Knative {
    min: u32,
    max: u32,
    /// One a second, the newest last.
    samples: VecDeque<u64>,
    seconds: u64,
    panic_at: Option<Time>,
    panic_pods: u32,
    unused_since: Option<Time>,
    desired: u32,
}

impl Knative {
    /// With these bounds.
    pub fn new(min: u32, max: u32) -> Self {
        Self {
            min,
            max,
            samples: VecDeque::new(),
            seconds: 0,
            panic_at: None,
            panic_pods: 0,
            unused_since: None,
            desired: min,
        }
    }

    fn average(&self, window: usize) -> f64 {
        let count = self.samples.len().min(window);
        let sum: u64 = self.samples.iter().rev().take(window).sum();
        if count == 0 { 0.0 } else { sum as f64 / count as f64 }
    }

    fn scale(&mut self, ready_pods: u32, now: Time) -> u32 {
        let ready = f64::from(ready_pods.max(1));
        let (up, down) = ((UP_RATE * ready).ceil(), (ready / DOWN_RATE).floor());
        let panic_raw = (self.average(PANIC) / TARGET).ceil();
        let stable = (self.average(STABLE) / TARGET).ceil().clamp(down, up) as u32;
        let panic = panic_raw.clamp(down, up) as u32;
        if panic_raw / ready >= PANIC_THRESHOLD {
            self.panic_at = Some(now);
        } else if self.panic_at.is_some_and(|at| now.since(at).as_secs() > STABLE as u64) {
            self.panic_at = None;
            self.panic_pods = 0;
        }
        let desired = if self.panic_at.is_some() {
            self.panic_pods = self.panic_pods.max(stable).max(panic);
            self.panic_pods
        } else {
            stable
        };
        self.after_grace(desired, ready_pods, now).clamp(self.min, self.max)
    }

    /// The last pod goes once nobody has needed it for a while.
    fn after_grace(&mut self, desired: u32, ready_pods: u32, now: Time) -> u32 {
        if desired > 0 || ready_pods == 0 {
            self.unused_since = None;
            return desired;
        }
        let since = *self.unused_since.get_or_insert(now);
        if now.since(since) >= GRACE { 0 } else { 1 }
    }
}

impl Policy for Knative {
    fn rhythm(&self) -> Rhythm {
        Rhythm::every(Duration::from_secs(1))
    }

    fn removal(&self) -> Removal {
        Removal::Any
    }

    fn decide(&mut self, tick: &Tick<'_>) -> u32 {
        // The proxies beside the pods count what is in the system; where the queue says nothing, they have nothing.
        let Some(ready) = tick.reading.and_then(Reading::ready) else {
            return self.desired;
        };
        if self.samples.len() == STABLE {
            self.samples.pop_front();
        }
        self.samples.push_back(ready + tick.depth.unacked);
        self.seconds += 1;
        if self.seconds.is_multiple_of(TICK_SECONDS) {
            self.desired = self.scale(tick.consumers.running(), tick.now);
        }
        self.desired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1_000)
    }

    fn knative(samples: &[(usize, u64)]) -> Knative {
        let samples = samples.iter().flat_map(|&(count, value)| std::iter::repeat_n(value, count)).collect();
        Knative { samples, ..Knative::new(0, 1_000) }
    }

    #[test]
    fn outside_of_panic_the_stable_window_counts() {
        // 6 in the mean of a minute over 0.7 are 8.6; 7 over 0.7 in the last seconds are 10 pods, less than twice 6.
        assert_eq!(knative(&[(60, 6)]).scale(6, at(100)), 9);
        assert_eq!(knative(&[(54, 6), (6, 7)]).scale(6, at(100)), 9);
    }

    #[test]
    fn panic_begins_at_twice_the_pods_and_never_goes_down() {
        let mut knative = knative(&[(54, 0), (6, 14)]);
        assert_eq!(knative.scale(10, at(100)), 20, "14 / 0.7 = 20 is twice 10");
        knative.samples.extend([0; 6]);
        assert_eq!(knative.scale(20, at(160)), 20, "60 s are not more than 60 s");
        assert_eq!(knative.scale(20, at(161)), 10, "14 x 6 / 60 / 0.7 = 2, and no more than half go at once");
    }

    #[test]
    fn the_last_pod_goes_after_thirty_seconds_more() {
        let mut knative = knative(&[(60, 0)]);
        assert_eq!((knative.scale(1, at(0)), knative.scale(1, at(29)), knative.scale(1, at(30))), (1, 1, 0));
    }
}
