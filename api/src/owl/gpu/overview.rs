//! All servers taken together.

use axum::extract::State;
use commands::gateways::heartbeats::Measured;
use projections::compute::{gpu_servers, task_counts};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::out::{live, memory, rounded};
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::owl::envelope::{self, Envelope};

/// A GPU that does less is idle, in percent.
const BUSY_FROM: f64 = 5.0;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_cluster_overview))
}

/// Figures are those of the servers that are online.
#[derive(Default, Serialize, ToSchema)]
struct OverviewOut {
    total_servers: usize,
    online_servers: usize,
    offline_servers: usize,
    total_gpus: usize,
    busy_gpus: usize,
    idle_gpus: usize,
    total_running_tasks: u64,
    queue_length: u64,
    average_gpu_usage: f64,
    total_memory: f64,
    used_memory: f64,
}

#[utoipa::path(get, path = "/api/gpu/cluster/overview", operation_id = "get_cluster_overview",
    responses((status = 200, body = Envelope<OverviewOut>)))]
async fn get_cluster_overview(State(app): State<App>, caller: Caller) -> Result<Envelope<OverviewOut>, ApiError> {
    let servers = gpu_servers::list(app.models.read().await, caller.user.tenant).await?;
    let counts = task_counts::of_tenant(app.models.read().await, caller.user.tenant).await?;
    let tasks = |status| counts.get(status).map_or(0, |count| count.present);
    let online = servers.iter().filter(|server| server.online).count();
    let measured: Vec<Measured> = servers.iter().filter_map(|server| live(&app.heartbeats, server)?.figures).collect();
    Ok(envelope::ok(OverviewOut {
        total_servers: servers.len(),
        online_servers: online,
        offline_servers: servers.len() - online,
        total_running_tasks: tasks("running"),
        queue_length: tasks("pending"),
        ..OverviewOut::of(&measured)
    }))
}

impl OverviewOut {
    fn of(measured: &[Measured]) -> Self {
        let usages: Vec<f64> = measured.iter().flat_map(|of| of.gpus.iter().map(|gpu| gpu.usage)).collect();
        let busy_gpus = usages.iter().filter(|usage| **usage >= BUSY_FROM).count();
        let (used, total) = measured.iter().map(memory).fold((0.0, 0.0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        Self {
            total_gpus: usages.len(),
            busy_gpus,
            idle_gpus: usages.len() - busy_gpus,
            average_gpu_usage: average(&usages),
            total_memory: rounded(total),
            used_memory: rounded(used),
            ..Self::default()
        }
    }
}

fn average(figures: &[f64]) -> f64 {
    let count = u32::try_from(figures.len()).unwrap_or(u32::MAX);
    if count == 0 { 0.0 } else { rounded(figures.iter().sum::<f64>() / f64::from(count)) }
}
