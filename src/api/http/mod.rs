//! Plain HTTP.

pub mod edge;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

/// An answer that says what is wrong, as `application/problem+json` (RFC 9457).
pub(super) fn problem(status: StatusCode, title: &str) -> Response {
    let body = serde_json::json!({ "status": status.as_u16(), "title": title }).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}
