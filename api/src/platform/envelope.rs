//! How the platform answers: bare JSON; errors as `{error, message, details}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::error::ApiError;

/// The error body.
pub fn error(error: &ApiError) -> Response {
    let fields: Vec<Value> =
        error.fields.iter().map(|field| json!({ "field": field.field, "message": field.message })).collect();
    let body = json!({ "error": error.code, "message": error.message, "fields": fields, "details": error.details });
    (error.kind.status(), Json(body)).into_response()
}
