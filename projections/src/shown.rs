//! Values of rows as people read them.

use chrono::SecondsFormat;
use sea_orm::Value;
use sea_orm::sea_query::sea_value_to_json_value;
use serde_json::Value as Json;

/// A value as JSON: times with their offset, and null for what is not there.
pub(crate) fn json(value: &Value) -> Json {
    if let Value::ChronoDateTimeUtc(time) = value {
        let text = |time: &chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        return time.as_deref().map_or(Json::Null, |time| text(time).into());
    }
    if let Value::ChronoDate(date) = value {
        return date.as_deref().map_or(Json::Null, |date| date.to_string().into());
    }
    sea_value_to_json_value(value)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate};
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_plain_and_nothing_is_null() {
        let time = DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        assert_eq!(json(&Value::from(time)), "2023-11-14T22:13:20.000001Z");
        assert_eq!(json(&Value::ChronoDateTimeUtc(None)), Json::Null);
        assert_eq!(json(&Value::from(NaiveDate::from_ymd_opt(2026, 4, 15).unwrap())), "2026-04-15");
        assert_eq!(json(&Value::ChronoDate(None)), Json::Null);
        assert_eq!(json(&Value::from(7_i64)), json!(7));
        assert_eq!(json(&Value::from("text")), "text");
        assert_eq!(json(&Value::String(None)), Json::Null);
    }
}
