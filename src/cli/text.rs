//! Values as people read and write them: sizes, percentages, durations. Pure.

use std::time::Duration;

use crate::core::time::human;
use crate::core::words;

/// What stands where there is nothing to say.
pub(crate) const NOTHING: &str = "-";

/// A size in bytes with the unit that keeps it short: `512 B`, `18.0 MiB`, `2.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0 of its own unit.
    while value >= 1_023.95 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Seconds as a person writes a duration; whole seconds from one second on. Negative and non-finite values are 0s.
pub(crate) fn seconds(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if duration.as_millis() == 0 {
        return "0s".to_owned();
    }
    human(duration)
}

/// A time that something has lasted, in whole seconds, so that a table does not flicker.
pub(crate) fn lasted(seconds: f64) -> String {
    human(Duration::from_secs(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs()))
        .replace("0ms", "0s")
}

/// A number without needless digits: `3`, `3.1`, `0.052`.
pub(crate) fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 1.0 {
        1
    } else {
        3
    };
    format!("{value:.digits$}")
}

/// A share in percent: `97.12 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Seconds to a tenth, as a person writes them.
pub(crate) fn tenths(seconds: f64) -> String {
    human(Duration::from_millis((seconds * 10.0).round() as u64 * 100))
}

/// `1 process`, `3 processes`.
pub(crate) fn processes(count: usize) -> String {
    words::processes(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_stay_short() {
        let cases = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (18_874_368, "18.0 MiB"),
            (1_048_575, "1.0 MiB"),
            (2_684_354_560, "2.5 GiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn numbers_have_no_needless_digits() {
        for (value, text) in
            [(3.0, "3"), (3.12, "3.1"), (0.0521, "0.052"), (1234.5, "1234"), (-0.5, "-0.500")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_time_that_lasts_is_shown_in_whole_seconds() {
        for (value, text) in [(0.4, "0s"), (9.1, "9s"), (-1.0, "0s"), (f64::NAN, "0s"), (4_325.0, "1h 12m")] {
            assert_eq!(lasted(value), text);
        }
        assert_eq!(seconds(0.0), "0s");
        assert_eq!(seconds(0.25), "250ms");
    }
}
