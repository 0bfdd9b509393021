//! How often tokens of devices are used: counters of this server, not state. Use counts are written down in batches.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lru::LruCache;
use projections::ReadModels;
use projections::devices::token_uses;
use uuid::Uuid;

use crate::app::Server;

/// Tokens whose requests of the present minute are counted.
const COUNTED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);

/// How often uses are written down.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often a token was used, and when last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    pub count: u64,
    pub last_at: DateTime<Utc>,
}

struct Counters {
    /// The minute, and the requests in it.
    minutes: LruCache<Uuid, (i64, u32)>,
    /// What is not written down yet.
    unwritten: HashMap<Uuid, Use>,
}

/// The counters.
pub struct TokenUsage(Mutex<Counters>);

impl Default for TokenUsage {
    fn default() -> Self {
        Self(Mutex::new(Counters { minutes: LruCache::new(COUNTED_MAX), unwritten: HashMap::new() }))
    }
}

impl TokenUsage {
    /// Counts one use at `now`, or answers the seconds to wait when the minute is full.
    pub fn count(&self, token: Uuid, limit: Option<u32>, now: DateTime<Utc>) -> Result<(), u64> {
        self.with(|counters| {
            let minute = now.timestamp().div_euclid(60);
            let used = counters.minutes.get(&token).filter(|(at, _)| *at == minute).map_or(0, |(_, used)| *used);
            if limit.is_some_and(|limit| used >= limit) {
                return Err(60 - now.timestamp().rem_euclid(60).unsigned_abs());
            }
            counters.minutes.put(token, (minute, used + 1));
            let written = counters.unwritten.entry(token).or_insert(Use { count: 0, last_at: now });
            *written = Use { count: written.count + 1, last_at: written.last_at.max(now) };
            Ok(())
        })
    }

    /// Writes down what is not written down yet. What cannot be is kept for the next time.
    pub async fn write_down(&self, models: &ReadModels) {
        let uses = self.take();
        if uses.is_empty() {
            return;
        }
        let rows = uses.iter().map(|(token, used)| token_uses::Model {
            token_id: token.to_string(),
            use_count: used.count.cast_signed(),
            last_used_at: used.last_at,
        });
        if let Err(error) = token_uses::add(&models.write, rows.collect()).await {
            tracing::warn!(%error, "uses of tokens are written down later");
            self.put_back(uses);
        }
    }

    /// Writes down for ever.
    pub async fn keep_writing(server: Arc<Server>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            server.token_usage.write_down(server.models.as_they_are()).await;
        }
    }

    /// Takes what is not written down yet.
    fn take(&self) -> HashMap<Uuid, Use> {
        self.with(|counters| std::mem::take(&mut counters.unwritten))
    }

    /// Puts back what could not be written down.
    fn put_back(&self, uses: HashMap<Uuid, Use>) {
        self.with(|counters| {
            for (token, unwritten) in uses {
                let kept = counters.unwritten.entry(token).or_insert(Use { count: 0, ..unwritten });
                *kept = Use { count: kept.count + unwritten.count, last_at: kept.last_at.max(unwritten.last_at) };
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Counters) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_full_minute_is_waited_for() {
        let (counters, token) = (TokenUsage::default(), Uuid::from_u128(1));
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!((counters.count(token, Some(2), at), counters.count(token, Some(2), at)), (Ok(()), Ok(())));
        assert_eq!(counters.count(token, Some(2), at), Err(40));
        assert_eq!(counters.count(token, Some(2), at + TimeDelta::seconds(40)), Ok(()));
        let uses = counters.take();
        assert_eq!(uses[&token], Use { count: 3, last_at: at + TimeDelta::seconds(40) });
        counters.put_back(uses);
        assert_eq!(counters.count(token, None, at), Ok(()));
        assert_eq!(counters.take()[&token].count, 4);
    }
}
