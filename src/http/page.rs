//! The page, and the small page of a log. Both work without JavaScript: every button is a form's.

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::context::{Context, Note};
use super::error::ApiError;
use super::logs::{self, Logs, Printed};
use super::plain::plain;
use super::view::Overview;
use crate::controller::snapshot::Snapshot;

/// How many of the last lines the page of a log begins with.
const LOG_LINES: usize = 200;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'a> {
    overview: Overview<'a>,
    token: Option<String>,
    note: Option<Note>,
}

#[derive(Template)]
#[template(path = "live.html")]
struct LivePart<'a> {
    overview: Overview<'a>,
    /// Absent: a page that is updated has it already, and takes it from there.
    token: Option<String>,
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage<'a> {
    version: &'a str,
    name: &'a str,
    is_stderr: bool,
    lines: Vec<LogLine>,
    /// Where the lines end, for the live view to go on from.
    position: String,
}

struct LogLine {
    /// Whose line it is, where several processes are shown.
    label: Option<String>,
    text: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    #[serde(default)]
    stream: Printed,
}

/// `GET /`
pub(super) async fn overview(
    State(context): State<Context>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let snapshot = context.handle().snapshot().await?;
    // Whatever else the query says, this is just the page.
    let number = query.ok().and_then(|Query(query)| query.note?.parse().ok());
    let note = number.and_then(|number| context.note(number));
    html(&OverviewPage { overview: Overview::new(&snapshot), token: Some(context.token_hex()), note })
}

/// The changing part of the page, for live updates.
///
/// # Errors
/// Only where the template itself fails.
pub(super) fn live_part(snapshot: &Snapshot) -> Result<String, askama::Error> {
    LivePart { overview: Overview::new(snapshot), token: None }.render()
}

/// `GET /logs/{process}`
pub(super) async fn log(
    State(context): State<Context>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let (Path(name), Query(LogQuery { stream })) = (name?, query?);
    let snapshot = context.handle().snapshot().await?;
    let (lines, position) = match logs::find(&snapshot, &name, stream)? {
        Logs::One(file) => {
            let tail = logs::tail(file.path, LOG_LINES).await?;
            let lines = tail.lines.iter().map(|line| LogLine { label: None, text: plain(&line.text) });
            (lines.collect(), tail.position.to_string())
        }
        Logs::Many(files) => {
            let each = LOG_LINES.div_ceil(files.len().max(1));
            let mut lines = Vec::new();
            let mut positions = Vec::new();
            for file in files {
                let tail = logs::tail(file.path, each).await?;
                let label = file.label;
                positions.push(format!("{}={}", file.slot, tail.position));
                lines.extend(
                    tail.lines
                        .iter()
                        .map(|line| LogLine { label: Some(label.clone()), text: plain(&line.text) }),
                );
            }
            (lines, positions.join(","))
        }
    };
    let is_stderr = stream == Printed::Stderr;
    html(&LogPage { version: &snapshot.version, name: &name, is_stderr, lines, position })
}

fn html(template: &impl Template) -> Result<Response, ApiError> {
    let text = template.render().map_err(|error| ApiError::internal(&error, "write the page"))?;
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response())
}
