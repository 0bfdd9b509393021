//! A clock that tests turn, so that nothing waits for time to pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
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
