//! A clock that tests turn, so that nothing waits for time to pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use commands::Clock;

/// The machine's clock, and how far it was turned.
#[derive(Clone, Default)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// The clock that the server reads.
    pub fn clock(&self) -> Clock {
        let (turned, system) = (Arc::clone(&self.0), Clock::system());
        Clock::reading(move || system.now() + TimeDelta::seconds(turned.load(Ordering::SeqCst)))
    }

    /// Turns it forward.
    pub fn turn(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_seconds(), Ordering::SeqCst);
    }
}

/// A clock that stands still until a test sets it.
#[derive(Clone)]
pub struct SetClock(Arc<AtomicI64>);

impl SetClock {
    /// A clock that shows `moment`.
    pub fn at(moment: DateTime<Utc>) -> Self {
        Self(Arc::new(AtomicI64::new(moment.timestamp_micros())))
    }

    /// The clock that the server reads.
    pub fn clock(&self) -> Clock {
        let micros = Arc::clone(&self.0);
        Clock::reading(move || DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst)).unwrap_or_default())
    }

    /// Sets it.
    pub fn set(&self, moment: DateTime<Utc>) {
        self.0.store(moment.timestamp_micros(), Ordering::SeqCst);
    }
}
