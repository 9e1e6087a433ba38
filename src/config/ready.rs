//! Readiness and health: from what the file says to what tells that a process is of use, and that it still is.

use std::time::Duration;

use super::looks::Written;
use super::{looks, raw};
use crate::core::check::{Check, HEALTH_FAILURES, HEALTH_INTERVAL, HealthSpec, LOOK_TIMEOUT, READY_INTERVAL};
use crate::core::readiness::{ReadyBy, ReadySpec, TIMEOUT};
use crate::core::time::human;

/// The shortest time in which a process can be expected to say something.
const WATCHDOG_LEAST: Duration = Duration::from_secs(1);

/// What a problem is told to: the path below the program, what is wrong, what to try.
pub(super) type Wrong<'a> = dyn FnMut(&[&str], String, Option<String>) + 'a;

/// The readiness of a program that goes on, or nothing where time alone tells or a mistake was reported. `shell` says
/// whether /bin/sh runs commands.
pub(super) fn ready(raw: Option<&raw::Ready>, shell: bool, wrong: &mut Wrong<'_>) -> Option<ReadySpec> {
    let raw = raw?;
    let kinds = kinds(raw, shell, wrong);
    if kinds.is_empty() && raw.command.is_some() {
        return None;
    }
    let (key, by) = looks::only("ready", kinds, "{notify: true}", wrong)?;
    let by = &by;
    if raw.timeout.is_some_and(|timeout| timeout.is_zero()) {
        let message = "`timeout` must be longer than nothing".to_owned();
        wrong(&["ready", "timeout"], message, Some("leave it out for 60s".to_owned()));
    }
    if let ReadyBy::Check(check) = by {
        looks::hold_against_rules("ready", key, check, looks::READY_INTERVAL_LEAST, wrong);
    } else if raw.interval.is_some() {
        let message = format!("`interval` means nothing with `{key}`, for which nobody has to look");
        wrong(&["ready", "interval"], message, Some("leave it out".to_owned()));
    }
    if let ReadyBy::Log(pattern) = by
        && let Some(message) = looks::not_a_pattern(pattern)
    {
        wrong(
            &["ready", "log"],
            message,
            Some("write a regular expression, as in `listening on port`".to_owned()),
        );
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

/// A program with a schedule runs to its end; nobody looks at it meanwhile.
pub(super) fn health_of_schedule(raw: Option<&raw::Health>, wrong: &mut Wrong<'_>) -> Option<HealthSpec> {
    if raw.is_some() {
        let message =
            "a program with a schedule runs to its end, and nobody looks whether it is well".to_owned();
        wrong(&["health"], message, Some("set `schedule.timeout`".to_owned()));
    }
    None
}

/// What tells that a process is not well any more, or nothing where nobody looks or a mistake was reported. `shell` says
/// whether /bin/sh runs commands.
pub(super) fn health(raw: Option<&raw::Health>, shell: bool, wrong: &mut Wrong<'_>) -> Option<HealthSpec> {
    let raw = raw?;
    let raw::Health { http, tcp, command, .. } = raw;
    let written = Written { http: http.as_ref(), tcp: tcp.as_ref(), command: command.as_ref(), shell };
    let probes = looks::probes(written, "health", wrong);
    if probes.is_empty() && command.is_some() {
        return None;
    }
    let (key, probe) = looks::only("health", probes, "{tcp: '127.0.0.1:80'}", wrong)?;
    let check = Check {
        probe,
        interval: raw.interval.unwrap_or(HEALTH_INTERVAL),
        timeout: raw.timeout.unwrap_or(LOOK_TIMEOUT),
    };
    looks::hold_against_rules("health", key, &check, looks::HEALTH_INTERVAL_LEAST, wrong);
    Some(HealthSpec { check, failures: raw.failures.unwrap_or(HEALTH_FAILURES) })
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
fn kinds(raw: &raw::Ready, shell: bool, wrong: &mut Wrong<'_>) -> Vec<(&'static str, ReadyBy)> {
    let own = [
        ("after", raw.after.map(ReadyBy::After)),
        ("notify", (raw.notify == Some(true)).then_some(ReadyBy::Notify)),
        ("log", raw.log.clone().map(ReadyBy::Log)),
    ];
    let own = own.into_iter().filter_map(|(key, by)| Some((key, by?)));
    let interval = raw.interval.unwrap_or(READY_INTERVAL);
    let check = |probe| ReadyBy::Check(Check { probe, interval, timeout: LOOK_TIMEOUT });
    let raw::Ready { http, tcp, command, .. } = raw;
    let written = Written { http: http.as_ref(), tcp: tcp.as_ref(), command: command.as_ref(), shell };
    let looks = looks::probes(written, "ready", wrong).into_iter().map(|(key, probe)| (key, check(probe)));
    own.chain(looks).collect()
}
