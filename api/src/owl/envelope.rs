//! How Owl Factory answers: `{success, message, data, error_code}`, in Chinese.

mod words;

use std::borrow::Cow;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use projections::Page;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, ErrorKind, FieldError};

/// The envelope of success.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Envelope<T> {
    success: bool,
    message: &'static str,
    data: T,
    error_code: Option<&'static str>,
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// `data` in the envelope of success.
pub fn ok<T>(data: T) -> Envelope<T> {
    Envelope { success: true, message: "操作成功", data, error_code: None }
}

/// One page of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Items<T> {
    items: Vec<T>,
    total: u64,
    page: u64,
    page_size: u64,
    total_pages: u64,
    /// False where there is more than `total`, which nobody counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_is_exact: Option<bool>,
}

/// A page both in the envelope and at the top level, where the document's page format and real clients look for it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ListEnvelope<T: Clone> {
    #[serde(flatten)]
    envelope: Envelope<Items<T>>,
    #[serde(flatten)]
    top: Items<T>,
}

impl<T: Serialize + Clone> IntoResponse for ListEnvelope<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

impl<T: Clone> ListEnvelope<T> {
    /// Says that there is more than the total.
    #[must_use]
    pub fn counted_up_to_total(mut self) -> Self {
        self.envelope.data.total_is_exact = Some(false);
        self.top.total_is_exact = Some(false);
        self
    }
}

/// A page of rows, each shown as `show` makes it.
pub fn page<R, T: Clone>(page: Page<R>, show: impl Fn(R) -> T) -> ListEnvelope<T> {
    let (total, total_pages) = (page.total, page.pages());
    let (number, page_size) = (page.paging.page, page.paging.per_page);
    let items: Vec<T> = page.rows.into_iter().map(show).collect();
    let of = |items| Items { items, total, page: number, page_size, total_pages, total_is_exact: None };
    ListEnvelope { envelope: ok(of(items.clone())), top: of(items) }
}

/// The error body.
pub fn error(error: &ApiError) -> Response {
    let (status, error_code) = status(error);
    let mut details = error.details.clone();
    let field_errors = field_errors(error);
    if !field_errors.is_empty() {
        details.insert("field_errors".to_owned(), Value::Object(field_errors));
    }
    let body = json!({
        "success": false,
        "message": words::message(error),
        "error_code": error_code,
        "details": details,
        "error": format!("HTTP_{}", status.as_u16()),
    });
    (status, Json(body)).into_response()
}

/// What is wrong with each field.
fn field_errors(error: &ApiError) -> Map<String, Value> {
    if error.fields.is_empty() {
        return words::field_of_code(error.code)
            .into_iter()
            .map(|(name, said)| (name.to_owned(), json!([said])))
            .collect();
    }
    let mut field_errors: Map<String, Value> = Map::new();
    for (name, said) in error.fields.iter().filter_map(wrong) {
        let all = field_errors.entry(name.to_owned()).or_insert_with(|| json!([]));
        if let Value::Array(all) = all {
            all.push(Value::from(said));
        }
    }
    field_errors
}

/// The name of a field as the document has it, and what is wrong with it; nothing where it is the body as a whole, of which
/// the error's own message tells.
fn wrong(field: &FieldError) -> Option<(&str, Cow<'_, str>)> {
    if let Some((name, said)) = words::field_of_code(field.code) {
        return Some((name, said.into()));
    }
    match (field.code, &*field.field) {
        (_, "") => None,
        ("user.name_out_of_range", _) => Some(("full_name", words::of_field(field))),
        (_, name) => Some((name, words::of_field(field))),
    }
}

fn status(error: &ApiError) -> (StatusCode, &'static str) {
    match (error.code, error.kind) {
        // Codes cannot be told apart by probing.
        (
            "recharge_code.used_up"
            | "recharge_code.expired"
            | "recharge_code.deactivated"
            | "recharge_code.redeemed_before",
            _,
        )
        | (_, ErrorKind::NotFound) => (StatusCode::NOT_FOUND, "RESOURCE_NOT_FOUND"),
        (_, ErrorKind::Unauthenticated) | ("user.deactivated" | "user.locked", _) => {
            (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS")
        }
        (_, ErrorKind::Forbidden) => (StatusCode::FORBIDDEN, "ACCESS_DENIED"),
        (_, ErrorKind::Invalid | ErrorKind::Malformed) | ("balance.too_much", _) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_ERROR")
        }
        (_, ErrorKind::InsufficientFunds) => (StatusCode::BAD_REQUEST, "INSUFFICIENT_BALANCE"),
        (_, ErrorKind::LimitExceeded) => (StatusCode::TOO_MANY_REQUESTS, "TASK_LIMIT_EXCEEDED"),
        (_, ErrorKind::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, "SERVER_UNAVAILABLE"),
        (_, ErrorKind::Internal) => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
        ("task.lease_lost" | "agent.session_lost", _) => (StatusCode::CONFLICT, "LEASE_LOST"),
        (_, ErrorKind::AlreadyExists | ErrorKind::IllegalState | ErrorKind::Expired) => {
            (StatusCode::BAD_REQUEST, "INVALID_OPERATION")
        }
        (_, ErrorKind::MethodNotAllowed) => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        (_, ErrorKind::PayloadTooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
        (_, ErrorKind::Stale) => (StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED"),
        (_, ErrorKind::KeyReused) => (StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED"),
        (_, ErrorKind::TooManyRequests) => (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMIT_EXCEEDED"),
    }
}
