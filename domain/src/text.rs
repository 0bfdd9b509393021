//! Texts that are read from the log by the million: several of one record lie in one piece of memory.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A text, or a part of one that it shares with others. Cheap to clone; keeps the whole in memory.
#[derive(Clone)]
pub struct Text {
    whole: Arc<str>,
    start: usize,
    end: usize,
}

impl Text {
    /// The parts as texts that share one allocation. `scratch` is where they are put together, to be used again.
    pub fn together<const N: usize>(parts: [&str; N], scratch: &mut String) -> [Self; N] {
        scratch.clear();
        parts.iter().for_each(|part| scratch.push_str(part));
        let whole = Arc::<str>::from(scratch.as_str());
        let mut end = 0;
        parts.map(|part| {
            let start = end;
            end += part.len();
            Self { whole: Arc::clone(&whole), start, end }
        })
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        // Both ends are those of a text that was put in.
        self.whole.get(self.start..self.end).unwrap_or_default()
    }
}

impl From<Arc<str>> for Text {
    fn from(whole: Arc<str>) -> Self {
        Self { start: 0, end: whole.len(), whole }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Arc::<str>::from(text).into()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Arc::<str>::from(text).into()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn parts_of_one_text_are_what_was_put_together() {
        let mut scratch = "before".to_owned();
        let parts = Text::together(["é", "", "{}"], &mut scratch);
        assert_eq!(parts.each_ref().map(|part| &**part), ["é", "", "{}"]);
        assert!(Arc::ptr_eq(&parts[0].whole, &parts[2].whole));
    }

    #[test]
    fn it_is_found_by_what_it_says() {
        let [id, _] = Text::together(["lead", "deal"], &mut String::new());
        assert_eq!(id, Text::from("lead"));
        assert!(HashSet::from([id]).contains("lead"));
    }
}
