//! The only source of time and of new ids.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// The clock that decisions are made by. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the source of time")]
    pub fn system() -> Self {
        Self::reading(Utc::now)
    }

    /// A clock that tests can turn.
    pub fn reading(read: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The present moment, in the microseconds that every engine can store.
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)().trunc_subsecs(6)
    }

    /// A fresh UUID of version 7.
    #[expect(clippy::disallowed_methods, reason = "this is the source of ids")]
    pub fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}
