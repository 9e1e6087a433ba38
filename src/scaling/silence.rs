//! How long nothing may be seen before the last consumer is stopped.
//!
//! While one consumer runs, a thin flow is invisible: it takes each message at once. Only asleep every message shows. So
//! each sleep is a question to the queue, and the time to the next one doubles as long as the answer comes soon.

use std::time::Duration;

use crate::core::time::Time;

/// The first silence.
const LEAST: Duration = Duration::from_secs(60);
/// The longest one: one late message in a quarter of an hour.
const MOST: Duration = Duration::from_secs(16 * 60);
/// A sleep of less than this many silences was not worth it.
const WORTH: u32 = 2;

/// The silence and the sleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    length: Duration,
    asleep_since: Option<Time>,
}

impl Default for Silence {
    fn default() -> Self {
        Self { length: LEAST, asleep_since: None }
    }
}

impl Silence {
    /// How long nothing may be seen before the last consumer is stopped.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// Takes a change of the target.
    pub(super) fn note(&mut self, before: u32, target: u32, now: Time) {
        if before > 0 && target == 0 {
            self.asleep_since = Some(now);
        } else if target > 0
            && let Some(since) = self.asleep_since.take()
        {
            let too_soon = now.since(since) < self.length * WORTH;
            self.length = if too_soon { (self.length * 2).min(MOST) } else { LEAST };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1_000)
    }

    #[test]
    fn sleeps_that_are_soon_ended_lengthen_the_silence_and_long_ones_restore_it() {
        let mut silence = Silence::default();
        silence.note(1, 0, at(100));
        silence.note(0, 1, at(110));
        assert_eq!(silence.length(), 2 * LEAST);
        for _ in 0..20 {
            silence.note(1, 0, at(1_000));
            silence.note(0, 3, at(1_001));
        }
        assert_eq!(silence.length(), MOST);
        silence.note(1, 0, at(2_000));
        silence.note(0, 1, at(200_000));
        assert_eq!(silence.length(), LEAST);
    }
}
