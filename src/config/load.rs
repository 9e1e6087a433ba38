//! From a path to settings: the main file, the files that it includes, and everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::Document;
use super::problem::{Problem, Problems};
use super::program::Surroundings;
use super::settings::{Settings, SocketSettings};
use super::source::{Source, path_in};
use super::{broker, budgets, dependencies, directories, extends, include, machine, program, raw};
use crate::core::spec::{BrokerSpec, ProgramSpec};
use crate::core::time::human;
use crate::sys::notify;

/// Where the page and the API listen unless the file says otherwise.
const LISTEN: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 7865));

/// How often queues are read unless the file says otherwise.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How often queues may be read.
const PROBE_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// Reads and checks a configuration file and the files that it includes. `environment` is what `${NAME}` is taken
/// from, and the directories that systemd gives.
///
/// # Errors
/// All mistakes of all files together. Nothing in them shows a password.
pub fn load(path: &Path, environment: &BTreeMap<String, String>) -> Result<Settings, Problems> {
    let mut problems = Vec::new();
    let mut files = vec![path.to_path_buf()];
    let settings = read_all(path, environment, &mut files, &mut problems);
    match settings {
        Some(mut settings) if problems.is_empty() => {
            settings.warnings = machine::warnings(&settings, environment);
            Ok(settings)
        }
        _ => Err(Problems::new(problems, &files)),
    }
}

/// The brokers and programs of one file.
struct Part {
    document: Document,
    brokers: Vec<(String, raw::Broker)>,
    programs: Vec<(String, raw::Program)>,
}

fn read_all(
    path: &Path,
    environment: &BTreeMap<String, String>,
    files: &mut Vec<PathBuf>,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let source = Source::read(path).map_err(|problem| problems.push(*problem)).ok()?;
    let mut documents = vec![Document::open(source, environment, problems)?];
    for included in included(&documents[0], path, problems) {
        let source = Source::read(&included).map_err(|problem| problems.push(*problem)).ok();
        documents.extend(source.and_then(|source| Document::open(source, environment, problems)));
        files.push(included);
    }
    extends::resolve(&mut documents, problems);

    let mut documents = documents.into_iter();
    let document = documents.next()?;
    let mut main: raw::File = document.read(problems)?;
    let (brokers, programs) = (main.brokers.take(), main.programs.take());
    let mut parts = vec![Part { document, brokers: entries(brokers), programs: entries(programs) }];
    for document in documents {
        if let Some(raw::Included { brokers, programs, .. }) = document.read(problems) {
            parts.push(Part { document, brokers: entries(brokers), programs: entries(programs) });
        }
    }
    refuse_repeated(&parts, "templates", problems);

    let main_document = &parts[0].document;
    let (state_dir, runtime_dir) = own_directories(&main, main_document, environment, problems);
    let programs = all_programs(&parts, &main.defaults.unwrap_or_default(), problems);
    refuse_unreachable_sockets(&programs, &runtime_dir, main_document, problems);
    let socket = main.socket.unwrap_or_default();
    let budgets =
        budgets::budgets(main.budget.as_ref(), main.budgets.as_ref(), &programs, main_document, problems);
    for part in &parts {
        budgets::check(&part.document, &part.programs, &budgets, problems);
    }
    Some(Settings {
        listen: main.listen.unwrap_or(LISTEN),
        allowed_hosts: main.allowed_hosts.unwrap_or_default(),
        state_dir,
        runtime_dir,
        socket: SocketSettings {
            group: socket.group,
            mode: socket.mode.unwrap_or(SocketSettings::default().mode),
        },
        probe_interval: probe_interval(main.probe_interval, main_document, problems),
        shutdown_timeout: main.shutdown_timeout,
        budgets,
        brokers: all_brokers(&parts, problems),
        programs,
        warnings: Vec::new(),
    })
}

fn entries<T>(entries: Option<raw::Entries<T>>) -> Vec<(String, T)> {
    entries.map_or_else(Vec::new, |entries| entries.0)
}

/// The files that the main file includes, each once, without itself.
fn included(main: &Document, main_path: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let shown_in = main_path.parent().unwrap_or(Path::new(""));
    // Two names for one file are the same file; a file that cannot be found here is reported when it is read.
    let identity = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut seen = BTreeSet::from([identity(main_path)]);
    let mut found = Vec::new();
    for pattern in main.texts_in("include") {
        match include::files(pattern, &main.source.directory, shown_in) {
            Ok(files) => found.extend(files.into_iter().filter(|file| seen.insert(identity(file)))),
            Err(error) => problems.push(main.problem(&["include"], error.to_string())),
        }
    }
    found
}

fn own_directories(
    main: &raw::File,
    document: &Document,
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> (PathBuf, PathBuf) {
    let root = rustix::process::geteuid().is_root();
    let written =
        |path: &Option<PathBuf>| path.as_ref().map(|path| path_in(&document.source.directory, path));
    let state = written(&main.state_dir).or_else(|| directories::state(environment, root));
    let state = state.unwrap_or_else(|| {
        let message = "there is no home directory to keep state in".to_owned();
        if !document.has(&["state_dir"]) {
            let problem = Problem::of_file(&document.source.name, message);
            problems.push(problem.suggest("set `state_dir` in the file or HOME in the environment"));
        }
        PathBuf::new()
    });
    let runtime = written(&main.runtime_dir).or_else(|| directories::runtime(environment, root));
    let runtime = runtime.unwrap_or_else(|| state.clone());
    (state, runtime)
}

/// The path of a socket has its limits, and a program that cannot say that it is ready never is.
fn refuse_unreachable_sockets(
    programs: &[ProgramSpec],
    runtime_dir: &Path,
    document: &Document,
    problems: &mut Vec<Problem>,
) {
    let needing = programs.iter().find(|program| program.run.notify);
    if let Some(program) = needing.filter(|_| !notify::fit(runtime_dir)) {
        let message = format!(
            "the path {} is too long for the sockets that `notify` of {} needs",
            runtime_dir.display(),
            program.name
        );
        let problem = document.problem(&["runtime_dir"], message);
        problems.push(problem.suggest("set `runtime_dir` to a short path, as in /run/leveret"));
    }
}

fn probe_interval(written: Option<Duration>, document: &Document, problems: &mut Vec<Problem>) -> Duration {
    let interval = written.unwrap_or(PROBE_INTERVAL);
    if !PROBE_INTERVALS.contains(&interval) {
        let message = format!(
            "`probe_interval` must be {} to {}",
            human(*PROBE_INTERVALS.start()),
            human(*PROBE_INTERVALS.end())
        );
        problems.push(document.problem(&["probe_interval"], message));
    }
    interval
}

fn all_brokers(parts: &[Part], problems: &mut Vec<Problem>) -> Vec<BrokerSpec> {
    refuse_repeated(parts, "brokers", problems);
    let mut brokers = Vec::new();
    for Part { document, brokers: entries, .. } in parts {
        let reported = document.reported(problems);
        for (name, raw) in entries {
            match broker::broker(name, raw) {
                Ok(broker) => brokers.push(broker),
                // Where a part of it was refused, what is missing now may just be that part.
                Err(error) if error.key.is_none() && reported.has(&["brokers", name]) => {}
                Err(error) => {
                    let mut path = vec!["brokers", name.as_str()];
                    path.extend(error.key.filter(|key| document.has(&["brokers", name, key])));
                    let problem = document.problem(&path, error.message);
                    problems.push(match error.suggestion {
                        Some(suggestion) => problem.suggest(suggestion),
                        None => problem,
                    });
                }
            }
        }
    }
    brokers
}

fn all_programs(parts: &[Part], defaults: &raw::Defaults, problems: &mut Vec<Problem>) -> Vec<ProgramSpec> {
    refuse_repeated(parts, "programs", problems);
    let brokers: Vec<String> =
        parts.iter().flat_map(|part| part.document.names_in("brokers").map(str::to_owned)).collect();
    let mut programs = Vec::new();
    for Part { document, programs: entries, .. } in parts {
        let surroundings = Surroundings {
            document,
            reported: &document.reported(problems),
            defaults,
            defaults_directory: &parts[0].document.source.directory,
            brokers: &brokers,
        };
        for (name, raw) in entries {
            programs.extend(program::program(name, raw, &surroundings, problems));
        }
    }
    // A program that was refused is there all the same; what is wrong with it was said.
    let refused = |name: &str| !programs.iter().any(|program: &ProgramSpec| program.name.as_str() == name);
    let is_whole = !parts.iter().flat_map(|part| &part.programs).any(|(name, _)| refused(name));
    if is_whole {
        let by_name = programs.iter().map(|program| (program.name.as_str(), program)).collect();
        for Part { document, programs: entries, .. } in parts {
            dependencies::check(document, entries, &by_name, problems);
        }
    }
    programs
}

/// Reports names that several files have; within one file they have been reported with the tree.
fn refuse_repeated(parts: &[Part], section: &str, problems: &mut Vec<Problem>) {
    let mut first: BTreeMap<&str, &Document> = BTreeMap::new();
    for Part { document, .. } in parts {
        for name in document.names_in(section) {
            let other = *first.entry(name).or_insert(document);
            if !std::ptr::eq(other, document) {
                let line = other.line(&[section, name]);
                let message = format!("`{name}` is already in {}, line {line}", other.source.name.display());
                problems.push(document.problem(&[section, name], message));
            }
        }
    }
}
