//! What JSON from outside has to be like before anything is made of it, and what is wrong with it.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::named;
use crate::error::{ApiError, ErrorKind};

/// Most arrays and objects that may stand in one another.
///
/// The parser follows 127, but what a body says is wrapped once more in an event, a line of an export or an answer. What
/// no reader of the log can follow would halt the read models for good.
pub(crate) const LEVELS_MAX: usize = 64;

/// Refuses JSON that could be parsed, and then not be kept or not be read again.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(json: &[u8]) -> Result<(), ApiError> {
    refuse_nul(json)?;
    if levels(json) > LEVELS_MAX {
        return Err(malformed(&format!("is nested more than {LEVELS_MAX} levels deep")));
    }
    Ok(())
}

/// Refuses JSON that is no object: a struct could be read from a list as well, its fields in their order.
pub(super) fn check_object(json: &[u8]) -> Result<(), ApiError> {
    if json.trim_ascii_start().starts_with(b"{") {
        return Ok(());
    }
    match serde_json::from_slice::<IgnoredAny>(json) {
        Ok(_) => Err(ApiError::field("", "the body must be a JSON object")),
        Err(error) => Err(no_json(&error)),
    }
}

/// What could not be read as `T`.
pub(super) fn wrong<T: ToSchema>(error: &serde_path_to_error::Error<serde_json::Error>, json: &[u8]) -> ApiError {
    if !error.inner().is_data() {
        return no_json(error.inner());
    }
    let (parent, named, said) = (error.path().to_string(), named(error.inner()), without_place(error.inner()));
    match parent.as_str() {
        "." if said.starts_with("missing field") => missing::<T>(named, json),
        "." => ApiError::field(named, said),
        // An unknown field is the place as well as what is named.
        _ if named.is_empty() || said.starts_with("unknown field") => ApiError::field(parent, said),
        _ => ApiError::field(format!("{parent}.{named}"), said),
    }
}

/// The reader names only the first field that is missing; the schema of `T` knows the others.
fn missing<T: ToSchema>(first: String, json: &[u8]) -> ApiError {
    let sent: Map<String, Value> = serde_json::from_slice(json).unwrap_or_default();
    let required = if let RefOr::T(Schema::Object(schema)) = T::schema() { schema.required } else { Vec::new() };
    let is_missing = |name: &String| *name != first && !sent.contains_key(name);
    let others: Vec<String> = required.into_iter().filter(is_missing).collect();
    let missing = |name: String| {
        let said = format!("missing field `{name}`");
        ApiError::field(name, said)
    };
    let mut error = missing(first);
    error.fields.extend(others.into_iter().flat_map(|name| missing(name).fields));
    error
}

/// What is no JSON.
pub(super) fn no_json(error: &serde_json::Error) -> ApiError {
    malformed(&format!("is not valid JSON: {error}"))
}

/// What serde says, without "at line 1 column 2".
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// Something that is no body at all.
fn malformed(what: &str) -> ApiError {
    ApiError::new(ErrorKind::Malformed, "invalid_request", format!("the body {what}"))
}

/// PostgreSQL keeps no NUL in a text, so nobody may send one.
fn refuse_nul(json: &[u8]) -> Result<(), ApiError> {
    const ESCAPED: &[u8] = b"\\u0000";
    let starts = (0..json.len().saturating_sub(ESCAPED.len() - 1)).filter(|at| json[*at..].starts_with(ESCAPED));
    // After an odd number of backslashes the backslash itself is meant.
    let backslashes_before = |at: usize| json[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
    if starts.map(backslashes_before).any(|before| before % 2 == 0) { Err(nul()) } else { Ok(()) }
}

/// A text with a character that not every database can keep.
pub(super) fn nul() -> ApiError {
    ApiError::new(ErrorKind::Malformed, "invalid_request", "a text may not contain the character NUL")
}

/// How many arrays and objects are open at the same time. Brackets in strings are none.
fn levels(json: &[u8]) -> usize {
    let (mut open, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_refused_and_what_looks_like_one_is_not() {
        for nul in [br#"{"a":"\u0000"}"#.as_slice(), br#"{"a":"x\\\u0000"}"#, br#"["\\","\u0000"]"#] {
            assert!(check(nul).is_err(), "{}", String::from_utf8_lossy(nul));
        }
        for text in [br#"{"a":"\\u0000"}"#.as_slice(), br#"{"a":"\\\\u0000\u0001"}"#, b"u0000", b""] {
            assert!(check(text).is_ok(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn levels_are_counted_outside_of_strings() {
        for (json, expected) in [
            (r#"{"a":[1,{"b":[]}],"c":[[]]}"#, 4),
            (r#"{"a":"[[[[{{{"}"#, 1),
            (r#"{"a":"\"[[[","b":"\\","c":[]}"#, 2),
            ("]]]][", 1),
            ("17", 0),
        ] {
            assert_eq!(levels(json.as_bytes()), expected, "{json}");
        }
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(check(nested(LEVELS_MAX).as_bytes()).is_ok());
        assert!(check(nested(LEVELS_MAX + 1).as_bytes()).is_err());
    }
}
