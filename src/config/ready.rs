//! Readiness: from what the file says to what tells that a process is of use.

use std::time::Duration;

use super::raw;
use crate::core::readiness::{ReadyBy, ReadySpec, TIMEOUT};
use crate::core::time::human;

/// The shortest time in which a process can be expected to say something.
const WATCHDOG_LEAST: Duration = Duration::from_secs(1);

/// What a problem is told to: the path below the program, what is wrong, what to try.
type Wrong<'a> = dyn FnMut(&[&str], String, Option<String>) + 'a;

/// The readiness of a program that goes on, or nothing where time alone tells or a mistake was reported.
pub(super) fn ready(raw: Option<&raw::Ready>, wrong: &mut Wrong<'_>) -> Option<ReadySpec> {
    let raw = raw?;
    let kinds = kinds(raw);
    let [(key, by)] = kinds.as_slice() else {
        let message = match kinds.as_slice() {
            [] => "`ready` does not say what tells that a process is of use".to_owned(),
            several => {
                let names: Vec<_> = several.iter().map(|(key, _)| format!("`{key}`")).collect();
                format!("`ready` has one of its kinds, not {}", names.join(" and "))
            }
        };
        wrong(&["ready"], message, Some("write one of them, as in `ready: {notify: true}`".to_owned()));
        return None;
    };
    if raw.timeout.is_some_and(|timeout| timeout.is_zero()) {
        let message = "`timeout` must be longer than nothing".to_owned();
        wrong(&["ready", "timeout"], message, Some("leave it out for 60s".to_owned()));
    }
    let is_time = matches!(by, ReadyBy::After(_));
    if is_time && raw.timeout.is_some() {
        let message = format!("`timeout` means nothing with `{key}`, which always comes");
        wrong(&["ready", "timeout"], message, Some("leave it out".to_owned()));
    }
    let timeout = (!is_time).then(|| raw.timeout.unwrap_or(TIMEOUT));
    Some(ReadySpec { by: by.clone(), timeout })
}

/// How often a process has to say that it does not hang.
pub(super) fn watchdog(program: &raw::Program, wrong: &mut Wrong<'_>) -> Option<Duration> {
    let watchdog = program.watchdog?;
    if program.schedule.is_some() {
        let message = "a program with a schedule runs to its end and has no watchdog".to_owned();
        wrong(&["watchdog"], message, Some("set `schedule.timeout`".to_owned()));
        return None;
    }
    if watchdog < WATCHDOG_LEAST {
        let message = format!("`watchdog` must be at least {}", human(WATCHDOG_LEAST));
        wrong(&["watchdog"], message, None);
    }
    Some(watchdog)
}

/// A program with a schedule runs to its end; nobody waits for it to be ready.
pub(super) fn of_schedule(raw: Option<&raw::Ready>, wrong: &mut Wrong<'_>) -> Option<ReadySpec> {
    if raw.is_some() {
        let message =
            "a program with a schedule runs to its end, and nobody waits for it to be ready".to_owned();
        wrong(&["ready"], message, Some("leave it out".to_owned()));
    }
    None
}

/// The kinds that are written, by key.
fn kinds(raw: &raw::Ready) -> Vec<(&'static str, ReadyBy)> {
    let all = [
        ("after", raw.after.map(ReadyBy::After)),
        ("notify", (raw.notify == Some(true)).then_some(ReadyBy::Notify)),
    ];
    all.into_iter().filter_map(|(key, by)| Some((key, by?))).collect()
}
