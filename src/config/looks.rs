//! Looks at processes: from what the file says to what is looked at, with every mistake a person can make.

use std::time::Duration;

use hyper::Uri;

use super::program::words;
use super::raw;
use super::ready::Wrong;
use crate::core::check::{Check, Probe};
use crate::core::ids::{ProcessId, ProgramName};
use crate::core::pattern::compile;
use crate::core::time::human;

/// The least time between two looks at a process that starts.
pub(super) const READY_INTERVAL_LEAST: Duration = Duration::from_millis(100);

/// The least time between two looks at a process that runs.
pub(super) const HEALTH_INTERVAL_LEAST: Duration = Duration::from_secs(1);

/// The kinds of looks as they are written, and whether /bin/sh runs commands.
pub(super) struct Written<'a> {
    pub(super) http: Option<&'a String>,
    pub(super) tcp: Option<&'a String>,
    pub(super) command: Option<&'a raw::Command>,
    pub(super) shell: bool,
}

/// What is to be looked at, by key. A command that was reported is none.
pub(super) fn probes(
    written: Written<'_>,
    section: &str,
    wrong: &mut Wrong<'_>,
) -> Vec<(&'static str, Probe)> {
    let Written { http, tcp, command, shell } = written;
    let words = command.and_then(|command| match words(command, shell) {
        Ok(words) => Some(words),
        Err((message, hint)) => {
            wrong(&[section, "command"], message, hint);
            None
        }
    });
    let all = [
        ("http", http.cloned().map(Probe::Http)),
        ("tcp", tcp.cloned().map(Probe::Tcp)),
        ("command", words.map(Probe::Command)),
    ];
    all.into_iter().filter_map(|(key, probe)| Some((key, probe?))).collect()
}

/// The one kind that is written below `section`; none or several are a mistake.
pub(super) fn only<T>(
    section: &str,
    mut kinds: Vec<(&'static str, T)>,
    example: &str,
    wrong: &mut Wrong<'_>,
) -> Option<(&'static str, T)> {
    let message = match kinds.len() {
        1 => return kinds.pop(),
        0 => format!("`{section}` does not say what tells that a process is {}", what(section)),
        _ => {
            let names: Vec<_> = kinds.iter().map(|(key, _)| format!("`{key}`")).collect();
            format!("`{section}` has one of its kinds, not {}", names.join(" and "))
        }
    };
    wrong(&[section], message, Some(format!("write one of them, as in `{section}: {example}`")));
    None
}

fn what(section: &str) -> &'static str {
    if section == "ready" { "of use" } else { "well" }
}

/// Reports what is wrong with a look that is written as `key` below `section`.
pub(super) fn hold_against_rules(
    section: &str,
    key: &str,
    check: &Check,
    interval_least: Duration,
    wrong: &mut Wrong<'_>,
) {
    if check.interval < interval_least {
        let message = format!("`interval` must be at least {}", human(interval_least));
        wrong(&[section, "interval"], message, None);
    }
    if check.timeout.is_zero() {
        let message = "`timeout` must be longer than nothing".to_owned();
        wrong(&[section, "timeout"], message, Some("leave it out for 5s".to_owned()));
    }
    // Each process has names of its own in it.
    let example = ProcessId::new(ProgramName::new("a").expect("a letter is a name"), 0);
    let trouble = match check.probe.of(&example) {
        Probe::Http(url) => not_an_address(&url),
        Probe::Tcp(address) => not_a_host_and_port(&address),
        Probe::Command(_) => None,
    };
    if let Some((message, hint)) = trouble {
        wrong(&[section, key], message.to_owned(), Some(hint.to_owned()));
    }
}

fn not_an_address(url: &str) -> Option<(&'static str, &'static str)> {
    let hint = "write it as in http://127.0.0.1:8080/health";
    let uri = url.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
    let authority = uri.as_ref().and_then(Uri::authority);
    // The whole address is shown to everybody.
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Some(("an address that is looked at has no user and no password", hint));
    }
    let is_whole = authority.is_some_and(|authority| {
        let host = authority.host();
        !host.is_empty() && (authority.as_str() == host || authority.port_u16().is_some_and(|port| port > 0))
    });
    (!is_whole).then_some(("this is no address that begins with http://", hint))
}

fn not_a_host_and_port(address: &str) -> Option<(&'static str, &'static str)> {
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '@', ' ']);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_both = address.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port));
    (!is_both).then_some(("this is no host with a port", "write it as in 127.0.0.1:5432"))
}

/// Why a pattern is none that output can be searched for.
pub(super) fn not_a_pattern(pattern: &str) -> Option<String> {
    match compile(pattern) {
        Ok(regex) if regex.is_match(b"".as_slice()) => Some("this pattern matches every line".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}
