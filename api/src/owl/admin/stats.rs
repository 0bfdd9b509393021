//! The tenant in figures.

use axum::extract::State;
use projections::billing::revenues;
use projections::compute::{gpu_servers, task_counts};
use projections::identity::users;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::envelope::{self, Envelope};
use crate::amount::Amount;
use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_stats))
}

#[derive(Serialize, ToSchema)]
struct StatsOut {
    total_users: u64,
    /// Users who may come in.
    active_users: u64,
    /// Tasks that were deleted count as what they were, here and below.
    total_tasks: u64,
    running_tasks: u64,
    completed_tasks: u64,
    /// Failed or timed out.
    failed_tasks: u64,
    total_gpu_servers: u64,
    online_gpu_servers: u64,
    /// What redeemed recharge codes were worth.
    total_revenue: Amount,
}

#[utoipa::path(get, path = "/api/admin/stats", operation_id = "get_stats",
    responses((status = 200, body = Envelope<StatsOut>)))]
async fn get_stats(State(app): State<App>, Admin(caller): Admin) -> Result<Envelope<StatsOut>, ApiError> {
    let (db, tenant) = (app.models.read().await, caller.user.tenant);
    let (total_users, active_users) = users::count(db, tenant).await?;
    let tasks = task_counts::of_tenant(db, tenant).await?;
    let of = |statuses: &[&str]| task_counts::ever(&tasks, statuses);
    let servers = gpu_servers::list(db, tenant).await?;
    let online = servers.iter().filter(|server| server.online).count();
    Ok(envelope::ok(StatsOut {
        total_users,
        active_users,
        total_tasks: of(&[]),
        running_tasks: of(&["running"]),
        completed_tasks: of(&["completed"]),
        failed_tasks: of(&["failed", "timed_out"]),
        total_gpu_servers: servers.len() as u64,
        online_gpu_servers: online as u64,
        total_revenue: Amount(revenues::of(db, tenant).await?),
    }))
}
