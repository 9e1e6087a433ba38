//! What differs between two versions of a program, key by key, and what a change of each key does to its processes.
//!
//! This is the only place that says so: a reload and its plan report from here, and the manual's list is made from here.
//! Every field of a program is taken apart, so that one that is added has to be put in its place.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, HealthSpec, Probe};
use super::readiness::{ReadyBy, ReadySpec};
use super::spec::{Kind, ProgramSpec, RunSpec, ScaleSpec, ScheduleSpec};

/// What a change of a key does to running processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// They are replaced, each when it has finished what it has begun.
    Restart,
    /// They go on; the text says from when the change counts.
    InPlace(&'static str),
}

/// A key as it is written below a program's name, and whether it differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key: `stop.timeout`; below one whose names are the user's, with the name: `environment.APP_ENV`.
    pub name: String,
    /// What a change does.
    pub effect: Effect,
    /// Whether it differs.
    pub differs: bool,
}

/// The keys that differ, by what that does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Keys for which processes are replaced.
    pub restart: Vec<String>,
    /// Keys whose change the processes live through.
    pub in_place: Vec<String>,
}

const AT_ONCE: Effect = Effect::InPlace("at once");
const NEXT_END: Effect = Effect::InPlace("from the next end of a process");
const NEXT_STOP: Effect = Effect::InPlace("from the next stop; a stop under way keeps its limit");
const NEXT_TURN: Effect = Effect::InPlace("from the next start or end of a process");
const NEXT_START: Effect = Effect::InPlace("from the next start of a process");
const NEXT_READY: Effect = Effect::InPlace("from the next time that a process becomes ready");
const NEXT_LEVERET: Effect =
    Effect::InPlace("from the next start of Leveret; `true` starts a program that nobody has started yet");

/// What differs between two versions of the same program. The run of a schedule that is under way goes on whatever differs;
/// the next one is made from what is configured then.
pub fn differences(before: &ProgramSpec, after: &ProgramSpec) -> Differences {
    let runs_go_on = before.schedule().is_some() && after.schedule().is_some();
    let mut differences = Differences::default();
    for key in keys(before, after).into_iter().filter(|key| key.differs) {
        match key.effect {
            Effect::Restart if !runs_go_on => differences.restart.push(key.name),
            Effect::Restart | Effect::InPlace(_) => differences.in_place.push(key.name),
        }
    }
    differences
}

/// All keys of a program, and whether they differ.
pub fn keys(before: &ProgramSpec, after: &ProgramSpec) -> Vec<Key> {
    let mut keys = Keys::default();
    run(before, after, &mut keys);
    let ProgramSpec {
        name: _,
        project,
        run: _,
        kind: _,
        autostart,
        restart,
        codes,
        backoff,
        critical,
        recycle,
        stop,
        log,
        depends_on,
        ready,
        health,
        hooks,
        uses,
    } = before;
    keys.add("project", AT_ONCE, *project != after.project);
    kind(before, after, &mut keys);
    keys.add("log.path", AT_ONCE, log.to != after.log.to);
    let is_moved = log.stderr.as_ref().zip(after.log.stderr.as_ref()).is_some_and(|(old, new)| old != new);
    keys.add("log.stderr", AT_ONCE, is_moved);
    keys.add("log.max_size", AT_ONCE, log.max_size != after.log.max_size);
    keys.add("log.max_age", AT_ONCE, log.max_age != after.log.max_age);
    keys.add("log.keep", AT_ONCE, log.keep != after.log.keep);
    keys.add("log.compress", AT_ONCE, log.compress != after.log.compress);
    keys.add("log.format", AT_ONCE, log.format != after.log.format);
    keys.add("restart.policy", NEXT_END, *restart != after.restart);
    keys.add("restart.codes", NEXT_END, *codes != after.codes);
    keys.add("backoff.initial", NEXT_END, backoff.initial != after.backoff.initial);
    keys.add("backoff.max", NEXT_END, backoff.max != after.backoff.max);
    keys.add("backoff.reset_after", NEXT_END, backoff.reset_after != after.backoff.reset_after);
    keys.add("backoff.give_up_after", NEXT_END, backoff.give_up_after != after.backoff.give_up_after);
    keys.add("critical", NEXT_END, *critical != after.critical);
    keys.add("recycle.memory", AT_ONCE, recycle.memory_bytes != after.recycle.memory_bytes);
    keys.add("recycle.age", AT_ONCE, recycle.age != after.recycle.age);
    keys.add("stop.signal", NEXT_STOP, stop.signal != after.stop.signal);
    keys.add("stop.to", NEXT_STOP, stop.to != after.stop.to);
    keys.add("stop.timeout", NEXT_STOP, stop.timeout != after.stop.timeout);
    keys.add("stop.steps", NEXT_STOP, stop.then != after.stop.then);
    keys.add("depends_on", NEXT_TURN, *depends_on != after.depends_on);
    self::ready(ready.as_ref(), after.ready.as_ref(), &mut keys);
    self::health(health.as_ref(), after.health.as_ref(), &mut keys);
    keys.add("hooks.pre_start", NEXT_START, hooks.pre_start != after.hooks.pre_start);
    keys.add("hooks.post_ready", NEXT_READY, hooks.post_ready != after.hooks.post_ready);
    keys.add("hooks.pre_stop", NEXT_STOP, hooks.pre_stop != after.hooks.pre_stop);
    keys.add("hooks.post_exit", NEXT_END, hooks.post_exit != after.hooks.post_exit);
    keys.add("uses", AT_ONCE, *uses != after.uses);
    keys.add("autostart", NEXT_LEVERET, *autostart != after.autostart);
    keys.0
}

#[derive(Debug, Default)]
struct Keys(Vec<Key>);

impl Keys {
    fn add(&mut self, name: &str, effect: Effect, differs: bool) {
        self.0.push(Key { name: name.to_owned(), effect, differs });
    }

    /// The names in a section that differ, or the section where none does; all of them replace processes.
    fn add_named<K: Ord, V: PartialEq>(
        &mut self,
        section: &str,
        before: &BTreeMap<K, V>,
        after: &BTreeMap<K, V>,
        name: impl Fn(&K) -> &str,
    ) {
        let names: BTreeSet<&K> = before.keys().chain(after.keys()).collect();
        let changed: Vec<&K> = names.into_iter().filter(|name| before.get(name) != after.get(name)).collect();
        if changed.is_empty() {
            self.add(section, Effect::Restart, false);
        }
        for key in changed {
            self.add(&format!("{section}.{}", name(key)), Effect::Restart, true);
        }
    }

    /// Keys of a section that count at once; they differ only where the section is there before and after.
    fn add_section<const N: usize>(&mut self, names: [&str; N], differ: Option<[bool; N]>) {
        for (name, differs) in names.into_iter().zip(differ.unwrap_or([false; N])) {
            self.add(name, AT_ONCE, differs);
        }
    }
}

/// What a process is made from: all of it replaces processes.
fn run(before: &ProgramSpec, after: &ProgramSpec, keys: &mut Keys) {
    let RunSpec {
        argv,
        directory,
        user,
        group,
        environment,
        env_files,
        env_files_digest,
        umask,
        nice,
        limits,
        oom_score_adj,
        no_new_privs,
        notify,
        stdin,
        cgroup,
        watchdog,
        separate_errors,
    } = &before.run;
    let after = &after.run;
    keys.add("command", Effect::Restart, *argv != after.argv);
    keys.add("directory", Effect::Restart, *directory != after.directory);
    keys.add("user", Effect::Restart, *user != after.user);
    keys.add("group", Effect::Restart, *group != after.group);
    keys.add_named("environment", environment, &after.environment, String::as_str);
    let is_changed = *env_files != after.env_files || *env_files_digest != after.env_files_digest;
    keys.add("env_file", Effect::Restart, is_changed);
    keys.add("umask", Effect::Restart, *umask != after.umask);
    keys.add("nice", Effect::Restart, *nice != after.nice);
    keys.add_named("limits", limits, &after.limits, |resource| resource.as_str());
    keys.add("oom_score_adj", Effect::Restart, *oom_score_adj != after.oom_score_adj);
    keys.add("no_new_privs", Effect::Restart, *no_new_privs != after.no_new_privs);
    keys.add("ready.notify", Effect::Restart, *notify != after.notify);
    keys.add("stdin", Effect::Restart, *stdin != after.stdin);
    keys.add("cgroup", Effect::Restart, *cgroup != after.cgroup);
    keys.add("watchdog", Effect::Restart, *watchdog != after.watchdog);
    keys.add("log.stderr (set or left out)", Effect::Restart, *separate_errors != after.separate_errors);
}

/// What tells that a process is of use. Those that are of use stay so; the others are measured by what is new.
fn ready(before: Option<&ReadySpec>, after: Option<&ReadySpec>, keys: &mut Keys) {
    let time = |ready: Option<&ReadySpec>| match ready.map(|ready| &ready.by) {
        Some(ReadyBy::After(after)) => Some(*after),
        Some(ReadyBy::Notify | ReadyBy::Check(_) | ReadyBy::Log(_)) | None => None,
    };
    keys.add("ready.after", AT_ONCE, time(before) != time(after));
    let check = |ready: Option<&ReadySpec>| ready.and_then(|ready| ready.by.check().cloned());
    probe(
        ["ready.http", "ready.tcp", "ready.command", "ready.interval"],
        (check(before), check(after)),
        keys,
    );
    let pattern = |ready: Option<&ReadySpec>| ready.and_then(|ready| ready.by.pattern().map(str::to_owned));
    keys.add("ready.log", AT_ONCE, pattern(before) != pattern(after));
    let kind = |ready: &ReadySpec| std::mem::discriminant(&ready.by);
    let both = before.zip(after).filter(|(before, after)| kind(before) == kind(after));
    keys.add("ready.timeout", AT_ONCE, both.is_some_and(|(before, after)| before.timeout != after.timeout));
}

/// When a process that runs is not well any more.
fn health(before: Option<&HealthSpec>, after: Option<&HealthSpec>, keys: &mut Keys) {
    let check = |health: Option<&HealthSpec>| health.map(|health| health.check.clone());
    probe(
        ["health.http", "health.tcp", "health.command", "health.interval"],
        (check(before), check(after)),
        keys,
    );
    let both = before.zip(after);
    let timeout = |(before, after): (&HealthSpec, &HealthSpec)| before.check.timeout != after.check.timeout;
    keys.add("health.timeout", AT_ONCE, both.is_some_and(timeout));
    let failures = |(before, after): (&HealthSpec, &HealthSpec)| before.failures != after.failures;
    keys.add("health.failures", AT_ONCE, both.is_some_and(failures));
}

/// What is looked at, and how often.
fn probe(
    [http, tcp, command, interval]: [&str; 4],
    (before, after): (Option<Check>, Option<Check>),
    keys: &mut Keys,
) {
    let parts = |check: Option<&Check>| match check.map(|check| check.probe.clone()) {
        Some(Probe::Http(url)) => (Some(url), None, None),
        Some(Probe::Tcp(address)) => (None, Some(address), None),
        Some(Probe::Command(words)) => (None, None, Some(words)),
        None => (None, None, None),
    };
    let (parts_before, parts_after) = (parts(before.as_ref()), parts(after.as_ref()));
    keys.add(http, AT_ONCE, parts_before.0 != parts_after.0);
    keys.add(tcp, AT_ONCE, parts_before.1 != parts_after.1);
    keys.add(command, AT_ONCE, parts_before.2 != parts_after.2);
    let differs = before.zip(after).is_some_and(|(before, after)| before.interval != after.interval);
    keys.add(interval, AT_ONCE, differs);
}

/// How many processes there are, and when.
fn kind(before: &ProgramSpec, after: &ProgramSpec, keys: &mut Keys) {
    let fixed = |spec: &ProgramSpec| match spec.kind {
        Kind::Service { processes } => Some(processes),
        Kind::Scaled(_) | Kind::Scheduled(_) => None,
    };
    let both = fixed(before).zip(fixed(after));
    keys.add("processes", AT_ONCE, both.is_some_and(|(before, after)| before != after));
    scale(before.scale(), after.scale(), keys);
    schedule(before.schedule(), after.schedule(), keys);
}

fn scale(before: Option<&ScaleSpec>, after: Option<&ScaleSpec>, keys: &mut Keys) {
    keys.add("scale", AT_ONCE, before.is_some() != after.is_some());
    let names = [
        "scale.queue",
        "scale.broker",
        "scale.wait",
        "scale.min",
        "scale.max",
        "scale.mode",
        "scale.profile",
        "scale.queues",
        "scale.order",
        "scale.observe",
        "scale.priority",
        "scale.floors",
        "scale.rate",
        "scale.ordered",
        "scale.share",
        "scale.prefetch",
        "scale.concurrency",
        "scale.delayed",
    ];
    let differ = before.zip(after).map(|(before, after)| {
        let ScaleSpec {
            broker,
            queue,
            wait,
            more,
            order,
            observe,
            floors,
            rate_per_hour,
            ordered,
            share,
            min,
            max,
            mode,
            profile,
            priority,
            prefetch,
            concurrency,
            delayed,
        } = before;
        [
            *queue != after.queue,
            *broker != after.broker,
            *wait != after.wait,
            *min != after.min,
            *max != after.max,
            *mode != after.mode,
            *profile != after.profile,
            *more != after.more,
            *order != after.order,
            *observe != after.observe,
            *priority != after.priority,
            *floors != after.floors,
            *rate_per_hour != after.rate_per_hour,
            *ordered != after.ordered,
            *share != after.share,
            *prefetch != after.prefetch,
            *concurrency != after.concurrency,
            *delayed != after.delayed,
        ]
    });
    keys.add_section(names, differ);
}

/// What runs when a program is given a schedule runs without a run and has to end; what runs when it loses its schedule
/// goes on.
fn schedule(before: Option<&ScheduleSpec>, after: Option<&ScheduleSpec>, keys: &mut Keys) {
    keys.add("schedule (where there was none)", Effect::Restart, before.is_none() && after.is_some());
    keys.add("schedule (where there is none now)", AT_ONCE, before.is_some() && after.is_none());
    let names = [
        "schedule.cron",
        "schedule.timezone",
        "schedule.overlap",
        "schedule.missed",
        "schedule.timeout",
        "schedule.jitter",
    ];
    let differ = before.zip(after).map(|(before, after)| {
        let ScheduleSpec { cron, timezone, overlap, missed, timeout, jitter } = before;
        [
            *cron != after.cron,
            *timezone != after.timezone,
            *overlap != after.overlap,
            *missed != after.missed,
            *timeout != after.timeout,
            *jitter != after.jitter,
        ]
    });
    keys.add_section(names, differ);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::ProgramName;
    use crate::core::scenario::{scaled, scheduled, service};
    use crate::core::spec::{
        Bound, CgroupSpec, Dependency, EnvFile, Limit, LogTarget, OnCode, Resource, Stdin, StopStep, Until,
    };

    type Change<T> = Box<dyn Fn(&mut T)>;

    fn changed(spec: &ProgramSpec, change: impl FnOnce(&mut ProgramSpec)) -> Differences {
        let mut after = spec.clone();
        change(&mut after);
        differences(spec, &after)
    }

    #[test]
    fn every_key_of_what_a_process_is_made_from_replaces_it_and_is_named() {
        let limit = Limit { soft: Some(Bound::At(1)), hard: None };
        let file = EnvFile { path: "/a.env".into(), optional: false };
        let changes: Vec<(&str, Change<RunSpec>)> = vec![
            ("command", Box::new(|run| run.argv.push("more".into()))),
            ("directory", Box::new(|run| run.directory = Some("/srv".into()))),
            ("user", Box::new(|run| run.user = Some("www".into()))),
            ("group", Box::new(|run| run.group = Some("www".into()))),
            (
                "environment.APP_ENV",
                Box::new(|run| run.environment.extend([("APP_ENV".into(), "prod".into())])),
            ),
            ("env_file", Box::new(move |run| run.env_files.push(file.clone()))),
            ("env_file", Box::new(|run| run.env_files_digest = Some(1))),
            ("umask", Box::new(|run| run.umask = Some(0o22))),
            ("nice", Box::new(|run| run.nice = Some(1))),
            ("limits.nofile", Box::new(move |run| run.limits.extend([(Resource::Nofile, limit)]))),
            ("oom_score_adj", Box::new(|run| run.oom_score_adj = Some(1))),
            ("no_new_privs", Box::new(|run| run.no_new_privs = true)),
            ("ready.notify", Box::new(|run| run.notify = true)),
            ("stdin", Box::new(|run| run.stdin = Stdin::Closed)),
            ("cgroup", Box::new(|run| run.cgroup = Some(CgroupSpec::default()))),
            ("watchdog", Box::new(|run| run.watchdog = Some(std::time::Duration::from_secs(1)))),
        ];
        for (key, change) in changes {
            let differences = changed(&service("web", 1), |spec| change(&mut spec.run));
            assert_eq!((differences.restart, differences.in_place), (vec![key.to_owned()], vec![]), "{key}");
        }
    }

    #[test]
    fn what_does_not_concern_a_running_process_never_replaces_it() {
        let needed = Dependency { program: ProgramName::new("db").unwrap(), until: Until::Ready };
        let after = ReadySpec { by: ReadyBy::After(std::time::Duration::from_secs(1)), timeout: None };
        let check = |probe| Check {
            probe,
            interval: std::time::Duration::from_secs(1),
            timeout: std::time::Duration::from_secs(5),
        };
        let (http, tcp) = (check(Probe::Http("http://a/".into())), check(Probe::Tcp("a:1".into())));
        let looked_at = ReadySpec { by: ReadyBy::Check(http.clone()), timeout: None };
        let well = HealthSpec { check: tcp, failures: 3 };
        let hook =
            crate::core::hooks::Hook { argv: vec!["a".into()], timeout: std::time::Duration::from_secs(1) };
        let [ready, stop, exit] = [&hook; 3].map(Clone::clone);
        let step = StopStep { after: std::time::Duration::from_secs(1), signal: 3 };
        let changes: Vec<(&str, Change<ProgramSpec>)> = vec![
            ("project", Box::new(|spec| spec.project = Some("shop".into()))),
            ("processes", Box::new(|spec| spec.kind = Kind::Service { processes: 9 })),
            ("autostart", Box::new(|spec| spec.autostart = false)),
            ("restart.policy", Box::new(|spec| spec.restart = crate::core::spec::RestartPolicy::Never)),
            ("restart.codes", Box::new(|spec| spec.codes.extend([(3, OnCode::Recycle)]))),
            ("backoff.initial", Box::new(|spec| spec.backoff.initial *= 2)),
            ("backoff.max", Box::new(|spec| spec.backoff.max *= 2)),
            ("backoff.reset_after", Box::new(|spec| spec.backoff.reset_after *= 2)),
            ("backoff.give_up_after", Box::new(|spec| spec.backoff.give_up_after = Some(9))),
            ("critical", Box::new(|spec| spec.critical = true)),
            ("recycle.memory", Box::new(|spec| spec.recycle.memory_bytes = Some(1))),
            ("recycle.age", Box::new(|spec| spec.recycle.age = Some(std::time::Duration::from_secs(1)))),
            ("stop.signal", Box::new(|spec| spec.stop.signal = 2)),
            ("stop.to", Box::new(|spec| spec.stop.to = crate::core::spec::StopTarget::Group)),
            ("stop.timeout", Box::new(|spec| spec.stop.timeout *= 2)),
            ("stop.steps", Box::new(move |spec| spec.stop.then.push(step))),
            ("log.path", Box::new(|spec| spec.log.to = LogTarget::Stdout)),
            ("log.max_size", Box::new(|spec| spec.log.max_size += 1)),
            ("log.keep", Box::new(|spec| spec.log.keep += 1)),
            ("log.max_age", Box::new(|spec| spec.log.max_age = Some(std::time::Duration::from_secs(1)))),
            ("log.compress", Box::new(|spec| spec.log.compress = true)),
            ("log.format", Box::new(|spec| spec.log.format = Some(crate::core::spec::LogFormat::Json))),
            ("depends_on", Box::new(move |spec| spec.depends_on.push(needed.clone()))),
            ("ready.after", Box::new(move |spec| spec.ready = Some(after.clone()))),
            ("ready.http", Box::new(move |spec| spec.ready = Some(looked_at.clone()))),
            ("hooks.pre_start", Box::new(move |spec| spec.hooks.pre_start = Some(hook.clone()))),
            ("hooks.post_ready", Box::new(move |spec| spec.hooks.post_ready = Some(ready.clone()))),
            ("hooks.pre_stop", Box::new(move |spec| spec.hooks.pre_stop = Some(stop.clone()))),
            ("hooks.post_exit", Box::new(move |spec| spec.hooks.post_exit = Some(exit.clone()))),
            ("health.tcp", Box::new(move |spec| spec.health = Some(well.clone()))),
        ];
        for (key, change) in changes {
            let differences = changed(&service("web", 1), change);
            assert_eq!((differences.restart, differences.in_place), (vec![], vec![key.to_owned()]), "{key}");
        }
    }

    #[test]
    fn a_program_may_become_another_kind_and_only_a_new_schedule_ends_what_runs() {
        let (web, orders, nightly) = (service("a", 2), scaled("a", 1, 4), scheduled("a", "0 3 * * *"));
        let to = |before: &ProgramSpec, after: &ProgramSpec| {
            let after = ProgramSpec { restart: before.restart, ..after.clone() };
            differences(before, &after)
        };
        assert_eq!(to(&web, &orders).in_place, ["scale"]);
        assert_eq!(to(&orders, &web).in_place, ["scale"]);
        assert_eq!(to(&web, &nightly).restart, ["schedule (where there was none)"]);
        let given_back = to(&nightly, &web);
        assert_eq!(given_back.in_place, ["schedule (where there is none now)"]);
        assert_eq!(given_back.restart, Vec::<String>::new());
        assert_eq!(to(&orders, &scaled("a", 1, 5)).in_place, ["scale.max"]);
        assert_eq!(to(&nightly, &scheduled("a", "0 4 * * *")).in_place, ["schedule.cron"]);
        let mut elsewhere = nightly.clone();
        elsewhere.run.directory = Some("/elsewhere".into());
        assert_eq!(to(&nightly, &elsewhere).in_place, ["directory"], "a run under way is left alone");
        for spec in [&web, &orders, &nightly] {
            assert_eq!(differences(spec, spec), Differences::default());
        }
    }
}
