//! Moments as plain numbers, so that the core needs no clock.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment: microseconds on the kernel's monotonic clock.
///
/// That clock starts at boot and is the same for every process of the machine, so a moment stays
/// meaningful when the controller is replaced by a new one. Source: `clock_gettime(2)`, CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(u64);

impl Time {
    /// The moment `micros` microseconds after the clock's start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The moment `millis` milliseconds after the clock's start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// The moment `seconds` after the clock's start; negative and non-finite values count as the start.
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1e6) as u64)
    }

    /// Microseconds since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Seconds since the clock's start.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The moment this long before, or the clock's start.
    pub fn earlier_by(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// The time from `earlier` to this moment, zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// A duration as a person writes it: `250ms`, `45s`, `2m 30s`, `1h 12m`, `3d 4h`; two units at most.
pub fn human(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let seconds = duration.as_secs();
    if seconds < 10 && !millis.is_multiple_of(1_000) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    let (large, large_unit, small, small_unit) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => (seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => (seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    };
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let cases: [(u64, &str); 9] = [
            (0, "0ms"),
            (250, "250ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (45_000, "45s"),
            (150_000, "2m 30s"),
            (120_000, "2m"),
            (4_320_000, "1h 12m"),
            (273_600_000, "3d 4h"),
        ];
        for (millis, text) in cases {
            assert_eq!(human(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_moment_before_another_is_no_time_after_it() {
        assert_eq!(Time::from_millis(1).since(Time::from_millis(5)), Duration::ZERO);
        assert_eq!(Time::from_millis(5).since(Time::from_millis(1)), Duration::from_millis(4));
    }
}
