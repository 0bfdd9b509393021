//! Who works on one thing takes turns: commands of one server on one stream never conflict with each other.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// Locks shared by all streams. Two streams that fall on one lock merely wait for each other.
const LOCKS: usize = 4_096;

/// Turns by the sort and the name of a thing.
pub struct Turns {
    locks: Box<[Mutex<()>]>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self::new()
    }
}

impl Turns {
    /// Nobody has a turn.
    pub fn new() -> Self {
        Self { locks: (0..LOCKS).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }

    /// Waits for the turn; it lasts as long as what is answered.
    pub async fn take(&self, aggregate_type: &str, aggregate_id: &str) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one((aggregate_type, aggregate_id));
        let index = usize::try_from(hash % LOCKS as u64).unwrap_or(0);
        self.locks[index].lock().await
    }
}
