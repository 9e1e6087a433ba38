//! Workloads from files: one message a line, or how many came in which second.

use crate::core::random::Random;
use crate::simulation::workload::{Message, Work, Workload};

/// More messages are not simulated.
const MESSAGES_MOST: f64 = 20e6;
/// No trace is longer, in seconds: a year.
const SECONDS_MOST: f64 = 366.0 * 86_400.0;
/// What is given as a mean varies like this: standard deviation over mean.
const VARIATION: f64 = 1.0;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct CsvError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What, and what to try.
    pub what: String,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Trace {
    rows: Vec<(f64, Option<f64>)>,
    are_rates: bool,
}

impl Trace {
    /// Reads a file whose first line is `arrival,service`, `arrival` or `second,messages`.
    ///
    /// # Errors
    /// The first line or field that is not as it should be.
    pub fn read(text: &str) -> Result<Self, CsvError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let Some((line, header)) = lines.next() else {
            return Err(wrong(
                1,
                1,
                "the file is empty; its first line is arrival,service or second,messages",
            ));
        };
        let names: Vec<String> = header.split(',').map(|name| clean(name).to_ascii_lowercase()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (columns, are_rates) = match names[..] {
            ["arrival"] => (1, false),
            ["arrival", "service"] => (2, false),
            ["second", "messages"] => (2, true),
            _ => {
                let what = format!("\"{header}\" is not a header; write arrival,service or second,messages");
                return Err(wrong(line, 1, &what));
            }
        };
        let mut rows: Vec<(f64, Option<f64>)> = Vec::new();
        for (line, text) in lines {
            let row = row(line, text, columns, names[0], names.get(1).copied())?;
            if are_rates && rows.last().is_some_and(|last| last.0 >= row.0) {
                let what = format!("second {} does not come after the one before; sort the lines", row.0);
                return Err(wrong(line, 1, &what));
            }
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(wrong(line, 1, "there is nothing below the header; add a line for each message"));
        }
        Self { rows, are_rates }.check_count()?.check_length()
    }

    /// A trace of rates: the second at which each begins, rising, and how many messages come until the next one does.
    ///
    /// # Errors
    /// There are too many messages, or it is too long; the place means nothing then.
    pub fn of_rates(rows: impl IntoIterator<Item = (f64, f64)>) -> Result<Self, CsvError> {
        let rows = rows.into_iter().map(|(second, messages)| (second, Some(messages))).collect();
        Self { rows, are_rates: true }.check_count()?.check_length()
    }

    fn check_count(self) -> Result<Self, CsvError> {
        if self.count() <= MESSAGES_MOST {
            return Ok(self);
        }
        Err(wrong(1, 1, "there are more than 20 million messages; give a part of them"))
    }

    fn check_length(mut self) -> Result<Self, CsvError> {
        self.rows.sort_by(|left, right| left.0.total_cmp(&right.0));
        // Moments since 1970 are as good as any; the first one is the begin.
        let begin = self.rows.first().map_or(0.0, |row| row.0);
        if begin > SECONDS_MOST {
            self.rows.iter_mut().for_each(|row| row.0 -= begin);
        }
        if self.rows.last().is_some_and(|row| row.0 > SECONDS_MOST) {
            return Err(wrong(1, 1, "this is longer than 366 days; are the moments in seconds?"));
        }
        Ok(self)
    }

    fn count(&self) -> f64 {
        if self.are_rates { self.rows.iter().filter_map(|row| row.1).sum() } else { self.rows.len() as f64 }
    }

    /// Whether some messages say nothing of their work.
    pub fn lacks_service(&self) -> bool {
        self.are_rates || self.rows.iter().any(|row| row.1.is_none())
    }

    /// The messages. Where the file has no work, it varies around `service` seconds; where it has only rates, arrivals
    /// are spread over their seconds. Both follow the seed.
    pub fn workload(&self, seed: u64, service: f64) -> Workload {
        let mut random = Random::new(seed);
        let work = Work { mean: service, variation: VARIATION };
        let draw = |random: &mut Random| random.log_normal(work.mean, work.variation);
        let mut messages = Vec::with_capacity(self.count() as usize + 1);
        if !self.are_rates {
            for &(arrival, service) in &self.rows {
                let service = service.unwrap_or_else(|| draw(&mut random));
                messages.push(Message { arrival, service });
            }
            let length = self.rows.last().map_or(0.0, |row| row.0);
            return Workload { messages, length, ..Workload::default() };
        }
        let mut gap = 1.0;
        let mut length = 0.0;
        for (index, &(second, count)) in self.rows.iter().enumerate() {
            gap = self.rows.get(index + 1).map_or(gap, |next| next.0 - second);
            let count = count.unwrap_or_default();
            let whole = count.floor() as usize + usize::from(random.unit() < count.fract());
            let from = messages.len();
            for _ in 0..whole {
                let arrival = second + gap * random.unit();
                messages.push(Message { arrival, service: draw(&mut random) });
            }
            messages[from..].sort_by(|left, right| left.arrival.total_cmp(&right.arrival));
            length = second + gap;
        }
        Workload { messages, length, ..Workload::default() }
    }
}

fn row(
    line: usize,
    text: &str,
    columns: usize,
    first: &str,
    second: Option<&str>,
) -> Result<(f64, Option<f64>), CsvError> {
    let mut fields = Vec::with_capacity(columns);
    let mut column = 1;
    for field in text.split(',') {
        fields.push((column, clean(field)));
        column += field.chars().count() + 1;
    }
    match fields[..] {
        [one] if columns == 1 => Ok((number(line, one, first)?, None)),
        [one, two] if columns == 2 => {
            let name = second.unwrap_or_default();
            let value =
                if two.1.is_empty() && name == "service" { None } else { Some(number(line, two, name)?) };
            Ok((number(line, one, first)?, value))
        }
        _ => {
            let what = format!("\"{text}\" has {} fields where the header has {columns}", fields.len());
            Err(wrong(line, 1, &what))
        }
    }
}

fn number(line: usize, (column, text): (usize, &str), name: &str) -> Result<f64, CsvError> {
    let unit = if name == "messages" { "a number of messages, as in 12" } else { "seconds, as in 12.5" };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        Ok(_) | Err(_) => Err(wrong(line, column, &format!("\"{text}\" is no {name}; write {unit}"))),
    }
}

fn clean(field: &str) -> &str {
    field.trim().trim_matches('"').trim()
}

fn wrong(line: usize, column: usize, what: &str) -> CsvError {
    CsvError { line, column, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_in_any_order_with_their_work() {
        let trace = Trace::read("\u{feff}arrival,service\r\n2.5,0.2\r\n1,\r\n\r\n").unwrap();
        assert!(trace.lacks_service());
        let workload = trace.workload(1, 0.5);
        assert_eq!(workload.messages[0].arrival, 1.0);
        assert_eq!(workload.messages[1], Message { arrival: 2.5, service: 0.2 });
        assert!(workload.messages[0].service > 0.0);
        assert!(!Trace::read("arrival,service\n1,2\n").unwrap().lacks_service());
        assert!(Trace::read("arrival\n1\n").unwrap().lacks_service());
    }

    #[test]
    fn moments_since_1970_begin_with_the_first() {
        let workload =
            Trace::read("arrival,service\n1700000000,1\n1700000004.5,1\n").unwrap().workload(1, 1.0);
        assert_eq!((workload.messages[0].arrival, workload.length), (0.0, 4.5));
    }

    #[test]
    fn rates_are_spread_over_their_time() {
        let workload = Trace::read("second,messages\n0,100\n60,0\n120,50\n").unwrap().workload(1, 0.2);
        assert_eq!((workload.messages.len(), workload.length), (150, 180.0));
        assert!(workload.messages.is_sorted_by_key(|message| message.arrival));
        assert_eq!(workload.messages.iter().filter(|message| message.arrival < 60.0).count(), 100);
        assert!(workload.messages[99].arrival > 30.0);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("", "line 1, column 1: the file is empty"),
            ("time,work\n1,2\n", "line 1, column 1: \"time,work\" is not a header; write arrival,service"),
            ("arrival,service\n", "line 1, column 1: there is nothing below the header"),
            ("arrival,service\n1,2\n10,two\n", "line 3, column 4: \"two\" is no service; write seconds"),
            ("arrival,service\n1,2,3\n", "line 2, column 1: \"1,2,3\" has 3 fields where the header has 2"),
            ("arrival,service\n-1,2\n", "line 2, column 1: \"-1\" is no arrival; write seconds"),
            ("arrival\nNaN\n", "line 2, column 1: \"NaN\" is no arrival"),
            ("second,messages\n1,x\n", "line 2, column 3: \"x\" is no messages; write a number of messages"),
            ("second,messages\n5,1\n5,1\n", "line 3, column 1: second 5 does not come after"),
            ("second,messages\n5,30000000\n", "line 1, column 1: there are more than 20 million"),
        ] {
            let error = Trace::read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
