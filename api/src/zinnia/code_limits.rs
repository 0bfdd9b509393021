//! How many codes may be mailed for one network address. The counters are not state: a restart forgets them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use lru::LruCache;

use crate::limits::counted_address;

/// Addresses that are remembered.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);
/// Most codes in so long.
const LIMITS: [(usize, TimeDelta); 2] = [(5, TimeDelta::hours(1)), (10, TimeDelta::days(1))];

/// When codes were mailed, by the address that asked for them.
pub struct CodeLimits(Mutex<LruCache<IpAddr, VecDeque<DateTime<Utc>>>>);

impl Default for CodeLimits {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KNOWN_MAX)))
    }
}

impl CodeLimits {
    /// Counts one code at `now`, or answers the seconds to wait.
    pub fn count(&self, address: IpAddr, now: DateTime<Utc>) -> Result<(), u64> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = known.get_or_insert_mut(counted_address(address), VecDeque::new);
        while sent.front().is_some_and(|first| *first <= now - TimeDelta::days(1)) {
            sent.pop_front();
        }
        for (most, period) in LIMITS {
            // The oldest of those that fill the period makes room first.
            let filling = sent.len().checked_sub(most).and_then(|place| sent.get(place));
            if let Some(room_at) = filling.map(|at| *at + period).filter(|at| *at > now) {
                return Err((room_at - now).num_seconds().unsigned_abs() + 1);
            }
        }
        sent.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn five_an_hour_and_ten_a_day() {
        let (limits, address) = (CodeLimits::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let at = |minutes| DateTime::from_timestamp(1_700_000_000, 0).unwrap() + TimeDelta::minutes(minutes);
        for minute in 0..5 {
            assert_eq!(limits.count(address, at(minute)), Ok(()));
        }
        assert_eq!(limits.count(address, at(10)), Err(50 * 60 + 1));
        assert_eq!(limits.count(IpAddr::V4(Ipv4Addr::UNSPECIFIED), at(10)), Ok(()));
        for minute in 70..75 {
            assert_eq!(limits.count(address, at(minute)), Ok(()));
        }
        assert_eq!(limits.count(address, at(200)), Err(60 * (24 * 60 - 200) + 1));
        assert_eq!(limits.count(address, at(24 * 60)), Ok(()));
    }
}
