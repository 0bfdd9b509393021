//! GPU servers: registered by administrators, watched by everybody.

mod out;
mod overview;

use axum::extract::State;
use domain::compute::gpu_server::{GpuServer, GpuServerCommand, ServerChange, ServerDetails};
use projections::compute::gpu_servers::{self, GpuServers};
use projections::compute::tasks;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::out::{ServerOut, StatusOut};
use super::agents::token;
use super::envelope::{self, Envelope};
use super::whole_numbers::whole;
use crate::app::{App, Server, row_after};
use crate::auth::{Admin, Caller};
use crate::error::ApiError;
use crate::extract::{Body, Path};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register_server, list_servers))
        .routes(routes!(get_server, change_server, remove_server))
        .routes(routes!(get_server_status))
        .routes(routes!(renew_token))
        .merge(overview::routes())
}

#[derive(Deserialize, ToSchema)]
struct RegisterServerBody {
    name: String,
    host: String,
    /// 22 when it is missing.
    port: Option<u16>,
    description: Option<String>,
    /// 4 when it is missing.
    #[serde(default, deserialize_with = "whole")]
    max_concurrent_tasks: Option<u32>,
}

const PORT_OF_SSH: u16 = 22;
const CONCURRENT_TASKS: u32 = 4;

#[derive(Serialize, ToSchema)]
struct RegisteredServerOut {
    #[serde(flatten)]
    server: ServerOut,
    /// What `corelog agent --token` takes. Shown here and nowhere else.
    agent_token: String,
}

#[utoipa::path(post, path = "/api/gpu/servers", operation_id = "register_gpu_server",
    request_body = RegisterServerBody, responses((status = 200, body = Envelope<RegisteredServerOut>)))]
async fn register_server(
    State(app): State<App>,
    Admin(caller): Admin,
    Body(body): Body<RegisterServerBody>,
) -> Result<Envelope<RegisteredServerOut>, ApiError> {
    let details = ServerDetails {
        name: body.name,
        host: body.host,
        port: body.port.unwrap_or(PORT_OF_SSH),
        description: body.description,
        max_concurrent_tasks: body.max_concurrent_tasks.unwrap_or(CONCURRENT_TASKS),
        is_active: true,
    };
    if let Some(wrong) = ApiError::of_refusals(details.objections()) {
        return Err(wrong);
    }
    let id = caller.request.id_for("gpu_server");
    let (agent_token, token_hash) = token::fresh(&app.secrets, id);
    let register = GpuServerCommand::Register { details, token_hash, by: caller.user.id };
    let receipt = app.change::<GpuServer>(&caller.request, &id.to_string(), register).await?;
    if receipt.repeated {
        // The token of the first request is known to nobody any more.
        return Err(token::shown_once());
    }
    // The token is shown here or nowhere, however late the list is.
    let row = row_after::<_, GpuServers>(None, &id.to_string(), &receipt).ok_or_else(ApiError::not_found)?;
    let server = shown(&app, row).await?;
    Ok(envelope::ok(RegisteredServerOut { server, agent_token }))
}

#[utoipa::path(get, path = "/api/gpu/servers", operation_id = "list_gpu_servers",
    responses((status = 200, body = Envelope<Vec<ServerOut>>)))]
async fn list_servers(State(app): State<App>, caller: Caller) -> Result<Envelope<Vec<ServerOut>>, ApiError> {
    let mut servers = Vec::new();
    for row in gpu_servers::list(app.models.read().await, caller.user.tenant).await? {
        servers.push(shown(&app, row).await?);
    }
    Ok(envelope::ok(servers))
}

#[utoipa::path(get, path = "/api/gpu/servers/{server_id}", operation_id = "get_gpu_server",
    params(("server_id" = Uuid, Path)), responses((status = 200, body = Envelope<ServerOut>)))]
async fn get_server(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<ServerOut>, ApiError> {
    let row = found(&app, &caller, id).await?;
    Ok(envelope::ok(shown(&app, row).await?))
}

#[derive(Deserialize, ToSchema)]
struct ChangeServerBody {
    name: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    description: Option<String>,
    max_concurrent_tasks: Option<u32>,
    /// A server that is not active is given no more tasks.
    is_active: Option<bool>,
}

#[utoipa::path(put, path = "/api/gpu/servers/{server_id}", operation_id = "change_gpu_server",
    params(("server_id" = Uuid, Path)), request_body = ChangeServerBody,
    responses((status = 200, body = Envelope<ServerOut>)))]
async fn change_server(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
    Body(body): Body<ChangeServerBody>,
) -> Result<Envelope<ServerOut>, ApiError> {
    let change = ServerChange {
        name: body.name,
        host: body.host,
        port: body.port,
        description: body.description,
        max_concurrent_tasks: body.max_concurrent_tasks,
        is_active: body.is_active,
    };
    let change = GpuServerCommand::Change { change, by: caller.user.id };
    app.change::<GpuServer>(&caller.request, &id.to_string(), change).await?;
    let row = found(&app, &caller, id).await?;
    Ok(envelope::ok(shown(&app, row).await?))
}

#[utoipa::path(delete, path = "/api/gpu/servers/{server_id}", operation_id = "remove_gpu_server",
    params(("server_id" = Uuid, Path)), responses((status = 200, body = Envelope<Value>)))]
async fn remove_server(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
) -> Result<Envelope<Value>, ApiError> {
    let remove = GpuServerCommand::Remove { by: caller.user.id };
    app.change::<GpuServer>(&caller.request, &id.to_string(), remove).await?;
    Ok(envelope::ok(Value::Null))
}

#[derive(Serialize, ToSchema)]
struct TokenOut {
    server_id: String,
    /// Shown here and nowhere else; the one before is worth nothing any more.
    agent_token: String,
}

#[utoipa::path(post, path = "/api/gpu/servers/{server_id}/token", operation_id = "renew_gpu_server_token",
    params(("server_id" = Uuid, Path)), responses((status = 200, body = Envelope<TokenOut>)))]
async fn renew_token(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
) -> Result<Envelope<TokenOut>, ApiError> {
    let (agent_token, token_hash) = token::fresh(&app.secrets, id);
    let renew = GpuServerCommand::RenewToken { token_hash, by: caller.user.id };
    let receipt = app.change::<GpuServer>(&caller.request, &id.to_string(), renew).await?;
    if receipt.repeated {
        return Err(token::shown_once());
    }
    Ok(envelope::ok(TokenOut { server_id: id.to_string(), agent_token }))
}

#[utoipa::path(get, path = "/api/gpu/servers/{server_id}/status", operation_id = "get_gpu_server_status",
    params(("server_id" = Uuid, Path)), responses((status = 200, body = Envelope<StatusOut>)))]
async fn get_server_status(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<StatusOut>, ApiError> {
    let row = found(&app, &caller, id).await?;
    let running = tasks::running_on(app.models.read().await, id).await?;
    let live = out::live(&app.heartbeats, &row);
    Ok(envelope::ok(StatusOut::of(&row, live, &running, app.clock().now())))
}

async fn found(app: &Server, caller: &Caller, id: Uuid) -> Result<gpu_servers::Model, ApiError> {
    let row = gpu_servers::find(app.models.read().await, caller.user.tenant, id).await?;
    row.ok_or_else(ApiError::not_found)
}

/// The row with its figures.
async fn shown(app: &Server, row: gpu_servers::Model) -> Result<ServerOut, ApiError> {
    let running = match row.id.parse() {
        Ok(id) => tasks::running_on(app.models.read().await, id).await?.len(),
        Err(_) => 0,
    };
    let heard = out::last_heard(&app.heartbeats, &row);
    Ok(ServerOut::of(row, heard.as_ref(), running))
}
