//! What a single field of a lead, customer or deal may hold.

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;

use crate::plain_text;

/// Longest name, title or company, in characters.
pub const NAME_MAX: usize = 200;
/// Longest e-mail address (RFC 5321, 4.5.3.1.3 less the angle brackets).
pub const EMAIL_MAX: usize = 254;
/// Longest part of an e-mail address before the `@` (RFC 5321, 4.5.3.1.1).
pub const EMAIL_LOCAL_MAX: usize = 64;
/// Longest telephone number as it is written down, in characters.
pub const PHONE_MAX: usize = 50;
/// Longest single word such as a source, type or level, in characters.
pub const WORD_MAX: usize = 100;
/// Longest postal address or reason, in characters.
pub const LINE_MAX: usize = 500;
/// Longest note, in characters.
pub const NOTES_MAX: usize = 5_000;
/// Largest sum of money: 10^12. With two decimals it still fits a JSON number without loss.
pub const AMOUNT_MAX: Decimal = Decimal::from_parts(0xD4A5_1000, 0xE8, 0, false, 0);
/// Years in which a follow-up or an expected close may lie.
pub const YEARS: std::ops::RangeInclusive<i32> = 2000..=2199;

/// A value that its field cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("{field} must not be empty")]
    Empty { field: &'static str },
    #[error("{field} must have at most {max} characters")]
    TooLong { field: &'static str, max: usize },
    #[error("{field} must not contain control characters")]
    ControlCharacter { field: &'static str },
    #[error("email must have the form name@example.com")]
    NotAnEmail,
    #[error("{field} must be between 0 and {AMOUNT_MAX}, with at most two decimals")]
    AmountOutOfRange { field: &'static str },
    #[error("{field} must lie between the years {} and {}", YEARS.start(), YEARS.end())]
    DateOutOfRange { field: &'static str },
}

/// A line of text that must say something.
///
/// # Errors
/// Blank, longer than `max` characters, or with control characters.
pub fn required(field: &'static str, text: &str, max: usize) -> Result<(), FieldError> {
    if text.trim().is_empty() {
        return Err(FieldError::Empty { field });
    }
    line(field, Some(text), max)
}

/// A line of text that may be absent.
///
/// # Errors
/// Longer than `max` characters, or with control characters.
pub fn line(field: &'static str, text: Option<&str>, max: usize) -> Result<(), FieldError> {
    bounded(field, text, max, plain_text::is_line)
}

/// Several lines of text, which may be absent.
///
/// # Errors
/// Longer than `max` characters, or with control characters other than line breaks and tabs.
pub fn lines(field: &'static str, text: Option<&str>, max: usize) -> Result<(), FieldError> {
    bounded(field, text, max, plain_text::are_lines)
}

fn bounded(
    field: &'static str,
    text: Option<&str>,
    max: usize,
    is_plain: impl Fn(&str) -> bool,
) -> Result<(), FieldError> {
    let Some(text) = text else { return Ok(()) };
    if text.chars().count() > max {
        Err(FieldError::TooLong { field, max })
    } else if !is_plain(text) {
        Err(FieldError::ControlCharacter { field })
    } else {
        Ok(())
    }
}

/// An e-mail address, which may be absent. The shape is checked, not whether a mailbox answers.
///
/// # Errors
/// Too long, or not `local@domain` with a dotted domain and no blanks.
pub fn email(address: Option<&str>) -> Result<(), FieldError> {
    line("email", address, EMAIL_MAX)?;
    let Some(address) = address else { return Ok(()) };
    let well_formed = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && local.len() <= EMAIL_LOCAL_MAX
            && !domain.contains('@')
            && domain.contains('.')
            && domain.split('.').all(|label| !label.is_empty())
            && !address.contains(char::is_whitespace)
    });
    if well_formed { Ok(()) } else { Err(FieldError::NotAnEmail) }
}

/// A sum of money.
///
/// # Errors
/// Below 0, above [`AMOUNT_MAX`] or finer than a cent.
pub fn amount(field: &'static str, amount: Decimal) -> Result<(), FieldError> {
    if amount < Decimal::ZERO || amount > AMOUNT_MAX || amount.normalize().scale() > 2 {
        return Err(FieldError::AmountOutOfRange { field });
    }
    Ok(())
}

/// A calendar date, which may be absent.
///
/// # Errors
/// Outside of [`YEARS`].
pub fn date(field: &'static str, date: Option<NaiveDate>) -> Result<(), FieldError> {
    if date.is_some_and(|date| !YEARS.contains(&date.year())) {
        return Err(FieldError::DateOutOfRange { field });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_in_characters_not_bytes() {
        assert_eq!(required("name", &"é".repeat(NAME_MAX), NAME_MAX), Ok(()));
        let too_long = Err(FieldError::TooLong { field: "name", max: NAME_MAX });
        assert_eq!(required("name", &"é".repeat(NAME_MAX + 1), NAME_MAX), too_long);
        assert_eq!(required("name", " \t", NAME_MAX), Err(FieldError::Empty { field: "name" }));
    }

    #[test]
    fn control_characters_are_refused_but_notes_have_lines() {
        let refused = Err(FieldError::ControlCharacter { field: "notes" });
        assert_eq!(line("notes", Some("a\nb"), 10), refused);
        assert_eq!(lines("notes", Some("a\nb\tc\r"), 10), Ok(()));
        assert_eq!(lines("notes", Some("a\0b"), 10), refused);
    }

    #[test]
    fn an_email_has_a_name_and_a_dotted_domain() {
        assert_eq!(email(None), Ok(()));
        assert_eq!(email(Some("lead+tag@mail.example.com")), Ok(()));
        let long_local = format!("{}@example.com", "a".repeat(EMAIL_LOCAL_MAX + 1));
        for wrong in ["", "lead", "@example.com", "a@b", "a@b.", "a@.b", "a@b@c.de", "a b@c.de", long_local.as_str()] {
            assert_eq!(email(Some(wrong)), Err(FieldError::NotAnEmail), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_whole_cents_from_zero_to_the_limit() {
        assert_eq!(AMOUNT_MAX, Decimal::from(1_000_000_000_000_i64));
        for fine in [Decimal::ZERO, Decimal::new(1, 2), Decimal::new(50_000_000, 3), AMOUNT_MAX] {
            assert_eq!(amount("amount", fine), Ok(()), "{fine}");
        }
        for wrong in [Decimal::new(-1, 2), Decimal::new(1, 3), AMOUNT_MAX + Decimal::new(1, 2)] {
            assert_eq!(amount("amount", wrong), Err(FieldError::AmountOutOfRange { field: "amount" }), "{wrong}");
        }
    }

    #[test]
    fn dates_lie_in_a_year_that_a_calendar_shows() {
        let on = |year| NaiveDate::from_ymd_opt(year, 6, 1);
        assert_eq!(date("expected_close", on(2025)), Ok(()));
        assert_eq!(date("expected_close", None), Ok(()));
        let wrong = Err(FieldError::DateOutOfRange { field: "expected_close" });
        assert_eq!(date("expected_close", on(1999)), wrong);
        assert_eq!(date("expected_close", on(20_250)), wrong);
    }
}
