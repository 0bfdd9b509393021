//! How the platform answers: bare JSON; errors as `{error, message, details}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use projections::Page;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::ApiError;

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

/// The error body.
pub fn error(error: &ApiError) -> Response {
    let fields: Vec<Value> =
        error.fields.iter().map(|field| json!({ "field": field.field, "message": field.message })).collect();
    let body = json!({ "error": error.code, "message": error.message, "fields": fields, "details": error.details });
    (error.kind.status(), Json(body)).into_response()
}
