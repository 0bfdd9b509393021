//! Times in bodies.

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Deserializer, de};

/// The last year of four digits.
pub(crate) const YEAR_MAX: i32 = 9_999;

/// What is said of a time that is none: as chrono says it.
pub(crate) const OUT_OF_RANGE: &str = "input is out of range";

/// A time of a year of four digits. Tables keep times as texts on SQLite, and there `+10000` stands before `2024`.
pub(crate) fn of_four_digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let time = Option::<DateTime<Utc>>::deserialize(deserializer)?;
    if time.is_some_and(|time| !(0..=YEAR_MAX).contains(&time.year())) {
        return Err(de::Error::custom(OUT_OF_RANGE));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "of_four_digits")]
        at: Option<DateTime<Utc>>,
    }

    #[test]
    fn years_have_four_digits() {
        let read = |json: &str| serde_json::from_str::<Body>(json).map(|body| body.at);
        assert!(read("{}").unwrap().is_none() && read(r#"{"at":null}"#).unwrap().is_none());
        assert!(read(r#"{"at":"9999-12-31T23:59:59Z"}"#).unwrap().is_some());
        for wrong in ["+10000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "-0001-01-01T00:00:00Z", "soon"] {
            assert!(read(&format!(r#"{{"at":"{wrong}"}}"#)).is_err(), "{wrong}");
        }
    }
}
