//! The lines of Prometheus's text format, as far as counts with labels go.
//! Source: Prometheus, "Exposition formats", text-based format 0.0.4.

/// A line with a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
}

impl Sample<'_> {
    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_str())
    }

    /// The value, where it counts something.
    pub(super) fn count(&self) -> Option<u64> {
        // Beyond 2^53 neighbours look alike, which is beyond all messages that there are.
        (self.value.is_finite() && self.value >= 0.0).then_some(self.value as u64)
    }
}

/// The name of what a line tells of, or of which it is a comment.
pub(super) enum Line<'a> {
    /// `# TYPE NAME KIND`: it is exported, if only with nothing to say.
    Kind(&'a str),
    /// A value of this name follows, in this whole line.
    Value(&'a str),
    /// Something else.
    Other,
}

/// What kind of line it is, without reading all of it.
pub(super) fn line(text: &str) -> Line<'_> {
    let text = text.trim_ascii_start();
    if let Some(comment) = text.strip_prefix('#') {
        let mut words = comment.split_ascii_whitespace();
        return match (words.next(), words.next()) {
            (Some("TYPE"), Some(name)) => Line::Kind(name),
            (Some(_) | None, _) => Line::Other,
        };
    }
    let name = &text[..text.find(|c: char| !is_of_name(c)).unwrap_or(text.len())];
    if name.is_empty() { Line::Other } else { Line::Value(name) }
}

/// Reads a line with a value. `None` where it is not well-formed, as those of RabbitMQ 3.10 are not where a queue
/// has a quote in its name.
pub(super) fn sample(line: &str) -> Option<Sample<'_>> {
    let (name, rest) = name(line.trim_ascii());
    let (labels, rest) = match rest.trim_ascii_start().strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // A timestamp may stand behind the value.
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let is_whole = words.next().is_none_or(|time| time.parse::<i64>().is_ok()) && words.next().is_none();
    (is_whole && !name.is_empty()).then_some(Sample { name, labels, value })
}

fn name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !is_of_name(c)).unwrap_or(text.len()))
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

/// The labels up to the closing brace, and what stands behind it.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        // A comma may stand behind the last one as well.
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (label, behind) = name(rest);
        let behind = behind.trim_ascii_start().strip_prefix('=')?.trim_ascii_start().strip_prefix('"')?;
        let (value, behind) = text(behind)?;
        if label.is_empty() {
            return None;
        }
        labels.push((label, value));
        rest = behind.trim_ascii_start();
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

/// A value up to the closing quote, and what stands behind it.
fn text(written: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = written.char_indices();
    while let Some((place, c)) = characters.next() {
        match c {
            '"' => return Some((value, &written[place + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                // Not well-formed, and hardly meant otherwise.
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_and_queue(text: &str) -> Option<(Option<u64>, Option<String>)> {
        sample(text).map(|sample| (sample.count(), sample.label("queue").map(str::to_owned)))
    }

    #[test]
    fn a_line_is_read_with_its_labels_whatever_stands_between_them() {
        for text in [
            r#"ready{vhost="/",queue="orders"} 10"#,
            r#"ready {queue="orders"} 10"#,
            r#"  ready{ queue = "orders" , vhost="/" , }  10  1395066363000  "#,
            r#"ready{queue="orders"} 1e+01"#,
            "ready{queue=\"orders\"}\t10.0\r",
        ] {
            let read = sample(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((read.name, read.count(), read.label("queue")), ("ready", Some(10), Some("orders")));
        }
        assert_eq!(value_and_queue("up 1"), Some((Some(1), None)));
        assert_eq!(value_and_queue("up{} 1"), Some((Some(1), None)));
        assert_eq!(sample(r#"x{a="1",b="2"} 3"#).unwrap().label("b"), Some("2"));
        assert_eq!(sample(r#"x{a="1"} 3"#).unwrap().label("b"), None);
    }

    #[test]
    fn values_of_labels_come_as_they_were_before_they_were_escaped() {
        for (written, meant) in [
            (r#"a\"b"#, "a\"b"),
            (r"a\\nb", r"a\nb"),
            (r"a\nb", "a\nb"),
            (r#"\\\""#, "\\\""),
            (r"a\b", r"a\b"),
            ("}, {=", "}, {="),
            ("a,b=\\\"c\\\"", "a,b=\"c\""),
            ("größe 🐇", "größe 🐇"),
            ("", ""),
        ] {
            let line = format!("ready{{queue=\"{written}\"}} 1");
            assert_eq!(value_and_queue(&line), Some((Some(1), Some(meant.to_owned()))), "{line}");
        }
    }

    #[test]
    fn what_is_no_such_line_tells_nothing() {
        for text in [
            "",
            "# HELP ready of queues",
            "{queue=\"orders\"} 1",
            "ready{queue=\"orders\"}",
            "ready{queue=\"orders\" 1",
            "ready{queue=\"orders} 1",
            "ready{queue=\"orders\\",
            "ready{queue=orders} 1",
            "ready{=\"orders\"} 1",
            "ready{queue=\"a\"b\"} 1",
            "ready{queue=\"orders\"} many",
            "ready{queue=\"orders\"} 1 2 3",
            "ready{queue=\"orders\"} 1 later",
            "ready{queue=\"a\"vhost=\"b\"} 1",
        ] {
            assert_eq!(sample(text), None, "{text}");
        }
        for text in ["x NaN", "x -1", "x +Inf", "x -Inf"] {
            assert_eq!(sample(text).unwrap().count(), None, "{text}");
        }
    }

    #[test]
    fn what_is_exported_is_known_where_it_has_nothing_to_say() {
        assert!(matches!(line("# TYPE ready gauge"), Line::Kind("ready")));
        assert!(matches!(line("ready{queue=\"x\"} 1"), Line::Value("ready")));
        for text in ["# HELP ready of queues", "#", "", "<html>", "{"] {
            assert!(matches!(line(text), Line::Other), "{text}");
        }
    }
}
