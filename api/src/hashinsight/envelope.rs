//! How HashInsight answers: `{success, …}`; errors as `{success, error, message}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use projections::Page;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{ApiError, ErrorKind};

/// The envelope of success: the fields of `body` stand beside `success`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Envelope<T> {
    success: bool,
    #[serde(flatten)]
    body: T,
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// `body` in the envelope of success.
pub fn ok<T>(body: T) -> Envelope<T> {
    Envelope { success: true, body }
}

/// Where in a list a page stands.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Pagination {
    page: u64,
    per_page: u64,
    total: u64,
    pages: u64,
    has_next: bool,
    has_prev: bool,
}

impl Pagination {
    /// The place of `page`.
    pub fn of<T>(page: &Page<T>) -> Self {
        let (number, pages) = (page.paging.page, page.pages());
        Self {
            page: number,
            per_page: page.paging.per_page,
            total: page.total,
            pages,
            has_next: number < pages,
            has_prev: number > 1,
        }
    }
}

/// The error body. Facts that belong to it (such as `required_access`) stand beside.
pub fn error(error: &ApiError) -> Response {
    let (status, word) = match error.code {
        "miner_command.unsupported" => (StatusCode::UNPROCESSABLE_ENTITY, "unsupported_command"),
        _ => words(error.kind),
    };
    let mut body = json!({ "success": false, "error": word, "message": error.message });
    if let Value::Object(body) = &mut body {
        body.extend(error.details.clone());
    }
    (status, Json(body)).into_response()
}

fn words(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::Malformed
        | ErrorKind::Invalid
        | ErrorKind::IllegalState
        | ErrorKind::AlreadyExists
        | ErrorKind::InsufficientFunds
        | ErrorKind::Expired => (StatusCode::BAD_REQUEST, "invalid_request"),
        ErrorKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "authentication_required"),
        ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "permission_denied"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "resource_not_found"),
        ErrorKind::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        ErrorKind::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
        ErrorKind::Stale => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
        ErrorKind::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
        ErrorKind::LimitExceeded | ErrorKind::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "database_error"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "database_error"),
    }
}
