//! What lines look like where they are written: as they are, with time and process in front, or as JSON. Values only.

use super::source::{Format, Source};

/// How the lines of one source are written at one moment.
#[derive(Debug)]
pub(super) enum Dress {
    /// What stands in front of each line.
    Prefix(Vec<u8>),
    /// A JSON object up to its line.
    Json(Vec<u8>),
}

impl Dress {
    /// As the source says, at a moment of the wall clock.
    pub(super) fn of(source: &Source, wall_seconds: f64) -> Self {
        let label = &source.label;
        match source.format {
            Format::Raw => Self::Prefix(Vec::new()),
            Format::Labelled => Self::Prefix(format!("{label} | ").into_bytes()),
            Format::Prefixed => Self::Prefix(format!("{} {label} | ", time(wall_seconds)).into_bytes()),
            Format::Json => {
                let (time, program, process) = (time(wall_seconds), quoted(&source.program), quoted(label));
                let stream = if source.is_errors { ",\"stream\":\"stderr\"" } else { "" };
                let head =
                    format!("{{\"time\":\"{time}\",\"program\":{program},\"process\":{process}{stream}");
                Self::Json(head.into_bytes())
            }
        }
    }

    /// Appends a line of Leveret's own: `*` in place of `|`, `event` in place of `line`.
    pub(super) fn put_remark(&self, text: &str, into: &mut Vec<u8>) {
        match self {
            Self::Prefix(prefix) => {
                into.extend_from_slice(prefix.strip_suffix(b"| ").unwrap_or(prefix));
                into.extend_from_slice(b"* ");
                into.extend_from_slice(text.as_bytes());
            }
            Self::Json(head) => {
                into.extend_from_slice(head);
                into.extend_from_slice(b",\"event\":");
                into.extend_from_slice(quoted(text).as_bytes());
                into.push(b'}');
            }
        }
        into.push(b'\n');
    }

    /// Appends a line of the program.
    pub(super) fn put(&self, text: &[u8], into: &mut Vec<u8>) {
        match self {
            Self::Prefix(prefix) => {
                into.extend_from_slice(prefix);
                into.extend_from_slice(text);
            }
            Self::Json(head) => {
                into.extend_from_slice(head);
                into.extend_from_slice(b",\"line\":");
                into.extend_from_slice(quoted(&String::from_utf8_lossy(text)).as_bytes());
                into.push(b'}');
            }
        }
        into.push(b'\n');
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A moment as RFC 3339 has it, in UTC, to the millisecond.
fn time(wall_seconds: f64) -> String {
    match jiff::Timestamp::from_millisecond((wall_seconds * 1e3) as i64) {
        Ok(moment) => moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        // The clock shows a year beyond 9999.
        Err(_) => format!("{wall_seconds:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::source::{Keeping, Sink};

    fn source(format: Format) -> Source {
        Source {
            incarnation: crate::core::ids::Incarnation(1),
            pipe: "pipe".into(),
            is_errors: false,
            program: "orders".into(),
            label: "orders:3".into(),
            sink: Sink::Stdout,
            awaited: None,
            format,
            keeping: Keeping::default(),
        }
    }

    fn dressed(format: Format, text: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        Dress::of(&source(format), 1_795_400_000.5).put(text, &mut line);
        line
    }

    #[test]
    fn lines_are_written_as_their_format_has_them() {
        assert_eq!(dressed(Format::Raw, b"a\xFF"), b"a\xFF\n");
        assert_eq!(dressed(Format::Labelled, b"a"), b"orders:3 | a\n");
        assert_eq!(dressed(Format::Prefixed, b"a"), b"2026-11-23T02:13:20.500Z orders:3 | a\n");
        let json = r#"{"time":"2026-11-23T02:13:20.500Z","program":"orders","process":"orders:3","line":"a \"b\" \t\u001b[0m"}"#;
        assert_eq!(dressed(Format::Json, b"a \"b\" \t\x1b[0m"), format!("{json}\n").into_bytes());
    }

    #[test]
    fn json_says_which_lines_are_of_stderr_where_that_is_known() {
        let source = Source { is_errors: true, ..source(Format::Json) };
        let mut line = Vec::new();
        Dress::of(&source, 1_795_400_000.5).put(b"a", &mut line);
        let expected = r#"{"time":"2026-11-23T02:13:20.500Z","program":"orders","process":"orders:3","stream":"stderr","line":"a"}"#;
        assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
    }

    #[test]
    fn bytes_that_are_no_text_are_marked_in_json() {
        let line = dressed(Format::Json, b"a\xFFb");
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["line"], "a\u{fffd}b");
    }
}
