//! Server-sent events: bytes in, events out. Pure.
//!
//! Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream".

/// The longest event, in bytes. Longer ones are cut.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its type; empty for the plain one.
    pub(crate) kind: String,
    /// Its id, where it has one of its own.
    pub(crate) id: Option<String>,
    /// Its data: the `data` lines joined by newlines.
    pub(crate) data: String,
}

/// Makes events of bytes that come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_return: bool,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// Takes the next bytes and gives the events that they complete.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ if self.line.len() < EVENT_BYTES_MAX => self.line.push(byte),
                _ => {}
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.kind),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "data" => self.add_data(value),
            // Comments, `retry` and fields of later days.
            _ => {}
        }
        None
    }

    fn add_data(&mut self, value: &str) {
        if self.event.data.len() + value.len() >= EVENT_BYTES_MAX {
            return;
        }
        if self.has_data {
            self.event.data.push('\n');
        }
        self.has_data = true;
        self.event.data.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 7\ndata: one\ndata:two\n\nevent: gone\r\ndata\r\n\r\ndata:  spaced\rid: 8\r\rid: 9\n\n";

    fn expected() -> Vec<Event> {
        vec![
            Event { kind: String::new(), id: Some("7".into()), data: "one\ntwo".into() },
            Event { kind: "gone".into(), id: None, data: String::new() },
            Event { kind: String::new(), id: Some("8".into()), data: " spaced".into() },
        ]
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let events: Vec<Event> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| parser.take(piece)).collect();
            assert_eq!(events, expected(), "pieces of {size}");
        }
    }

    #[test]
    fn an_event_that_never_ends_takes_bounded_memory() {
        let mut parser = Parser::default();
        let mut piece = b"data: ".to_vec();
        piece.resize(1024 * 1024, b'x');
        for _ in 0..10 {
            assert!(parser.take(&piece).is_empty());
        }
        assert!(parser.line.len() <= EVENT_BYTES_MAX);
    }
}
