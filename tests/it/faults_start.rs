//! Starts that fail: of a process, of a second Leveret, and of the first one.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::run;
use crate::support::status::{all_pids, text};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_process_that_cannot_be_started_says_which_step_failed_and_why() {
    let file = run::directory("text").join("text");
    std::fs::write(&file, "no program\n").expect("the directory is ours");
    let text_file =
        (format!("command: {}", file.display()), format!("exec {}: Permission denied", file.display()));
    let failures = [
        ("orders", "directory: /srv/nope", "chdir /srv/nope: No such file or directory"),
        ("ghost", "user: nobody-of-that-name", "user nobody-of-that-name: no such user"),
        ("crew", "group: nobody-of-that-name", "group nobody-of-that-name: no such group"),
        ("text", text_file.0.as_str(), text_file.1.as_str()),
        ("missing", "command: /nonexistent/worker", "exec /nonexistent/worker: No such file or directory"),
    ];
    let mut yaml = String::from(
        "defaults: {backoff: {initial: 300s, max: 300s}}\nprograms:\n  web: {command: sleep 1000}\n",
    );
    for (name, option, _) in failures {
        let command = if option.starts_with("command") { "" } else { "command: sleep 1000, " };
        yaml.push_str(&format!("  {name}: {{{command}{option}}}\n"));
    }
    let daemon = Daemon::start(&yaml);
    for (name, _, cause) in failures {
        daemon.wait_output(&format!("{name}: cannot start: {cause}; starts again in"), LIMIT);
        let process = daemon.wait_process(name, "backoff");
        let reason = text(&process, "reason");
        assert!(reason.starts_with(&format!("cannot start: {cause}; starts again in")), "{reason}");
        let said = daemon.cli_exits(1, &["start", name]);
        assert!(said.starts_with(&format!("error: {name}: ")), "{said}");
        assert!(said.contains(&format!("cannot start: {cause}")), "{said}");
        daemon.cli_exits(3, &["status", name]);
    }
    assert_eq!(daemon.wait_running("web")["running"], 1);
    assert_eq!(daemon.zombies(), []);
}

#[test]
fn a_second_leveret_on_the_same_directories_says_who_holds_them_and_changes_nothing() {
    let daemon = Daemon::start("programs:\n  web: {command: sleep 1000, processes: 2}\n");
    daemon.wait_running("web");
    let before = all_pids(&daemon.status());
    let holder = format!("is in use by Leveret with pid {}\n", daemon.keeper_pid());

    let second = daemon.run_a_second();
    assert_eq!(second.status.code(), Some(1));
    let state = daemon.directory().join("state");
    assert_eq!(second.stderr, format!("leveret: {} {holder}", state.display()));

    let (other, run) = (run::directory("state"), daemon.directory().join("run"));
    let third = daemon.run_beside(&format!(
        "listen: 127.0.0.1:1\nstate_dir: {}\nruntime_dir: {}\nprograms: {{other: {{command: sleep 1000}}}}\n",
        other.display(),
        run.display()
    ));
    assert_eq!(third.status.code(), Some(1));
    assert_eq!(third.stderr, format!("leveret: {} {holder}", run.display()));

    assert_eq!(all_pids(&daemon.status()), before);
}

#[test]
fn a_leveret_whose_port_is_taken_says_so_once_and_exits() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("the system has a port");
    let address = taken.local_addr().expect("it is bound");
    let daemon = Daemon::start("programs: {}\n");
    let directory = run::directory("taken");
    let refused = daemon.run_beside(&format!(
        "listen: {address}\nstate_dir: {0}/state\nruntime_dir: {0}/run\nprograms: {{web: {{command: sleep 1000}}}}\n",
        directory.display()
    ));
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        refused.stderr,
        format!(
            "leveret: cannot listen on {address} (is another program there? `listen` in the configuration chooses \
             another address): Address already in use\n"
        )
    );
    drop(taken);
}

/// A configuration with five mistakes, for this file and for the tests of reloading.
pub(crate) const FIVE_MISTAKES: &str = "programs:
  web:
    command: sleep 1000
    proceses: 2
  api:
    command: sleep 1000
    stop: {timeout: soon}
  jobs:
    command: sleep 1000
    stop: {signal: SIGTREM}
    environment: {KEY: \"${LEVERET_TEST_NO_SUCH_VARIABLE}\"}
  tail:
    command: sleep 1000
    processes: many
";

/// Where the mistakes are in it, line and column, and what is said of them.
const MISTAKES: [(usize, usize, &str); 5] = [
    (4, 5, "unknown key `proceses`; did you mean `processes`?"),
    (7, 21, "`timeout`: a duration is written as in 250ms, 5s, 2m or 1h30m"),
    (10, 20, "TREM; did you mean TERM?"),
    (11, 24, "the environment variable LEVERET_TEST_NO_SUCH_VARIABLE is not set"),
    (14, 16, "`processes` must be a whole number from 0 to 1000, not \"many\""),
];

#[test]
fn five_mistakes_in_a_configuration_are_five_errors_with_their_lines_and_end_the_first_start() {
    let refused = Daemon::refuse(FIVE_MISTAKES);
    assert_eq!(refused.status.code(), Some(2));
    assert_five_errors(&refused.stderr, Daemon::CONFIG_HEAD_LINES);
    assert_eq!(refused.stdout, "");
    assert!(!refused.stderr.contains("controller"), "{}", refused.stderr);

    let daemon = Daemon::start("programs: {}\n");
    let file = run::directory("mistakes").join("five.yaml");
    std::fs::write(&file, FIVE_MISTAKES).expect("the directory is ours");
    let said = daemon.cli_exits(2, &["check", &file.display().to_string()]);
    assert_five_errors(&said, 0);
}

/// `head_lines` stand in front of the text.
pub(crate) fn assert_five_errors(said: &str, head_lines: usize) {
    let errors: Vec<&str> = said.split("error: ").skip(1).collect();
    assert_eq!(errors.len(), MISTAKES.len(), "{said}");
    for (error, (line, column, sentence)) in errors.iter().zip(MISTAKES) {
        assert!(error.lines().next().is_some_and(|first| first.contains(sentence)), "{sentence}: {error}");
        let place = format!(".yaml:{}:{column}\n", line + head_lines);
        assert!(error.contains(&place), "{place}: {error}");
        let shown = FIVE_MISTAKES.lines().nth(line - 1).expect("it is a line of the text");
        assert!(error.contains(shown), "{shown}: {error}");
    }
}
