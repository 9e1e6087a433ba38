//! What can be read at once: the snapshot, the explanation, the journal, the metrics, and whether all is well.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::ApiError;
use crate::controller::handle::{Refusal, ReloadReport};
use crate::controller::snapshot::{DecisionView, Explanation, Snapshot};
use crate::core::ids::ProgramName;
use crate::metrics;

/// The fewest and most decisions that one request may ask for.
const DECISIONS: std::ops::RangeInclusive<usize> = 1..=1_000;

/// `GET /api/v1/reload/plan`: what a reload would do.
pub(super) async fn plan_reload(State(context): State<Context>) -> Result<Json<ReloadReport>, ApiError> {
    Ok(Json(context.handle().plan_reload().await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusQuery {
    program: Option<String>,
}

/// `GET /api/v1/status`
pub(super) async fn status(
    State(context): State<Context>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let snapshot = context.handle().snapshot().await?;
    match query.program {
        None => json(&*snapshot),
        Some(name) => json(&only(&snapshot, &name)?),
    }
}

fn only(snapshot: &Snapshot, name: &str) -> Result<Snapshot, ApiError> {
    let program = snapshot.programs.iter().find(|program| program.name == name);
    let program = program.ok_or_else(|| no_such_program(name))?;
    Ok(Snapshot { programs: vec![program.clone()], ..snapshot.clone() })
}

/// 404 for a program that there is not.
pub(super) fn no_such_program(name: &str) -> ApiError {
    Refusal::NoSuchName(format!("there is no program \"{name}\"")).into()
}

/// `GET /api/v1/explain/{program}`
pub(super) async fn explain(
    State(context): State<Context>,
    program: Result<Path<String>, PathRejection>,
) -> Result<Json<Explanation>, ApiError> {
    let Path(program) = program?;
    Ok(Json(context.handle().explain(ProgramName::new(program)?).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionsQuery {
    program: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/decisions`
pub(super) async fn decisions(
    State(context): State<Context>,
    query: Result<Query<DecisionsQuery>, QueryRejection>,
) -> Result<Json<Vec<DecisionView>>, ApiError> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(50);
    if !DECISIONS.contains(&limit) {
        return Err(ApiError::invalid(format!("limit is {} to {}", DECISIONS.start(), DECISIONS.end())));
    }
    let program = query.program.map(ProgramName::new).transpose()?;
    Ok(Json(context.handle().decisions(program, limit).await?))
}

/// `GET /metrics`
pub(super) async fn metrics(State(context): State<Context>) -> Result<Response, ApiError> {
    let snapshot = context.handle().snapshot().await?;
    let histograms = context.handle().histograms().await?;
    let text = metrics::render(&snapshot, &histograms)
        .map_err(|error| ApiError::internal(&error, "write the metrics"))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// `GET /healthz`: whether the loop answers.
pub(super) async fn healthz(State(context): State<Context>) -> Result<&'static str, ApiError> {
    context.handle().snapshot().await?;
    Ok("ok\n")
}

/// `GET /readyz`: whether what starts with Leveret has started, and Leveret is not ending.
pub(super) async fn readyz(State(context): State<Context>) -> Result<&'static str, ApiError> {
    let snapshot = context.handle().snapshot().await?;
    if snapshot.shutting_down {
        return Err(Refusal::Ending.into());
    }
    if snapshot.ready { Ok("ready\n") } else { Err(ApiError::unavailable(not_ready(&snapshot))) }
}

fn not_ready(snapshot: &Snapshot) -> String {
    let missing = snapshot.programs.iter().filter(|program| program.running < program.desired);
    let missing: Vec<String> = missing
        .map(|program| format!("{} runs {} of {}", program.name, program.running, program.desired))
        .collect();
    if missing.is_empty() {
        return "not ready yet".to_owned();
    }
    format!("not ready yet: {}", missing.join(", "))
}

/// `value` as JSON, without copying it first as [`Json`] would need.
fn json(value: &impl Serialize) -> Result<Response, ApiError> {
    let text = serde_json::to_vec(value).map_err(|error| ApiError::internal(&error, "write JSON"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}
