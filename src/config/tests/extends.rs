//! Programs that take the keys of others.

use std::path::PathBuf;
use std::time::Duration;

use super::{describe, directory, load_text, settings, variables, wrong};
use crate::config::load;
use crate::core::spec::{Kind, LogTarget, OnCode, ProgramSpec, StopStep};

fn program(text: &str, name: &str) -> ProgramSpec {
    settings(text).programs.into_iter().find(|program| program.name.as_str() == name).unwrap()
}

#[test]
fn a_program_takes_what_it_does_not_say_itself() {
    let text = "\
brokers: {b: amqp://h}
defaults: {nice: 1, umask: '022', environment: {D: d, APP: d}}
templates:
  consumer:
    command: work
    nice: 2
    environment: {APP: prod, LANG: C}
    restart: {policy: on-failure, codes: {3: stay-down, 4: recycle}}
    scale: {wait: 5s, max: 20}
    stop: {signal: QUIT, timeout: 5s}
programs:
  orders: {extends: consumer, scale: {queue: orders}}
  refunds:
    extends: orders
    command: refund
    environment: {LANG: de, X: ''}
    restart: {codes: {4: backoff}}
    scale: {queue: refunds, max: 4}
    stop: {timeout: 9s}
";
    let orders = program(text, "orders");
    assert_eq!(orders.run.argv, ["work"]);
    let scale = orders.scale().unwrap();
    assert_eq!((scale.queue.as_str(), scale.wait, scale.max), ("orders", Duration::from_secs(5), 20));
    assert_eq!((orders.run.nice, orders.run.umask), (Some(2), Some(0o022)));

    let refunds = program(text, "refunds");
    assert_eq!(refunds.run.argv, ["refund"]);
    let scale = refunds.scale().unwrap();
    assert_eq!((scale.queue.as_str(), scale.wait, scale.max), ("refunds", Duration::from_secs(5), 4));
    let variables: Vec<_> = refunds.run.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(variables, ["APP=prod", "D=d", "LANG=de", "X="]);
    assert_eq!(refunds.codes, [(3, OnCode::StayDown), (4, OnCode::Backoff)].into());
    assert_eq!((refunds.stop.signal, refunds.stop.timeout), (3, Duration::from_secs(9)));
}

#[test]
fn templates_do_not_run_and_may_lack_anything() {
    let settings = settings(
        "templates: {a: {scale: {max: 3}, schedule: {jitter: 1s}}, b: {}}\nprograms: {c: {command: x}}\n",
    );
    let names: Vec<_> = settings.programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["c"]);
}

#[test]
fn what_means_something_only_in_place_of_another_is_not_taken_beside_it() {
    let text = "\
brokers: {b: amqp://h}
programs:
  base:
    command: work
    scale: {queue: q, wait: 1s, max: 2}
    stop: [{signal: TERM, for: 3s}, KILL]
    ready: {tcp: '127.0.0.1:1', timeout: 5s}
    health: {http: 'http://127.0.0.1:1/', failures: 7}
  fixed: {extends: base, processes: 3, stop: {signal: INT}, ready: {after: 2s}}
  nightly: {extends: fixed, schedule: '@daily', ready: '${NOTHING}', health: '${NOTHING}'}
";
    let fixed = program(text.split("  nightly").next().unwrap(), "fixed");
    assert_eq!(fixed.kind, Kind::Service { processes: 3 });
    assert_eq!((fixed.stop.signal, fixed.stop.then), (2, Vec::<StopStep>::new()));
    assert_eq!(fixed.ready.unwrap().timeout, None);
    assert_eq!(fixed.health.unwrap().failures, 7);

    // A value that is left out is not written, so that it is taken.
    let found = wrong(text);
    assert!(found.iter().any(|line| line.contains("nobody waits for it to be ready")), "{found:?}");
    assert!(!found.iter().any(|line| line.contains("either `processes`")), "{found:?}");
}

#[test]
fn unknown_names_and_circles_are_refused_once_and_at_their_place() {
    let text = "\
templates:
  consumer: {nice: 1}
programs:
  a: {extends: b}
  b: {extends: c}
  c: {extends: a}
  outside: {extends: a}
  itself: {extends: itself}
  mistyped: {extends: consumr}
  list: {command: x, extends: [a]}
";
    let found = wrong(text);
    let told = [
        "4:16 programs.a.extends: these extend each other in a circle: a -> b -> c -> a; leave one `extends` out",
        "8:21 programs.itself.extends: these extend each other in a circle: itself -> itself; leave one `extends` out",
        "9:23 programs.mistyped.extends: there is no program and no template `consumr`; did you mean `consumer`?",
        "10:22 programs.list.extends: `extends` must be a text, not a list",
    ];
    assert_eq!(found, told);
    let found = wrong("programs:\n  a: {command: x}\ntemplates:\n  a: {}\n");
    assert_eq!(
        found,
        ["4:3 templates.a: `a` is the name of a program as well; give the template a name of its own"]
    );
}

#[test]
fn a_chain_has_an_end() {
    let links: String = (1..=17).map(|n| format!("  t{n}: {{extends: t{}}}\n", n - 1)).collect();
    let text = format!("templates:\n  t0: {{command: x}}\n{links}programs:\n  a: {{extends: t15}}\n");
    let found = wrong(&text);
    assert_eq!(
        found,
        [
            "19:18 templates.t17.extends: `t17` extends more than 16 others, one through the other; extend fewer"
        ]
    );
}

#[test]
fn a_mistake_is_told_where_it_is_written_and_a_lack_where_it_lacks() {
    let text = "\
brokers: {b: amqp://h}
templates:
  t:
    nise: 1
    processes: many
    scale: {wait: 5, max: 2}
  u:
    scale: {wait: 0s, max: 2, queue: q}
programs:
  a: {extends: t}
  b: {extends: t, command: x}
  c: {extends: u, command: x}
  d: {extends: u, command: x}
";
    assert_eq!(
        wrong(text),
        [
            "4:5 templates.t.nise: unknown key `nise`; did you mean `nice`?",
            "5:16 templates.t.processes: `processes` must be a whole number from 0 to 1000, not \"many\"",
            "6:19 templates.t.scale.wait: `wait`: a duration needs a unit: write 5s",
            "8:19 programs.c.scale.wait: `wait` must be longer than nothing; write how long a message may wait, as in 1s",
            "10:3 programs.a.command: `a` has no `command`; add it, as in `command: php worker.php`",
            "10:16 programs.a.scale.queue: `scale` has no `queue`; add it, as in `queue: orders`",
            "11:16 programs.b.scale.queue: `scale` has no `queue`; add it, as in `queue: orders`",
        ]
    );
}

#[test]
fn what_is_in_another_file_is_taken_with_its_paths() {
    let directory = directory(&[
        (
            "etc/shop.yaml",
            "include: [conf.d/*.yaml]\ntemplates: {t: {directory: app, env_file: [a.env, {path: b.env}], log: {path: t.log}}}\n",
        ),
        (
            "etc/conf.d/a.yaml",
            "templates: {u: {extends: t, log: {path: stdout}}}\n\
             programs: {a: {extends: t, command: x}, b: {extends: u, command: x, directory: mine}}\n",
        ),
    ]);
    let etc = std::path::absolute(directory.path()).unwrap().join("etc");
    let settings = load(&directory.path().join("etc/shop.yaml"), &variables());
    let programs = settings.unwrap_or_else(|problems| panic!("{problems}")).programs;
    let (a, b) = (&programs[0], &programs[1]);
    assert_eq!(a.run.directory, Some(etc.join("app")));
    assert_eq!(b.run.directory, Some(etc.join("conf.d/mine")));
    let files: Vec<PathBuf> = b.run.env_files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(files, [etc.join("a.env"), etc.join("b.env")]);
    assert_eq!((&a.log.to, &b.log.to), (&LogTarget::File(etc.join("t.log")), &LogTarget::Stdout));
}

#[test]
fn what_is_wrong_in_another_file_shows_nothing_of_its_secrets() {
    let directory = directory(&[
        (
            "shop.yaml",
            "include: [more.yaml]\nbrokers: {b: amqp://h}\nprograms:\n  a: {extends: t}\n  c: {extends: u}\n",
        ),
        (
            "more.yaml",
            "templates:\n  t: {command: x, environment: {SECRET: [hunter2]}, scale: {wait: 1s, max: 1}}\n  u: {}\n",
        ),
    ]);
    let problems = load(&directory.path().join("shop.yaml"), &variables()).unwrap_err();
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
    let told = describe(&problems);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("4:16 programs.a.scale.queue: `scale` has no `queue`"), "{told:?}");
    assert!(told[1].starts_with("5:3 programs.c.command: `c` has no `command`"), "{told:?}");
    assert!(told[2].starts_with("2:33 templates.t.environment.SECRET: "), "{told:?}");
}

#[test]
fn names_of_templates_are_checked_over_all_files() {
    let directory = directory(&[
        ("shop.yaml", "include: [more.yaml]\ntemplates: {t: {}}\n"),
        ("more.yaml", "templates: {t: {}, 'x:y': {}}\n"),
    ]);
    let told = describe(&load(&directory.path().join("shop.yaml"), &variables()).unwrap_err());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("1:13 templates.t: `t` is already in "), "{told:?}");
    assert!(told[1].contains("may contain only letters"), "{told:?}");
    assert!(load_text("templates: {t: {extends: t}}\n").is_err());
}
