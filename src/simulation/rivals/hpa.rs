//! The Horizontal Pod Autoscaler (pkg/controller/podautoscaler) on one external metric with an average value, without
//! `behavior` (the classic rules) or with it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Time;
use crate::simulation::policy::{Policy, Removal, Rhythm, Statistics, Tick};

/// Between two looks of the controller.
pub const SYNC: Duration = Duration::from_secs(15);
const TOLERANCE: f64 = 0.1;
const STABILISATION: Duration = Duration::from_secs(300);
/// Both default policies of scaling up, and the one of scaling down, look back so far.
const PERIOD: Duration = Duration::from_secs(15);
const PODS_UP: i64 = 4;

/// How it goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// None is set.
    Classic,
    /// The defaults of a `behavior`, with this stabilisation window on the way down.
    Set {
        /// `scaleDown.stabilizationWindowSeconds`.
        down_window: Duration,
    },
}

/// One autoscaler.
#[derive(Debug)]
pub struct Hpa {
    /// Messages per pod.
    value: f64,
    min: u32,
    max: u32,
    behavior: Behavior,
    first: Duration,
    recommended: VecDeque<(Time, u32)>,
    /// How many pods were added, or removed where negative.
    changes: VecDeque<(Time, i64)>,
}

impl Hpa {
    /// With so many messages per pod; `first` is its first look. The least is one pod.
    pub fn new(value: f64, min: u32, max: u32, behavior: Behavior, first: Duration) -> Self {
        let min = min.max(1);
        let (recommended, changes) = (VecDeque::new(), VecDeque::new());
        Self { value, min, max: max.max(min), behavior, first, recommended, changes }
    }

    /// One look: messages, absent where the metric cannot be had, and the pods that there are.
    pub fn sync(&mut self, messages: Option<u64>, pods: u32, now: Time) -> u32 {
        let Some(messages) = messages else { return pods.clamp(self.min, self.max) };
        let desired = self.desired(messages, pods);
        let result = match self.behavior {
            Behavior::Classic => self.classic(desired, pods, now),
            Behavior::Set { down_window } => self.with_behavior(desired, pods, now, down_window),
        };
        if result != pods {
            self.changes.push_back((now, i64::from(result) - i64::from(pods)));
        }
        self.changes.retain(|(at, _)| now.since(*at) < PERIOD);
        result
    }

    fn desired(&self, messages: u64, pods: u32) -> u32 {
        let messages = messages as f64;
        let ratio = messages / (self.value * f64::from(pods));
        // 0.9 and 1.1 are not exact, and belong to the band.
        let is_within = (ratio - 1.0).abs() <= TOLERANCE + 1e-9;
        if is_within { pods } else { (messages / self.value).ceil().min(1e6) as u32 }
    }

    fn classic(&mut self, desired: u32, pods: u32, now: Time) -> u32 {
        self.recommended.retain(|(at, _)| now.since(*at) <= STABILISATION);
        self.recommended.push_back((now, desired));
        let stabilised = self.recommended.iter().map(|(_, count)| *count).max().unwrap_or(desired);
        let most = self.max.min((2 * pods).max(4));
        stabilised.min(most).max(self.min)
    }

    fn with_behavior(&mut self, desired: u32, pods: u32, now: Time, window: Duration) -> u32 {
        self.recommended.retain(|(at, _)| now.since(*at) < window);
        let down = self.recommended.iter().map(|(_, count)| *count).max().unwrap_or(0).max(desired);
        self.recommended.push_back((now, desired));
        // The window on the way up is 0 s: only what is recommended now counts.
        let wanted = pods.max(desired).min(down);
        let changed: i64 =
            self.changes.iter().filter(|(at, _)| now.since(*at) < PERIOD).map(|(_, change)| change).sum();
        let start = i64::from(pods) - changed;
        let limited = if wanted > pods {
            let most = (start + PODS_UP).max(2 * start).max(i64::from(pods));
            i64::from(wanted).min(most)
        } else {
            // 100 % within 15 s: all may go.
            i64::from(wanted)
        };
        u32::try_from(limited).unwrap_or(0).clamp(self.min, self.max)
    }
}

impl Policy for Hpa {
    fn rhythm(&self) -> Rhythm {
        Rhythm { first: self.first, every: SYNC }
    }

    fn removal(&self) -> Removal {
        Removal::Any
    }

    fn decide(&mut self, tick: &Tick<'_>) -> u32 {
        self.sync(tick.statistics.map(Statistics::messages), tick.consumers.live(), tick.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1_000)
    }

    fn classic() -> Hpa {
        Hpa::new(20.0, 1, 100, Behavior::Classic, Duration::ZERO)
    }

    #[test]
    fn a_tenth_more_or_less_is_tolerated() {
        let hpa = classic();
        assert_eq!((hpa.desired(220, 10), hpa.desired(221, 10)), (10, 12));
        assert_eq!((hpa.desired(180, 10), hpa.desired(179, 10)), (10, 9));
    }

    #[test]
    fn the_classic_rules_go_up_by_doubling_from_four() {
        let mut hpa = classic();
        let mut pods = 1;
        let mut history = Vec::new();
        for look in 0..5 {
            pods = hpa.sync(Some(1_000), pods, at(15 * look));
            history.push(pods);
        }
        assert_eq!(history, [4, 8, 16, 32, 50]);
    }

    #[test]
    fn the_classic_rules_go_down_once_the_highest_is_older_than_five_minutes() {
        let mut hpa = classic();
        assert_eq!(hpa.sync(Some(200), 10, at(0)), 10);
        assert_eq!(hpa.sync(Some(40), 10, at(15)), 10);
        assert_eq!(hpa.sync(Some(20), 10, at(300)), 10, "300 s are not older than 300 s");
        assert_eq!(hpa.sync(Some(20), 10, at(315)), 2);
    }

    #[test]
    fn with_behavior_four_pods_or_as_many_again_come_within_15_seconds() {
        let mut hpa = Hpa::new(1.0, 1, 100, Behavior::Set { down_window: STABILISATION }, Duration::ZERO);
        let mut pods = 1;
        let mut history = Vec::new();
        for look in 0..5 {
            pods = hpa.sync(Some(60), pods, at(15 * look));
            history.push(pods);
        }
        assert_eq!(history, [5, 10, 20, 40, 60]);
        assert_eq!(hpa.sync(Some(90), 60, at(65)), 80, "of this period's 40, which may double, 20 have come");
    }

    #[test]
    fn with_behavior_all_go_once_the_window_is_over() {
        let down_window = Duration::from_secs(60);
        let mut hpa = Hpa::new(1.0, 1, 100, Behavior::Set { down_window }, Duration::ZERO);
        assert_eq!(hpa.sync(Some(50), 50, at(0)), 50);
        assert_eq!(hpa.sync(Some(0), 50, at(45)), 50);
        assert_eq!(hpa.sync(Some(0), 50, at(60)), 1);
    }

    #[test]
    fn without_the_metric_nothing_changes() {
        assert_eq!(classic().sync(None, 7, at(0)), 7);
    }
}
