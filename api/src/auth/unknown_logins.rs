//! Wrong passwords for addresses and names that nobody has. They are counted like those of users, so that an answer does
//! not tell who is registered.
//!
//! The counters are no state: a restart forgets them, each server counts for itself, and the oldest make room for new ones.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use domain::identity::user::{FAILURES_MAX, LOCK_MINUTES, UserError};
use lru::LruCache;

/// Addresses and names that are remembered.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);

/// A hash of an address or a name; the text itself may be as long as somebody likes.
type LoginHash = [u8; 32];

/// Failures by the address or name that somebody tried.
pub struct UnknownLogins(Mutex<LruCache<LoginHash, Failures>>);

#[derive(Default)]
struct Failures {
    count: u32,
    locked_until: Option<DateTime<Utc>>,
}

impl Default for UnknownLogins {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KNOWN_MAX)))
    }
}

impl UnknownLogins {
    /// Counts a failure at `now`, and answers how many there were since the last lock.
    ///
    /// # Errors
    /// [`UserError::Locked`] as long as a user would be locked.
    pub(crate) fn fail(&self, login: LoginHash, now: DateTime<Utc>) -> Result<u32, UserError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = known.get_or_insert_mut(login, Failures::default);
        if let Some(until) = failures.locked_until.filter(|until| *until > now) {
            return Err(UserError::locked(until, now));
        }
        failures.count += 1;
        let count = failures.count;
        if count >= FAILURES_MAX {
            *failures = Failures { count: 0, locked_until: Some(now + TimeDelta::minutes(LOCK_MINUTES)) };
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_lock_for_a_quarter_of_an_hour() {
        let logins = UnknownLogins::default();
        let at = |minutes| DateTime::from_timestamp(1_700_000_000, 0).unwrap() + TimeDelta::minutes(minutes);
        for count in 1..=5 {
            assert_eq!(logins.fail([1; 32], at(0)), Ok(count));
        }
        assert_eq!(logins.fail([1; 32], at(5)), Err(UserError::Locked { remaining_minutes: 10 }));
        assert_eq!(logins.fail([2; 32], at(5)), Ok(1));
        assert_eq!(logins.fail([1; 32], at(15)), Ok(1));
    }
}
