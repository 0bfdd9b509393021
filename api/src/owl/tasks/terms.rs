//! On what terms tasks are taken at the moment.

use domain::billing::balance::Balance;
use domain::compute::task::Allowance;
use projections::compute::task_counts;

use crate::app::Server;
use crate::auth::Caller;
use crate::error::{ApiError, ErrorKind};

/// A day.
const TTL_SECONDS: u32 = 24 * 3_600;

/// What the settings say of tasks.
pub(super) struct Terms {
    limit: u64,
    pub(super) timeout_seconds: u32,
    pub(super) ttl_seconds: u32,
    maintenance: bool,
}

/// The terms in force.
pub(super) fn in_force() -> Terms {
    Terms { limit: 5, timeout_seconds: 3_600, ttl_seconds: TTL_SECONDS, maintenance: false }
}

impl Terms {
    /// # Errors
    /// During maintenance no new work is taken.
    pub(super) fn open_for_work(&self) -> Result<(), ApiError> {
        let closed = || ApiError::new(ErrorKind::Unavailable, "maintenance", "maintenance: no new work is taken");
        if self.maintenance { Err(closed()) } else { Ok(()) }
    }

    /// What the caller may still do. To be asked while the caller's submissions take turns.
    pub(super) async fn allowance(&self, app: &Server, caller: &Caller) -> Result<Allowance, ApiError> {
        let (balance, _) = app.bus.load::<Balance>(&caller.user.id.to_string()).await?;
        let unfinished = task_counts::unfinished(&app.models.read, caller.user.tenant, caller.user.id).await?;
        Ok(Allowance { available: balance.available(), unfinished, limit: self.limit })
    }
}
