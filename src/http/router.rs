//! Every path there is.

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{get, post};

use super::context::Context;
use super::error::ApiError;
use super::{actions, assets, follow, guard, live, logs, page, read};

/// The routes behind the guard.
pub(super) fn router(context: Context) -> Router {
    Router::new()
        .route("/", get(page::overview))
        .route("/index.html", get(async || Redirect::permanent("/")))
        .route("/logs/{process}", get(page::log))
        .route("/assets/{file}", get(assets::asset))
        .route("/api/v1/status", get(read::status))
        .route("/api/v1/explain/{program}", get(read::explain))
        .route("/api/v1/decisions", get(read::decisions))
        .route("/api/v1/events", get(live::events))
        .route("/api/v1/logs/{process}", get(logs::last_lines))
        .route("/api/v1/logs/{process}/follow", get(follow::follow))
        .route("/api/v1/programs/{name}/{verb}", post(actions::on_program))
        .route("/api/v1/processes/{name}/{verb}", post(actions::on_process))
        .route("/api/v1/projects/{name}/{verb}", post(actions::on_project))
        .route("/api/v1/all/{verb}", post(actions::on_all))
        .route("/api/v1/reload", post(actions::reload))
        .route("/api/v1/reload/plan", get(read::plan_reload))
        .route("/api/v1/upgrade", post(actions::upgrade))
        .route("/api/v1/shutdown", post(actions::shutdown))
        .route("/metrics", get(read::metrics))
        .route("/healthz", get(read::healthz))
        .route("/readyz", get(read::readyz))
        .fallback(async |uri: Uri| ApiError::not_found(format!("there is nothing at {}", uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{} does not answer to {method}; the Allow header says to what", uri.path()),
            )
        })
        .layer(from_fn_with_state(context.clone(), guard::guard))
        .with_state(context)
}
