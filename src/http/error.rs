//! Errors as the API tells them: `{"error": "sentence"}` with the right status.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::controller::handle::Refusal;
use crate::core::ids::NameError;

/// A request that is not answered as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    /// The status.
    pub(super) status: StatusCode,
    /// A sentence for a person.
    pub(super) message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// Something of ours went wrong; what exactly is for the log, not for whoever asked.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static), doing: &str) -> Self {
        tracing::error!(error, "failed to {doing}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("Leveret failed to {doing}; its own log says more"),
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::NoSuchName(_) => StatusCode::NOT_FOUND,
            Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            Refusal::Conflict(_) => StatusCode::CONFLICT,
            Refusal::Configuration(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.to_string())
    }
}

/// What cannot be a name is the name of nothing.
impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::not_found(error.to_string())
    }
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        Self::invalid("the path is not valid UTF-8")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(format!("the query cannot be read: {}", rejection.body_text()))
    }
}
