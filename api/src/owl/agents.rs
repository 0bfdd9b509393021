//! What the agents of GPU servers say and ask.
//!
//! An agent shows its server's token. It begins a session, tells by heartbeats that it lives, and asks for tasks; what it
//! reports of a task names the lease under which it runs it.

mod heartbeat;
mod lease;
mod lines;
mod report;
pub(super) mod token;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use commands::CommandContext;
use commands::gateways::heartbeats::Heartbeat;
use domain::aggregate::Decider;
use domain::compute::gpu_server::{Equipment, GpuServer, GpuServerCommand, OfflineCause};
use domain::metadata::{Metadata, TenantId};
use projections::compute::gpu_servers;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::heartbeat::{GPUS_MAX, MEMORY_GB_MAX};
use super::envelope::{self, Envelope};
use crate::amount::Amount;
use crate::app::{App, Server};
use crate::error::{ApiError, ErrorKind};
use crate::extract::Body;
use crate::request::RequestContext;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register_agent))
        .routes(routes!(leave))
        .merge(heartbeat::routes())
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
        if !*app.leading.borrow() {
            return Err(not_leading());
        }
        let shown = token::shown(&parts.headers).ok_or_else(token::refused)?;
        let (server, _) = app.bus.load::<GpuServer>(&shown.server_id.to_string()).await?;
        let GpuServer::Registered { token_hash, .. } = server else { return Err(token::refused()) };
        if !shown.is_of(&app.secrets, &token_hash) {
            return Err(token::refused());
        }
        let tenant = gpu_servers::tenant_of(app.models.read().await, shown.server_id).await?;
        // The token is good. The list is being built anew, or this server is behind: an agent that heard of a bad token
        // would give up for good.
        let tenant = tenant.ok_or_else(|| ApiError::unavailable(&"the list of GPU servers is not complete yet"))?;
        Ok(Self { server_id: shown.server_id, tenant, request: request.within(tenant) })
    }
}

/// The clock that gives silent agents up for lost runs where the leader is: what others hear would not count, and each
/// task would be taken from its agent again and again.
fn not_leading() -> ApiError {
    let sentence = "agents are heard by the server that leads, and this one does not";
    ApiError { retry_after: Some(1), ..ApiError::new(ErrorKind::Unavailable, "agent.not_leading", sentence) }
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
        if server.is_online(session) {
            return Ok(server);
        }
        let lost = ApiError::new(ErrorKind::IllegalState, "agent.session_lost", "the session is over: register again");
        // An agent sees from it whether another one took its place.
        Err(match server {
            GpuServer::Registered { session: present, .. } => lost.with("present_session", present),
            GpuServer::Unknown | GpuServer::Removed => lost,
        })
    }
}

#[derive(Deserialize, ToSchema)]
struct RegisterAgentBody {
    equipment: Option<EquipmentBody>,
}

/// What the machine has.
#[derive(Clone, Copy, Deserialize, ToSchema)]
struct EquipmentBody {
    gpu_count: u32,
    /// GB: of the GPUs, or of the machine where there are none.
    memory_gb: Amount,
}

impl EquipmentBody {
    fn checked(self) -> Result<Equipment, ApiError> {
        let Self { gpu_count, memory_gb: Amount(memory_gb) } = self;
        if usize::try_from(gpu_count).is_ok_and(|count| count > GPUS_MAX) {
            return Err(ApiError::field("equipment.gpu_count", format!("必须在0到{GPUS_MAX}之间")));
        }
        if memory_gb < Decimal::ZERO || memory_gb > Decimal::from(MEMORY_GB_MAX) {
            return Err(ApiError::field("equipment.memory_gb", format!("必须在0到{MEMORY_GB_MAX}之间")));
        }
        Ok(Equipment { gpu_count, memory_gb: memory_gb.round_dp(3).normalize() })
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

#[utoipa::path(post, path = "/api/gpu/agent/register", operation_id = "register_agent", request_body = RegisterAgentBody,
    responses((status = 200, body = Envelope<SessionOut>)))]
async fn register_agent(
    State(app): State<App>,
    agent: Agent,
    Body(body): Body<RegisterAgentBody>,
) -> Result<Envelope<SessionOut>, ApiError> {
    let id = agent.server_id.to_string();
    let equipment = body.equipment.map(EquipmentBody::checked).transpose()?;
    let (before, _) = app.bus.load::<GpuServer>(&id).await?;
    let receipt = agent.execute::<GpuServer>(&app, &id, GpuServerCommand::Connect { equipment }).await?;
    let GpuServer::Registered { details, session, .. } = receipt.state else { return Err(ApiError::not_found()) };
    let begun = Heartbeat { session, at: app.clock().now(), running: Vec::new(), figures: None };
    app.heartbeats.hear(agent.server_id, begun);
    if matches!(before, GpuServer::Registered { online: true, .. }) {
        tracing::warn!(server = id, name = details.name, session, "an agent took over from another one");
    } else {
        tracing::info!(server = id, name = details.name, session, "the agent of a GPU server connected");
    }
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
struct LeaveBody {
    session: u32,
}

#[utoipa::path(post, path = "/api/gpu/agent/leave", operation_id = "agent_leaves", request_body = LeaveBody,
    responses((status = 200, body = Envelope<Value>)))]
async fn leave(State(app): State<App>, agent: Agent, Body(body): Body<LeaveBody>) -> Result<Envelope<Value>, ApiError> {
    let leave = GpuServerCommand::Disconnect { session: body.session, cause: OfflineCause::Left };
    let id = agent.server_id.to_string();
    let receipt = agent.execute::<GpuServer>(&app, &id, leave).await?;
    if let (false, GpuServer::Registered { details, .. }) = (receipt.events.is_empty(), receipt.state) {
        let (name, session) = (details.name, body.session);
        tracing::info!(server = id, name, session, "the agent of a GPU server left");
    }
    app.settled(&agent.request).await;
    Ok(envelope::ok(Value::Null))
}
