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
    /// Whoever took it before has not put it back and may have left an append under way: what the log has now may be
    /// old in a moment.
    pub(crate) in_doubt: bool,
}

type Key = (&'static str, String);

#[derive(Default)]
struct Kept {
    sequence: u64,
    /// A [`Loaded`]; `None` when it was taken.
    loaded: Option<Box<dyn Any + Send>>,
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
        kept.loaded.as_ref()?.downcast_ref::<Loaded<A>>().cloned()
    }

    /// Takes the aggregate out; one that nobody has ever seen when it is not here. Whoever takes it has the turn.
    pub(crate) fn take<A: Default + 'static>(&self, aggregate_type: &'static str, id: &str) -> Loaded<A> {
        let (mut cache, key) = (self.locked(), (aggregate_type, id.to_owned()));
        let Some(kept) = cache.get_mut(&key) else {
            cache.put(key, Kept::default());
            return Loaded::default();
        };
        let in_doubt = Loaded { in_doubt: true, ..Loaded::default() };
        let loaded = kept.loaded.take().and_then(|loaded| loaded.downcast::<Loaded<A>>().ok());
        loaded.map_or(in_doubt, |loaded| *loaded)
    }

    /// Puts back what was taken. What is in doubt is not kept: its place stays empty until an append is heard of.
    pub(crate) fn put<A: Send + 'static>(&self, aggregate_type: &'static str, id: &str, loaded: Loaded<A>) {
        if !loaded.in_doubt {
            let kept = Kept { sequence: loaded.sequence, loaded: Some(Box::new(loaded)) };
            self.locked().put((aggregate_type, id.to_owned()), kept);
        }
    }

    /// Evicts the aggregate if its stream is known to go on to `sequence`.
    pub(crate) fn evict_before(&self, aggregate_type: &'static str, id: &str, sequence: u64) {
        let (mut cache, key) = (self.locked(), (aggregate_type, id.to_owned()));
        if cache.peek(&key).is_some_and(|kept| kept.loaded.is_some() && kept.sequence < sequence) {
            cache.pop(&key);
        }
    }

    fn locked(&self) -> MutexGuard<'_, LruCache<Key, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
