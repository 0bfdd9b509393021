//! How the platform answers: bare JSON; errors as `{error, message, details}`, with `fields` where fields are wrong.

use std::future::Future;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use projections::Page;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::request::{RehearsedEvent, RequestContext};

/// One page of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Items<T> {
    items: Vec<T>,
    total: u64,
    page: u64,
    per_page: u64,
    pages: u64,
}

/// A page of rows, each shown as `show` makes it.
pub fn items<R, T>(page: Page<R>, show: impl FnMut(R) -> T) -> Items<T> {
    let (total, pages) = (page.total, page.pages());
    let (number, per_page) = (page.paging.page, page.paging.per_page);
    Items { items: page.rows.into_iter().map(show).collect(), total, page: number, per_page, pages }
}

/// What a command answers.
pub enum Outcome<T> {
    /// What is so now.
    Done(StatusCode, T),
    /// A dry run: what would have been appended.
    Rehearsed(DryRunOut),
}

/// What `?dry_run=true` answers when no rule refuses. Nothing was appended.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DryRunOut {
    dry_run: bool,
    /// The events that the same request without `dry_run` would append now; none when there is nothing to change.
    events: Vec<RehearsedEvent>,
}

/// The outcome of the commands of `request`: what `shown` finds, unless they were only rehearsed.
///
/// # Errors
/// What `shown` says.
pub async fn outcome<T>(
    request: &RequestContext,
    status: StatusCode,
    shown: impl Future<Output = Result<T, ApiError>>,
) -> Result<Outcome<T>, ApiError> {
    if request.dry_run {
        return Ok(Outcome::Rehearsed(DryRunOut { dry_run: true, events: request.rehearsed() }));
    }
    Ok(Outcome::Done(status, shown.await?))
}

impl<T: Serialize> IntoResponse for Outcome<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Done(status, body) => (status, Json(body)).into_response(),
            Self::Rehearsed(body) => Json(body).into_response(),
        }
    }
}

/// The error body.
pub fn error(error: &ApiError) -> Response {
    let fields: Vec<Value> =
        error.fields.iter().map(|field| json!({ "field": field.field, "message": field.fault.to_string() })).collect();
    let body = json!({ "error": error.code, "message": error.message, "fields": fields, "details": error.details });
    (error.kind.status(), Json(body)).into_response()
}
