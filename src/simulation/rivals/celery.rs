//! Celery's worker autoscaler (celery/worker/autoscale.py): as many processes as the worker has messages, at every message
//! and every 30 s; down only 30 s after the last way up, and only idle ones.

use std::time::Duration;

use crate::core::time::Time;
use crate::simulation::policy::{Policy, Removal, Rhythm, Tick};

const KEEPALIVE: Duration = Duration::from_secs(30);
/// `worker_prefetch_multiplier`: the worker fetches so many for each process that it may have.
const PREFETCH_MULTIPLIER: u64 = 4;

/// `celery worker --autoscale=max,min`.
#[derive(Debug)]
pub struct Celery {
    min: u32,
    max: u32,
    last_up: Option<Time>,
}

impl Celery {
    /// With these bounds.
    pub fn new(min: u32, max: u32) -> Self {
        Self { min, max, last_up: None }
    }

    fn scale(&mut self, messages: u64, processes: u32, now: Time) -> u32 {
        let reserved = messages.min(PREFETCH_MULTIPLIER * u64::from(self.max));
        let reserved = u32::try_from(reserved).unwrap_or(u32::MAX);
        let (up, down) = (reserved.min(self.max), reserved.max(self.min));
        if up > processes {
            self.last_up = Some(now);
            up
        } else if down < processes && self.last_up.is_some_and(|at| now.since(at) > KEEPALIVE) {
            down
        } else {
            processes.max(self.min)
        }
    }
}

impl Policy for Celery {
    fn rhythm(&self) -> Rhythm {
        Rhythm::every(KEEPALIVE)
    }

    fn removal(&self) -> Removal {
        Removal::IdleNow
    }

    fn hears_messages(&self) -> bool {
        true
    }

    fn decide(&mut self, tick: &Tick<'_>) -> u32 {
        // What it has fetched it knows by itself, whatever a broker says.
        self.scale(tick.depth.ready + tick.depth.unacked, tick.consumers.live(), tick.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1_000)
    }

    #[test]
    fn up_to_what_is_reserved_at_once_and_down_only_thirty_seconds_later() {
        let mut celery = Celery::new(2, 10);
        assert_eq!(celery.scale(0, 2, at(0)), 2);
        assert_eq!(celery.scale(7, 2, at(1)), 7);
        assert_eq!(celery.scale(500, 7, at(10)), 10);
        assert_eq!(celery.scale(3, 10, at(40)), 10, "30 s are not more than 30 s");
        assert_eq!(celery.scale(3, 10, at(41)), 3);
        assert_eq!(celery.scale(0, 3, at(42)), 2);
    }

    #[test]
    fn a_worker_that_never_grew_never_shrinks() {
        assert_eq!(Celery::new(0, 10).scale(0, 4, at(1_000)), 4);
    }
}
