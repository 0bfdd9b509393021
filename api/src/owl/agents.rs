//! What the agents of GPU servers say and ask.
//!
//! An agent shows its server's token. It begins a session, tells by heartbeats that it lives, and asks for tasks; what it
//! reports of a task names the lease under which it runs it.

mod lease;
mod lines;
mod report;
pub(super) mod token;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use commands::CommandContext;
use commands::gateways::fleet::{Heartbeat, Measured, MeasuredGpu};
use domain::aggregate::Decider;
use domain::compute::gpu_server::{GpuServer, GpuServerCommand, OfflineCause};
use domain::compute::task::Task;
use domain::metadata::{Metadata, TenantId};
use projections::compute::gpu_servers;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::envelope::{self, Envelope};
use crate::app::{App, Server};
use crate::error::{ApiError, ErrorKind};
use crate::extract::Body;
use crate::request::RequestContext;

/// Most tasks that a heartbeat may name.
const RUNNING_MAX: usize = 256;
const GPUS_MAX: usize = 64;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register_agent))
        .routes(routes!(heartbeat))
        .routes(routes!(leave))
        .merge(lease::routes())
        .merge(report::routes())
        .merge(lines::routes())
}

/// An agent that has shown the token of its server.
pub(super) struct Agent {
    server_id: Uuid,
    tenant: TenantId,
    request: RequestContext,
}

impl FromRequestParts<App> for Agent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let request = RequestContext::from_request_parts(parts, app).await?;
        let shown = token::shown(&parts.headers).ok_or_else(token::refused)?;
        let (server, _) = app.bus.load::<GpuServer>(&shown.server_id.to_string()).await?;
        let GpuServer::Registered { token_hash, .. } = server else { return Err(token::refused()) };
        if !shown.is_of(&app.secrets, &token_hash) {
            return Err(token::refused());
        }
        let tenant = gpu_servers::tenant_of(&app.models.read, shown.server_id).await?;
        let tenant = tenant.ok_or_else(token::refused)?;
        Ok(Self { server_id: shown.server_id, tenant, request: request.within(tenant) })
    }
}

impl Agent {
    /// Carries out a command in the name of the agent; returns when it is durable.
    async fn execute<A: Decider>(
        &self,
        app: &Server,
        id: &str,
        command: A::Command,
    ) -> Result<commands::Receipt<A>, ApiError> {
        let actor = format!("agent:{}", self.server_id);
        let command_id = app.clock().new_id();
        let metadata = Metadata {
            request_id: self.request.id,
            remote_addr: Some(self.request.remote_addr.to_string()),
            ..Metadata::of(self.tenant, actor, self.request.surface.name(), command_id)
        };
        let receipt = app.bus.execute::<A>(id, command, &CommandContext::new(metadata)).await?;
        self.request.reached(receipt.position);
        Ok(receipt)
    }

    /// Makes sure that `session` is the present one.
    async fn in_session(&self, app: &Server, session: u32) -> Result<GpuServer, ApiError> {
        let (server, _) = app.bus.load::<GpuServer>(&self.server_id.to_string()).await?;
        let lost =
            || ApiError::new(ErrorKind::IllegalState, "agent.session_lost", "the session is over: register again");
        if server.is_online(session) { Ok(server) } else { Err(lost()) }
    }
}

#[derive(Serialize, ToSchema)]
struct SessionOut {
    server_id: String,
    name: String,
    session: u32,
    max_concurrent_tasks: u32,
    /// How often to send a heartbeat.
    heartbeat_ms: u64,
}

#[utoipa::path(post, path = "/api/gpu/agent/register", operation_id = "register_agent",
    responses((status = 200, body = Envelope<SessionOut>)))]
async fn register_agent(State(app): State<App>, agent: Agent) -> Result<Envelope<SessionOut>, ApiError> {
    let id = agent.server_id.to_string();
    let receipt = agent.execute::<GpuServer>(&app, &id, GpuServerCommand::Connect).await?;
    let GpuServer::Registered { details, session, .. } = receipt.state else { return Err(ApiError::not_found()) };
    let begun = Heartbeat { session, at: app.clock().now(), running: Vec::new(), figures: None };
    app.fleet.hear(agent.server_id, begun);
    app.settled(&agent.request).await;
    Ok(envelope::ok(SessionOut {
        server_id: id,
        name: details.name,
        session,
        max_concurrent_tasks: details.max_concurrent_tasks,
        heartbeat_ms: app.config.agents.heartbeat_ms,
    }))
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
    let server = agent.in_session(&app, body.session).await?;
    let GpuServer::Registered { details, .. } = server else { return Err(ApiError::not_found()) };
    let mut over = Vec::new();
    for held in &body.running {
        let (task, _) = app.bus.load::<Task>(&held.task_id.to_string()).await?;
        let run = task.known().ok().and_then(|task| task.run.as_ref());
        let holds = run.is_some_and(|run| run.lease == held.lease && run.server_id == agent.server_id);
        if !holds {
            over.push(*held);
        }
    }
    app.fleet.hear(agent.server_id, body.heard(app.clock().now()));
    Ok(envelope::ok(HeartbeatOut { over, max_concurrent_tasks: details.max_concurrent_tasks }))
}

impl HeartbeatBody {
    fn heard(self, at: DateTime<Utc>) -> Heartbeat {
        let gpu = |gpu: GpuBody| MeasuredGpu {
            name: gpu.name.chars().take(100).collect(),
            usage: gpu.usage,
            memory_used_gb: gpu.memory_used_gb,
            memory_total_gb: gpu.memory_total_gb,
        };
        Heartbeat {
            session: self.session,
            at,
            running: self.running.iter().map(|held| (held.task_id, held.lease)).collect(),
            figures: Some(Measured {
                cpu_usage: self.cpu_usage,
                memory_used_gb: self.memory_used_gb,
                memory_total_gb: self.memory_total_gb,
                gpus: self.gpus.into_iter().map(gpu).collect(),
                gpu_note: self.gpu_note.map(|note| note.chars().take(200).collect()),
            }),
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct LeaveBody {
    session: u32,
}

#[utoipa::path(post, path = "/api/gpu/agent/leave", operation_id = "agent_leaves", request_body = LeaveBody,
    responses((status = 200, body = Envelope<Value>)))]
async fn leave(State(app): State<App>, agent: Agent, Body(body): Body<LeaveBody>) -> Result<Envelope<Value>, ApiError> {
    let leave = GpuServerCommand::Disconnect { session: body.session, cause: OfflineCause::Left };
    agent.execute::<GpuServer>(&app, &agent.server_id.to_string(), leave).await?;
    app.settled(&agent.request).await;
    Ok(envelope::ok(Value::Null))
}
