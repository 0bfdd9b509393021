//! Heartbeats: that an agent lives, what it runs, and what it measured.

use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::gateways::heartbeats::{Heartbeat, Measured, MeasuredGpu};
use domain::compute::gpu_server::GpuServer;
use domain::compute::task::Task;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Agent;
use crate::app::{App, Server};
use crate::error::ApiError;
use crate::extract::Body;
use crate::owl::envelope::{self, Envelope};

/// Most tasks that a heartbeat may name.
const RUNNING_MAX: usize = 256;
/// Most GPUs of one server.
pub(super) const GPUS_MAX: usize = 64;
/// Most memory of one server, in GB.
pub(super) const MEMORY_GB_MAX: u32 = 1_000_000;
/// Up to here a full load is taken for 100 percent: instruments are not exact.
const PERCENT_MAX: f64 = 101.0;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(heartbeat))
}

#[derive(Deserialize, ToSchema)]
struct HeartbeatBody {
    session: u32,
    running: Vec<HeldOut>,
    cpu_usage: f64,
    memory_used_gb: f64,
    memory_total_gb: f64,
    gpus: Vec<GpuBody>,
    gpu_note: Option<String>,
}

#[derive(Deserialize, ToSchema)]
struct GpuBody {
    name: String,
    usage: f64,
    memory_used_gb: f64,
    memory_total_gb: f64,
}

/// A lease of a task.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
struct HeldOut {
    task_id: Uuid,
    lease: u32,
}

#[derive(Serialize, ToSchema)]
struct HeartbeatOut {
    /// Leases that are over: what runs under them is to be ended.
    over: Vec<HeldOut>,
    max_concurrent_tasks: u32,
}

#[utoipa::path(post, path = "/api/gpu/agent/heartbeat", operation_id = "agent_heartbeat",
    request_body = HeartbeatBody, responses((status = 200, body = Envelope<HeartbeatOut>)))]
async fn heartbeat(
    State(app): State<App>,
    agent: Agent,
    Body(body): Body<HeartbeatBody>,
) -> Result<Envelope<HeartbeatOut>, ApiError> {
    if body.running.len() > RUNNING_MAX || body.gpus.len() > GPUS_MAX {
        return Err(ApiError::field("running", format!("at most {RUNNING_MAX} tasks and {GPUS_MAX} GPUs")));
    }
    let measured = body.measured()?;
    let server = agent.in_session(&app, body.session).await?;
    let GpuServer::Registered { details, .. } = server else { return Err(ApiError::not_found()) };
    let over = over(&app, &agent, &body.running).await?;
    app.heartbeats.hear(agent.server_id, body.heard(app.clock().now(), measured));
    Ok(envelope::ok(HeartbeatOut { over, max_concurrent_tasks: details.max_concurrent_tasks }))
}

/// Which of the leases are over.
async fn over(app: &Server, agent: &Agent, running: &[HeldOut]) -> Result<Vec<HeldOut>, ApiError> {
    let mut over = Vec::new();
    for held in running {
        let (task, _) = app.bus.load::<Task>(&held.task_id.to_string()).await?;
        let run = task.known().ok().and_then(|task| task.run.as_ref());
        let holds = run.is_some_and(|run| run.lease == held.lease && run.server_id == agent.server_id);
        if !holds {
            over.push(*held);
        }
    }
    Ok(over)
}

impl HeartbeatBody {
    /// The figures, if they are such as a machine can have.
    fn measured(&self) -> Result<Measured, ApiError> {
        let gpus = self.gpus.iter().enumerate().map(|(number, gpu)| gpu.measured(number));
        Ok(Measured {
            cpu_usage: percent("cpu_usage", self.cpu_usage)?,
            memory_used_gb: gigabytes("memory_used_gb", self.memory_used_gb)?,
            memory_total_gb: gigabytes("memory_total_gb", self.memory_total_gb)?,
            gpus: gpus.collect::<Result<_, _>>()?,
            gpu_note: self.gpu_note.as_ref().map(|note| note.chars().take(200).collect()),
        })
    }

    fn heard(&self, at: DateTime<Utc>, measured: Measured) -> Heartbeat {
        Heartbeat {
            session: self.session,
            at,
            running: self.running.iter().map(|held| (held.task_id, held.lease)).collect(),
            figures: Some(measured),
        }
    }
}

impl GpuBody {
    fn measured(&self, number: usize) -> Result<MeasuredGpu, ApiError> {
        let field = |name: &str| format!("gpus[{number}].{name}");
        Ok(MeasuredGpu {
            name: self.name.chars().take(100).collect(),
            usage: percent(&field("usage"), self.usage)?,
            memory_used_gb: gigabytes(&field("memory_used_gb"), self.memory_used_gb)?,
            memory_total_gb: gigabytes(&field("memory_total_gb"), self.memory_total_gb)?,
        })
    }
}

fn percent(field: &str, figure: f64) -> Result<f64, ApiError> {
    let can_be = (0.0..=PERCENT_MAX).contains(&figure);
    if can_be { Ok(figure.min(100.0)) } else { Err(ApiError::field(field, "必须在0到100之间")) }
}

fn gigabytes(field: &str, figure: f64) -> Result<f64, ApiError> {
    let can_be = (0.0..=f64::from(MEMORY_GB_MAX)).contains(&figure);
    if can_be { Ok(figure) } else { Err(ApiError::field(field, format!("必须在0到{MEMORY_GB_MAX}之间"))) }
}
