//! Changes: every POST ends in one edit of the desired state, sent to the loop.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;

use super::context::{Context, Note};
use super::error::ApiError;
use super::fields::Fields;
use super::guard::Asked;
use crate::controller::handle::{Accepted, Action, ReloadReport};
use crate::controller::snapshot::Snapshot;
use crate::core::exit::{no_signal, signal_hint, signal_number};
use crate::core::ids::{ProcessId, ProgramName, Target};
use crate::core::rollout::Rolling;

type TwoNames = Result<Path<(String, String)>, PathRejection>;
type OneName = Result<Path<String>, PathRejection>;

/// `POST /api/v1/programs/{name}/{verb}`
pub(super) async fn on_program(
    State(context): State<Context>,
    Extension(asked): Extension<Asked>,
    names: TwoNames,
) -> Response {
    answer_page(&context, &asked, async {
        let Path((name, verb)) = names?;
        if name.contains(':') {
            return Err(ApiError::not_found(format!(
                "{name} is a process, not a program: it is at /api/v1/processes/{name}/{verb}"
            )));
        }
        act(&context, &asked, Target::Program(ProgramName::new(name)?), &verb).await
    })
    .await
}

/// `POST /api/v1/processes/{name}/{verb}`
pub(super) async fn on_process(
    State(context): State<Context>,
    Extension(asked): Extension<Asked>,
    names: TwoNames,
) -> Response {
    answer_page(&context, &asked, async {
        let Path((name, verb)) = names?;
        let process = match name.contains(':') {
            true => name.parse()?,
            false => single_process(&*context.handle().snapshot().await?, &name)?,
        };
        act(&context, &asked, Target::Process(process), &verb).await
    })
    .await
}

/// The process that is shown under its program's name alone.
fn single_process(snapshot: &Snapshot, name: &str) -> Result<ProcessId, ApiError> {
    let processes = snapshot.programs.iter().flat_map(|program| &program.processes);
    match processes.into_iter().find(|process| process.id == name) {
        Some(process) => Ok(ProcessId::new(ProgramName::new(name)?, process.slot)),
        None => Err(ApiError::not_found(format!("there is no process \"{name}\""))),
    }
}

/// `POST /api/v1/projects/{name}/{verb}`
pub(super) async fn on_project(
    State(context): State<Context>,
    Extension(asked): Extension<Asked>,
    names: TwoNames,
) -> Response {
    answer_page(&context, &asked, async {
        let Path((name, verb)) = names?;
        act(&context, &asked, Target::Project(ProgramName::new(name)?.into()), &verb).await
    })
    .await
}

/// `POST /api/v1/all/{verb}`
pub(super) async fn on_all(
    State(context): State<Context>,
    Extension(asked): Extension<Asked>,
    verb: OneName,
) -> Response {
    answer_page(&context, &asked, async {
        let Path(verb) = verb?;
        act(&context, &asked, Target::All, &verb).await
    })
    .await
}

/// `POST /api/v1/reload`
pub(super) async fn reload(State(context): State<Context>, Extension(asked): Extension<Asked>) -> Response {
    answer_page(&context, &asked, async {
        asked.fields.only(&[])?;
        let report = context.handle().reload().await?;
        Ok(Done { note: describe(&report), answer: Json(report) })
    })
    .await
}

/// `POST /api/v1/shutdown`: not for everybody who can reach the port.
pub(super) async fn shutdown(State(context): State<Context>, Extension(asked): Extension<Asked>) -> Response {
    answer_page(&context, &asked, async {
        asked.fields.only(&[])?;
        if !asked.proven {
            return Err(ApiError::forbidden(
                "a shutdown needs the Unix socket (leveret shutdown) or the page's token",
            ));
        }
        send(&context, &asked, Action::Shutdown).await
    })
    .await
}

/// `POST /api/v1/upgrade`: as a shutdown, not for everybody who can reach the port.
pub(super) async fn upgrade(State(context): State<Context>, Extension(asked): Extension<Asked>) -> Response {
    answer_page(&context, &asked, async {
        asked.fields.only(&[])?;
        if !asked.proven {
            return Err(ApiError::forbidden(
                "an upgrade needs the Unix socket (leveret upgrade) or the page's token",
            ));
        }
        let accepted = context.handle().upgrade().await?;
        Ok(Done { note: accepted.message.clone(), answer: Json(accepted) })
    })
    .await
}

/// What came of it: for a program, and as a sentence for a person.
struct Done<T> {
    note: String,
    answer: Json<T>,
}

async fn act(
    context: &Context,
    asked: &Asked,
    target: Target,
    verb: &str,
) -> Result<Done<Accepted>, ApiError> {
    send(context, asked, action(target, verb, &asked.fields)?).await
}

async fn send(context: &Context, asked: &Asked, action: Action) -> Result<Done<Accepted>, ApiError> {
    let accepted = context.handle().act(action, asked.origin).await?;
    Ok(Done { note: accepted.message.clone(), answer: Json(accepted) })
}

fn action(target: Target, verb: &str, fields: &Fields) -> Result<Action, ApiError> {
    let known: &[&str] = match verb {
        "scale" => &["processes", "for"],
        "signal" => &["signal"],
        "restart" => &["rolling", "batch", "canary"],
        _ => &[],
    };
    fields.only(known)?;
    match verb {
        "start" => Ok(Action::Start(target)),
        "stop" => Ok(Action::Stop(target)),
        "restart" => Ok(match rolling(fields)? {
            Some(rolling) => Action::Roll(target, rolling),
            None => Action::Restart(target),
        }),
        "copy" => Ok(Action::Copy(target)),
        "auto" => Ok(Action::Auto(target)),
        "pause" => Ok(Action::Pause(target)),
        "resume" => Ok(Action::Resume(target)),
        "signal" => Ok(Action::Signal(target, signal(fields)?)),
        "scale" => match target {
            Target::Program(name) => {
                Ok(Action::Scale(name, fields.count("processes")?, fields.duration("for")?))
            }
            Target::All | Target::Project(_) | Target::Process(_) => {
                Err(ApiError::invalid(format!("scale is for one program, and {target} is not one")))
            }
        },
        _ => Err(ApiError::not_found(format!(
            "there is no action \"{verb}\"; there are start, stop, restart, copy, scale, auto, pause, resume and signal"
        ))),
    }
}

/// How a restart goes that is not all at once.
fn rolling(fields: &Fields) -> Result<Option<Rolling>, ApiError> {
    let (has_batch, canary) = (fields.has("batch"), fields.flag_or_duration("canary")?);
    if !fields.flag("rolling")? {
        if has_batch || canary.is_some() {
            return Err(ApiError::invalid(
                "\"batch\" and \"canary\" are for a rolling restart: add \"rolling\": true",
            ));
        }
        return Ok(None);
    }
    let batch = if has_batch { fields.count("batch")? } else { 1 };
    Ok(Some(Rolling { batch, canary }))
}

fn signal(fields: &Fields) -> Result<i32, ApiError> {
    let Some(text) = fields.text("signal") else {
        return Err(ApiError::invalid("\"signal\" is missing: say which, as in {\"signal\": \"USR1\"}"));
    };
    signal_number(text)
        .ok_or_else(|| ApiError::invalid(format!("{}; {}", no_signal(text), signal_hint(text))))
}

/// A reload in one sentence.
fn describe(report: &ReloadReport) -> String {
    let parts = [
        ("added", &report.added),
        ("removed", &report.removed),
        ("restarted", &report.restarted),
        ("adjusted", &report.adjusted),
    ];
    let changes: Vec<String> = parts
        .iter()
        .chain([&("changed", &report.settings)])
        .filter(|(_, names)| !names.is_empty())
        .map(|(word, names)| format!("{word} {}", names.join(", ")))
        .collect();
    let mut text = if changes.is_empty() {
        "The configuration was read again; nothing changed.".to_owned()
    } else {
        format!("The configuration was read again: {}.", changes.join("; "))
    };
    for warning in &report.warnings {
        text.push_str(&format!(" Warning: {warning}"));
    }
    text
}

/// Answers a form of the page by the page again with a note, and everything else by JSON.
async fn answer_page<T: Serialize>(
    context: &Context,
    asked: &Asked,
    work: impl Future<Output = Result<Done<T>, ApiError>>,
) -> Response {
    let outcome = work.await;
    if asked.from_page {
        let note = match outcome {
            Ok(done) => Note { text: done.note, is_error: false },
            Err(error) => Note { text: error.message, is_error: true },
        };
        return Redirect::to(&format!("/?note={}", context.add_note(note))).into_response();
    }
    match outcome {
        Ok(done) => (StatusCode::OK, done.answer).into_response(),
        Err(error) => error.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_told_in_one_sentence() {
        let report = ReloadReport {
            added: vec!["mail".to_owned()],
            restarted: vec!["orders".to_owned(), "web".to_owned()],
            ..ReloadReport::default()
        };
        assert_eq!(describe(&report), "The configuration was read again: added mail; restarted orders, web.");
        let nothing = describe(&ReloadReport::default());
        assert_eq!(nothing, "The configuration was read again; nothing changed.");
    }
}
