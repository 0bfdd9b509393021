//! One shared text for each name that stands in very many events.

use std::collections::HashSet;
use std::sync::Arc;

/// More names than this are not the program's own; they are forgotten rather than hoarded.
const NAMES_MAX: usize = 4_096;

/// Texts that repeat: sorts of aggregates and of events.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashSet<Arc<str>>,
}

impl Names {
    /// The shared text that says `name`.
    pub(super) fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return Arc::clone(known);
        }
        if self.known.len() >= NAMES_MAX {
            self.known.clear();
        }
        let new = Arc::<str>::from(name);
        self.known.insert(Arc::clone(&new));
        new
    }
}

/// A text that often equals the one before, such as the metadata of the events of one command.
pub(super) fn same_or_new(last: &mut Arc<str>, text: &str) -> Arc<str> {
    if **last != *text {
        *last = Arc::from(text);
    }
    Arc::clone(last)
}
