//! How it is known that a process is of use.

use std::time::Duration;

use super::{settings, wrong};
use crate::core::readiness::{ReadyBy, ReadySpec};
use crate::core::spec::ProgramSpec;

fn program(text: &str) -> ProgramSpec {
    settings(text).programs.remove(0)
}

fn ready(written: &str) -> Option<ReadySpec> {
    program(&format!("programs: {{a: {{command: x, ready: {written}}}}}\n")).ready
}

#[test]
fn one_kind_tells_that_a_process_is_ready() {
    let minute = Some(Duration::from_secs(60));
    assert_eq!(ready("{notify: true}"), Some(ReadySpec { by: ReadyBy::Notify, timeout: minute }));
    let after = ReadyBy::After(Duration::from_secs(2));
    assert_eq!(ready("{after: 2s}"), Some(ReadySpec { by: after, timeout: None }));
    let limit = Some(Duration::from_secs(5));
    assert_eq!(ready("{notify: true, timeout: 5s}"), Some(ReadySpec { by: ReadyBy::Notify, timeout: limit }));
    assert_eq!(program("programs: {a: {command: x}}\n").ready, None);
}

#[test]
fn the_defaults_hold_for_programs_that_say_nothing_and_go_on() {
    let schedule = "schedule: '@daily'";
    let text =
        format!("defaults: {{ready: {{notify: true}}}}\nprograms: {{a: {{command: x, {schedule}}}}}\n");
    assert_eq!(program(&text).ready, None);
    let text = "defaults: {ready: {notify: true}}\nprograms: {a: {command: x, ready: {after: 1s}}}\n";
    assert_eq!(program(text).ready.unwrap().by, ReadyBy::After(Duration::from_secs(1)));
    let with_socket = program("defaults: {ready: {notify: true}}\nprograms: {a: {command: x}}\n");
    assert!(with_socket.run.notify && with_socket.ready.is_some());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let cases = [
        ("{after: 2s, notify: true}", "`ready` has one of its kinds, not `after` and `notify`"),
        ("{timeout: 2s}", "`ready` does not say what tells that a process is of use"),
        ("{notify: false}", "`ready` does not say what tells that a process is of use"),
        ("{notify: true, timeout: 0s}", "`timeout` must be longer than nothing"),
        ("{after: 2s, timeout: 5s}", "`timeout` means nothing with `after`"),
    ];
    for (written, said) in cases {
        let found = wrong(&format!("programs: {{a: {{command: x, ready: {written}}}}}\n"));
        assert!(found.len() == 1 && found[0].contains(said), "{written}: {found:?}");
    }
    let found = wrong("programs: {a: {command: x, schedule: '@daily', ready: {after: 2s}}}\n");
    assert!(found.len() == 1 && found[0].contains("nobody waits for it to be ready"), "{found:?}");
    let found = wrong("programs: {a: {command: x, schedule: '@daily', watchdog: 2s}}\n");
    assert!(found.len() == 1 && found[0].contains("has no watchdog"), "{found:?}");
    let found = wrong("programs: {a: {command: x, watchdog: 2ms}}\n");
    assert!(found.len() == 1 && found[0].contains("must be at least 1s"), "{found:?}");
    let watched = program("programs: {a: {command: x, watchdog: 30s}}\n").run;
    assert_eq!((watched.watchdog, watched.notify), (Some(Duration::from_secs(30)), true));
    let long = "x".repeat(100);
    let found =
        wrong(&format!("runtime_dir: /{long}\nprograms: {{a: {{command: x, ready: {{notify: true}}}}}}\n"));
    assert!(found.len() == 1 && found[0].contains("is too long for the sockets"), "{found:?}");
}
