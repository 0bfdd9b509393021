//! On what terms tasks are taken at the moment.

use domain::billing::balance::Balance;
use domain::compute::task::Allowance;
use projections::compute::task_counts;
use projections::platform::settings;

use crate::app::Server;
use crate::auth::Caller;
use crate::error::ApiError;

/// A day.
const TTL_SECONDS: u32 = 24 * 3_600;

/// What the settings say of tasks.
pub(super) struct Terms {
    limit: u64,
    pub(super) timeout_seconds: u32,
    pub(super) ttl_seconds: u32,
}

/// The terms in force for the caller's tenant.
///
/// # Errors
/// When the read models do not answer.
pub(super) async fn in_force(app: &Server, caller: &Caller) -> Result<Terms, ApiError> {
    let settings = settings::of(app.models.read().await, caller.user.tenant).await?;
    let limit = u64::from(settings.max_concurrent_tasks_per_user);
    Ok(Terms { limit, timeout_seconds: settings.default_task_timeout, ttl_seconds: TTL_SECONDS })
}

impl Terms {
    /// What the caller may still do. To be asked while the caller's submissions take turns.
    pub(super) async fn allowance(&self, app: &Server, caller: &Caller) -> Result<Allowance, ApiError> {
        let (balance, _) = app.bus.load::<Balance>(&caller.user.id.to_string()).await?;
        let unfinished = task_counts::unfinished(app.models.read().await, caller.user.tenant, caller.user.id).await?;
        Ok(Allowance { available: balance.available(), unfinished, limit: self.limit })
    }
}
