//! One shared text for each name that stands in very many events.

use std::collections::HashSet;
use std::sync::Arc;

/// More names than this are not the program's own; they are forgotten rather than hoarded.
const NAMES_MAX: usize = 4_096;

/// Texts that repeat: sorts of aggregates, or of events.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashSet<Arc<str>>,
    /// Most often it is asked for again.
    last: Option<Arc<str>>,
}

impl Names {
    /// The shared text that says `name`.
    pub(super) fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(last) = &self.last
            && **last == *name
        {
            return Arc::clone(last);
        }
        let shared = self.known(name);
        self.last = Some(Arc::clone(&shared));
        shared
    }

    fn known(&mut self, name: &str) -> Arc<str> {
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

/// What the records of one reader share, and where their texts are put together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) aggregate_types: Names,
    pub(super) event_types: Names,
    pub(super) scratch: String,
}
