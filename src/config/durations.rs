//! Durations and sizes as people write them. Every number has its unit, so that nobody has to guess one.

use std::time::Duration;

use jiff::fmt::friendly::SpanParser;

/// The longest duration that a configuration may have: a year of 366 days.
pub const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The units of sizes, and how many bytes one of each has.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number alone.
    #[error("a duration needs a unit: write {0}s")]
    NoUnit(String),
    /// Less than nothing.
    #[error("a duration cannot be negative")]
    Negative,
    /// Longer than [`DURATION_MAX`].
    #[error("a duration is at most 366d")]
    TooLong,
    /// Weeks or longer, where people differ.
    #[error("the largest unit is d, 24 hours: write 14d for two weeks")]
    Calendar,
    /// Something else.
    #[error("a duration is written as in 250ms, 5s, 2m or 1h30m")]
    Malformed,
}

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A unit that is not in the list.
    #[error("\"{0}\" is not a unit of size: write KiB, MiB, GiB, kB, MB or GB")]
    Unit(String),
    /// More bytes than can be counted.
    #[error("this size is too large")]
    TooLarge,
    /// Something else.
    #[error("a size is written as in 50MiB, 1GB or 4096")]
    Malformed,
}

/// Reads `250ms`, `5s`, `2m`, `1h30m`, `1.5h`, `1 h 30 min`, `7d`, `1d 12h`. A day has 24 hours.
///
/// # Errors
/// Says what is missing. A number without a unit is refused, as are negative durations and those above
/// [`DURATION_MAX`].
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    if text.starts_with('-') || text.ends_with("ago") {
        return Err(DurationError::Negative);
    }
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(DurationError::NoUnit(text.to_owned()));
    }
    // The friendly format also has `1:30:00` and `5s ago`, in which a slip of the hand would go unnoticed.
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.contains(':') {
        return Err(DurationError::Malformed);
    }
    let (days, text) = leading_days(text)?;
    if text.contains(['d', 'w', 'y']) || text.contains("mo") {
        return Err(DurationError::Calendar);
    }
    let below = match text {
        "" => Duration::ZERO,
        text => {
            let signed = SpanParser::new().parse_duration(text).map_err(|_| DurationError::Malformed)?;
            Duration::try_from(signed).map_err(|_| DurationError::Negative)?
        }
    };
    let duration = days + below;
    if duration > DURATION_MAX { Err(DurationError::TooLong) } else { Ok(duration) }
}

/// Whole days at the beginning, and what follows them.
fn leading_days(text: &str) -> Result<(Duration, &str), DurationError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let rest = ["days", "day", "d"].iter().find_map(|name| unit.strip_prefix(name));
    let Some(rest) = rest.filter(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic())) else {
        return Ok((Duration::ZERO, text));
    };
    let days: u32 = number.parse().map_err(|_| DurationError::TooLong)?;
    Ok((Duration::from_secs(24 * 60 * 60) * days, rest.trim_start()))
}

/// Reads `256MiB`, `50MB`, `1GiB` or a number of bytes.
///
/// # Errors
/// Says which unit is not known, or that the number is too large.
pub fn size(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(SizeError::Malformed);
    }
    let number: u64 = number.parse().map_err(|_| SizeError::TooLarge)?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Ok(number);
    }
    if !unit.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(SizeError::Malformed);
    }
    let Some((_, bytes)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(SizeError::Unit(unit.to_owned()));
    };
    number.checked_mul(*bytes).ok_or(SizeError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("0s", 0),
            ("8784h", 31_622_400_000),
            ("1d", 86_400_000),
            ("366 days", 31_622_400_000),
            ("1d 12h", 129_600_000),
            ("1d12h", 129_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_the_unit_to_write() {
        assert_eq!(duration("5").unwrap_err().to_string(), "a duration needs a unit: write 5s");
        assert_eq!(duration("0.5"), Err(DurationError::NoUnit("0.5".to_owned())));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for (text, error) in [
            ("-5s", DurationError::Negative),
            ("5s ago", DurationError::Negative),
            ("8785h", DurationError::TooLong),
            ("99999999999999999999h", DurationError::Malformed),
            ("367d", DurationError::TooLong),
            ("99999999999999999999d", DurationError::TooLong),
            ("1.5d", DurationError::Calendar),
            ("1h 3d", DurationError::Calendar),
            ("2w", DurationError::Calendar),
            ("3decades", DurationError::Calendar),
            ("2mo", DurationError::Calendar),
            ("1:30:00", DurationError::Malformed),
            ("PT5S", DurationError::Malformed),
            ("soon", DurationError::Malformed),
            ("5 lightyears", DurationError::Calendar),
            ("5x", DurationError::Malformed),
            ("inf", DurationError::Malformed),
            ("", DurationError::Malformed),
        ] {
            assert_eq!(duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_decimal_and_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("256MiB", 256 << 20),
            ("50MB", 50_000_000),
            ("1GiB", 1 << 30),
            ("1 GiB", 1 << 30),
            ("12kB", 12_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for (text, error) in [
            ("50M", SizeError::Unit("M".to_owned())),
            ("50mb", SizeError::Unit("mb".to_owned())),
            ("1.5GiB", SizeError::Malformed),
            ("-1", SizeError::Malformed),
            ("big", SizeError::Malformed),
            ("", SizeError::Malformed),
            ("99999999999999999999", SizeError::TooLarge),
            ("99999999999TiB", SizeError::TooLarge),
        ] {
            assert_eq!(size(text), Err(error), "{text}");
        }
    }
}
