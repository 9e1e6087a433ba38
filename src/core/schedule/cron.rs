//! Cron expressions: five fields, six with seconds in front, or a name such as `@daily`. What is not understood is
//! refused with its place, never guessed.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time, time};
use serde::{Deserialize, Serialize};

/// A day that a pattern can name at all comes back within this time: 29 February, over a century without a leap day.
const DAYS_MAX: u32 = 366 * 9;

/// At which seconds, minutes, hours and days a schedule is due, as a wall clock shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether the day of the month and the day of the week are both named: one of them is enough then.
    either_day: bool,
}

/// Why a text is not a cron expression; a sentence with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
}

/// A kind of field: what it is called, and its numbers.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// Names of the numbers from `least` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { name: "second", least: 0, most: 59, names: &[] },
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // Sunday is 0 and 7.
    Field {
        name: "day of the week",
        least: 0,
        most: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const NAMED: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

impl Cron {
    /// Whether every hour is meant. Such a schedule goes by the time that passes, others by what the clock shows.
    pub(super) fn is_every_hour(&self) -> bool {
        self.hours.count_ones() == 24
    }

    /// The first date and time after `after`, on a clock that is never changed.
    pub(super) fn next_civil(&self, after: DateTime) -> Option<DateTime> {
        let mut date = after.date();
        let mut time_after = Some(after.time());
        for _ in 0..DAYS_MAX {
            if self.is_on(date)
                && let Some(time) = self.next_time(time_after)
            {
                return Some(date.to_datetime(time));
            }
            time_after = None;
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Whether it names what a clock shows, looked at by itself.
    #[cfg(test)]
    pub(super) fn names(&self, shown: DateTime) -> bool {
        let time = has(self.hours, shown.hour()) && has(self.minutes, shown.minute());
        self.is_on(shown.date()) && time && has(self.seconds, shown.second())
    }

    fn is_on(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }

    /// The first time of a day, after `after` where there is one.
    fn next_time(&self, after: Option<Time>) -> Option<Time> {
        let from = after.map(|after| [after.hour(), after.minute(), after.second() + 1]);
        let [hour_from, minute_from, second_from] =
            from.unwrap_or_default().map(|part| part.unsigned_abs().into());
        let mut hour = first(self.hours, hour_from)?;
        loop {
            let mut minute = first(self.minutes, if hour == hour_from { minute_from } else { 0 });
            while let Some(at) = minute {
                let is_first = hour == hour_from && at == minute_from;
                if let Some(second) = first(self.seconds, if is_first { second_from } else { 0 }) {
                    return Some(time(hour as i8, at as i8, second as i8, 0));
                }
                minute = first(self.minutes, at + 1);
            }
            hour = first(self.hours, hour + 1)?;
        }
    }
}

fn has(set: u64, number: i8) -> bool {
    set & (1 << number) != 0
}

/// The least number of a set that is not below `from`.
fn first(set: u64, from: u32) -> Option<u32> {
    let rest = set.checked_shr(from).unwrap_or(0);
    (rest != 0).then(|| from + rest.trailing_zeros())
}

impl fmt::Display for Cron {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

impl TryFrom<String> for Cron {
    type Error = CronError;

    fn try_from(text: String) -> Result<Self, CronError> {
        text.parse()
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        let fields = if text.starts_with('@') { named(text)? } else { text };
        let parts: Vec<&str> = fields.split_ascii_whitespace().collect();
        let skipped = match parts.len() {
            5 => 1,
            6 => 0,
            count => {
                let hint = "as in \"0 3 * * *\": minute, hour, day of the month, month, day of the week; a sixth \
                            field in front is the second";
                return Err(wrong(format!("a schedule has 5 or 6 fields, and this one has {count}"), hint));
            }
        };
        let mut sets = [1; 6];
        for (index, part) in parts.iter().enumerate() {
            sets[index + skipped] = set(part, index + 1, &FIELDS[index + skipped])?;
        }
        let [seconds, minutes, hours, days, months, weekdays] = sets;
        let [.., day, _, weekday] = parts[..] else { unreachable!("there are 5 or 6 of them") };
        let either_day = !day.starts_with('*') && !weekday.starts_with('*');
        // Sunday as 7 is Sunday as 0.
        let weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let cron =
            Self { text: text.to_owned(), seconds, minutes, hours, days, months, weekdays, either_day };
        match cron.next_civil(DateTime::constant(2000, 1, 1, 0, 0, 0, 0)) {
            Some(_) => Ok(cron),
            None => Err(wrong("no year has such a day".to_owned(), "see the day of the month and the month")),
        }
    }
}

fn named(text: &str) -> Result<&'static str, CronError> {
    let found = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, fields)| *fields).ok_or_else(|| match text {
        "@reboot" => wrong(
            "@reboot is not a schedule".to_owned(),
            "a program without a schedule starts with Leveret and `restart: never` runs it once",
        ),
        _ => {
            let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
            wrong(
                format!("there is no schedule called {text}"),
                &format!("the names are {}", names.join(", ")),
            )
        }
    })
}

/// The numbers that one field names. `place` counts the fields from 1.
fn set(text: &str, place: usize, field: &Field) -> Result<u64, CronError> {
    let mut set = 0;
    for part in text.split(',') {
        let refused =
            |what: String, hint: &str| wrong(format!("field {place}, the {}: {what}", field.name), hint);
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (field.least, field.most.min(if field.names.len() == 7 { 6 } else { 59 })),
            Some((from, to)) => (number(from, place, field)?, number(to, place, field)?),
            None => {
                let only = number(range, place, field)?;
                if let Some(step) = step {
                    let hint = format!("write `{range}-{}/{step}`", field.most);
                    return Err(refused(format!("`{part}` is a step without a range"), &hint));
                }
                (only, only)
            }
        };
        // "sat-sun" ends with the other number of Sunday.
        let to = if field.names.len() == 7 && to == 0 && from > 0 { 7 } else { to };
        if from > to {
            return Err(refused(
                format!("the range `{range}` runs backwards"),
                "write two ranges with a comma between",
            ));
        }
        let longest = field.most - field.least;
        let step = match step.map(|step| (step, step.parse::<u32>())) {
            None => 1,
            Some((_, Ok(step))) if (1..=longest).contains(&step) => step,
            Some((step, _)) => {
                let hint = format!("a step is from 1 to {longest}");
                return Err(refused(format!("`{step}` is no step"), &hint));
            }
        };
        set = (from..=to).step_by(step as usize).fold(set, |set, number| set | 1 << number);
    }
    Ok(set)
}

fn number(text: &str, place: usize, field: &Field) -> Result<u32, CronError> {
    let by_name = field.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    let by_name = by_name.map(|index| index as u32 + field.least);
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = by_name.or_else(|| text.parse().ok().filter(|_| is_number));
    if let Some(number) = number.filter(|number| (field.least..=field.most).contains(number)) {
        return Ok(number);
    }
    let place = format!("field {place}, the {}", field.name);
    if let Some(special) = text.chars().find(|character| "?LW#".contains(*character)).filter(|_| !is_number) {
        let what = format!("{place}: `{special}` as in `{text}` is not supported");
        return Err(wrong(what, "use numbers, names, `*`, ranges, lists and steps"));
    }
    let names = match (field.names.first(), field.names.last()) {
        (Some(from), Some(to)) => format!(" or {from} to {to}"),
        _ => String::new(),
    };
    let hint = format!("it goes from {} to {}{names}", field.least, field.most);
    Err(wrong(format!("{place}: `{text}` is not one"), &hint))
}

fn wrong(message: String, suggestion: &str) -> CronError {
    CronError { message, suggestion: Some(suggestion.to_owned()) }
}

#[cfg(test)]
mod tests {
    use jiff::civil::datetime;

    use super::*;

    fn cron(text: &str) -> Cron {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn runs(text: &str, after: DateTime, count: usize) -> Vec<String> {
        let next = |after: &DateTime| cron(text).next_civil(*after);
        std::iter::successors(next(&after), next).take(count).map(|at| at.to_string()).collect()
    }

    #[test]
    fn fields_name_the_moments_of_a_clock() {
        let start = datetime(2026, 11, 23, 1, 10, 30, 0);
        let cases: [(&str, &[&str]); 12] = [
            ("0 3 * * *", &["2026-11-23T03:00:00", "2026-11-24T03:00:00"]),
            ("*/20 * * * *", &["2026-11-23T01:20:00", "2026-11-23T01:40:00", "2026-11-23T02:00:00"]),
            ("* * * * * *", &["2026-11-23T01:10:31", "2026-11-23T01:10:32"]),
            ("15,45 30 1 * * *", &["2026-11-23T01:30:15", "2026-11-23T01:30:45", "2026-11-24T01:30:15"]),
            ("0 12 * feb-MAR sun", &["2027-02-07T12:00:00", "2027-02-14T12:00:00"]),
            ("0 9-17/4 * * 1-5", &["2026-11-23T09:00:00", "2026-11-23T13:00:00", "2026-11-23T17:00:00"]),
            ("0 0 29 2 *", &["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
            ("0 0 * * 7", &["2026-11-29T00:00:00"]),
            ("0 0 * * sat-sun", &["2026-11-28T00:00:00", "2026-11-29T00:00:00", "2026-12-05T00:00:00"]),
            // Both days are named: either is enough, as in every cron.
            ("0 0 1 * mon", &["2026-11-30T00:00:00", "2026-12-01T00:00:00", "2026-12-07T00:00:00"]),
            ("@monthly", &["2026-12-01T00:00:00", "2027-01-01T00:00:00"]),
            ("@Hourly", &["2026-11-23T02:00:00", "2026-11-23T03:00:00"]),
        ];
        for (text, expected) in cases {
            assert_eq!(runs(text, start, expected.len()), expected, "{text}");
        }
    }

    #[test]
    fn a_century_without_a_leap_day_is_waited_for() {
        assert_eq!(runs("0 0 29 2 *", datetime(2096, 3, 1, 0, 0, 0, 0), 1), ["2104-02-29T00:00:00"]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let cases = [
            ("", "a schedule has 5 or 6 fields, and this one has 0"),
            ("0 3 * *", "a schedule has 5 or 6 fields, and this one has 4"),
            ("0 0 3 * * * 2026", "a schedule has 5 or 6 fields, and this one has 7"),
            ("61 * * * *", "field 1, the minute: `61` is not one"),
            ("0 61 * * * *", "field 2, the minute: `61` is not one"),
            ("0 24 * * *", "field 2, the hour: `24` is not one"),
            ("0 -1 * * *", "field 2, the hour: `` is not one"),
            ("0 +3 * * *", "field 2, the hour: `+3` is not one"),
            ("0 0 0 * *", "field 3, the day of the month: `0` is not one"),
            ("0 0 L * *", "field 3, the day of the month: `L` as in `L` is not supported"),
            ("0 0 ? * 1", "field 3, the day of the month: `?` as in `?` is not supported"),
            ("0 0 * * 5#2", "field 5, the day of the week: `#` as in `5#2` is not supported"),
            ("0 0 * june *", "field 4, the month: `june` is not one"),
            ("0 0 * * 8", "field 5, the day of the week: `8` is not one"),
            ("0 17-9 * * *", "field 2, the hour: the range `17-9` runs backwards"),
            ("0,,5 * * * *", "field 1, the minute: `` is not one"),
            ("5/15 * * * *", "field 1, the minute: `5/15` is a step without a range"),
            ("*/0 * * * *", "field 1, the minute: `0` is no step"),
            ("*/60 * * * *", "field 1, the minute: `60` is no step"),
            ("0 0 30 2 *", "no year has such a day"),
            ("@reboot", "@reboot is not a schedule"),
            ("@fortnightly", "there is no schedule called @fortnightly"),
        ];
        for (text, message) in cases {
            let error = text.parse::<Cron>().expect_err(text);
            assert_eq!(error.to_string(), message, "{text}");
            assert!(error.suggestion.is_some(), "{text}");
        }
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        let cron = cron("0 3 * * mon-fri");
        let json = serde_json::to_string(&cron).unwrap();
        assert_eq!(json, "\"0 3 * * mon-fri\"");
        assert_eq!(serde_json::from_str::<Cron>(&json).unwrap(), cron);
    }
}
