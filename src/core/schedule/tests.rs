//! Every change of the clock in ten years, held against a clock that is looked at minute by minute.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{Cron, Zone};

const ZONES: [&str; 5] =
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata"];

/// Ten years: São Paulo left summer time in 2019, the others go on.
const YEARS: (i16, i16) = (2012, 2022);

fn seconds(year: i16) -> i64 {
    format!("{year}-01-01T00:00:00Z").parse::<Timestamp>().unwrap().as_second()
}

/// The minutes around a moment, with what the clock shows in each.
struct Minutes(Vec<(i64, DateTime)>);

impl Minutes {
    /// From 26 hours before to 26 hours after.
    fn around(zone: &Zone, moment: i64) -> Self {
        let from = moment.div_euclid(60) * 60 - 26 * 3_600;
        let shown = |at: i64| zone.0.to_datetime(Timestamp::from_second(at).unwrap());
        Self((0..52 * 60).map(|minute| from + minute * 60).map(|at| (at, shown(at))).collect())
    }

    /// When a schedule runs in this time, found by looking at every minute. The first three hours are for the start.
    fn runs(&self, cron: &Cron) -> Vec<i64> {
        let minute = SignedDuration::from_mins(1);
        let names = |shown: DateTime| cron.names(shown);
        let mut found = Vec::new();
        let mut latest = self.0[0].1;
        for (at, shown) in &self.0 {
            let is_due = if cron.is_every_hour() {
                names(*shown)
            } else {
                // Every time that the clock has come to since it was last ahead of all before, left out or not.
                let mut is_due = false;
                while latest < *shown {
                    latest += minute;
                    is_due |= names(latest);
                }
                is_due
            };
            if is_due {
                found.push(*at);
            }
        }
        found.retain(|at| *at > self.start());
        found
    }

    fn start(&self) -> i64 {
        self.0[0].0 + 3 * 3_600
    }

    fn end(&self) -> i64 {
        self.0.last().unwrap().0
    }

    fn assert_agrees(&self, zone: &Zone, text: &str) {
        let cron: Cron = text.parse().unwrap();
        let next = |after: &i64| zone.next(&cron, *after).filter(|at| *at <= self.end());
        let told: Vec<i64> = std::iter::successors(next(&self.start()), next).collect();
        let seen = self.runs(&cron);
        let words = |all: &[i64]| all.iter().map(|at| zone.rfc3339(*at).unwrap()).collect::<Vec<_>>();
        assert_eq!(words(&told), words(&seen), "{text} in {zone:?}");
        // Asked from anywhere in between, the answer is the same.
        for at in (self.start()..self.end()).step_by(7_300) {
            let expected = seen.iter().copied().find(|run| *run > at);
            assert_eq!(next(&at), expected, "{text} in {zone:?} after {at}");
        }
    }
}

/// Every change of the clock in every zone, with the minutes around it.
static CHANGES: LazyLock<Vec<(Zone, Minutes)>> = LazyLock::new(|| {
    let mut changes = Vec::new();
    for name in ZONES {
        let zone = Zone::named(name).unwrap();
        let from = Timestamp::from_second(seconds(YEARS.0)).unwrap();
        let all = zone.0.following(from).map(|change| change.timestamp().as_second());
        let within: Vec<i64> = all.take_while(|at| *at < seconds(YEARS.1)).collect();
        // Where the clock is never changed, any day will do.
        let moments = if within.is_empty() { vec![seconds(2020)] } else { within };
        changes.extend(moments.into_iter().map(|at| (zone.clone(), Minutes::around(&zone, at))));
    }
    changes
});

#[test]
fn over_every_change_of_the_clock_a_minute_by_minute_look_agrees() {
    assert!(CHANGES.len() > 70, "{}", CHANGES.len());
    let schedules = [
        "* * * * *",
        "*/7 * * * *",
        "15 * * * *",
        "30 0-23 * * *",
        "0 0 * * *",
        "0 1 * * *",
        "30 1 * * *",
        "45 1 * * *",
        "15 2 * * *",
        "30 2 * * *",
        "*/10 2 * * *",
        "0 2,3 * * *",
        "0 */2 * * *",
        "59 23 * * *",
        "0 3 * * sun",
        "20 0-3 * * *",
    ];
    for (zone, minutes) in CHANGES.iter() {
        for text in schedules {
            minutes.assert_agrees(zone, text);
        }
    }
}

fn some_field(least: u32, most: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (least..=most).prop_map(|number| number.to_string()),
        1 => (1..=(most - least) / 2).prop_map(|step| format!("*/{step}")),
        2 => (least..=most, least..=most)
            .prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        1 => (least..=most, least..=most).prop_map(|(one, other)| format!("{one},{other}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_schedule_agrees_around_any_change_of_the_clock(
        minute in some_field(0, 59),
        hour in prop_oneof![some_field(0, 23), some_field(0, 4)],
        weekday in prop_oneof![2 => Just("*".to_owned()), 1 => some_field(0, 6)],
        which in any::<prop::sample::Index>(),
    ) {
        let (zone, minutes) = which.get(&CHANGES);
        minutes.assert_agrees(zone, &format!("{minute} {hour} * * {weekday}"));
    }

    #[test]
    fn no_text_makes_the_reader_fall(text in "[0-9a-z*/,@#? -]{0,24}") {
        if let Ok(cron) = text.parse::<Cron>() {
            prop_assert!(Zone::named("Europe/Berlin").unwrap().next(&cron, 0).is_some());
        }
    }
}

fn runs(zone: &str, cron: &str, from: &str, count: usize) -> Vec<String> {
    let (zone, cron) = (Zone::named(zone).unwrap(), cron.parse().unwrap());
    let from: Timestamp = from.parse().unwrap();
    let next = |after: &i64| zone.next(&cron, *after);
    std::iter::successors(next(&from.as_second()), next)
        .take(count)
        .map(|at| zone.rfc3339(at).unwrap())
        .collect()
}

#[test]
fn a_time_that_is_left_out_runs_right_after_the_gap() {
    let told = runs("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00Z", 2);
    assert_eq!(told, ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]);
    let told = runs("America/Sao_Paulo", "@daily", "2018-11-03T12:00:00Z", 2);
    assert_eq!(told, ["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"]);
}

#[test]
fn a_time_that_comes_twice_runs_the_first_time() {
    let told = runs("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", 2);
    assert_eq!(told, ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]);
}

#[test]
fn a_schedule_of_every_hour_goes_by_the_time_that_passes() {
    let told = runs("Europe/Berlin", "30 * * * *", "2026-10-24T23:45:00Z", 3);
    let expected = ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"];
    assert_eq!(told, expected);
    let told = runs("Europe/Berlin", "30 * * * *", "2026-03-29T00:00:00Z", 2);
    assert_eq!(told, ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]);
}

#[test]
fn a_day_that_a_whole_country_left_out_is_made_good() {
    let told = runs("Pacific/Apia", "0 9 * * *", "2011-12-29T20:00:00Z", 2);
    assert_eq!(told, ["2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"]);
}

#[test]
fn zones_are_found_by_name_only() {
    assert_eq!(Zone::named("europe/berlin").unwrap().name(), "Europe/Berlin");
    assert_eq!(Zone::named("UTC").unwrap().name(), "UTC");
    for name in ["", "Mars/Olympus", "+02:00", "CET-1CEST"] {
        assert!(Zone::named(name).is_err(), "{name}");
    }
}

#[test]
fn a_moment_is_told_as_a_clock_shows_it() {
    let zone = Zone::named("Europe/Berlin").unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
    let now = at("2026-11-23T21:00:00Z");
    assert_eq!(zone.words(at("2026-11-24T02:00:00Z"), now).unwrap(), "at 03:00 Europe/Berlin");
    assert_eq!(zone.words(at("2026-11-24T02:00:07Z"), now).unwrap(), "at 03:00:07 Europe/Berlin");
    assert_eq!(zone.words(at("2026-12-01T02:00:00Z"), now).unwrap(), "on 2026-12-01 at 03:00 Europe/Berlin");
}
