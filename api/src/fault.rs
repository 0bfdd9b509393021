//! What is wrong with a field of a body or query, as far as products have words of their own for it.

use domain::compute::task::refusal::ConfigFault;
use replay::NoMoment;

use crate::amount::NOT_A_NUMBER;
use crate::extract::time::OUT_OF_RANGE;

/// What is wrong with a field. `Display` is the English sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("must be between {0} and {1}")]
    NotBetween(u32, u32),
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// It is none of these words.
    #[error("must be {}", alternatives(.0, ", ", " or "))]
    NoneOf(&'static [&'static str]),
    #[error(transparent)]
    NoMoment(#[from] NoMoment),
    #[error(transparent)]
    Config(#[from] ConfigFault),
    /// It does not read as what it should be, and how the reader says so.
    #[error("{1}")]
    Unread(Mismatch, String),
    /// Whatever else, in a sentence.
    #[error("{0}")]
    Other(String),
}

/// Why a reader could not make of a field what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    Missing,
    Unknown,
    Duplicate,
    WrongType,
    NoNumber,
    NoWholeNumber,
    NumberTooLarge,
    NumberOutOfRange,
    NoBoolean,
    NoTime,
    TimeOutOfRange,
    Other,
}

/// What [`Mismatch::NoWholeNumber`] says where the reader is ours.
pub const NOT_A_WHOLE_NUMBER: &str = "must be a whole number";

impl Fault {
    /// Of the sentence of a reader. Serde's errors are no more than a sentence, so this is told by how it begins: further on
    /// stands what the client sent.
    pub fn unread(sentence: String) -> Self {
        const BEGINNINGS: [(&str, Mismatch); 14] = [
            ("missing field", Mismatch::Missing),
            ("unknown field", Mismatch::Unknown),
            ("duplicate field", Mismatch::Duplicate),
            ("invalid type", Mismatch::WrongType),
            (NOT_A_NUMBER, Mismatch::NoNumber),
            (NOT_A_WHOLE_NUMBER, Mismatch::NoWholeNumber),
            ("invalid digit", Mismatch::NoWholeNumber),
            ("cannot parse integer", Mismatch::NoWholeNumber),
            ("number too large", Mismatch::NumberTooLarge),
            ("invalid value: integer", Mismatch::NumberOutOfRange),
            ("provided string was not", Mismatch::NoBoolean),
            ("input contains invalid", Mismatch::NoTime),
            ("premature end of input", Mismatch::NoTime),
            (OUT_OF_RANGE, Mismatch::TimeOutOfRange),
        ];
        let known = BEGINNINGS.iter().find(|(beginning, _)| sentence.starts_with(beginning));
        Self::Unread(known.map_or(Mismatch::Other, |(_, mismatch)| *mismatch), sentence)
    }
}

impl From<String> for Fault {
    fn from(sentence: String) -> Self {
        Self::Other(sentence)
    }
}

impl From<&str> for Fault {
    fn from(sentence: &str) -> Self {
        Self::Other(sentence.to_owned())
    }
}

/// Words with `between` them, and `last` before the last one.
pub fn alternatives(words: &[&str], between: &str, last: &str) -> String {
    match words {
        [others @ .., word] if !others.is_empty() => format!("{}{last}{word}", others.join(between)),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_of_readers_are_told_by_how_they_begin() {
        let mismatch = |error: serde_json::Error| {
            let Fault::Unread(mismatch, _) = Fault::unread(error.to_string()) else { panic!("{error}") };
            mismatch
        };
        let time = |text: &str| mismatch(serde_json::from_str::<chrono::DateTime<chrono::Utc>>(text).unwrap_err());
        assert_eq!(time("\"soon\""), Mismatch::NoTime);
        assert_eq!(time("\"2026-01\""), Mismatch::NoTime);
        assert_eq!(time("\"2026-13-01T00:00:00Z\""), Mismatch::TimeOutOfRange);
        let number = |text: &str| mismatch(serde_json::from_str::<u8>(text).unwrap_err());
        assert_eq!(number("256"), Mismatch::NumberOutOfRange);
        assert_eq!(number("\"missing field\""), Mismatch::WrongType);
        let amount = |text: &str| mismatch(serde_json::from_str::<crate::amount::Amount>(text).unwrap_err());
        assert_eq!(amount("\"1_0\""), Mismatch::NoNumber);
        assert_eq!(amount(&format!("\"{}\"", "9".repeat(40))), Mismatch::NoNumber);
        let parsed = |text: &str| Fault::unread(text.parse::<u8>().unwrap_err().to_string());
        assert!(matches!(parsed("x"), Fault::Unread(Mismatch::NoWholeNumber, _)));
        assert!(matches!(parsed(""), Fault::Unread(Mismatch::NoWholeNumber, _)));
        assert!(matches!(parsed("256"), Fault::Unread(Mismatch::NumberTooLarge, _)));
        assert!(matches!(Fault::unread("whatever".to_owned()), Fault::Unread(Mismatch::Other, _)));
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(Fault::NoneOf(&["asc", "desc"]).to_string(), "must be asc or desc");
        assert_eq!(Fault::NoneOf(&["a_b", "c", "d"]).to_string(), "must be a_b, c or d");
        assert_eq!(alternatives(&["a"], ", ", " or "), "a");
    }
}
