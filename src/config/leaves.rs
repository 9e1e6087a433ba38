//! The kinds of single values: how each is written, read and described in the schema.
//!
//! The functions at the end describe the kinds for the fields of `raw`; the word under [`READS`] names the reader,
//! which makes of the text what the field deserializes from.

use std::net::SocketAddr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_yaml::Value;

use super::durations;
use crate::core::exit::{no_signal, signal_hint, signal_number};
use crate::core::ids::ProgramName;
use crate::scaling::profile::Profile;

/// The key of a schema that names the reader of a value.
pub(super) const READS: &str = "x-reads";

/// Why a text is not what it should be. It may quote the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong.
    pub(super) message: String,
    /// What to try.
    pub(super) suggestion: Option<String>,
}

/// The kinds of single values that have a reader of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Text,
    Duration,
    Size,
    Mode,
    Signal,
    Address,
    Name,
    Variable,
    HostName,
    ExitCode,
    Rate,
    CountLimit,
    SizeLimit,
    TimeLimit,
}

impl Leaf {
    /// The kind that a schema names.
    pub(super) fn of(schema: &serde_json::Value) -> Self {
        schema.get(READS).and_then(serde_json::Value::as_str).and_then(Self::named).unwrap_or(Self::Text)
    }

    /// The kind with this name under [`READS`].
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "duration" => Some(Self::Duration),
            "size" => Some(Self::Size),
            "mode" => Some(Self::Mode),
            "signal" => Some(Self::Signal),
            "address" => Some(Self::Address),
            "name" => Some(Self::Name),
            "variable" => Some(Self::Variable),
            "host name" => Some(Self::HostName),
            "exit code" => Some(Self::ExitCode),
            "rate" => Some(Self::Rate),
            "limit of a count" => Some(Self::CountLimit),
            "limit of a size" => Some(Self::SizeLimit),
            "limit of time" => Some(Self::TimeLimit),
            _ => None,
        }
    }

    /// What a value of this kind is, for a sentence like "must be a duration".
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Duration => "a duration as in 250ms, 5s or 1h30m",
            Self::Size => "a size as in 50MiB or 1GB",
            Self::Mode => "an octal number as in \"022\"",
            Self::Signal => "a signal as in TERM",
            Self::Address => "an address with a port as in 127.0.0.1:7865",
            Self::Name => "a name of letters, digits, `_`, `-` and `.`",
            Self::Variable => "the name of an environment variable",
            Self::HostName => "a host name as in leveret.example.org",
            Self::ExitCode => "an exit code from 0 to 255",
            Self::Rate => "a rate as in 10/s, 600/m or 1000/h",
            Self::CountLimit => "a number, `unlimited`, or `{soft: .., hard: ..}`",
            Self::SizeLimit => "a size as in 50MiB, `unlimited`, or `{soft: .., hard: ..}`",
            Self::TimeLimit => "a duration in whole seconds, `unlimited`, or `{soft: .., hard: ..}`",
        }
    }

    /// Reads a text.
    pub(super) fn read(self, text: &str) -> Result<Value, Refusal> {
        if text.contains('\0') {
            return Err(refusal("a text cannot contain the character with the number 0"));
        }
        match self {
            Self::Text => Ok(text.into()),
            Self::Duration => {
                let duration = durations::duration(text).map_err(|error| refusal(&error.to_string()))?;
                serde_yaml::to_value(duration).map_err(|error| refusal(&error.to_string()))
            }
            Self::Size => durations::size(text).map(Value::from).map_err(|error| refusal(&error.to_string())),
            Self::Mode => read_mode(text),
            Self::Signal => read_signal(text),
            Self::Address => read_address(text),
            Self::Name => match ProgramName::new(text) {
                Ok(name) => Ok(name.as_str().into()),
                Err(error) => Err(refusal(&error.to_string())),
            },
            Self::Variable => read_variable(text),
            Self::HostName => read_host_name(text),
            Self::ExitCode => read_exit_code(text),
            Self::Rate => read_rate(text),
            Self::CountLimit | Self::SizeLimit | Self::TimeLimit => self.read_limit(text),
        }
    }
}

impl Leaf {
    fn read_limit(self, text: &str) -> Result<Value, Refusal> {
        let text = text.trim();
        let fail = |error: &dyn std::fmt::Display| refusal(&error.to_string());
        match self {
            _ if text == "unlimited" => Ok(text.into()),
            Self::SizeLimit => Ok(durations::size(text).map_err(|error| fail(&error))?.into()),
            Self::TimeLimit => {
                let duration = durations::duration(text).map_err(|error| fail(&error))?;
                if duration.subsec_nanos() > 0 || duration.is_zero() {
                    return Err(refusal("the system counts processor time in whole seconds, from 1s"));
                }
                Ok(duration.as_secs().into())
            }
            Self::CountLimit
            | Self::Text
            | Self::Duration
            | Self::Size
            | Self::Mode
            | Self::Signal
            | Self::Address
            | Self::Name
            | Self::Variable
            | Self::HostName
            | Self::ExitCode
            | Self::Rate => match text.parse::<u64>() {
                Ok(number) => Ok(number.into()),
                Err(_) => Err(refusal("this is a whole number, or `unlimited`")),
            },
        }
    }
}

fn refusal(message: &str) -> Refusal {
    Refusal { message: message.to_owned(), suggestion: None }
}

fn read_mode(text: &str) -> Result<Value, Refusal> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 && !digits.starts_with('+') => Ok(mode.into()),
        _ => Err(refusal("this is an octal number from 000 to 777, as in \"022\"")),
    }
}

fn read_signal(text: &str) -> Result<Value, Refusal> {
    match signal_number(text.trim()) {
        Some(number) => Ok(number.into()),
        None => Err(Refusal { message: no_signal(text), suggestion: Some(signal_hint(text)) }),
    }
}

fn read_address(text: &str) -> Result<Value, Refusal> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.to_string().into());
    }
    let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let local = text.strip_suffix(&port.map(|port| port.to_string()).unwrap_or_default());
    let suggestion = match (port, local) {
        (Some(port), Some("" | ":" | "localhost:")) => Some(format!("write 127.0.0.1:{port}")),
        (Some(port), Some("*:")) => Some(format!("write 0.0.0.0:{port}")),
        _ if text.parse::<std::net::IpAddr>().is_ok() => Some("add a port, as in 127.0.0.1:7865".to_owned()),
        _ => None,
    };
    Err(Refusal { message: "this is an address with a port, as in 127.0.0.1:7865".to_owned(), suggestion })
}

fn read_variable(text: &str) -> Result<Value, Refusal> {
    if text.is_empty() || text.contains('=') {
        return Err(refusal("the name of an environment variable is not empty and has no `=`"));
    }
    if text.starts_with("LEVERET_") {
        return Err(refusal("variables that begin with LEVERET_ are set by Leveret itself"));
    }
    Ok(text.into())
}

fn read_host_name(text: &str) -> Result<Value, Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || !text.chars().all(plain) {
        return Err(refusal("this is a host name alone, without `http://`, port or path"));
    }
    Ok(text.to_ascii_lowercase().into())
}

fn read_exit_code(text: &str) -> Result<Value, Refusal> {
    match text.parse::<u8>() {
        // Written in one way only, so that none is there twice.
        Ok(code) if code.to_string() == text => Ok(text.into()),
        Ok(_) | Err(_) => Err(refusal("an exit code is a whole number from 0 to 255")),
    }
}

/// Messages an hour.
fn read_rate(text: &str) -> Result<Value, Refusal> {
    let (number, an_hour) = match text.trim().rsplit_once('/') {
        Some((number, "s")) => (number, 3_600),
        Some((number, "m")) => (number, 60),
        Some((number, "h")) => (number, 1),
        Some(_) | None => return Err(refusal("this is a rate as in 10/s, 600/m or 1000/h")),
    };
    match number.parse::<u32>() {
        Ok(0) => Err(refusal("nothing would ever be done at a rate of 0")),
        Ok(number) => Ok((u64::from(number) * an_hour).into()),
        Err(_) => {
            Err(refusal("the number of a rate is whole, as in 10/s; for less than one a second use 30/m"))
        }
    }
}

/// A text that says something.
pub(super) fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1})
}

/// A text that may be empty and must not be shown.
pub(super) fn secret(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "writeOnly": true})
}

/// A duration.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", READS: "duration", "minLength": 1,
        "pattern": r"^[0-9][0-9. ]*(ms|s|m|h|[a-z ]+)"
    })
}

/// Messages in a time.
pub(super) fn rate(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", READS: "rate", "minLength": 1, "pattern": "^[1-9][0-9]*/[smh]$"})
}

/// A size in bytes.
pub(super) fn size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "integer"], READS: "size", "minLength": 1,
        "pattern": "^[0-9]+ ?(B|[kKMGT]B|[KMGT]iB)?$"
    })
}

/// Permission bits.
pub(super) fn mode(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "integer"], READS: "mode", "minLength": 1,
        "pattern": "^(0o)?[0-7]+$"
    })
}

/// A signal.
pub(super) fn signal(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "integer"], READS: "signal", "minLength": 1})
}

/// An address with a port.
pub(super) fn address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", READS: "address", "minLength": 1})
}

/// The name of a program or a project.
pub(super) fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", READS: "name", "minLength": 1, "maxLength": 64,
        "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
    })
}

/// A list of host names.
pub(super) fn host_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": "string", READS: "host name", "minLength": 1}})
}

/// A list of texts.
pub(super) fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": "string", "minLength": 1}})
}

/// A name or a number.
pub(super) fn account(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "integer"], "minLength": 1})
}

/// A command: one text, or a list of words.
pub(super) fn command(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1}
    ]})
}

/// Environment variables.
pub(super) fn environment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {READS: "variable", "pattern": "^[^=]+$"},
        "additionalProperties": {"type": ["string", "number", "boolean"]}
    })
}

/// How much of what has a name.
pub(super) fn amounts(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": name(generator),
        "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    })
}

/// Files of variables: one, or a list.
pub(super) fn env_files(_: &mut SchemaGenerator) -> Schema {
    let path = json_schema!({"type": "string", "minLength": 1});
    let described = json_schema!({
        "type": "object",
        "properties": {
            "path": {
                "type": "string", "minLength": 1, "examples": ["/etc/shop.env"], "description": "The file."
            },
            "optional": {
                "type": "boolean", "default": false, "description": "Whether processes start without it."
            }
        },
        "additionalProperties": false,
        "x-required": ["path"]
    });
    let several = json_schema!({"type": "array", "items": {"anyOf": [path, described]}});
    json_schema!({"anyOf": [path, described, several]})
}

/// When to start again.
pub(super) fn restart(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["always", "on-failure", "never"]})
}

fn limit(reads: &str, pattern: &str) -> Schema {
    let single = json_schema!({
        "type": ["string", "integer"], READS: reads, "minLength": 1,
        "pattern": format!("^(unlimited|{pattern})$")
    });
    let bound = |description: &str| {
        let mut bound = single.clone();
        bound.insert("description".to_owned(), description.into());
        bound
    };
    json_schema!({"anyOf": [
        single,
        {
            "type": "object",
            "properties": {
                "soft": bound("What holds; the process may raise it up to the hard limit."),
                "hard": bound("What the soft limit may be raised to.")
            },
            "additionalProperties": false
        }
    ]})
}

/// A limit of how many.
pub(super) fn count_limit(_: &mut SchemaGenerator) -> Schema {
    limit("limit of a count", "[0-9]+")
}

/// A limit of how many bytes.
pub(super) fn size_limit(_: &mut SchemaGenerator) -> Schema {
    limit("limit of a size", "[0-9]+ ?(B|[kKMGT]B|[KMGT]iB)?")
}

/// A limit of how long.
pub(super) fn time_limit(_: &mut SchemaGenerator) -> Schema {
    limit("limit of time", "[0-9][0-9. ]*(s|m|h|[a-z ]+)[0-9a-z. ]*")
}

/// What follows certain exit codes.
pub(super) fn codes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {READS: "exit code", "pattern": "^[0-9]{1,3}$"},
        "additionalProperties": {"type": "string", "enum": ["recycle", "backoff", "stay-down"]}
    })
}

/// Whom the stop signal is for.
pub(super) fn stop_to(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["main", "group"]})
}

/// What is on standard input.
pub(super) fn stdin(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["null", "closed"]})
}

/// How far a program must have come.
pub(super) fn until(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["started", "ready", "completed"]})
}

/// Signals of a stop, one after the other.
pub(super) fn stop_steps(generator: &mut SchemaGenerator) -> Schema {
    let mut named = signal(generator);
    named.insert("description".to_owned(), "The signal: a name, or a number from 1 to 31.".into());
    named.insert("examples".to_owned(), vec!["TERM"].into());
    let mut lasts = duration(generator);
    lasts.insert("description".to_owned(), "How long it waits for the end before the next step.".into());
    lasts.insert("examples".to_owned(), vec!["30s"].into());
    json_schema!({
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [
            signal(generator),
            {
                "type": "object",
                "properties": {"signal": named, "for": lasts},
                "additionalProperties": false,
                "x-required": ["signal", "for"]
            }
        ]}
    })
}

/// Whether decisions are carried out.
pub(super) fn scale_mode(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["auto", "dry-run"]})
}

/// How consumers take from several queues.
pub(super) fn order(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["strict", "fair"]})
}

/// What scaling prefers.
pub(super) fn profile(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": Profile::ALL.map(Profile::as_str)})
}

/// What lines look like.
pub(super) fn log_format(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["raw", "prefixed", "json"]})
}

/// What happens when a run is due while another one goes on.
pub(super) fn overlap(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["skip", "queue", "replace"]})
}

/// What happens with runs that nobody could start.
pub(super) fn missed(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["skip", "once"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(leaf: Leaf, text: &str) -> String {
        let Refusal { message, suggestion } = leaf.read(text).unwrap_err();
        match suggestion {
            Some(suggestion) => format!("{message}; {suggestion}"),
            None => message,
        }
    }

    #[test]
    fn signals_are_read_with_and_without_sig_and_as_numbers() {
        for text in ["TERM", "SIGTERM", "term", "15"] {
            assert_eq!(Leaf::Signal.read(text), Ok(15.into()), "{text}");
        }
        assert_eq!(refused(Leaf::Signal, "TREM"), "there is no signal TREM; did you mean TERM?");
        assert!(refused(Leaf::Signal, "99").starts_with("there is no signal 99; known are HUP, INT, "));
        for text in ["34", "RTMIN+1"] {
            let said = refused(Leaf::Signal, text);
            assert!(
                said.starts_with(&format!(
                    "{text} is a real-time signal, which Leveret cannot send; known are"
                ))
            );
        }
    }

    #[test]
    fn permission_bits_are_octal_however_they_are_written() {
        for text in ["022", "22", "0o22"] {
            assert_eq!(Leaf::Mode.read(text), Ok(0o22.into()), "{text}");
        }
        for text in ["018", "1000", "-1", "+7", "", "rw"] {
            assert!(Leaf::Mode.read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_that_is_nearly_one_is_completed() {
        assert_eq!(Leaf::Address.read("[::1]:80"), Ok("[::1]:80".into()));
        for (text, hint) in [
            (":7865", "write 127.0.0.1:7865"),
            ("7865", "write 127.0.0.1:7865"),
            ("localhost:7865", "write 127.0.0.1:7865"),
            ("*:80", "write 0.0.0.0:80"),
            ("10.0.0.1", "add a port, as in 127.0.0.1:7865"),
        ] {
            assert!(refused(Leaf::Address, text).ends_with(&format!("; {hint}")), "{text}");
        }
        assert!(!refused(Leaf::Address, "here:there").contains(';'));
    }

    #[test]
    fn names_of_hosts_and_variables_are_checked() {
        assert_eq!(Leaf::HostName.read("Leveret.example"), Ok("leveret.example".into()));
        assert!(Leaf::HostName.read("http://leveret.example").is_err());
        assert!(Leaf::Variable.read("A=B").is_err());
        assert!(Leaf::Variable.read("LEVERET_SLOT").is_err());
        assert!(Leaf::Text.read("a\0b").is_err());
    }
}
