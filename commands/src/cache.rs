//! States of aggregates as of their last event, kept so that a command on a known aggregate reads nothing.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::metadata::TenantId;
use lru::LruCache;

/// Aggregates kept.
const AGGREGATES_MAX: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();

/// An aggregate at the end of its stream, as far as this server has seen it: another one may have appended since.
#[derive(Clone, Default)]
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

struct Kept {
    sequence: u64,
    /// A [`Loaded`].
    loaded: Box<dyn Any + Send>,
}

pub(crate) struct AggregateCache(Mutex<LruCache<Key, Kept>>);

impl AggregateCache {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(AGGREGATES_MAX)))
    }

    /// A copy of the aggregate, which stays.
    pub(crate) fn look<A: Clone + 'static>(&self, aggregate_type: &'static str, id: &str) -> Option<Loaded<A>> {
        let mut cache = self.locked();
        let kept = cache.get(&(aggregate_type, id.to_owned()))?;
        kept.loaded.downcast_ref::<Loaded<A>>().cloned()
    }

    /// Takes the aggregate out. Whoever fails to put it back has evicted it.
    pub(crate) fn take<A: 'static>(&self, aggregate_type: &'static str, id: &str) -> Option<Loaded<A>> {
        let kept = self.locked().pop(&(aggregate_type, id.to_owned()))?;
        kept.loaded.downcast::<Loaded<A>>().ok().map(|loaded| *loaded)
    }

    pub(crate) fn put<A: Send + 'static>(&self, aggregate_type: &'static str, id: &str, loaded: Loaded<A>) {
        let kept = Kept { sequence: loaded.sequence, loaded: Box::new(loaded) };
        self.locked().put((aggregate_type, id.to_owned()), kept);
    }

    /// Evicts the aggregate if its stream is known to go on to `sequence`.
    pub(crate) fn evict_before(&self, aggregate_type: &'static str, id: &str, sequence: u64) {
        let (mut cache, key) = (self.locked(), (aggregate_type, id.to_owned()));
        if cache.peek(&key).is_some_and(|kept| kept.sequence < sequence) {
            cache.pop(&key);
        }
    }

    fn locked(&self) -> MutexGuard<'_, LruCache<Key, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
