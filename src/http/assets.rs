//! The files that the page needs, built into the binary.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

const ASSETS: [(&str, &str, &str); 4] = [
    ("page.js", JAVASCRIPT, include_str!("../../templates/assets/page.js")),
    ("log.js", JAVASCRIPT, include_str!("../../templates/assets/log.js")),
    ("page.css", CSS, include_str!("../../templates/assets/page.css")),
    ("icon.svg", SVG, include_str!("../../templates/assets/icon.svg")),
];

/// `GET /assets/{file}`
pub(super) async fn asset(name: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let Path(name) = name?;
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => Ok(([(header::CONTENT_TYPE, *kind)], *text).into_response()),
        None => Err(ApiError::not_found(format!("there is nothing at /assets/{name}"))),
    }
}
