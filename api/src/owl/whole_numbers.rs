//! Whole numbers in bodies.

use serde::{Deserialize, Deserializer, de};
use serde_json::Number;

use crate::fault::NOT_A_WHOLE_NUMBER;

/// A whole number that may be missing, or null. One that is out of reach becomes the nearest that is not, so that the
/// rule which refuses it says what it may be.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    if let Some(positive) = number.as_u64() {
        return Ok(Some(u32::try_from(positive).unwrap_or(u32::MAX)));
    }
    match number.as_f64() {
        Some(_) if number.is_i64() => Ok(Some(0)),
        // The reader of JSON keeps larger whole numbers as floats.
        Some(large) if large.abs() >= 9e18 => Ok(Some(if large > 0.0 { u32::MAX } else { 0 })),
        Some(_) | None => Err(de::Error::custom(NOT_A_WHOLE_NUMBER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "whole")]
        n: Option<u32>,
    }

    #[test]
    fn what_is_out_of_reach_is_the_nearest() {
        let read = |n: &str| serde_json::from_str::<Body>(&format!("{{\"n\":{n}}}")).map(|body| body.n);
        for (text, expected) in [
            ("7", Some(7)),
            ("null", None),
            ("-1", Some(0)),
            ("-9000000000", Some(0)),
            ("1000000000000", Some(u32::MAX)),
            ("1000000000000000000000000000000", Some(u32::MAX)),
            ("-1000000000000000000000000000000", Some(0)),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for wrong in ["1.5", "\"1\"", "true", "[]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::from_str::<Body>("{}").unwrap().n, None);
    }
}
