//! What lists of log lines are narrowed to, as it stands in the query.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use commands::gateways::log_lines::{Level, words};

use crate::error::ApiError;
use crate::fault::Fault;

const SEARCH_CHARS_MAX: usize = 200;

/// One of the document's levels.
pub(super) fn level(word: Option<&str>) -> Result<Option<Level>, ApiError> {
    let word = word.filter(|word| !word.is_empty());
    let known = || ApiError::field("level", "必须是 DEBUG、INFO、WARNING、ERROR 或 CRITICAL");
    word.map(|word| word.parse().map_err(|_| known())).transpose()
}

/// A search that has something to look for.
pub(super) fn search(search: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(search) = search.filter(|search| !search.trim().is_empty()) else { return Ok(None) };
    if search.chars().count() > SEARCH_CHARS_MAX {
        return Err(ApiError::field("search", Fault::TooLong(SEARCH_CHARS_MAX)));
    }
    if words(&search).is_empty() {
        return Err(ApiError::field("search", "搜索关键词必须包含字母、数字或汉字"));
    }
    Ok(Some(search))
}

/// The first moment of a day, or the moment itself.
pub(super) fn first_moment(field: &'static str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, ApiError> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| day(text).map(start).or_else(|| time(text)).ok_or_else(|| no_date(field))).transpose()
}

/// The moment after a day, or the moment itself.
pub(super) fn moment_after(field: &'static str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, ApiError> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| day(text).map(end).or_else(|| time(text)).ok_or_else(|| no_date(field))).transpose()
}

/// A day of four-digit years.
pub(super) fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == "2024-01-31".len())
}

pub(super) fn start(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

pub(super) fn end(day: NaiveDate) -> DateTime<Utc> {
    day.checked_add_days(Days::new(1)).map_or(DateTime::<Utc>::MAX_UTC, start)
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    // In a query a plus sign that nobody has encoded reads as a blank.
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?.to_utc();
    (time.timestamp() >= 0).then_some(time)
}

pub(super) fn no_date(field: &'static str) -> ApiError {
    ApiError::field(field, "日期格式不正确，例如 2024-01-31")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_until_the_next_begins() {
        let (from, before) = (first_moment("x", Some("2024-02-28")), moment_after("x", Some("2024-02-28")));
        assert_eq!(from.unwrap().unwrap().to_rfc3339(), "2024-02-28T00:00:00+00:00");
        assert_eq!(before.unwrap().unwrap().to_rfc3339(), "2024-02-29T00:00:00+00:00");
        let moment = moment_after("x", Some("2024-02-28T12:00:00 08:00")).unwrap().unwrap();
        assert_eq!(moment.to_rfc3339(), "2024-02-28T04:00:00+00:00");
        for wrong in ["2024-13-01", "24-01-01", "yesterday", "2024-1-1", "-0001-01-01", "1960-01-01T00:00:00Z"] {
            assert!(first_moment("x", Some(wrong)).is_err(), "{wrong}");
        }
        assert!(first_moment("x", Some("")).unwrap().is_none());
    }

    #[test]
    fn a_search_needs_a_word() {
        assert!(search(Some("--".into())).is_err());
        assert!(search(Some("x".repeat(201))).is_err());
        assert_eq!(search(Some("超时".into())).unwrap().as_deref(), Some("超时"));
        assert!(search(Some("  ".into())).unwrap().is_none());
    }
}
