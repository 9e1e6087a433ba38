//! The one reader of clocks.

use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Time;

/// This moment on the monotonic clock.
pub fn now() -> Time {
    let time = clock_gettime(ClockId::Monotonic);
    Time::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000)
}

/// This moment on the wall clock, in seconds since 1970.
pub fn wall_seconds() -> f64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
