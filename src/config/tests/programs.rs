//! What programs may say of themselves.

use std::path::Path;
use std::time::Duration;

use super::{describe, directory, settings, variables, wrong};
use crate::config::load;
use crate::core::spec::{EnvFile, LogTarget, Missed, Overlap, RestartPolicy, StopSpec, StopStep, StopTarget};

#[test]
fn a_stop_may_be_a_ladder_of_signals() {
    let settings = settings(
        "defaults: {stop: [{signal: INT, for: 1s}]}
programs:
  a: {command: x, stop: [{signal: TERM, for: 30s}, {signal: QUIT, for: 10s}, {signal: 6, for: 5s}, KILL]}
  b: {command: x, stop: {to: group}}
  c: {command: x, stop: {timeout: 2s}}
  d: {command: x, stop: [KILL]}
",
    );
    let stop = |index: usize| settings.programs[index].stop.clone();
    let step = |after, signal| StopStep { after: Duration::from_secs(after), signal };
    let ladder =
        |signal, to, seconds, then| StopSpec { signal, to, timeout: Duration::from_secs(seconds), then };
    assert_eq!(stop(0), ladder(15, StopTarget::Main, 45, vec![step(30, 3), step(40, 6)]));
    assert_eq!(stop(1), ladder(2, StopTarget::Group, 1, Vec::new()), "the defaults");
    assert_eq!(stop(2), ladder(15, StopTarget::Main, 2, Vec::new()));
    assert_eq!(stop(3), ladder(9, StopTarget::Main, 0, Vec::new()));
}

#[test]
fn files_of_variables_are_found_checked_and_part_of_what_a_process_is_made_from() {
    let directory = directory(&[
        (
            "shop.yaml",
            "defaults: {env_file: base.env}\nprograms:\n  a: {command: 'true', env_file: own.env}\n  b:\n    \
          command: 'true'\n    env_file: [{path: /none/x.env, optional: true}, own.env]\n",
        ),
        ("base.env", "A=1\n"),
        ("own.env", "# shop\nPASSWORD=hunter2\n"),
    ]);
    let path = directory.path().join("shop.yaml");
    let base = std::path::absolute(directory.path()).unwrap();
    let settings = || load(&path, &variables()).unwrap();
    let before = settings();
    let files = |index: usize| before.programs[index].run.env_files.clone();
    let file = |path: &Path, optional| EnvFile { path: path.to_path_buf(), optional };
    let (first, own) = (file(&base.join("base.env"), false), file(&base.join("own.env"), false));
    assert_eq!(files(0), [first.clone(), own.clone()]);
    assert_eq!(files(1), [first, file(Path::new("/none/x.env"), true), own]);
    assert!(before.warnings.is_empty(), "{:?}", before.warnings);
    assert!(!format!("{before:?}").contains("hunter2"));

    std::fs::write(directory.path().join("own.env"), "PASSWORD='hunter2' # as before\n").unwrap();
    assert_eq!(settings().programs[0].run.fingerprint(), before.programs[0].run.fingerprint());
    std::fs::write(directory.path().join("own.env"), "PASSWORD=hunter3\n").unwrap();
    assert_ne!(settings().programs[0].run.fingerprint(), before.programs[0].run.fingerprint());

    std::fs::remove_file(directory.path().join("base.env")).unwrap();
    let warnings = settings().warnings;
    let missing = base.join("base.env").display().to_string();
    let expected =
        format!("a: nothing starts as long as env_file {missing} cannot be read (No such file or directory)");
    assert_eq!(warnings[0], expected);

    std::fs::write(directory.path().join("own.env"), "A=1\nB='hunter2\n").unwrap();
    let found = describe(&load(&path, &variables()).unwrap_err());
    let expected = format!(
        "3:34 programs.a.env_file: {}: line 2: the quote that begins here is not closed",
        base.join("own.env").display()
    );
    assert_eq!(found[0], expected);
    assert!(!found.concat().contains("hunter2"));
    for (written, expected) in [
        ("env_file: {optional: true}", "`env_file` has no `path`; add it, as in `path: /etc/shop.env`"),
        ("env_file: [{paht: x}]", "unknown key `paht`; did you mean `path`?"),
        ("env_file: ''", "`env_file` cannot be empty"),
    ] {
        let found = wrong(&format!("programs: \n  a:\n    command: x\n    {written}\n"));
        let sentence = format!(": {expected}");
        assert!(found.iter().any(|found| found.ends_with(&sentence)), "{found:?}");
    }
}

#[test]
fn commands_are_checked() {
    for (program, expected) in [
        ("command: ''", "`command` cannot be empty"),
        ("command: []", "`command` cannot be empty"),
        ("command: [' ']", "the command names no program"),
        ("command: \"a 'b\"", "a quote in this command is not closed"),
        ("command: '   '", "the command names no program"),
        ("command: {a: b}", "`command` must be a text, not a section"),
        ("command:", "`command` has no value"),
        ("command: [a, [b]]", "`command` must be a text, not a list"),
        ("project: x", "`a` has no `command`; add it, as in `command: php worker.php`"),
        (
            "{command: [a], shell: true}",
            "with `shell: true` the command is one line, not a list; set `shell: false` to run the words as they are",
        ),
    ] {
        let found = wrong(&format!("programs:\n  a:\n    {program}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(&format!(": {expected}")), "{found:?}");
    }
}

#[test]
fn a_scale_needs_its_keys_and_a_broker() {
    let one = |brokers: &str, scale: &str| {
        wrong(&format!("brokers: {brokers}\nprograms:\n  a:\n    command: x\n    scale: {scale}\n"))
    };
    assert_eq!(
        one("{b: amqp://h}", "{}"),
        [
            "5:5 programs.a.scale.max: `scale` has no `max`; add it, as in `max: 20`",
            "5:5 programs.a.scale.queue: `scale` has no `queue`; add it, as in `queue: orders`",
            "5:5 programs.a.scale.wait: `scale` has no `wait`; add it, as in `wait: 5s`",
        ]
    );
    let whole = "{queue: q, wait: 1s, max: 5}";
    let sentence = |found: Vec<String>| {
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].split_once(": ").unwrap().1.to_owned()
    };
    assert!(sentence(one("", whole)).starts_with("there is no broker to read the queue from; add `brokers:"));
    assert_eq!(
        sentence(one("{b: amqp://h, c: amqp://h}", whole)),
        "there are several brokers, and none is called `default`; add `broker:` with one of b, c"
    );
    let named = "{queue: q, wait: 1s, max: 5, broker: mian}";
    assert_eq!(
        sentence(one("{main: amqp://h, c: amqp://h}", named)),
        "there is no such broker; did you mean `main`?"
    );
    assert_eq!(sentence(one("{x: amqp://h}", named)), "there is no such broker; the brokers are: x");
    assert_eq!(
        sentence(one("{b: amqp://h}", "{queue: q, wait: 0s, max: 5}")),
        "`wait` must be longer than nothing; write how long a message may wait, as in 1s"
    );
    // A broker with a mistake is still there, and a broker that could not be expanded is no other mistake.
    assert_eq!(one("{default: http://h}", whole).len(), 1);
    let unset = "{queue: q, wait: 1s, max: 5, broker: '${UNSET}'}";
    assert!(sentence(one("{b: amqp://h, c: amqp://h}", unset)).contains("UNSET is not set"));
    let both = wrong(
        "brokers: {b: amqp://h}\nprograms: {a: {command: x, processes: 2, scale: {queue: q, wait: 1s, max: 5}}}",
    );
    assert_eq!(sentence(both), "a program has either `processes` or `scale`; leave one of them out");
}

#[test]
fn the_default_broker_is_the_only_one_or_the_one_called_default() {
    let broker_of = |brokers: &str| {
        let settings = settings(&format!(
            "brokers: {brokers}\nprograms: {{a: {{command: x, scale: {{queue: q, wait: 1s, max: 5}}}}}}\n"
        ));
        settings.programs[0].scale().unwrap().broker.clone()
    };
    assert_eq!(broker_of("{only: amqp://h}"), "only");
    assert_eq!(broker_of("{a: amqp://h, default: amqp://h}"), "default");
}

#[test]
fn a_log_that_is_old_at_once_is_a_mistake() {
    let found = wrong("programs:\n  a: {command: x, log: {max_age: 0s}}\n");
    assert_eq!(
        found,
        ["2:34 programs.a.log.max_age: `max_age` must be longer than nothing; write an age as in 1d"]
    );
}

#[test]
fn the_standard_streams_as_devices_mean_leverets_own_output() {
    for path in ["stdout", "/dev/stdout", "/dev/stderr"] {
        let settings = settings(&format!("programs: {{a: {{command: 'true', log: {{path: {path}}}}}}}\n"));
        assert_eq!(settings.programs[0].log.to, LogTarget::Stdout, "{path}");
        assert_eq!(settings.warnings, Vec::<String>::new(), "{path}");
    }
}

#[test]
fn a_schedule_is_a_text_or_a_section() {
    let settings = settings(
        "defaults: {restart: always}\nprograms:\n  a: {command: x, schedule: {cron: 0 3 * * mon, timezone: europe/berlin, overlap: queue, missed: once, timeout: 1h, jitter: 30s}}\n  b: {command: x, schedule: '@daily', restart: on-failure}\n",
    );
    let [a, b] = &settings.programs[..] else { panic!("two programs") };
    let schedule = a.schedule().unwrap();
    assert_eq!(
        (schedule.cron.to_string().as_str(), schedule.timezone.name()),
        ("0 3 * * mon", "Europe/Berlin")
    );
    assert_eq!((schedule.overlap, schedule.missed), (Overlap::Queue, Missed::Once));
    assert_eq!(
        (schedule.timeout, schedule.jitter),
        (Some(Duration::from_secs(3_600)), Duration::from_secs(30))
    );
    assert!(a.is_single() && a.restart == RestartPolicy::Never, "what holds for all does not start it again");
    let schedule = b.schedule().unwrap();
    assert_eq!((schedule.overlap, schedule.missed, schedule.timeout), (Overlap::Skip, Missed::Skip, None));
    assert_eq!(b.restart, RestartPolicy::OnFailure);
}

#[test]
fn every_mistake_in_a_schedule_is_told_at_its_place() {
    let found = wrong(
        "programs:
  a: {command: x, schedule: 0 25 * * *}
  b: {command: x, schedule: {cron: '@often', timezone: Mars/Olympus, overlap: never}}
  c: {command: x, schedule: {timezone: UTC}, processes: 2}
  d: {command: x, schedule: {cron: '@daily', tz: UTC, timeout: 0s}, restart: always}
",
    );
    let expected = [
        "2:29 programs.a.schedule.cron: field 2, the hour: `25` is not one; it goes from 0 to 23",
        "3:36 programs.b.schedule.cron: there is no schedule called @often; the names are @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually",
    ];
    assert_eq!(found[..2], expected, "{found:#?}");
    for part in [
        "programs.b.schedule.timezone: there is no time zone \"Mars/Olympus\"",
        "programs.b.schedule.overlap",
        "programs.c.processes: a program has either `schedule` or `processes`",
        "programs.c.schedule",
        "`tz`; did you mean `timezone`?",
        "programs.d.schedule.timeout: `timeout` must be longer than nothing",
        "programs.d.restart: a program with a schedule is started by its schedule, not always",
    ] {
        assert!(found.iter().any(|found| found.contains(part)), "{part}: {found:#?}");
    }
}
