//! How a process ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// A signal of this number ended it.
    Signal(i32),
    /// Nobody could see how. Counts as a failure.
    Unknown,
}

impl ExitStatus {
    /// Whether the process said that all went well: exit code 0.
    pub fn is_clean(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code, if it exited by itself and somebody saw it.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) | Self::Unknown => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {number}"),
            },
            Self::Unknown => f.write_str("ended, exit code unknown"),
        }
    }
}

/// Signals that people name, with their numbers on Linux (x86-64, AArch64, RISC-V). Source: signal(7).
const SIGNALS: [(&str, i32); 31] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// The name of a signal, `SIGTERM` for 15.
pub fn signal_name(number: i32) -> Option<&'static str> {
    SIGNALS.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

/// The number of a signal that a person wrote: `TERM`, `SIGTERM`, `sigterm` or `15`. Only signals with a name can be sent:
/// the real-time ones, 32 to 64, belong to libraries and to programs that agree on them.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return signal_name(number).map(|_| number);
    }
    let name = bare_signal(text);
    SIGNALS.iter().find(|(known, _)| known[3..] == name).map(|(_, number)| *number)
}

/// Why a text that [`signal_number`] does not know is no signal.
pub fn no_signal(text: &str) -> String {
    let bare = bare_signal(text);
    if is_real_time(&bare) {
        format!("{text} is a real-time signal, which Leveret cannot send")
    } else {
        format!("there is no signal {text}")
    }
}

/// What to write instead of a text that is no signal: the name that was meant, where less than half of it is wrong, else
/// all that there are.
pub fn signal_hint(text: &str) -> String {
    let bare = bare_signal(text);
    let names = || signal_names().map(|name| &name[3..]);
    let most = if is_real_time(&bare) { 0 } else { bare.len().saturating_sub(1) / 2 };
    let nearest = names()
        .map(|name| (strsim::damerau_levenshtein(&bare, name), name))
        .min()
        .filter(|(distance, _)| *distance <= most);
    match nearest {
        Some((_, name)) => format!("did you mean {name}?"),
        None => format!("known are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

fn is_real_time(bare: &str) -> bool {
    bare.starts_with("RTMIN")
        || bare.starts_with("RTMAX")
        || bare.parse::<i32>().is_ok_and(|number| (32..=64).contains(&number))
}

/// A signal's name in capitals without SIG.
fn bare_signal(text: &str) -> String {
    let upper = text.trim().to_ascii_uppercase();
    upper.strip_prefix("SIG").unwrap_or(&upper).to_owned()
}

/// Every signal name.
fn signal_names() -> impl Iterator<Item = &'static str> {
    SIGNALS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_found_however_it_is_written() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(signal_number(text), Some(15), "{text}");
        }
        assert_eq!(signal_number("SIGNOPE"), None);
        assert_eq!(signal_number("0"), None);
        assert_eq!(signal_number("65"), None);
        for text in ["34", "64", "RTMIN", "SIGRTMIN+3", "sigrtmax"] {
            assert_eq!(signal_number(text), None, "{text}");
            assert_eq!(no_signal(text), format!("{text} is a real-time signal, which Leveret cannot send"));
            assert!(signal_hint(text).starts_with("known are HUP, INT, "), "{}", signal_hint(text));
        }
        assert_eq!(no_signal("99"), "there is no signal 99");
        assert_eq!(signal_hint("SIGTREM"), "did you mean TERM?");
    }

    #[test]
    fn an_exit_reads_as_a_phrase() {
        assert_eq!(ExitStatus::Code(3).to_string(), "exit code 3");
        assert_eq!(ExitStatus::Signal(9).to_string(), "killed by SIGKILL");
        assert_eq!(ExitStatus::Signal(40).to_string(), "killed by signal 40");
        assert!(!ExitStatus::Unknown.is_clean());
    }
}
