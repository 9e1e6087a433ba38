//! Which file a name means, and its last lines.

use std::io;
use std::path::PathBuf;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::context::Context;
use super::error::ApiError;
use super::plain::plain;
use crate::controller::snapshot::{ProcessView, ProgramView, Snapshot};
use crate::logs::tail::{self, Tail};

/// The most lines that one request may ask for, of all files together.
pub(super) const LINES_MAX: usize = 10_000;

/// Where in the log the answer ends: the value for `from` of the live view.
const POSITION: &str = "leveret-position";

/// One log, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFile {
    /// `orders:3`, or the program where its processes share a file.
    pub(super) label: String,
    /// The process's slot; the first one's where they share a file.
    pub(super) slot: u32,
    pub(super) path: PathBuf,
}

/// What a name in a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Logs {
    /// The log of one process.
    One(LogFile),
    /// The logs of a program's processes.
    Many(Vec<LogFile>),
}

/// Which of the things that a process prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Printed {
    /// All of it, or all but stderr.
    #[default]
    Output,
    /// Stderr, where it has a file of its own.
    Stderr,
}

impl Printed {
    fn file(self, process: &ProcessView) -> Option<PathBuf> {
        match self {
            Self::Output => process.log.clone(),
            Self::Stderr => process.log_stderr.clone(),
        }
    }

    fn no_file(self, name: &str) -> ApiError {
        ApiError::not_found(match self {
            Self::Output => {
                format!("the output of {name} does not go to a file but to Leveret's own output")
            }
            Self::Stderr => {
                format!(
                    "the stderr of {name} has no file of its own; `log: {{stderr: separate}}` gives it one"
                )
            }
        })
    }
}

/// The logs of the process or program `name`.
///
/// # Errors
/// 404 when there is none of that name, or its output does not go to a file.
pub(super) fn find(snapshot: &Snapshot, name: &str, printed: Printed) -> Result<Logs, ApiError> {
    for program in &snapshot.programs {
        let numbered = name.strip_prefix(&program.name).and_then(|rest| rest.strip_prefix(':'));
        let slot = numbered.and_then(|digits| digits.parse::<u32>().ok());
        let found = program.processes.iter().find(|process| process.id == name || Some(process.slot) == slot);
        if let Some(process) = found {
            let path = printed.file(process).ok_or_else(|| printed.no_file(name))?;
            return Ok(Logs::One(LogFile { label: process.id.clone(), slot: process.slot, path }));
        }
        if program.name == name {
            return files(program, printed).map(Logs::Many);
        }
    }
    Err(ApiError::not_found(format!("there is no process or program \"{name}\"")))
}

fn files(program: &ProgramView, printed: Printed) -> Result<Vec<LogFile>, ApiError> {
    let with_file = program.processes.iter().filter_map(|process| Some((process, printed.file(process)?)));
    let mut files: Vec<LogFile> = with_file
        .map(|(process, path)| LogFile { label: process.id.clone(), slot: process.slot, path })
        .collect();
    if files.is_empty() && !program.processes.is_empty() {
        return Err(printed.no_file(&program.name));
    }
    if files.len() > 1 && files.iter().all(|file| file.path == files[0].path) {
        files.truncate(1);
        files[0].label.clone_from(&program.name);
    }
    Ok(files)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinesQuery {
    lines: Option<usize>,
    /// Without escape sequences and control characters.
    plain: Option<bool>,
    #[serde(default)]
    stream: Printed,
}

/// `GET /api/v1/logs/{process}`
pub(super) async fn last_lines(
    State(context): State<Context>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<LinesQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let (Path(name), Query(query)) = (name?, query?);
    let lines = line_count(query.lines, 100)?;
    let logs = find(&*context.handle().snapshot().await?, &name, query.stream)?;
    let shown = |text: String| if query.plain == Some(true) { plain(&text) } else { text };
    let content_type = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
    match logs {
        Logs::One(file) => {
            let tail = tail(file.path, lines).await?;
            let position = (header::HeaderName::from_static(POSITION), tail.position.to_string());
            let lines = tail.lines.into_iter().chain(tail.unfinished);
            let text: String = lines.map(|line| shown(line.text) + "\n").collect();
            Ok(([content_type], [position], text).into_response())
        }
        Logs::Many(files) => {
            let each = lines.min(LINES_MAX / files.len().max(1));
            let mut text = String::new();
            for file in files {
                let tail = tail(file.path, each).await?;
                for line in tail.lines.into_iter().chain(tail.unfinished) {
                    text.push_str(&format!("{} | {}\n", file.label, shown(line.text)));
                }
            }
            Ok(([content_type], text).into_response())
        }
    }
}

/// How many lines are asked for.
///
/// # Errors
/// 400 for more than [`LINES_MAX`].
pub(super) fn line_count(asked: Option<usize>, default: usize) -> Result<usize, ApiError> {
    match asked.unwrap_or(default) {
        lines if lines <= LINES_MAX => Ok(lines),
        _ => Err(ApiError::invalid(format!("lines is {LINES_MAX} at most"))),
    }
}

/// The end of a log; empty where nothing was written yet. Read on a thread of its own, because a disk may be slow
/// and the loop must not be.
pub(super) async fn tail(path: PathBuf, lines: usize) -> Result<Tail, ApiError> {
    let read = tokio::task::spawn_blocking(move || tail::last_lines(&path, lines)).await;
    match read.map_err(io::Error::other).flatten() {
        Ok(tail) => Ok(tail),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Tail::default()),
        Err(error) => Err(ApiError::internal(&error, "read the log")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture;

    fn paths(snapshot: &Snapshot, name: &str) -> Vec<(String, PathBuf)> {
        let files = match find(snapshot, name, Printed::Output).unwrap() {
            Logs::One(file) => vec![file],
            Logs::Many(files) => files,
        };
        files.into_iter().map(|file| (file.label, file.path)).collect()
    }

    fn with_paths(paths: &[&str]) -> Snapshot {
        let mut snapshot = fixture::small_snapshot();
        let program = &mut snapshot.programs[0];
        let first = program.processes[0].clone();
        program.processes = (0..)
            .zip(paths)
            .map(|(slot, path)| {
                let id = format!("{}:{slot}", program.name);
                crate::controller::snapshot::ProcessView { id, slot, log: Some(path.into()), ..first.clone() }
            })
            .collect();
        snapshot
    }

    #[test]
    fn a_program_means_all_its_processes_and_a_process_just_itself() {
        let snapshot = with_paths(&["/a", "/b"]);
        assert_eq!(paths(&snapshot, "orders:1"), [("orders:1".to_owned(), "/b".into())]);
        let both = [("orders:0".to_owned(), "/a".into()), ("orders:1".to_owned(), "/b".into())];
        assert_eq!(paths(&snapshot, "orders"), both);
    }

    #[test]
    fn a_file_that_processes_share_is_read_once_under_the_programs_name() {
        let snapshot = with_paths(&["/all", "/all"]);
        assert_eq!(paths(&snapshot, "orders"), [("orders".to_owned(), "/all".into())]);
    }

    #[test]
    fn what_is_not_there_and_what_has_no_file_are_different_sentences() {
        let mut snapshot = with_paths(&["/a"]);
        assert_eq!(
            find(&snapshot, "orders:9", Printed::Output).unwrap_err().message,
            "there is no process or program \"orders:9\""
        );
        snapshot.programs[0].processes[0].log = None;
        for name in ["orders", "orders:0"] {
            let refused = |printed| find(&snapshot, name, printed).unwrap_err().message;
            assert!(refused(Printed::Output).contains("Leveret's own output"), "{name}");
            assert!(refused(Printed::Stderr).contains("log: {stderr: separate}"), "{name}");
        }
    }

    #[test]
    fn stderr_is_found_where_it_has_a_file_of_its_own() {
        let mut snapshot = with_paths(&["/a", "/b"]);
        snapshot.programs[0].processes[1].log_stderr = Some("/b.stderr".into());
        let Logs::One(file) = find(&snapshot, "orders:1", Printed::Stderr).unwrap() else { panic!("one") };
        assert_eq!((file.label.as_str(), file.path), ("orders:1", "/b.stderr".into()));
        let Logs::Many(files) = find(&snapshot, "orders", Printed::Stderr).unwrap() else { panic!("many") };
        assert_eq!(files.len(), 1, "{files:?}");
    }
}
