//! What is written arrives, and what is not written has its default.

use std::path::Path;
use std::time::Duration;

use super::{directory, settings, variables, wrong};
use crate::config::{load, raw, schema};
use crate::core::spec::{
    Backoff, Bound, CgroupSpec, Kind, Limit, LogFormat, LogSpec, LogTarget, OnCode, RecycleSpec, Resource,
    RestartPolicy, ScaleMode, Stdin, StopSpec, StopTarget,
};
use crate::scaling::profile::Profile;

const HOOKS: [&str; 4] = ["pre_start", "post_ready", "pre_stop", "post_exit"];

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
shutdown_timeout: 2m
budget: {processes: 64, memory: 8GiB}
budgets: {mysql: 120}
brokers:
  default: {host: rabbit, user: me, password: "${PASSWORD}", vhost: shop}
  other: {url: amqps://u:p@h/v, management: "https://m:q@h:15671/mq/"}
  third: {url: amqps://u:p@h/v, management: "${NOTHING}", metrics: "http://h:15692/metrics"}
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
    stdin: closed
    cgroup: {memory_max: 1GiB, cpu_max: 150, pids_max: 64}
    autostart: false
    critical: true
    recycle: {memory: 256MiB, age: 6h}
    restart: {policy: on-failure, codes: {0: recycle, 75: stay-down}}
    backoff: {initial: 0s, max: 5s, reset_after: 1m, give_up_after: 4}
    stop: {signal: QUIT, to: group}
    log: {path: logs/web.log, stderr: separate, keep: 0, max_age: 1d, compress: true, format: prefixed}
  orders:
    command: for i in 1 2; do echo $${i}; done
    shell: true
    log: {path: stdout}
    scale: {queue: orders, broker: other, wait: "${WAIT}", min: 0, max: "${MAX}", mode: dry-run, profile: calm, priority: -3}
    uses: {mysql: 2}
"#,
    )]);
    let settings = load(&directory.path().join("shop.yaml"), &variables()).unwrap();
    let base = std::path::absolute(directory.path()).unwrap();
    assert_eq!(settings.allowed_hosts, ["leveret.example"]);
    assert_eq!(settings.state_dir, base.join("state"));
    assert_eq!(settings.runtime_dir, Path::new("/run/x"));
    assert_eq!((settings.socket.mode, settings.socket.group.as_deref()), (0o660, Some("deploy")));
    assert_eq!(settings.probe_interval, Duration::from_millis(250));
    assert_eq!(settings.shutdown_timeout, Some(Duration::from_secs(120)));
    let shown: Vec<_> = settings.brokers.iter().map(|broker| broker.shown.as_str()).collect();
    assert_eq!(shown, ["amqp://me@rabbit:5672/shop", "amqps://u@h:5671/v", "amqps://u@h:5671/v"]);
    assert_eq!(settings.brokers[0].url.reveal(), "amqp://me:hunter2@rabbit:5672/shop");
    assert_eq!((&settings.brokers[0].management, &settings.brokers[2].management), (&None, &None));
    let metrics = settings.brokers[2].metrics.as_ref().unwrap();
    assert_eq!((metrics.address.as_str(), &metrics.login), ("http://h:15692", &None));
    let management = settings.brokers[1].management.as_ref().unwrap();
    assert_eq!(
        (management.address.as_str(), management.user.as_str(), management.password.reveal()),
        ("https://h:15671/mq", "m", "q")
    );

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
    let cgroup = CgroupSpec { memory_max: Some(1 << 30), cpu_max: Some(150), pids_max: Some(64) };
    assert_eq!((web.run.stdin, &web.run.cgroup), (Stdin::Closed, &Some(cgroup)));
    assert_eq!((orders.run.stdin, &orders.run.cgroup), (Stdin::Null, &None));
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
    let recycle = RecycleSpec { memory_bytes: Some(256 << 20), age: Some(Duration::from_secs(6 * 3_600)) };
    assert_eq!((web.recycle, orders.recycle), (recycle, RecycleSpec::default()));
    let stop =
        StopSpec { signal: 3, to: StopTarget::Group, timeout: Duration::from_secs(120), then: Vec::new() };
    assert_eq!(web.stop, stop);
    let log = LogSpec {
        to: LogTarget::File(base.join("logs/web.log")),
        stderr: Some(LogTarget::PerProcess),
        max_size: 1_000_000_000,
        max_age: Some(Duration::from_secs(86_400)),
        keep: 0,
        compress: true,
        format: Some(LogFormat::Prefixed),
    };
    assert_eq!(web.log, log);

    assert_eq!(orders.run.argv, ["/bin/sh", "-c", "for i in 1 2; do echo ${i}; done"]);
    assert_eq!(orders.run.directory.as_deref(), Some(base.join("base").as_path()));
    assert_eq!(orders.log.to, LogTarget::Stdout);
    let scale = orders.scale().unwrap();
    assert_eq!((scale.broker.as_str(), scale.queue.as_str()), ("other", "orders"));
    assert_eq!((scale.wait, scale.min, scale.max), (Duration::from_secs(5), 0, 30));
    assert_eq!((scale.mode, scale.profile, scale.priority), (ScaleMode::DryRun, Profile::Calm, -3));
    assert_eq!(orders.uses, [("mysql".to_owned(), 2)].into());
    let budgets: Vec<_> = settings.budgets.iter().map(|budget| (budget.of.as_str(), budget.limit)).collect();
    assert_eq!(budgets, [("processes", 64), ("memory", 8 << 30), ("mysql", 120)]);
}

#[test]
fn the_defaults_in_the_schema_are_those_that_an_empty_file_gets() {
    let schema = schema::of::<raw::File>();
    let mut written = serde_json::Map::new();
    collect_defaults(&schema, &mut written);
    // Where it is written, it limits memory, whatever else it says.
    written.remove("budget");
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
    // What tells has no default.
    scheduled.remove("ready");
    scaled.remove("ready");
    scheduled.remove("health");
    // It is recycled by its end.
    scheduled.remove("recycle");
    scaled.remove("health");
    // Nor has what runs.
    scaled.remove("hooks");
    scheduled.remove("hooks");
    for hook in HOOKS {
        service["hooks"][hook].as_object_mut().unwrap().insert("command".into(), "true".into());
    }
    for section in ["ready", "health"] {
        service[section].as_object_mut().unwrap().insert("tcp".into(), "h:1".into());
    }
    scheduled["schedule"].as_object_mut().unwrap().insert("cron".into(), "@daily".into());
    let scale = scaled["scale"].as_object_mut().unwrap();
    // One server has no part of several.
    scale.remove("share");
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
  service: {command: 'true', ready: {tcp: 'h:1'}, health: {tcp: 'h:1'}, hooks: {pre_start: 'true', post_ready: 'true', pre_stop: 'true', post_exit: 'true'}}
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

#[test]
fn standard_input_may_be_the_word_null_which_is_no_missing_value() {
    let stdin = |text: &str| {
        settings(&format!("programs: {{a: {{command: x, stdin: {text}}}}}")).programs[0].run.stdin
    };
    assert_eq!((stdin("null"), stdin("'null'"), stdin("closed")), (Stdin::Null, Stdin::Null, Stdin::Closed));
}
