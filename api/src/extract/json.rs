//! What JSON from outside has to be like before anything is made of it, and what is wrong with it.

use domain::payload;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::named;
use crate::error::{ApiError, ErrorKind};
use crate::fault::{Fault, Mismatch};

/// Most arrays and objects that may stand in one another: what a body says is wrapped once more in an event, a line of an
/// export or an answer, and none may come near [`payload::LEVELS_MAX`].
pub(crate) const LEVELS_MAX: usize = 64;

/// What is wrong with a body as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("the body is not valid JSON: {0}")]
    NoJson(String),
    #[error("the body must be a JSON object")]
    NoObject,
}

/// Refuses JSON that could be parsed, and then not be kept or not be read again.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(json: &[u8]) -> Result<(), ApiError> {
    Ok(payload::check(json, LEVELS_MAX)?)
}

/// Refuses JSON that is no object: a struct could be read from a list as well, its fields in their order.
pub(super) fn check_object(json: &[u8]) -> Result<(), ApiError> {
    if json.trim_ascii_start().starts_with(b"{") {
        return Ok(());
    }
    match serde_json::from_slice::<IgnoredAny>(json) {
        Ok(_) => Err(ApiError::field("", BodyFault::NoObject.to_string()).because(BodyFault::NoObject)),
        Err(error) => Err(no_json(&error)),
    }
}

/// What could not be read as `T`.
pub(super) fn wrong<T: ToSchema>(error: &serde_path_to_error::Error<serde_json::Error>, json: &[u8]) -> ApiError {
    // Of a word that is none, the reader speaks as if the JSON were broken.
    if !error.inner().is_data() && serde_json::from_slice::<IgnoredAny>(json).is_err() {
        return no_json(error.inner());
    }
    let (parent, named) = (error.path().to_string(), named(error.inner()));
    let fault = Fault::unread(without_place(error.inner()));
    match (parent.as_str(), &fault) {
        (".", Fault::Unread(Mismatch::Missing, _)) => missing::<T>(named, json),
        (".", _) => ApiError::field(named, fault),
        // An unknown field is the place as well as what is named.
        (_, Fault::Unread(Mismatch::Unknown, _)) => ApiError::field(parent, fault),
        _ if named.is_empty() => ApiError::field(parent, fault),
        _ => ApiError::field(format!("{parent}.{named}"), fault),
    }
}

/// The reader names only the first field that is missing; the schema of `T` knows the others.
fn missing<T: ToSchema>(first: String, json: &[u8]) -> ApiError {
    let sent: Map<String, Value> = serde_json::from_slice(json).unwrap_or_default();
    let required = if let RefOr::T(Schema::Object(schema)) = T::schema() { schema.required } else { Vec::new() };
    let is_missing = |name: &String| *name != first && !sent.contains_key(name);
    let others: Vec<String> = required.into_iter().filter(is_missing).collect();
    let missing = |name: String| {
        let fault = Fault::Unread(Mismatch::Missing, format!("missing field `{name}`"));
        ApiError::field(name, fault)
    };
    let mut error = missing(first);
    error.fields.extend(others.into_iter().flat_map(|name| missing(name).fields));
    error
}

/// What is no JSON.
pub(super) fn no_json(error: &serde_json::Error) -> ApiError {
    let fault = BodyFault::NoJson(error.to_string());
    ApiError::new(ErrorKind::Malformed, "invalid_request", fault.to_string()).because(fault)
}

/// What serde says, without "at line 1 column 2".
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(check(nested(LEVELS_MAX).as_bytes()).is_ok());
        assert!(check(nested(LEVELS_MAX + 1).as_bytes()).is_err());
    }
}
