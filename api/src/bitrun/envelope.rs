//! How BITRUN answers: bare JSON; errors as `{"detail": …}`.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::error::{ApiError, ErrorKind};

/// The error body.
pub fn error(error: &ApiError) -> Response {
    let status = error.kind.status();
    let detail = if error.kind == ErrorKind::Invalid {
        validation(error)
    } else if error.details.is_empty() {
        Value::String(error.message.clone())
    } else {
        let mut detail = error.details.clone();
        detail.entry("message").or_insert_with(|| Value::String(error.message.clone()));
        Value::Object(detail)
    };
    let mut response = (status, Json(json!({ "detail": detail }))).into_response();
    if error.kind == ErrorKind::Unauthenticated {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Wrong fields as a list of places, as its clients know it.
fn validation(error: &ApiError) -> Value {
    let place = |field: &str| {
        let names = field.split('.').filter(|name| !name.is_empty()).map(|name| Value::String(name.to_owned()));
        std::iter::once(Value::String("body".to_owned())).chain(names).collect::<Vec<_>>()
    };
    let missing = |message: &str| if message.starts_with("missing field") { "missing" } else { "value_error" };
    let list =
        error.fields.iter().map(|f| json!({ "type": missing(&f.message), "loc": place(&f.field), "msg": f.message }));
    if error.fields.is_empty() { Value::String(error.message.clone()) } else { Value::Array(list.collect()) }
}
