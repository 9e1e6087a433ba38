//! How it is known that a process is of use.

use std::time::Duration;

use super::{settings, wrong};
use crate::core::check::{Check, Probe};
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

fn check(probe: Probe, interval_ms: u64, timeout_ms: u64) -> Check {
    Check { probe, interval: Duration::from_millis(interval_ms), timeout: Duration::from_millis(timeout_ms) }
}

#[test]
fn looks_tell_that_a_process_is_ready_and_that_it_is_well() {
    let http = Probe::Http("http://localhost:80${LEVERET_SLOT}/health".to_owned());
    let tcp = Probe::Tcp("[::1]:5432".to_owned());
    let by = |written: &str| ready(written).unwrap().by;
    let of_each = "{http: 'http://localhost:80${LEVERET_SLOT}/health', interval: 200ms}";
    assert_eq!(by(of_each), ReadyBy::Check(check(http, 200, 5_000)));
    assert_eq!(by("{tcp: '[::1]:5432'}"), ReadyBy::Check(check(tcp.clone(), 1_000, 5_000)));
    assert_eq!(ready("{tcp: 'a:1'}").unwrap().timeout, Some(Duration::from_secs(60)));

    let health =
        |written: &str| program(&format!("programs: {{a: {{command: x, health: {written}}}}}\n")).health;
    let usual = health("{tcp: '[::1]:5432'}").unwrap();
    assert_eq!((usual.check, usual.failures), (check(tcp.clone(), 10_000, 5_000), 3));
    let own = health("{tcp: '[::1]:5432', interval: 1s, timeout: 300ms, failures: 1}").unwrap();
    assert_eq!((own.check, own.failures), (check(tcp, 1_000, 300), 1));
    let text = "defaults: {health: {tcp: 'a:1'}}\nprograms: {a: {command: x}, b: {command: x, schedule: '@daily'}}\n";
    let programs = settings(text).programs;
    assert_eq!((programs[0].health.is_some(), programs[1].health.is_some()), (true, false));
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
        ("{notify: true, interval: 5s}", "`interval` means nothing with `notify`"),
        ("{tcp: 'db:5432', interval: 5ms}", "`interval` must be at least 100ms"),
        ("{command: 'a \"b'}", "a quote in this command is not closed"),
        ("{command: x, tcp: 'a:1'}", "`ready` has one of its kinds, not `tcp` and `command`"),
        ("{log: '('}", "this is no regular expression"),
        ("{log: '(a{999}){999}'}", "this pattern would need too much memory"),
        ("{log: 'a*'}", "this pattern matches every line"),
        ("{log: ready, interval: 1s}", "`interval` means nothing with `log`"),
        ("{tcp: db}", "this is no host with a port"),
        ("{tcp: ':5432'}", "this is no host with a port"),
        ("{tcp: 'http://db:5432'}", "this is no host with a port"),
        ("{http: 'https://localhost/'}", "this is no address that begins with http://"),
        ("{http: 'localhost:80'}", "this is no address that begins with http://"),
        ("{http: 'http://:80/'}", "this is no address that begins with http://"),
        ("{http: 'http://me:secret@localhost/'}", "has no user and no password"),
        ("{http: 'http://localhost:${LEVERET_PROGRAM}/'}", "this is no address that begins with http://"),
        ("{after: 2s, timeout: 5s}", "`timeout` means nothing with `after`"),
    ];
    for (written, said) in cases {
        let found = wrong(&format!("programs: {{a: {{command: x, ready: {written}}}}}\n"));
        assert!(found.len() == 1 && found[0].contains(said), "{written}: {found:?}");
    }
    let cases = [
        ("{failures: 2}", "`health` does not say what tells that a process is well"),
        ("{tcp: 'a:1', http: 'http://a/'}", "`health` has one of its kinds, not `http` and `tcp`"),
        ("{command: '\"\"'}", "the command names no program"),
        ("{tcp: 'a:1', interval: 999ms}", "`interval` must be at least 1s"),
        ("{tcp: 'a:1', timeout: 0s}", "`timeout` must be longer than nothing"),
        ("{tcp: a}", "this is no host with a port"),
        ("{tcp: 'a:1', retries: 1}", "did you mean `failures`?"),
    ];
    for (written, said) in cases {
        let found = wrong(&format!("programs: {{a: {{command: x, health: {written}}}}}\n"));
        assert!(found.len() == 1 && found[0].contains(said), "{written}: {found:?}");
    }
    let found = wrong("programs: {a: {command: x, schedule: '@daily', health: {tcp: 'a:1'}}}\n");
    assert!(found.len() == 1 && found[0].contains("nobody looks whether it is well"), "{found:?}");
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
