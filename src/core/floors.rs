//! Floors: the fewest processes of a scaled program at certain times, by the clock on the wall.

use super::schedule::Wall;
use super::spec::FloorSpec;
use super::time::Time;
use crate::scaling::input::Floor;

/// A wall clock that is this far from where it was thought to be was set.
const CLOCK_SET_MICROS: u64 = 2_000_000;

/// What holds now, and until when it need not be asked again.
#[derive(Clone, Debug, Default)]
pub struct Floors {
    found: Option<Found>,
}

#[derive(Clone, Debug)]
struct Found {
    wall: Wall,
    /// The highest of those that hold.
    floor: Option<Floor>,
    /// When that may change.
    next: Option<Time>,
}

impl Floors {
    /// The highest of `floors` that holds at `now`, and when that may change.
    pub fn at(
        &mut self,
        floors: &[FloorSpec],
        wall: Option<Wall>,
        now: Time,
    ) -> (Option<Floor>, Option<Time>) {
        let Some(wall) = wall.filter(|_| !floors.is_empty()) else {
            self.found = None;
            return (None, None);
        };
        let is_known = self.found.as_ref().is_some_and(|found| {
            let apart = found.wall.ahead_micros.abs_diff(wall.ahead_micros);
            apart <= CLOCK_SET_MICROS && found.next.is_none_or(|next| now < next)
        });
        if !is_known {
            self.found = Some(find(floors, wall, now));
        }
        let found = self.found.as_ref();
        (found.and_then(|found| found.floor.clone()), found.and_then(|found| found.next))
    }
}

fn find(floors: &[FloorSpec], wall: Wall, now: Time) -> Found {
    let second = wall.seconds_at(now);
    let mut next: Option<i64> = None;
    let mut sooner = |at: i64| next = Some(next.map_or(at, |next| next.min(at)));
    let mut highest: Option<(u32, i64, &FloorSpec)> = None;
    for floor in floors {
        match holds_until(floor, second) {
            Some(end) => {
                sooner(end);
                // Of those that are as high, the one that holds longest is told.
                if highest.is_none_or(|(min, until, _)| (floor.min, end) > (min, until)) {
                    highest = Some((floor.min, end, floor));
                }
            }
            None => {
                if let Some(begin) = floor.timezone.next(&floor.cron, second) {
                    sooner(begin);
                }
            }
        }
    }
    let floor = highest.map(|(min, until, spec)| {
        let words = spec.timezone.words(until, second).unwrap_or_default();
        let words = words.strip_prefix("at ").or(words.strip_prefix("on ")).unwrap_or(&words).to_owned();
        Floor { min, until: words }
    });
    Found { wall, floor, next: next.map(|at| wall.moment(at.saturating_mul(1_000_000))) }
}

/// When a floor that holds at `second` ends, unless it begins anew before.
fn holds_until(floor: &FloorSpec, second: i64) -> Option<i64> {
    let lasts = i64::try_from(floor.lasts.as_secs()).unwrap_or(i64::MAX);
    let begins_by = |after: i64| floor.timezone.next(&floor.cron, after).filter(|begin| *begin <= second);
    // The newest begin: the later the begin may be, the fewer there are, until there is none.
    let (mut early, mut late) = (second.saturating_sub(lasts), second);
    let mut newest = begins_by(early)?;
    while late - early > 1 {
        let middle = early + (late - early) / 2;
        match begins_by(middle) {
            Some(begin) => (early, newest) = (middle, begin),
            None => late = middle,
        }
    }
    Some(newest.saturating_add(lasts))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::schedule::Zone;

    const HOUR: i64 = 3_600;
    /// Monday, 2 February 2026, 00:00 in Berlin.
    const MONDAY: i64 = 1_769_986_800;

    fn floor(cron: &str, hours: u64, min: u32) -> FloorSpec {
        FloorSpec {
            cron: cron.parse().unwrap(),
            timezone: Zone::named("Europe/Berlin").unwrap(),
            lasts: Duration::from_secs(hours * 3_600),
            min,
        }
    }

    /// The clock on the wall shows `MONDAY` at the start of the other one.
    const WALL: Wall = Wall { ahead_micros: MONDAY * 1_000_000 };

    fn at(floors: &[FloorSpec], second: i64) -> (Option<(u32, String)>, Option<i64>) {
        let now = Time::from_millis(second as u64 * 1_000);
        let (floor, next) = Floors::default().at(floors, Some(WALL), now);
        let next = next.map(|next| (next.as_micros() / 1_000_000) as i64);
        (floor.map(|floor| (floor.min, floor.until)), next)
    }

    #[test]
    fn a_floor_holds_from_its_moment_for_as_long_as_it_says() {
        let floors = [floor("0 8 * * mon-fri", 10, 4)];
        let four = || Some((4, "18:00 Europe/Berlin".to_owned()));
        assert_eq!(at(&floors, 8 * HOUR - 1), (None, Some(8 * HOUR)));
        assert_eq!(at(&floors, 8 * HOUR), (four(), Some(18 * HOUR)));
        assert_eq!(at(&floors, 18 * HOUR - 1), (four(), Some(18 * HOUR)));
        assert_eq!(at(&floors, 18 * HOUR), (None, Some(32 * HOUR)));
        // From Friday evening on there is none before Monday.
        assert_eq!(at(&floors, (4 * 24 + 18) * HOUR), (None, Some((7 * 24 + 8) * HOUR)));
    }

    #[test]
    fn of_those_that_overlap_the_highest_holds_and_each_end_is_looked_at() {
        let floors = [floor("0 8 * * *", 10, 4), floor("0 12 * * *", 2, 9)];
        assert_eq!(at(&floors, 11 * HOUR), (Some((4, "18:00 Europe/Berlin".to_owned())), Some(12 * HOUR)));
        assert_eq!(at(&floors, 13 * HOUR), (Some((9, "14:00 Europe/Berlin".to_owned())), Some(14 * HOUR)));
        assert_eq!(at(&floors, 14 * HOUR), (Some((4, "18:00 Europe/Berlin".to_owned())), Some(18 * HOUR)));
    }

    #[test]
    fn a_floor_that_begins_anew_before_its_end_goes_on() {
        let floors = [floor("0 * * * *", 2, 3)];
        let until = Some((3, "07:00 Europe/Berlin".to_owned()));
        assert_eq!(at(&floors, 5 * HOUR + 1_800), (until, Some(7 * HOUR)));
    }

    #[test]
    fn an_end_on_another_day_has_its_date_and_a_change_of_the_clock_is_counted_in() {
        let floors = [floor("0 0 * * mon", 72, 2)];
        assert_eq!(
            at(&floors, 0),
            (Some((2, "2026-02-05 at 00:00 Europe/Berlin".to_owned())), Some(72 * HOUR))
        );
        // On 29 March 2026 the clock goes from 2:00 to 3:00: four hours from 1:00 on end at 6:00.
        let night = [floor("0 1 29 3 *", 4, 2)];
        let one = (27 + 28) * 24 * HOUR + HOUR;
        assert_eq!(at(&night, one), (Some((2, "06:00 Europe/Berlin".to_owned())), Some(one + 4 * HOUR)));
    }

    #[test]
    fn it_is_asked_anew_when_it_may_have_changed_or_the_clock_was_set() {
        let floors = [floor("0 8 * * *", 10, 4)];
        let mut known = Floors::default();
        let nine = Time::from_millis(9 * 3_600_000);
        assert!(known.at(&floors, Some(WALL), nine).0.is_some());
        let later = Wall { ahead_micros: WALL.ahead_micros + 10 * HOUR * 1_000_000 };
        assert_eq!(known.at(&floors, Some(later), nine).0, None, "it is seven in the evening now");
        assert!(known.at(&floors, Some(WALL), nine).0.is_some());
        assert_eq!(known.at(&floors, None, nine), (None, None), "nobody knows what time it is");
    }
}
