//! States of aggregates as of their last event, kept so that a command on a known aggregate reads nothing.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use domain::metadata::TenantId;
use lru::LruCache;

/// Aggregates kept.
const AGGREGATES_MAX: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();

/// An aggregate at the end of its stream.
#[derive(Clone)]
pub(crate) struct Loaded<A> {
    pub(crate) state: A,
    /// Sequence of the last event; 0 when there is none.
    pub(crate) sequence: u64,
    /// Position of the last event; 0 when there is none.
    pub(crate) position: u64,
    /// The tenant that began the stream.
    pub(crate) tenant: Option<TenantId>,
}

type Key = (&'static str, String);

pub(crate) struct AggregateCache(Mutex<LruCache<Key, Box<dyn Any + Send>>>);

impl AggregateCache {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(AGGREGATES_MAX)))
    }

    /// Takes the aggregate out. Whoever fails to put it back has evicted it.
    pub(crate) fn take<A: Send + 'static>(&self, aggregate_type: &'static str, id: &str) -> Option<Loaded<A>> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = cache.pop(&(aggregate_type, id.to_owned()))?;
        kept.downcast::<Loaded<A>>().ok().map(|loaded| *loaded)
    }

    pub(crate) fn put<A: Send + 'static>(&self, aggregate_type: &'static str, id: &str, loaded: Loaded<A>) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.put((aggregate_type, id.to_owned()), Box::new(loaded));
    }
}
