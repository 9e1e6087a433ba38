//! Whole files, from text to settings or to everything that is wrong with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::settings::Settings;
use super::{Problems, load};
use crate::core::spec::{
    Backoff, Bound, EnvFile, Kind, Limit, LogSpec, LogTarget, Missed, OnCode, Overlap, Resource,
    RestartPolicy, ScaleMode, StopSpec, StopStep, StopTarget,
};

fn variables() -> BTreeMap<String, String> {
    [
        ("HOME", "/home/me"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("MAX", "30"),
        ("WAIT", "5s"),
        ("YES", "true"),
        ("PASSWORD", "hunter2"),
        ("BROKEN_URL", "hunter2"),
        ("NOTHING", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

fn load_text(text: &str) -> Result<Settings, Problems> {
    let directory = directory(&[("shop.yaml", text)]);
    load(&directory.path().join("shop.yaml"), &variables())
}

fn settings(text: &str) -> Settings {
    load_text(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is wrong, as `line:column key: sentence`.
fn wrong(text: &str) -> Vec<String> {
    describe(&load_text(text).expect_err("the file has mistakes"))
}

fn describe(problems: &Problems) -> Vec<String> {
    let describe = |problem: &super::Problem| {
        let (line, column) = problem.at.as_ref().map_or((0, 0), |at| (at.line, at.column));
        format!("{line}:{column} {}: {}", problem.key, problem.sentence())
    };
    problems.iter().map(describe).collect()
}

#[test]
fn a_minimal_file_has_all_the_defaults() {
    let settings = settings("state_dir: /s\nprograms: {web: {command: ./server --port 80}}\n");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:7865");
    assert_eq!(settings.probe_interval, Duration::from_secs(1));
    assert_eq!(settings.state_dir, Path::new("/s"));
    assert_eq!((settings.socket.mode, settings.socket.group.as_deref()), (0o600, None));
    let web = &settings.programs[0];
    assert_eq!(web.run.argv, ["./server", "--port", "80"]);
    assert!(web.autostart && web.is_single());
    assert_eq!(web.restart, RestartPolicy::Always);
    assert_eq!(web.backoff, Backoff::default());
    assert_eq!(web.stop, StopSpec::default());
    assert_eq!(web.log, LogSpec::default());
    assert_eq!((web.run.directory.as_ref(), web.run.umask, web.run.nice), (None, None, None));
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let directory = directory(&[(
        "shop.yaml",
        r#"
listen: 127.0.0.1:0
allowed_hosts: [Leveret.example]
state_dir: state
runtime_dir: /run/x
socket: {group: deploy, mode: 0660}
probe_interval: 250ms
brokers:
  default: {host: rabbit, user: me, password: "${PASSWORD}", vhost: shop}
  other: amqps://u:p@h/v
defaults:
  directory: base
  user: 33
  environment: {A: 1, B: shared}
  stop: {timeout: 2m}
  limits: {core: 0, memory: 2GiB, nproc: "${MAX}"}
  restart: {codes: {64: stay-down, 75: backoff}}
  log: {max_size: 1GB}
programs:
  web:
    project: shop
    command: [./server, --port, 8080, "a b"]
    processes: 3
    group: www-data
    directory: sub
    environment: {B: 1.10, C: true, D: ""}
    umask: 022
    nice: -5
    limits: {nofile: {soft: 1024, hard: 4096}, core: unlimited, cpu: 1h, stack: {soft: 8MiB}}
    oom_score_adj: -500
    no_new_privs: true
    autostart: false
    critical: true
    restart: {policy: on-failure, codes: {0: recycle, 75: stay-down}}
    backoff: {initial: 0s, max: 5s, reset_after: 1m, give_up_after: 4}
    stop: {signal: QUIT, to: group}
    log: {path: logs/web.log, keep: 0}
  orders:
    command: for i in 1 2; do echo $${i}; done
    shell: true
    log: {path: stdout}
    scale: {queue: orders, broker: other, wait: "${WAIT}", min: 0, max: "${MAX}", mode: dry-run}
"#,
    )]);
    let settings = load(&directory.path().join("shop.yaml"), &variables()).unwrap();
    let base = std::path::absolute(directory.path()).unwrap();
    assert_eq!(settings.allowed_hosts, ["leveret.example"]);
    assert_eq!(settings.state_dir, base.join("state"));
    assert_eq!(settings.runtime_dir, Path::new("/run/x"));
    assert_eq!((settings.socket.mode, settings.socket.group.as_deref()), (0o660, Some("deploy")));
    assert_eq!(settings.probe_interval, Duration::from_millis(250));
    let shown: Vec<_> = settings.brokers.iter().map(|broker| broker.shown.as_str()).collect();
    assert_eq!(shown, ["amqp://me@rabbit:5672/shop", "amqps://u@h:5671/v"]);
    assert_eq!(settings.brokers[0].url.reveal(), "amqp://me:hunter2@rabbit:5672/shop");

    let [web, orders] = settings.programs.as_slice() else { panic!("two programs in the order of the file") };
    assert_eq!(web.name.as_str(), "web");
    assert_eq!(web.project.as_deref(), Some("shop"));
    assert_eq!(web.run.argv, ["./server", "--port", "8080", "a b"]);
    assert_eq!(web.kind, Kind::Service { processes: 3 });
    assert_eq!((web.run.user.as_deref(), web.run.group.as_deref()), (Some("33"), Some("www-data")));
    assert_eq!(web.run.directory.as_deref(), Some(base.join("sub").as_path()));
    let environment: Vec<_> = web.run.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(environment, ["A=1", "B=1.10", "C=true", "D="]);
    assert_eq!((web.run.umask, web.run.nice, web.autostart), (Some(0o22), Some(-5), false));
    let both = |bound| Limit { soft: Some(bound), hard: Some(bound) };
    let limits = [
        (Resource::Nofile, Limit { soft: Some(Bound::At(1024)), hard: Some(Bound::At(4096)) }),
        (Resource::Nproc, both(Bound::At(30))),
        (Resource::Core, both(Bound::Unlimited)),
        (Resource::Stack, Limit { soft: Some(Bound::At(8 << 20)), hard: None }),
        (Resource::Cpu, both(Bound::At(3_600))),
        (Resource::Memory, both(Bound::At(2 << 30))),
    ];
    assert_eq!(web.run.limits, limits.into());
    assert_eq!((web.run.oom_score_adj, web.run.no_new_privs), (Some(-500), true));
    assert_eq!(web.restart, RestartPolicy::OnFailure);
    let codes = [(0, OnCode::Recycle), (64, OnCode::StayDown), (75, OnCode::StayDown)];
    assert_eq!(web.codes, codes.into(), "the program's own over the defaults");
    let backoff = Backoff {
        initial: Duration::ZERO,
        max: Duration::from_secs(5),
        reset_after: Duration::from_secs(60),
        give_up_after: Some(4),
    };
    assert_eq!(web.backoff, backoff);
    assert!(web.critical && !orders.critical);
    let stop =
        StopSpec { signal: 3, to: StopTarget::Group, timeout: Duration::from_secs(120), then: Vec::new() };
    assert_eq!(web.stop, stop);
    let log = LogSpec { to: LogTarget::File(base.join("logs/web.log")), max_size: 1_000_000_000, keep: 0 };
    assert_eq!(web.log, log);

    assert_eq!(orders.run.argv, ["/bin/sh", "-c", "for i in 1 2; do echo ${i}; done"]);
    assert_eq!(orders.run.directory.as_deref(), Some(base.join("base").as_path()));
    assert_eq!(orders.log.to, LogTarget::Stdout);
    let scale = orders.scale().unwrap();
    assert_eq!((scale.broker.as_str(), scale.queue.as_str()), ("other", "orders"));
    assert_eq!((scale.wait, scale.min, scale.max), (Duration::from_secs(5), 0, 30));
    assert_eq!(scale.mode, ScaleMode::DryRun);
}

#[test]
fn the_defaults_in_the_schema_are_those_that_an_empty_file_gets() {
    let schema = super::schema::of::<super::raw::File>();
    let mut written = serde_json::Map::new();
    collect_defaults(&schema, &mut written);
    let program = &schema["properties"]["programs"]["additionalProperties"];
    let mut program_keys = serde_json::Map::new();
    collect_defaults(program, &mut program_keys);
    assert!(program_keys["stop"]["timeout"] == "60s" && written["probe_interval"] == "1s");

    // `processes`, `scale` and `schedule` exclude each other, so each has a program.
    let [mut service, mut scaled, mut scheduled] = [(); 3].map(|()| program_keys.clone());
    let others = [(&mut service, ["scale", "schedule"]), (&mut scaled, ["processes", "schedule"])];
    for (program, absent) in others.into_iter().chain([(&mut scheduled, ["processes", "scale"])]) {
        program.insert("command".into(), "true".into());
        program.retain(|key, _| !absent.contains(&key.as_str()));
    }
    // One with a schedule is not started again unless it says so.
    scheduled.remove("restart");
    scheduled["schedule"].as_object_mut().unwrap().insert("cron".into(), "@daily".into());
    let scale = scaled["scale"].as_object_mut().unwrap();
    for (key, value) in [("queue", "q".into()), ("wait", "1s".into()), ("max", 5.into())] {
        scale.insert(key.to_owned(), value);
    }
    written.insert(
        "programs".into(),
        serde_json::json!({"service": service, "scaled": scaled, "scheduled": scheduled}),
    );
    let parts =
        serde_json::json!({"host": "h", "user": "guest", "password": "guest", "vhost": "/", "tls": false});
    written.insert("brokers".into(), serde_json::json!({"b": parts}));
    let minimal = "\
brokers: {b: {host: h}}
programs:
  scaled: {command: 'true', scale: {queue: q, wait: 1s, max: 5}}
  scheduled: {command: 'true', schedule: '@daily'}
  service: {command: 'true'}
";
    let text = serde_yaml::to_string(&written).unwrap().replace("command: true", "command: 'true'");
    assert_eq!(settings(&text), settings(minimal));
}

/// The defaults of all keys of a section, and of the sections in it.
fn collect_defaults(schema: &serde_json::Value, into: &mut serde_json::Map<String, serde_json::Value>) {
    for (key, property) in schema["properties"].as_object().unwrap() {
        if let Some(default) = property.get("default") {
            into.insert(key.clone(), default.clone());
        } else if property.get("properties").is_some() && key != "defaults" {
            let mut section = serde_json::Map::new();
            collect_defaults(property, &mut section);
            into.insert(key.clone(), section.into());
        }
    }
}

#[test]
fn five_mistakes_are_five_errors_in_one_go() {
    let text = "\
programs:
  orders:
    comand: php worker.php
    command: php worker.php
    stop: {signal: TREM}
    scale: {queue: orders, wait: 5, max: 20}
  orders:
    command: ${MISSING}
brokers:
  default: amqp://guest:hunter2@localhost
";
    assert_eq!(
        wrong(text),
        [
            "3:5 programs.orders.comand: unknown key `comand`; did you mean `command`?",
            "5:20 programs.orders.stop.signal: `signal`: there is no signal TREM; did you mean TERM?",
            "6:34 programs.orders.scale.wait: `wait`: a duration needs a unit: write 5s",
            "7:3 programs.orders: `orders` is written twice",
            "8:14 programs.orders.command: the environment variable MISSING is not set; set it, write \
             `${MISSING:-default}`, or `$${MISSING}` for a literal `${MISSING}`",
        ]
    );
}

#[test]
fn problems_are_shown_as_a_compiler_shows_them() {
    let directory = directory(&[(
        "shop.yaml",
        "\
brokers:
  default: {url: amqp://shop:hunter2@rabbit, managment: x}
programs:
  orders:
    command: php worker.php
    numprocs: 4
    health: {http: '* * * * *'}
    scale: {queue: orders, wait: 5s, min: 3, max: 2}
  orders:
    restart: sometimes
",
    )]);
    let text = load(&directory.path().join("shop.yaml"), &variables()).unwrap_err().to_string();
    let text = text.replace(&format!("{}/", directory.path().display()), "");
    let expected = "\
error: unknown key `managment`
 --> shop.yaml:2:46
  |
2 |   default: {url: ***, managment: ***}
  |                       ^^^^^^^^^ brokers.default.managment

error: unknown key `numprocs`; did you mean `processes`?
 --> shop.yaml:6:5
  |
6 |     numprocs: 4
  |     ^^^^^^^^ programs.orders.numprocs

error: `health` is not supported yet
 --> shop.yaml:7:5
  |
7 |     health: {http: '* * * * *'}
  |     ^^^^^^ programs.orders.health

error: `min` is 3, which is more than `max`, 2
 --> shop.yaml:8:43
  |
8 |     scale: {queue: orders, wait: 5s, min: 3, max: 2}
  |                                           ^ programs.orders.scale.min

error: `orders` is written twice
 --> shop.yaml:9:3
  |
9 |   orders:
  |   ^^^^^^ programs.orders
  |
 ::: shop.yaml:4:3
  |
4 |   orders:
  |   ------ first written here

error: `orders` has no `command`; add it, as in `command: php worker.php`
 --> shop.yaml:9:3
  |
9 |   orders:
  |   ^^^^^^ programs.orders.command

error: `restart` must be `always`, `on-failure` or `never`, not \"sometimes\"
  --> shop.yaml:10:14
   |
10 |     restart: sometimes
   |              ^^^^^^^^^ programs.orders.restart

7 errors in shop.yaml";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn each_wrong_type_says_what_is_right() {
    for (program, expected) in [
        ("processes: many", "`processes` must be a whole number from 0 to 1000, not \"many\""),
        ("processes: 1001", "`processes` must be a whole number from 0 to 1000, not \"1001\""),
        ("processes: 1.5", "`processes` must be a whole number from 0 to 1000, not \"1.5\""),
        ("processes: '3'", "`processes` must be a whole number from 0 to 1000, not \"3\"; remove the quotes"),
        ("processes: [3]", "`processes` must be a whole number from 0 to 1000, not a list"),
        ("processes:", "`processes` has no value"),
        ("nice: 20", "`nice` must be a whole number from -20 to 19, not \"20\""),
        ("autostart: yes", "`autostart` must be true or false, not \"yes\"; write true"),
        ("autostart: 'false'", "`autostart` must be true or false, not \"false\"; remove the quotes"),
        (
            "restart: onfailure",
            "`restart` must be `always`, `on-failure` or `never`, not \"onfailure\"; did you mean `on-failure`?",
        ),
        ("restart: {codes: {256: recycle}}", "an exit code is a whole number from 0 to 255"),
        (
            "restart: {codes: {0: recycled}}",
            "`0` must be `recycle`, `backoff` or `stay-down`, not \"recycled\"; did you mean `recycle`?",
        ),
        ("restart: [always]", "`restart` must be a section of keys like `codes`, `policy`, not a list"),
        ("limits: {nofile: many}", "`nofile`: this is a whole number, or `unlimited`"),
        ("limits: {nofile: -1}", "`nofile`: this is a whole number, or `unlimited`"),
        (
            "limits: {nofile: [1]}",
            "`nofile` must be a number, `unlimited`, or `{soft: .., hard: ..}`, not a list",
        ),
        ("limits: {nofile: {max: 1}}", "unknown key `max`"),
        ("limits: {nofile: {soft: 2, hard: 1}}", "the soft limit is above the hard one"),
        ("limits: {nofile: {soft: unlimited, hard: 1}}", "the soft limit is above the hard one"),
        ("limits: {cpu: 5}", "`cpu`: a duration needs a unit: write 5s"),
        ("limits: {cpu: 1500ms}", "`cpu`: the system counts processor time in whole seconds, from 1s"),
        ("limits: {memory: 2G}", "`memory`: \"G\" is not a unit of size: write KiB, MiB, GiB, kB, MB or GB"),
        ("oom_score_adj: 1001", "`oom_score_adj` must be a whole number from -1000 to 1000, not \"1001\""),
        ("umask: '089'", "`umask`: this is an octal number from 000 to 777, as in \"022\""),
        ("stop: TERM", "`stop` must be a section of keys like `signal`, `steps`, `timeout`, not \"TERM\""),
        (
            "stop: [TERM, KILL]",
            "TERM needs a time until the next step; write `{signal: TERM, for: 10s}`; only KILL, the last one, has \
             none",
        ),
        ("stop: []", "`stop` cannot be empty"),
        ("stop: [{signal: TERM}]", "`stop` has no `for`; add it, as in `for: 30s`"),
        ("stop: [KILL, {signal: TERM, for: 1s}]", "nothing outlives KILL: it comes last and has no time"),
        ("stop: [{signal: TERM, for: 0s}, KILL]", "TERM needs a time that is longer than nothing"),
        ("stop: [{signal: TREM, for: 1s}]", "`signal`: there is no signal TREM; did you mean TERM?"),
        (
            "stop: {signal: INT, steps: [KILL]}",
            "a stop has either `steps` or `signal` and `timeout`; write the first signal and its time as the first \
             step",
        ),
        ("stop: {timeout: -5s}", "`timeout`: a duration cannot be negative"),
        (
            "log: {max_size: 50M}",
            "`max_size`: \"M\" is not a unit of size: write KiB, MiB, GiB, kB, MB or GB",
        ),
        ("environment: [A]", "`environment` must be a section of names and values, not a list"),
        ("environment: {A: }", "`A` has no value"),
        ("environment: {A: [1]}", "`A` must be a text, not a list"),
        ("environment: {LEVERET_SLOT: 1}", "variables that begin with LEVERET_ are set by Leveret itself"),
        (
            "project: '@shop'",
            "`project`: \"@shop\" may contain only letters, digits, \"_\", \"-\" and \".\", and begins with a letter, a digit or \"_\"",
        ),
        ("directory: ''", "`directory` cannot be empty"),
        (
            "processes: ${WAIT}",
            "`processes` must be a whole number from 0 to 1000, not what \"${WAIT}\" expands to",
        ),
        ("backoff: {give_up_after: 0}", "`give_up_after` must be a whole number from 1, not \"0\""),
        (
            "backoff: {initial: 2m}",
            "the first wait, 2m, is longer than the longest, 1m; set both `initial` and `max`",
        ),
        (
            "backoff: {max: 500ms}",
            "the first wait, 1s, is longer than the longest, 500ms; set both `initial` and `max`",
        ),
        ("backoff: {initial: 5, max: 500ms}", "`initial`: a duration needs a unit: write 5s"),
    ] {
        let found = wrong(&format!("programs: \n  a:\n    command: x\n    {program}\n"));
        let sentences: Vec<_> = found.iter().map(|found| found.split_once(": ").unwrap().1).collect();
        assert_eq!(sentences, [expected], "{program}");
        assert!(found[0].starts_with("4:"), "{found:?}");
    }
}

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
            "5:5 programs.a.scale.queue: `scale` has no `queue`; add it, as in `queue: orders`",
            "5:5 programs.a.scale.wait: `scale` has no `wait`; add it, as in `wait: 5s`",
            "5:5 programs.a.scale.max: `scale` has no `max`; add it, as in `max: 20`",
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
fn unknown_keys_get_the_nearest_known_one_or_the_one_that_others_call_so() {
    for (key, hint) in [
        ("numproc", "; did you mean `processes`?"),
        ("numprocs", "; did you mean `processes`?"),
        ("autorestart", "; did you mean `restart`?"),
        ("stopwaitsecs", "; did you mean `stop.timeout`?"),
        ("stopsignal", "; did you mean `stop.signal`?"),
        ("stdout_logfile", "; did you mean `log.path`?"),
        ("queue", "; did you mean `scale.queue`?"),
        ("enviroment", "; did you mean `environment`?"),
        ("colour", ""),
    ] {
        let found = wrong(&format!("programs:\n  a: {{command: x, {key}: 1}}\n"));
        assert_eq!(found, [format!("2:19 programs.a.{key}: unknown key `{key}`{hint}")]);
    }
    assert_eq!(wrong("program: {}"), ["1:1 program: unknown key `program`; did you mean `programs`?"]);
}

#[test]
fn features_to_come_are_refused_and_never_silently_accepted() {
    let program = ["ready", "health", "recycle", "extends", "uses", "pre_start"];
    for key in program {
        let found = wrong(&format!("programs:\n  a: {{command: x, {key}: {{b: 1}}}}\n"));
        assert_eq!(found, [format!("2:19 programs.a.{key}: `{key}` is not supported yet")]);
    }
    for key in
        ["prefetch", "concurrency", "profile", "queues", "observe", "floors", "rate", "ordered", "share"]
    {
        let found = wrong(&format!(
            "brokers: {{b: amqp://h}}\nprograms: {{a: {{command: x, scale: {{queue: q, wait: 1s, max: 2, {key}: 1}}}}}}\n"
        ));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(&format!("`{key}` is not supported yet")), "{found:?}");
    }
    for text in
        ["budget: {processes: 4}", "budgets: {a: 1}", "brokers: {b: {url: amqp://h, management: 'http://h'}}"]
    {
        let found = wrong(text);
        assert!(found.len() == 1 && found[0].ends_with("is not supported yet"), "{found:?}");
    }
    settings("brokers:\n  b:\n    url: amqp://h\n    management: ${RABBITMQ_API:-}\n");
}

#[test]
fn a_value_that_expands_to_nothing_counts_as_not_written() {
    let settings = settings(
        "listen: ${NOTHING}\nprograms: {a: {command: x, processes: '${UNSET:-}', user: '${NOTHING}'}}",
    );
    assert_eq!(settings.listen.port(), 7865);
    assert_eq!(settings.programs[0].run.user, None);
    assert!(settings.programs[0].is_single());
    let found = wrong("programs: {a: {command: '${NOTHING}'}}");
    assert!(found.len() == 1 && found[0].contains("`a` has no `command`"), "{found:?}");
}

#[test]
fn expanded_values_are_typed_afterwards() {
    let settings = settings(
        "programs: {a: {command: x, processes: '${MAX}', autostart: '${YES}', stop: {timeout: '${WAIT}'}}}",
    );
    assert_eq!(settings.programs[0].kind, Kind::Service { processes: 30 });
    assert_eq!(settings.programs[0].stop.timeout, Duration::from_secs(5));
}

#[test]
fn no_secret_is_ever_shown() {
    for text in [
        "brokers: {b: {url: hunter2}}",
        "brokers: {b: {url: 'http://me:hunter2@h'}}",
        "brokers: {b: hunter2}",
        "brokers: {b: '${BROKEN_URL}'}",
        "brokers: {b: {url: '${BROKEN_URL}'}}",
        "brokers: {b: {host: h, password: hunter2, pord: 1}}",
        "brokers: {b: {host: h, pasword: hunter2}}",
        "brokers: {b: {host: h, password: [hunter2]}}",
        "brokers: {b: {host: h, password: hunter2, password: hunter2}}",
        "brokers: {b: {host: h, password: 'hunter2${UNSET}'}}",
        "brokers: {b: {host: h, password: '${UNSET:-hunter2}', tls: perhaps}}",
        "brokers: {b: {host: h, password: !x hunter2}}",
        "brokers: {b: {host: h, password: \"hunter2\\0\"}}",
        "brokers: {b: {url: 'amqp://h', password: hunter2}}",
        "brokers: {b: {management: 'http://me:hunter2@h'}}",
        "brokers: {b: {host: h, port: '${PASSWORD}'}}",
        "brokers: {b: [hunter2]}",
        "brokers: {b: &x hunter2, c: *x}",
        "brokers:\n  b:\n    password: hunter2\n   host: h",
        "brokers:\n  b: {url: amqp://me:hunter2@h: x}",
        "brokers:\n  b: amqp://me:hunter2@h: x",
        "borkers: {b: {password: hunter2}}",
        "programs: {a: {command: 'x amqp://me:hunter2@h', processes: x}}",
        "programs: {a: {command: x, environment: {API_TOKEN: [hunter2]}}}",
        "programs: {a: {command: x, environment: {ANYTHING: 'hunter2 ${UNSET}'}}}",
        "programs: {a: {command: x, processes: '${PASSWORD}'}}",
        "programs: {a: {command: x, stop: {signal: '${PASSWORD}', timeout: '${PASSWORD}'}}}",
        "programs: {a: {command: x, project: '${PASSWORD}?', restart: '${PASSWORD}'}}",
        "listen: ${PASSWORD}",
        "allowed_hosts: ['${PASSWORD}/']",
        "brokers: {b: amqp://h}\nprograms: {a: {command: x, scale: {queue: q, wait: 1s, max: 1, broker: '${PASSWORD}'}}}",
    ] {
        let problems = load_text(text).expect_err(text);
        let shown = format!("{problems} {} {problems:?}", problems.render(true));
        assert!(!shown.contains("hunter2"), "{text}\n{shown}");
        assert!(shown.contains("shop.yaml"));
    }
    let settings = settings("brokers: {b: {host: h, user: me, password: '${PASSWORD}'}}");
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn a_reference_without_a_secret_in_it_is_shown() {
    let problems = load_text("brokers: {b: {url: '${UNSET_URL}'}}").unwrap_err();
    assert_eq!(problems.iter().count(), 1);
    assert_eq!(
        problems.iter().next().unwrap().at.as_ref().unwrap().text,
        "brokers: {b: {url: '${UNSET_URL}'}}"
    );
}

#[test]
fn names_are_checked() {
    let found = wrong("programs: {all: {command: x}, 'a:b': {command: x}}\nbrokers: {'': amqp://h}");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("\"all\" means every program"));
    assert!(found[1].starts_with("1:31 programs.a:b: \"a:b\" may contain only letters"));
}

#[test]
fn the_probe_interval_is_bounded() {
    for text in ["99ms", "61s"] {
        let found = wrong(&format!("probe_interval: {text}"));
        assert_eq!(found, ["1:17 probe_interval: `probe_interval` must be 100ms to 1m"]);
    }
}

#[test]
fn included_files_add_programs_and_brokers_in_order() {
    let directory = directory(&[
        (
            "etc/shop.yaml",
            "include: [conf.d/*.yaml, './*.yaml']\ndefaults: {directory: base}\nprograms: {a: {command: x}}",
        ),
        ("etc/conf.d/20.yaml", "programs: {c: {command: x, scale: {queue: q, wait: 1s, max: 2}}}"),
        ("etc/conf.d/10.yaml", "brokers: {b: amqp://h}\nprograms: {b: {command: x, directory: own}}"),
    ]);
    let settings = load(&directory.path().join("etc/shop.yaml"), &variables()).unwrap();
    let names: Vec<_> = settings.programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let base = std::path::absolute(directory.path()).unwrap().join("etc");
    let directories: Vec<_> = settings.programs.iter().map(|p| p.run.directory.clone().unwrap()).collect();
    assert_eq!(directories, [base.join("base"), base.join("conf.d/own"), base.join("base")]);
    assert_eq!(settings.programs[2].scale().unwrap().broker, "b");
}

#[test]
fn mistakes_in_included_files_are_reported_with_those_of_the_main_file() {
    let directory = directory(&[
        ("shop.yaml", "include: [conf.d/*.yaml, missing.yaml]\nprograms: {a: {comand: x, command: x}}"),
        ("conf.d/a.yaml", "listen: 127.0.0.1:1\nprograms:\n  a: {command: x}\n"),
        ("conf.d/b.yaml", "programs: [\n"),
    ]);
    let problems = load(&directory.path().join("shop.yaml"), &variables()).unwrap_err();
    let text = problems.to_string().replace(&format!("{}/", directory.path().display()), "");
    let mut from = 0;
    for expected in [
        "error: there is no file missing.yaml\n --> shop.yaml:1:1\n",
        "unknown key `comand`; did you mean `command`?\n --> shop.yaml:2:16\n",
        "`listen` cannot be in an included file; move it to the main file\n --> conf.d/a.yaml:1:1\n",
        "`a` is already in shop.yaml, line 2\n --> conf.d/a.yaml:3:3\n",
        "this is not valid YAML: ",
        " --> conf.d/b.yaml:1:12\n",
        "5 errors in shop.yaml, conf.d/a.yaml, conf.d/b.yaml",
    ] {
        let at = text[from..].find(expected);
        assert!(at.is_some(), "{expected} is missing in\n{text}");
        from += at.unwrap();
    }
}

#[test]
fn paths_are_told_without_parts_that_say_nothing() {
    let text = "state_dir: ./state\nruntime_dir: .//run/.\n\
                programs: {a: {command: x, directory: ./src/../here, log: {path: ./a.log}}}\n";
    let directory = directory(&[("leveret.yaml", text)]);
    let base = directory.path();
    let settings = load(&base.join("./leveret.yaml"), &variables()).unwrap();
    let shown = |path: &Path| path.display().to_string();
    let expected = |path: &str| format!("{}/{path}", base.display());
    assert_eq!(shown(&settings.state_dir), expected("state"));
    assert_eq!(shown(&settings.runtime_dir), expected("run"));
    let program = &settings.programs[0];
    assert_eq!(shown(program.run.directory.as_deref().unwrap()), expected("src/../here"));
    let LogTarget::File(path) = &program.log.to else { panic!("{:?}", program.log) };
    assert_eq!(shown(path), expected("a.log"));
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
fn a_file_that_cannot_be_read_says_why() {
    let directory = directory(&[]);
    let place = directory.path();
    let message = |name: &str| {
        let problems = load(&place.join(name), &variables()).unwrap_err();
        assert!(problems.to_string().ends_with(&format!("1 error in {}", place.join(name).display())));
        describe(&problems)[0].clone()
    };
    assert_eq!(message("none.yaml"), "0:0 : cannot read this file: No such file or directory");
    assert!(message(".").contains("Is a directory"));
    std::fs::write(place.join("big.yaml"), " ".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(message("big.yaml"), "0:0 : this file is larger than 1 MiB");
    std::fs::write(place.join("latin.yaml"), b"a: 1\nb: caf\xe9\n").unwrap();
    assert_eq!(message("latin.yaml"), "2:7 : this is not valid UTF-8; save the file in UTF-8");
}

#[test]
fn warnings_do_not_stop_a_configuration() {
    let settings = settings(
        "listen: 0.0.0.0:7865\nprograms:\n  a: {command: no-such-command}\n  b: {command: sh, directory: gone}\n",
    );
    let warnings = settings.warnings.join("\n");
    assert_eq!(settings.warnings.len(), 3, "{warnings}");
    assert!(warnings.contains("anyone who can reach this address can stop your programs"), "{warnings}");
    assert!(warnings.contains("a: the command no-such-command is not in the PATH"), "{warnings}");
    assert!(warnings.contains("b: the directory ") && warnings.contains("gone does not exist"), "{warnings}");
}

#[test]
fn an_empty_file_is_a_configuration_without_programs() {
    for text in ["", "# nothing yet\n", "programs:\n"] {
        assert_eq!(settings(text).warnings, ["there are no programs in this configuration"]);
    }
    let found = wrong("- a\n");
    assert!(found.len() == 1 && found[0].contains("the file must be a section of keys"), "{found:?}");
}

#[test]
fn the_examples_are_valid() {
    let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"));
    let mut count = 0;
    for entry in examples.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            count += 1;
            load(&path, &variables()).unwrap_or_else(|problems| panic!("{problems}"));
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                text.starts_with("# yaml-language-server: $schema=./schema.json\n"),
                "{}",
                path.display()
            );
        }
    }
    assert_eq!(count, 2);
    let runnable = load(&examples.join("leveret.yaml"), &variables()).unwrap();
    assert!(runnable.warnings.is_empty(), "{:?}", runnable.warnings);
    assert!(runnable.programs.iter().all(|program| program.scale().is_none() && program.run.user.is_none()));
}

mod any_file {
    use proptest::prelude::*;

    use super::*;

    fn word() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "listen",
            "brokers",
            "programs",
            "defaults",
            "include",
            "command",
            "shell",
            "environment",
            "stop",
            "signal",
            "scale",
            "queue",
            "wait",
            "max",
            "min",
            "log",
            "path",
            "backoff",
            "initial",
            "url",
            "host",
            "port",
            "umask",
            "5s",
            "1",
            "-1",
            "true",
            "x",
            "''",
            "'a b'",
            "~",
            "${MAX}",
            "'${UNSET:-}'",
            "always",
            "50MiB",
            "socket",
            "mode",
            "amqp://h",
            "all",
            "processes",
            "user",
            "restart",
            "project",
            "allowed_hosts",
            "127.0.0.1:1",
        ])
    }

    fn value() -> impl Strategy<Value = String> {
        word().prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3)
                    .prop_map(|items| format!("[{}]", items.join(", "))),
                proptest::collection::vec((word(), inner), 0..4).prop_map(|entries| {
                    let entries: Vec<_> =
                        entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                    format!("{{{}}}", entries.join(", "))
                }),
            ]
        })
    }

    proptest! {
        /// What the check leaves of a file always deserializes, and every refusal has a place in the file.
        #[test]
        fn is_either_accepted_or_refused_at_a_place(top in proptest::collection::vec((word(), value()), 0..5)) {
            let text: String = top.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
            if let Err(problems) = load_text(&text) {
                for problem in &problems {
                    prop_assert!(problem.at.is_some(), "{text}\n{problems}");
                }
            }
        }
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
