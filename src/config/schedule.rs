//! Schedules: from what the file says to when a program runs.

use std::time::Duration;

use super::raw;
use crate::core::schedule::{Cron, Zone};
use crate::core::spec::{Kind, RestartPolicy, ScheduleSpec};
use crate::sys::zone;

/// The kind of a program with a schedule, or nothing where a mistake was reported.
pub(super) fn kind(
    raw: &raw::Schedule,
    program: &raw::Program,
    wrong: &mut impl FnMut(&[&str], String, Option<String>),
) -> Option<Kind> {
    for (key, is_there) in [("processes", program.processes.is_some()), ("scale", program.scale.is_some())] {
        if is_there {
            let message = format!("a program has either `schedule` or `{key}`");
            wrong(&[key], message, Some("leave one of them out".to_owned()));
        }
    }
    if program.recycle.is_some() {
        let message =
            "a program with a schedule ends after each run, so there is nothing to recycle".to_owned();
        wrong(&["recycle"], message, Some("leave it out".to_owned()));
    }
    if program.critical == Some(true) {
        let message = "a program with a schedule ends after each run, so it cannot be critical".to_owned();
        wrong(&["critical"], message, Some("leave it out".to_owned()));
    }
    if program.depends_on.as_ref().is_some_and(|needed| !needed.is_empty()) {
        let message = "a program with a schedule begins at its moments and cannot wait for others".to_owned();
        wrong(&["depends_on"], message, Some("leave it out".to_owned()));
    }
    let (policy, codes) =
        program.restart.as_ref().map_or((None, None), |raw| (raw.policy, raw.codes.as_ref()));
    if codes.is_some_and(|codes| !codes.is_empty()) {
        let message = "a run of a schedule succeeds with exit code 0 and fails with any other".to_owned();
        wrong(&["restart", "codes"], message, Some("leave `codes` out".to_owned()));
    }
    if policy == Some(RestartPolicy::Always) {
        let message = "a program with a schedule is started by its schedule, not always".to_owned();
        let hint = "leave `restart` out, or write on-failure to try a failed run again".to_owned();
        wrong(&["restart"], message, Some(hint));
    }
    if raw.timeout.is_some_and(|timeout| timeout.is_zero()) {
        let message = "`timeout` must be longer than nothing".to_owned();
        wrong(&["schedule", "timeout"], message, Some("leave it out for no limit".to_owned()));
    }
    // A schedule that is one text is at its own key.
    let cron = raw.cron.as_ref().and_then(|text| match text.parse::<Cron>() {
        Ok(cron) => Some(cron),
        Err(error) => {
            wrong(&["schedule", "cron"], error.to_string(), error.suggestion);
            None
        }
    });
    let timezone = match &raw.timezone {
        None => Some(zone::of_the_machine()),
        Some(name) => match Zone::named(name) {
            Ok(zone) => Some(zone),
            Err(error) => {
                let hint = "write a name as in Europe/Berlin or UTC".to_owned();
                wrong(&["schedule", "timezone"], error.to_string(), Some(hint));
                None
            }
        },
    };
    Some(Kind::Scheduled(ScheduleSpec {
        cron: cron?,
        timezone: timezone?,
        overlap: raw.overlap.unwrap_or_default(),
        missed: raw.missed.unwrap_or_default(),
        timeout: raw.timeout,
        jitter: raw.jitter.unwrap_or(Duration::ZERO),
    }))
}

/// What follows an exit: the next run, and before that another attempt at a failed one where that is asked for.
pub(super) fn restart(written: Option<RestartPolicy>) -> RestartPolicy {
    match written {
        Some(RestartPolicy::OnFailure) => RestartPolicy::OnFailure,
        Some(RestartPolicy::Always | RestartPolicy::Never) | None => RestartPolicy::Never,
    }
}
