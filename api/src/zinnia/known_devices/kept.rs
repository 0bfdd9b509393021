//! A bounded memory of look-ups that forgets by device.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use uuid::Uuid;

/// Look-ups kept in memory.
const KEPT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(49_999);

struct Inside<L: Hash + Eq, F> {
    found: LruCache<L, (Uuid, Arc<F>)>,
    /// By which look-ups each device was found.
    lookups: HashMap<Uuid, Vec<L>>,
    /// Counts what was forgotten, so that nothing looked up before is kept after.
    forgotten: u64,
    /// The log was looked at up to here.
    seen: u64,
}

/// What was found, by look-up.
pub(super) struct Kept<L: Hash + Eq, F>(Mutex<Inside<L, F>>);

impl<L: Hash + Eq + Clone, F> Kept<L, F> {
    pub(super) fn following(position: u64) -> Self {
        let (found, lookups) = (LruCache::new(KEPT_MAX), HashMap::new());
        Self(Mutex::new(Inside { found, lookups, forgotten: 0, seen: position }))
    }

    pub(super) fn get(&self, lookup: &L) -> Option<Arc<F>> {
        self.with(|inside| inside.found.get(lookup).map(|(_, found)| Arc::clone(found)))
    }

    /// How much was forgotten so far, and how far the log was looked at.
    pub(super) fn moment(&self) -> (u64, u64) {
        self.with(|inside| (inside.forgotten, inside.seen))
    }

    /// The log was looked at up to `position`.
    pub(super) fn saw(&self, position: u64) {
        self.with(|inside| inside.seen = position);
    }

    /// Keeps what was found at a moment at which so much was `forgotten`, unless more was forgotten since.
    pub(super) fn keep(&self, lookup: L, found: (Uuid, Arc<F>), forgotten: u64) {
        self.with(|inside| {
            if inside.forgotten != forgotten {
                return;
            }
            inside.lookups.entry(found.0).or_default().push(lookup.clone());
            if let Some((lookup, (device, _))) = inside.found.push(lookup, found) {
                inside.lost(device, &lookup);
            }
        });
    }

    pub(super) fn forget(&self, device: Uuid) {
        self.with(|inside| {
            inside.forgotten += 1;
            for lookup in inside.lookups.remove(&device).unwrap_or_default() {
                inside.found.pop(&lookup);
            }
        });
    }

    pub(super) fn forget_all(&self) {
        self.with(|inside| {
            inside.forgotten += 1;
            inside.found.clear();
            inside.lookups.clear();
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inside<L, F>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<L: Hash + Eq, F> Inside<L, F> {
    /// One entry made room for another, or was found twice at the same time.
    fn lost(&mut self, device: Uuid, lookup: &L) {
        let Some(lookups) = self.lookups.get_mut(&device) else { return };
        if let Some(at) = lookups.iter().position(|known| known == lookup) {
            lookups.swap_remove(at);
        }
        if lookups.is_empty() {
            self.lookups.remove(&device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn what_happened_to_a_device_is_forgotten_by_every_look_up() {
        let kept = Kept::following(0);
        for (lookup, id) in [("key", 1), ("token", 1), ("other", 2), ("key", 1)] {
            kept.keep(lookup, (device(id), Arc::new(id)), 0);
        }
        assert_eq!(kept.get(&"token").as_deref(), Some(&1));
        kept.forget(device(1));
        assert_eq!((kept.get(&"key"), kept.get(&"token")), (None, None));
        assert_eq!(kept.get(&"other").as_deref(), Some(&2));
    }

    #[test]
    fn what_was_looked_up_before_something_was_forgotten_is_not_kept() {
        let kept = Kept::following(0);
        let (forgotten, _) = kept.moment();
        kept.forget(device(1));
        kept.keep("key", (device(1), Arc::new(1)), forgotten);
        assert_eq!(kept.get(&"key"), None);
    }

    #[test]
    fn it_is_bounded() {
        let kept = Kept::following(0);
        let count = KEPT_MAX.get() + 10;
        (0..count).for_each(|n| kept.keep(n, (device(n as u128), Arc::new(n)), 0));
        assert_eq!((kept.get(&9), kept.get(&10).as_deref()), (None, Some(&10)));
        assert_eq!(kept.with(|inside| (inside.found.len(), inside.lookups.len())), (KEPT_MAX.get(), KEPT_MAX.get()));
    }
}
