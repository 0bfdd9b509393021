//! How BITRUN answers: bare JSON; errors as `{"detail": …}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorKind, FieldError, Place};
use crate::fault::{Fault, Mismatch};

/// A moment as its clients read it: microseconds, and `+00:00` rather than `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Timestamp(pub DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, false))
    }
}

/// The error body.
pub fn error(error: &ApiError) -> Response {
    let status = status(error);
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

/// Wrong types are 422 with a list of places; what a rule of the business refuses is 400 with a sentence.
fn status(error: &ApiError) -> StatusCode {
    let against_a_rule = error.kind == ErrorKind::Invalid && error.fields.is_empty();
    if against_a_rule || error.kind == ErrorKind::AlreadyExists { StatusCode::BAD_REQUEST } else { error.kind.status() }
}

/// Wrong fields as a list of places, as its clients know it.
fn validation(error: &ApiError) -> Value {
    let sort = |fault: &Fault| {
        if matches!(fault, Fault::Unread(Mismatch::Missing, _)) { "missing" } else { "value_error" }
    };
    let list =
        error.fields.iter().map(|f| json!({ "type": sort(&f.fault), "loc": place(f), "msg": f.fault.to_string() }));
    if error.fields.is_empty() { Value::String(error.message.clone()) } else { Value::Array(list.collect()) }
}

/// Where in the request a field stands.
fn place(field: &FieldError) -> Vec<&str> {
    let part = match field.place {
        Place::Body => "body",
        Place::Query => "query",
        Place::Header => "header",
    };
    let names = field.field.split('.').filter(|name| !name.is_empty());
    std::iter::once(part).chain(names).collect()
}
