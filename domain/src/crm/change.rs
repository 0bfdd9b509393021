//! What a partial update does to an optional field.

use serde::{Deserialize, Serialize};

/// Keeps, empties or replaces an optional field; an event leaves out what it keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change<T> {
    /// The field stays as it is.
    #[default]
    Keep,
    /// The field becomes empty.
    Clear,
    /// The field becomes this.
    Set(T),
}

impl<T> Change<T> {
    /// Whether the field stays as it is.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The new value, when there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Keep | Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// The same change with its new value in another form.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(form(value)),
        }
    }

    /// Does to `field` what this says.
    pub fn apply_to(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(value) => *field = Some(value),
        }
    }
}

impl<T: PartialEq> Change<T> {
    /// The same change, or `Keep` when it would leave `present` as it is.
    #[must_use]
    pub fn against(self, present: Option<&T>) -> Self {
        let same = match &self {
            Self::Keep => true,
            Self::Clear => present.is_none(),
            Self::Set(value) => present == Some(value),
        };
        if same { Self::Keep } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_changes_nothing_is_kept_out() {
        assert_eq!(Change::Set(1).against(Some(&1)), Change::Keep);
        assert_eq!(Change::Set(1).against(Some(&2)), Change::Set(1));
        assert_eq!(Change::<i32>::Clear.against(None), Change::Keep);
        assert_eq!(Change::Clear.against(Some(&1)), Change::Clear);
    }

    #[test]
    fn a_change_keeps_empties_or_replaces() {
        let mut field = Some(1);
        Change::Keep.apply_to(&mut field);
        assert_eq!(field, Some(1));
        Change::Set(2).apply_to(&mut field);
        assert_eq!(field, Some(2));
        Change::Clear.apply_to(&mut field);
        assert_eq!(field, None);
    }
}
