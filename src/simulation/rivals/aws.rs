//! AWS target tracking on the backlog per instance: ready messages over instances in service, against acceptable wait over
//! mean work; a figure a minute, up after 3 that are over, down after 15 that are under.

use std::time::Duration;

use crate::simulation::policy::{Policy, Reading, Removal, Rhythm, Tick};

const UP_AFTER: u32 = 3;
const DOWN_AFTER: u32 = 15;
const PERIOD: Duration = Duration::from_secs(60);

/// A scaling group.
#[derive(Debug)]
pub struct Aws {
    min: u32,
    max: u32,
    /// Acceptable backlog per instance.
    target: f64,
    first: Duration,
    over: u32,
    under: u32,
}

impl Aws {
    /// With an acceptable backlog per instance; `first` is when its first figure is made. Without an instance there is no
    /// backlog per instance, so the least is one.
    pub fn new(min: u32, max: u32, target: f64, first: Duration) -> Self {
        let min = min.max(1);
        Self { min, max: max.max(min), target, first, over: 0, under: 0 }
    }

    fn scale(&mut self, ready: Option<u64>, in_service: u32, capacity: u32) -> u32 {
        let Some(ready) = ready.filter(|_| in_service > 0) else {
            (self.over, self.under) = (0, 0);
            return capacity.clamp(self.min, self.max);
        };
        let backlog = ready as f64 / f64::from(in_service);
        self.over = if backlog > self.target { self.over + 1 } else { 0 };
        self.under = if backlog < self.target { self.under + 1 } else { 0 };
        let desired = (f64::from(in_service) * backlog / self.target).ceil() as u32;
        let desired = desired.clamp(self.min, self.max);
        if self.over >= UP_AFTER {
            desired.max(capacity)
        } else if self.under >= DOWN_AFTER {
            desired.min(capacity)
        } else {
            capacity.clamp(self.min, self.max)
        }
    }
}

impl Policy for Aws {
    fn rhythm(&self) -> Rhythm {
        Rhythm { first: self.first, every: PERIOD }
    }

    fn removal(&self) -> Removal {
        Removal::Any
    }

    fn decide(&mut self, tick: &Tick<'_>) -> u32 {
        let ready = tick.reading.and_then(Reading::ready);
        self.scale(ready, tick.consumers.running(), tick.consumers.live())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its own example: 1,500 messages, 10 instances, 0.1 s each, 10 s acceptable.
    #[test]
    fn three_minutes_over_the_target_are_answered_as_in_the_documentation() {
        let mut aws = Aws::new(1, 100, 100.0, Duration::ZERO);
        let targets: Vec<u32> = (0..3).map(|_| aws.scale(Some(1_500), 10, 10)).collect();
        assert_eq!(targets, [10, 10, 15]);
    }

    #[test]
    fn fifteen_minutes_under_it_are_needed_on_the_way_down() {
        let mut aws = Aws::new(1, 100, 100.0, Duration::ZERO);
        let targets: Vec<u32> = (0..15).map(|_| aws.scale(Some(200), 10, 10)).collect();
        assert_eq!((targets[13], targets[14]), (10, 2));
    }

    #[test]
    fn a_minute_without_data_begins_the_count_again() {
        let mut aws = Aws::new(1, 100, 100.0, Duration::ZERO);
        for (ready, expected) in [(Some(1_500), 10), (Some(1_500), 10), (None, 10), (Some(1_500), 10)] {
            assert_eq!(aws.scale(ready, 10, 10), expected);
        }
    }
}
