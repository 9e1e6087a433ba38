//! When something is due by the clock on the wall: cron expressions in a time zone, as values. Zones come from a table in
//! the program, so that no file is read here and the same question always has the same answer.

mod cron;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::cron::{Cron, CronError};
use super::time::Time;

/// More changes of a clock than any zone has within the time that a pattern is looked for.
const CHANGES_MAX: usize = 200;

/// A time zone by its name: `Europe/Berlin`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

/// There is no such time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone \"{0}\"")]
pub struct NoSuchZone(String);

impl Zone {
    /// The zone of this name, in any case of letters.
    ///
    /// # Errors
    /// [`NoSuchZone`].
    pub fn named(name: &str) -> Result<Self, NoSuchZone> {
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| NoSuchZone(name.to_owned()))?;
        if zone.iana_name().is_none() {
            return Err(NoSuchZone(name.to_owned()));
        }
        Ok(Self(zone))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The next moment of `cron` in this zone after `after`, in seconds since 1970.
    ///
    /// A schedule with fixed hours runs once for each time that it names: a time that the clock leaves out runs right after
    /// the gap, one that comes twice runs the first time. A schedule of every hour runs whenever the clock shows it.
    pub fn next(&self, cron: &Cron, after: i64) -> Option<i64> {
        let after = Timestamp::from_second(after).ok()?;
        let next =
            if cron.is_every_hour() { self.next_shown(cron, after) } else { self.next_named(cron, after) };
        next.map(Timestamp::as_second)
    }

    /// The next time that the clock shows it. Between two changes the clock runs as any other.
    fn next_shown(&self, cron: &Cron, after: Timestamp) -> Option<Timestamp> {
        let mut offset = self.0.to_offset(after);
        let mut civil = offset.to_datetime(after);
        let mut changes = self.0.following(after);
        for _ in 0..CHANGES_MAX {
            let change = changes.next().map(|change| change.timestamp());
            let next = cron.next_civil(civil).and_then(|next| offset.to_timestamp(next).ok());
            if let Some(next) = next.filter(|next| change.is_none_or(|change| *next < change)) {
                return Some(next);
            }
            let change = change?;
            offset = self.0.to_offset(change);
            civil = offset.to_datetime(change).checked_sub(SignedDuration::from_secs(1)).ok()?;
        }
        None
    }

    /// The next of the times that it names, each once.
    fn next_named(&self, cron: &Cron, after: Timestamp) -> Option<Timestamp> {
        let mut civil = self.0.to_datetime(after);
        loop {
            civil = cron.next_civil(civil)?;
            let ambiguous = self.0.to_ambiguous_timestamp(civil);
            let at = match ambiguous.offset() {
                jiff::tz::AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok()?,
                jiff::tz::AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok()?,
                jiff::tz::AmbiguousOffset::Gap { after, .. } => {
                    self.0.following(after.to_timestamp(civil).ok()?).next()?.timestamp()
                }
            };
            if at > after {
                return Some(at);
            }
        }
    }

    /// A moment as the clock of this zone shows it, RFC 3339 with the offset.
    pub fn rfc3339(&self, seconds: i64) -> Option<String> {
        let at = Timestamp::from_second(seconds).ok()?;
        Some(at.display_with_offset(self.0.to_offset(at)).to_string())
    }

    /// A moment for a sentence: `at 03:00 Europe/Berlin`, with the date when it is more than a day from `now`.
    pub fn words(&self, seconds: i64, now: i64) -> Option<String> {
        let at = self.0.to_datetime(Timestamp::from_second(seconds).ok()?);
        let date = if seconds.abs_diff(now) > 86_400 { format!("on {} ", at.date()) } else { String::new() };
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        let second = if second == 0 { String::new() } else { format!(":{second:02}") };
        Some(format!("{date}at {hour:02}:{minute:02}{second} {}", self.name()))
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

impl TryFrom<String> for Zone {
    type Error = NoSuchZone;

    fn try_from(name: String) -> Result<Self, NoSuchZone> {
        Self::named(&name)
    }
}

/// How the wall clock stands to the monotonic one, as the controller told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    /// Microseconds since 1970, less those of the monotonic clock at the same moment.
    pub ahead_micros: i64,
}

impl Wall {
    /// The wall clock at `moment`, in microseconds since 1970.
    pub fn micros_at(self, moment: Time) -> i64 {
        i64::try_from(moment.as_micros()).unwrap_or(i64::MAX).saturating_add(self.ahead_micros)
    }

    /// The wall clock at `moment`, in whole seconds since 1970.
    pub fn seconds_at(self, moment: Time) -> i64 {
        self.micros_at(moment).div_euclid(1_000_000)
    }

    /// The moment at which the wall clock shows `micros`; the clock's start where that was before it.
    pub fn moment(self, micros: i64) -> Time {
        Time::from_micros(micros.saturating_sub(self.ahead_micros).max(0).unsigned_abs())
    }
}
