//! What JSON from outside has to be like before anything is made of it.

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

/// Something that is no body at all.
pub(super) fn malformed(what: &str) -> ApiError {
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
