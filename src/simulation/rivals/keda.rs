//! KEDA's RabbitMQ scaler over HTTP (ready and unacknowledged) with the HPA that it makes: KEDA itself goes from 0 to 1 and
//! back to 0 at its polls, the HPA does the rest every 15 s.

use std::time::Duration;

use crate::core::time::Time;
use crate::simulation::policy::{Policy, Removal, Rhythm, Statistics, Tick};
use crate::simulation::rivals::hpa::{Behavior, Hpa, SYNC};

/// What a ScaledObject says.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Messages per pod.
    pub value: f64,
    /// `pollingInterval`.
    pub polling: Duration,
    /// `cooldownPeriod`.
    pub cooldown: Duration,
    /// Of the HPA.
    pub behavior: Behavior,
}

impl Settings {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        value: 20.0,
        polling: Duration::from_secs(30),
        cooldown: Duration::from_secs(300),
        behavior: Behavior::Classic,
    };
}

/// One ScaledObject.
#[derive(Debug)]
pub struct Keda {
    settings: Settings,
    hpa: Hpa,
    min: u32,
    max: u32,
    poll_at: Time,
    sync_at: Time,
    active_at: Option<Time>,
}

impl Keda {
    /// The first poll and the first look of the HPA are at these moments.
    pub fn new(settings: Settings, min: u32, max: u32, first_poll: Duration, first_sync: Duration) -> Self {
        Self {
            settings,
            hpa: Hpa::new(settings.value, min, max, settings.behavior, first_sync),
            min,
            max,
            poll_at: Time::default() + first_poll,
            sync_at: Time::default() + first_sync,
            active_at: None,
        }
    }

    fn scale(&mut self, messages: Option<u64>, mut pods: u32, now: Time) -> u32 {
        if now >= self.poll_at {
            self.poll_at = now + self.settings.polling;
            pods = self.poll(messages, pods, now);
        }
        if now >= self.sync_at {
            self.sync_at = now + SYNC;
            // An HPA of something that has been scaled to zero is disabled.
            if pods > 0 {
                pods = self.hpa.sync(messages, pods, now);
            }
        }
        pods.min(self.max)
    }

    fn poll(&mut self, messages: Option<u64>, pods: u32, now: Time) -> u32 {
        let Some(messages) = messages else { return pods };
        if messages > 0 {
            self.active_at = Some(now);
            return if pods == 0 { self.min.max(1) } else { pods };
        }
        let cooled = self.active_at.is_none_or(|at| now.since(at) > self.settings.cooldown);
        if self.min == 0 && cooled { 0 } else { pods.max(self.min) }
    }
}

impl Policy for Keda {
    fn rhythm(&self) -> Rhythm {
        Rhythm::every(Duration::from_secs(1))
    }

    fn removal(&self) -> Removal {
        Removal::Any
    }

    fn decide(&mut self, tick: &Tick<'_>) -> u32 {
        self.scale(tick.statistics.map(Statistics::messages), tick.consumers.live(), tick.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1_000)
    }

    fn keda(min: u32) -> Keda {
        Keda::new(Settings::DEFAULT, min, 100, Duration::ZERO, Duration::from_secs(5))
    }

    #[test]
    fn from_zero_one_starts_at_the_poll_and_the_rest_at_the_next_look() {
        let mut keda = keda(0);
        assert_eq!(keda.scale(Some(0), 0, at(0)), 0);
        assert_eq!(keda.scale(Some(500), 0, at(5)), 0, "the HPA is disabled at zero");
        assert_eq!(keda.scale(Some(500), 0, at(20)), 0);
        assert_eq!(keda.scale(Some(500), 0, at(30)), 1);
        assert_eq!(keda.scale(Some(500), 1, at(35)), 4);
        assert_eq!(keda.scale(Some(500), 4, at(50)), 8);
    }

    #[test]
    fn to_zero_it_goes_directly_after_the_cooldown() {
        let mut keda = keda(0);
        assert_eq!(keda.scale(Some(400), 20, at(0)), 20);
        assert_eq!(keda.scale(Some(400), 20, at(5)), 20);
        assert_eq!(keda.scale(Some(0), 20, at(300)), 20, "300 s are not more than the cooldown");
        assert_eq!(keda.scale(Some(0), 20, at(330)), 0);
    }

    #[test]
    fn without_the_metric_nothing_changes() {
        let mut keda = keda(0);
        assert_eq!(keda.scale(None, 20, at(400)), 20);
    }

    #[test]
    fn a_minimum_is_kept() {
        let mut keda = keda(3);
        assert_eq!(keda.scale(Some(0), 0, at(0)), 3);
    }
}
