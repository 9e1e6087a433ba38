//! Programs: from what the file says, and the defaults, to a specification.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{Document, Reported};
use super::problem::Problem;
use super::source::path_in;
use super::{hooks, raw, ready, scale, schedule};
use crate::core::ids::ProgramName;
use crate::core::plan::signal_text;
use crate::core::readiness::ReadyBy;
use crate::core::spec::{
    Backoff, Bound, CgroupSpec, Dependency, EnvFile, Kind, Limit, LogSpec, LogTarget, OnCode, ProgramSpec,
    RecycleSpec, Resource, RunSpec, StopSpec, StopStep, StopTarget, digest,
};
use crate::core::time::human;
use crate::sys::env_file::{self, EnvFileError};

/// What means Leveret's own output as `log.path`. The devices are a habit from containers; as files they could neither be
/// shared by processes line by line nor be rotated.
pub(super) const OWN_OUTPUT: [&str; 3] = ["stdout", "/dev/stdout", "/dev/stderr"];

/// What means a file for each process as `log.stderr`.
pub(super) const SEPARATE: &str = "separate";

/// The number of SIGKILL.
const KILL: i32 = 9;

/// What a program needs to know of the rest of the configuration.
pub(super) struct Surroundings<'a> {
    /// The file that the program is in.
    pub(super) document: &'a Document,
    /// What of that file was refused already.
    pub(super) reported: &'a Reported,
    /// What the main file says for all programs.
    pub(super) defaults: &'a raw::Defaults,
    /// The directory that relative paths in the defaults begin in.
    pub(super) defaults_directory: &'a Path,
    /// The names of all brokers.
    pub(super) brokers: &'a [String],
}

/// Makes a program of what the file says, or nothing where a value is missing that was reported before.
pub(super) fn program(
    name: &str,
    raw: &raw::Program,
    surroundings: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<ProgramSpec> {
    let Surroundings { document, reported, defaults, defaults_directory, brokers } = surroundings;
    let own_directory = document.source.directory.as_path();
    let backoff_refused =
        reported.has(&["programs", name, "backoff"]) || reported.has(&["defaults", "backoff"]);
    let mut wrong = |path: &[&str], message: String, suggestion: Option<String>| {
        let problem = document.problem(&[&["programs", name], path].concat(), message);
        problems.push(match suggestion {
            Some(suggestion) => problem.suggest(suggestion),
            None => problem,
        });
    };

    let shell = raw.shell.or(defaults.shell).unwrap_or(false);
    let argv = raw.command.as_ref().and_then(|command| match words(command, shell) {
        Ok(argv) => Some(argv),
        Err((message, suggestion)) => {
            wrong(&["command"], message, suggestion);
            None
        }
    });
    let backoff = backoff(raw.backoff.as_ref(), defaults.backoff.as_ref());
    if backoff.initial > backoff.max && !backoff_refused {
        let message = format!(
            "the first wait, {}, is longer than the longest, {}",
            human(backoff.initial),
            human(backoff.max)
        );
        let place = if document.has(&["programs", name, "backoff", "initial"]) {
            ["backoff", "initial"]
        } else {
            ["backoff", "max"]
        };
        wrong(&place, message, Some("set both `initial` and `max`".to_owned()));
    }
    let kind = match (&raw.schedule, &raw.scale) {
        (Some(written), _) => schedule::kind(written, raw, &mut wrong),
        (None, Some(scale)) => {
            if raw.processes.is_some() {
                let message = "a program has either `processes` or `scale`".to_owned();
                wrong(&["processes"], message, Some("leave one of them out".to_owned()));
            }
            let refused = reported.has(&["programs", name, "scale", "broker"]);
            scale::scaled(scale, brokers, refused, &mut wrong).map(Kind::Scaled)
        }
        (None, None) => Some(Kind::Service { processes: raw.processes.unwrap_or(1) }),
    };
    let policy = first(raw.restart.as_ref(), defaults.restart.as_ref(), |raw| raw.policy);
    let (restart, codes) = match raw.schedule {
        Some(_) => (schedule::restart(policy), BTreeMap::new()),
        None => (policy.unwrap_or_default(), codes(raw.restart.as_ref(), defaults.restart.as_ref())),
    };

    let under = |directory: &Path, path: &Option<PathBuf>| path.as_ref().map(|path| path_in(directory, path));
    let stop = stop(raw.stop.as_ref(), defaults.stop.as_ref(), &mut wrong);
    let recycle = recycle(raw.recycle.as_ref(), defaults.recycle.as_ref(), &mut wrong);
    let limits = limits(raw.limits.as_ref(), defaults.limits.as_ref());
    for (resource, limit) in &limits {
        if let Limit { soft: Some(soft), hard: Some(hard) } = limit
            && soft > hard
        {
            let message = "the soft limit is above the hard one".to_owned();
            wrong(&["limits", resource.as_str(), "soft"], message, None);
        }
    }
    if raw.log.as_ref().and_then(|log| log.max_age).is_some_and(|age| age.is_zero()) {
        let message = "`max_age` must be longer than nothing".to_owned();
        wrong(&["log", "max_age"], message, Some("write an age as in 1d".to_owned()));
    }
    let env_files =
        env_files([(defaults.env_file.as_ref(), defaults_directory), (raw.env_file.as_ref(), own_directory)]);
    let env_files_digest = match contents(&env_files) {
        Ok(digest) => digest,
        Err(message) => {
            wrong(&["env_file"], message, None);
            None
        }
    };
    let ready = match raw.schedule {
        Some(_) => ready::of_schedule(raw.ready.as_ref(), &mut wrong),
        None => ready::ready(raw.ready.as_ref().or(defaults.ready.as_ref()), shell, &mut wrong),
    };
    let health = match raw.schedule {
        Some(_) => ready::health_of_schedule(raw.health.as_ref(), &mut wrong),
        None => ready::health(raw.health.as_ref().or(defaults.health.as_ref()), shell, &mut wrong),
    };
    let watchdog = ready::watchdog(raw, &mut wrong);
    let hooks = hooks::hooks(raw.hooks.as_ref(), defaults.hooks.as_ref(), shell, &mut wrong);
    let log = log((raw.log.as_ref(), own_directory), (defaults.log.as_ref(), defaults_directory));
    let mut environment = defaults.environment.clone().unwrap_or_default();
    environment.extend(raw.environment.clone().unwrap_or_default());
    Some(ProgramSpec {
        // The name was checked with the keys of the file.
        name: ProgramName::new(name).ok()?,
        project: raw.project.clone(),
        run: RunSpec {
            argv: argv?,
            directory: under(own_directory, &raw.directory)
                .or_else(|| under(defaults_directory, &defaults.directory)),
            user: raw.user.clone().or_else(|| defaults.user.clone()),
            group: raw.group.clone().or_else(|| defaults.group.clone()),
            environment,
            env_files,
            env_files_digest,
            umask: raw.umask.or(defaults.umask),
            nice: raw.nice.or(defaults.nice),
            limits,
            oom_score_adj: raw.oom_score_adj.or(defaults.oom_score_adj),
            no_new_privs: raw.no_new_privs.or(defaults.no_new_privs).unwrap_or_default(),
            stdin: raw.stdin.or(defaults.stdin).unwrap_or_default(),
            cgroup: raw.cgroup.as_ref().and_then(cgroup),
            notify: ready.as_ref().is_some_and(|ready| ready.by == ReadyBy::Notify) || watchdog.is_some(),
            watchdog,
            separate_errors: log.stderr.is_some(),
        },
        kind: kind?,
        autostart: raw.autostart.or(defaults.autostart).unwrap_or(true),
        restart,
        codes,
        backoff,
        critical: raw.critical.unwrap_or_default(),
        recycle,
        stop,
        log,
        // Whether they are there is looked at when all programs are known.
        depends_on: raw.depends_on.iter().flatten().filter_map(dependency).collect(),
        ready,
        health,
        hooks,
        // Whether there are such budgets is looked at when all programs are known.
        uses: raw.uses.clone().unwrap_or_default(),
    })
}

fn dependency(raw: &raw::DependsOn) -> Option<Dependency> {
    let program = ProgramName::new(raw.program.clone()?).ok()?;
    Some(Dependency { program, until: raw.until.unwrap_or_default() })
}

/// The program and its arguments.
pub(super) fn words(command: &raw::Command, shell: bool) -> Result<Vec<String>, (String, Option<String>)> {
    let words = match (command, shell) {
        (raw::Command::Line(line), true) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        (raw::Command::Words(_), true) => {
            let message = "with `shell: true` the command is one line, not a list".to_owned();
            return Err((message, Some("set `shell: false` to run the words as they are".to_owned())));
        }
        (raw::Command::Line(line), false) => shell_words::split(line)
            .map_err(|_| ("a quote in this command is not closed".to_owned(), None))?,
        (raw::Command::Words(words), false) => words.clone(),
    };
    match words.first() {
        Some(program) if !program.trim().is_empty() => Ok(words),
        Some(_) | None => Err(("the command names no program".to_owned(), None)),
    }
}

/// A group without limits is none.
fn cgroup(raw: &raw::Cgroup) -> Option<CgroupSpec> {
    let raw::Cgroup { memory_max, cpu_max, pids_max } = *raw;
    let spec = CgroupSpec { memory_max, cpu_max, pids_max };
    (spec != CgroupSpec::default()).then_some(spec)
}

fn bound(raw: &raw::Bound) -> Bound {
    match raw {
        raw::Bound::At(number) => Bound::At(*number),
        raw::Bound::Word(raw::Unlimited::Unlimited) => Bound::Unlimited,
    }
}

fn limits(own: Option<&raw::Limits>, shared: Option<&raw::Limits>) -> BTreeMap<Resource, Limit> {
    let one = |resource, value: fn(&raw::Limits) -> Option<raw::Limit>| {
        let limit = match first(own, shared, value)? {
            raw::Limit::Both(both) => Limit { soft: Some(bound(&both)), hard: Some(bound(&both)) },
            raw::Limit::Each { soft, hard } => {
                Limit { soft: soft.as_ref().map(bound), hard: hard.as_ref().map(bound) }
            }
        };
        Some((resource, limit))
    };
    let all = [
        one(Resource::Nofile, |raw| raw.nofile.clone()),
        one(Resource::Nproc, |raw| raw.nproc.clone()),
        one(Resource::Core, |raw| raw.core.clone()),
        one(Resource::Stack, |raw| raw.stack.clone()),
        one(Resource::Cpu, |raw| raw.cpu.clone()),
        one(Resource::Memory, |raw| raw.memory.clone()),
    ];
    all.into_iter().flatten().collect()
}

/// The files of variables, each with the directory that relative paths begin in.
fn env_files(written: [(Option<&raw::EnvFiles>, &Path); 2]) -> Vec<EnvFile> {
    let mut found = Vec::new();
    for (files, directory) in written {
        for (path, optional) in files.into_iter().flat_map(raw::EnvFiles::all).filter_map(raw::EnvFile::parts)
        {
            found.push(EnvFile { path: path_in(directory, path), optional });
        }
    }
    found
}

/// A number for what is in the files; nothing without files. One that is not there now, or not for us, is a matter of the
/// start of a process.
fn contents(files: &[EnvFile]) -> Result<Option<u64>, String> {
    let mut all = Vec::new();
    for EnvFile { path, .. } in files {
        match env_file::read(path) {
            Ok(variables) => all.push(Some(variables)),
            Err(EnvFileError::Read(_)) => all.push(None),
            Err(error @ (EnvFileError::NoFile | EnvFileError::TooLarge | EnvFileError::Line { .. })) => {
                return Err(format!("{}: {error}", path.display()));
            }
        }
    }
    let json = serde_json::to_vec(&all).expect("texts are always JSON");
    Ok((!files.is_empty()).then(|| digest(&json)))
}

fn recycle(
    own: Option<&raw::Recycle>,
    shared: Option<&raw::Recycle>,
    wrong: &mut impl FnMut(&[&str], String, Option<String>),
) -> RecycleSpec {
    let spec = RecycleSpec {
        memory_bytes: first(own, shared, |raw| raw.memory),
        age: first(own, shared, |raw| raw.age),
    };
    let nothing = [("memory", spec.memory_bytes == Some(0)), ("age", spec.age == Some(Duration::ZERO))];
    for (key, _) in nothing.into_iter().filter(|(_, is_nothing)| *is_nothing) {
        let message = "every process would be replaced at once, again and again".to_owned();
        wrong(&["recycle", key], message, Some("leave it out to replace none".to_owned()));
    }
    spec
}

fn backoff(own: Option<&raw::Backoff>, shared: Option<&raw::Backoff>) -> Backoff {
    let usual = Backoff::default();
    Backoff {
        initial: first(own, shared, |raw| raw.initial).unwrap_or(usual.initial),
        max: first(own, shared, |raw| raw.max).unwrap_or(usual.max),
        reset_after: first(own, shared, |raw| raw.reset_after).unwrap_or(usual.reset_after),
        give_up_after: first(own, shared, |raw| raw.give_up_after),
    }
}

/// What follows certain exit codes: the program's own words over those of the defaults.
fn codes(own: Option<&raw::Restart>, shared: Option<&raw::Restart>) -> BTreeMap<i32, OnCode> {
    let written = [shared, own].into_iter().flatten().flat_map(|raw| raw.codes.iter().flatten());
    // That the keys are codes was checked with the keys of the file.
    written.filter_map(|(code, meaning)| Some((code.parse().ok()?, *meaning))).collect()
}

fn stop(
    own: Option<&raw::Stop>,
    shared: Option<&raw::Stop>,
    wrong: &mut impl FnMut(&[&str], String, Option<String>),
) -> StopSpec {
    let usual = StopSpec::default();
    let to = first(own, shared, |raw| raw.to).unwrap_or(usual.to);
    let is_plain = |raw: &raw::Stop| raw.signal.is_some() || raw.timeout.is_some();
    if own.is_some_and(|own| own.steps.is_some() && is_plain(own)) {
        let message = "a stop has either `steps` or `signal` and `timeout`".to_owned();
        wrong(&["stop"], message, Some("write the first signal and its time as the first step".to_owned()));
    }
    let steps = match own {
        // What the program says of the one takes the place of what the defaults say of the other.
        Some(own) if own.steps.is_none() && is_plain(own) => None,
        _ => first(own, shared, |raw| raw.steps.clone()),
    };
    if let Some(steps) = steps {
        return match ladder(&steps, to) {
            Ok(stop) => stop,
            Err((message, suggestion)) => {
                wrong(&["stop"], message, suggestion);
                usual
            }
        };
    }
    StopSpec {
        signal: first(own, shared, |raw| raw.signal).unwrap_or(usual.signal),
        to,
        timeout: first(own, shared, |raw| raw.timeout).unwrap_or(usual.timeout),
        then: Vec::new(),
    }
}

/// A stop by several signals: the first one, the time until the kill, and the signals in between.
fn ladder(steps: &[raw::StopStep], to: StopTarget) -> Result<StopSpec, (String, Option<String>)> {
    let mut signals = Vec::new();
    let mut so_far = Duration::ZERO;
    for (index, step) in steps.iter().enumerate() {
        let (signal, lasts) = match *step {
            raw::StopStep::Alone(signal) => (Some(signal), None),
            raw::StopStep::Timed { signal, lasts } => (signal, Some(lasts)),
        };
        // What a step lacks was reported with the keys of the file.
        let Some(signal) = signal else { continue };
        let name = signal_text(signal);
        let name = name.trim_start_matches("SIG");
        let is_last = index + 1 == steps.len();
        match lasts {
            _ if signal == KILL && (!is_last || lasts.is_some()) => {
                return Err(("nothing outlives KILL: it comes last and has no time".to_owned(), None));
            }
            None if signal == KILL && index > 0 => {}
            None if signal == KILL => signals.push(StopStep { after: so_far, signal }),
            None => {
                let hint = format!("write `{{signal: {name}, for: 10s}}`; only KILL, the last one, has none");
                return Err((format!("{name} needs a time until the next step"), Some(hint)));
            }
            Some(Some(Duration::ZERO)) => {
                return Err((format!("{name} needs a time that is longer than nothing"), None));
            }
            Some(lasts) => {
                signals.push(StopStep { after: so_far, signal });
                so_far += lasts.unwrap_or_default();
            }
        }
    }
    let signal = if signals.is_empty() { StopSpec::default().signal } else { signals.remove(0).signal };
    Ok(StopSpec { signal, to, timeout: so_far, then: signals })
}

/// Where output goes: each side with the directory that its relative paths begin in.
fn log(own: (Option<&raw::Log>, &Path), shared: (Option<&raw::Log>, &Path)) -> LogSpec {
    let usual = LogSpec::default();
    let place = |directory: &Path, path: &Path| {
        let is_own = OWN_OUTPUT.iter().any(|name| path == Path::new(name));
        if is_own { LogTarget::Stdout } else { LogTarget::File(path_in(directory, path)) }
    };
    let target =
        |(raw, directory): (Option<&raw::Log>, &Path)| raw?.path.as_ref().map(|path| place(directory, path));
    let stderr = |(raw, directory): (Option<&raw::Log>, &Path)| {
        let path = raw?.stderr.as_ref()?;
        let is_separate = path == Path::new(SEPARATE);
        Some(if is_separate { LogTarget::PerProcess } else { place(directory, path) })
    };
    LogSpec {
        to: target(own).or_else(|| target(shared)).unwrap_or(usual.to),
        stderr: stderr(own).or_else(|| stderr(shared)),
        max_size: first(own.0, shared.0, |raw| raw.max_size).unwrap_or(usual.max_size),
        max_age: first(own.0, shared.0, |raw| raw.max_age),
        keep: first(own.0, shared.0, |raw| raw.keep).unwrap_or(usual.keep),
        compress: first(own.0, shared.0, |raw| raw.compress).unwrap_or(usual.compress),
        format: first(own.0, shared.0, |raw| raw.format),
    }
}

/// What the program says, else what the defaults say.
fn first<R, V>(own: Option<&R>, shared: Option<&R>, value: impl Fn(&R) -> Option<V>) -> Option<V> {
    own.and_then(&value).or_else(|| shared.and_then(&value))
}
