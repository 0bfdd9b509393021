//! What miners are told to do, and what became of it.

mod body;

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::hosting::miner_command::request::MinerFacts;
use domain::hosting::miner_command::{MinerCommand, MinerCommandCommand};
use domain::hosting::miner_order::MinerOrder;
use domain::hosting::model_catalogue;
use domain::metadata::TenantId;
use projections::Paging;
use projections::hosting::{miner_commands, miners};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::body::{CommandBody, SwitchBody};
use super::crm::one_of;
use super::envelope::{self, Envelope, Pagination};
use super::miners::{MinerOut, known_miner};
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::{Caller, Full, Permitted, Read, module};
use crate::error::ApiError;
use crate::extract::{Body, Path, Query};

const STATES: [&str; 5] = ["requested", "dispatched", "confirmed", "drifted", "failed"];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(command_miner))
        .routes(routes!(start_miner))
        .routes(routes!(shut_miner_down))
        .routes(routes!(restart_miner))
        .routes(routes!(list_miner_commands))
}

#[derive(Serialize, ToSchema)]
struct CommandDone {
    message: &'static str,
    /// Under which the order is found in the list of commands.
    command_id: Uuid,
    command: &'static str,
    /// Always `requested`: what becomes of it is in the list of commands.
    status: &'static str,
    command_queued: bool,
    commands_queued: u32,
    miner_id: i64,
    serial_number: String,
    /// `sleep` for `shutdown`: the miner stops hashing and stays reachable, its power is not cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    miner: MinerOut,
}

#[utoipa::path(post, path = "/hosting/api/miners/{miner_id}/command", operation_id = "command_miner",
    params(("miner_id" = i64, Path)), request_body = CommandBody,
    responses((status = 200, body = Envelope<CommandDone>)))]
async fn command_miner(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::HostingSiteMgmt>>,
    Path(miner_id): Path<i64>,
    Body(body): Body<CommandBody>,
) -> Result<Envelope<CommandDone>, ApiError> {
    let force = body.force;
    request(&app, &caller, miner_id, body.order()?, force).await
}

#[utoipa::path(post, path = "/hosting/api/miners/{miner_id}/start", operation_id = "start_miner",
    params(("miner_id" = i64, Path)), request_body = SwitchBody,
    responses((status = 200, body = Envelope<CommandDone>)))]
async fn start_miner(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::HostingSiteMgmt>>,
    Path(miner_id): Path<i64>,
    Body(body): Body<SwitchBody>,
) -> Result<Envelope<CommandDone>, ApiError> {
    request(&app, &caller, miner_id, MinerOrder::Start, body.force).await
}

#[utoipa::path(post, path = "/hosting/api/miners/{miner_id}/shutdown", operation_id = "shut_miner_down",
    params(("miner_id" = i64, Path)), request_body = SwitchBody,
    responses((status = 200, body = Envelope<CommandDone>)))]
async fn shut_miner_down(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::HostingSiteMgmt>>,
    Path(miner_id): Path<i64>,
    Body(body): Body<SwitchBody>,
) -> Result<Envelope<CommandDone>, ApiError> {
    request(&app, &caller, miner_id, MinerOrder::Shutdown, body.force).await
}

#[utoipa::path(post, path = "/hosting/api/miners/{miner_id}/restart", operation_id = "restart_miner",
    params(("miner_id" = i64, Path)), request_body = SwitchBody,
    responses((status = 200, body = Envelope<CommandDone>)))]
async fn restart_miner(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::HostingSiteMgmt>>,
    Path(miner_id): Path<i64>,
    Body(body): Body<SwitchBody>,
) -> Result<Envelope<CommandDone>, ApiError> {
    request(&app, &caller, miner_id, MinerOrder::Restart, body.force).await
}

/// Requests an order; a gateway gives it to the miner.
async fn request(
    app: &Server,
    caller: &Caller,
    miner_id: i64,
    order: MinerOrder,
    force: bool,
) -> Result<Envelope<CommandDone>, ApiError> {
    let miner = facts(app, caller.user.tenant, miner_id, &order).await?;
    let (command, mode) = (order.name(), (order == MinerOrder::Shutdown).then_some("sleep"));
    let command_id = command_id(app, caller);
    let request = MinerCommandCommand::Request { miner, order, requested_by: Some(caller.user.id), run: None, force };
    app.execute::<MinerCommand>(&caller.request, &command_id.to_string(), request).await?;
    let miner = known_miner(app, caller.user.tenant, miner_id).await?;
    Ok(envelope::ok(CommandDone {
        message: "Command queued",
        command_id,
        command,
        status: "requested",
        command_queued: true,
        commands_queued: 1,
        miner_id,
        serial_number: miner.sn.clone(),
        mode,
        miner,
    }))
}

/// A repeated request is about the same order as the first.
fn command_id(app: &Server, caller: &Caller) -> Uuid {
    let key = caller.request.key.as_ref();
    key.map_or_else(|| app.clock().new_id(), |key| Uuid::new_v5(&caller.user.tenant.0, key.key.as_bytes()))
}

async fn facts(app: &Server, tenant: TenantId, miner_id: i64, order: &MinerOrder) -> Result<MinerFacts, ApiError> {
    let row = miners::find(app.models.read().await, tenant, miner_id).await?.ok_or_else(ApiError::not_found)?;
    Ok(MinerFacts {
        miner_id,
        address: row.ip_address.as_deref().and_then(|address| address.parse().ok()),
        supported: model_catalogue::by_id(row.model_id).is_some_and(|model| model.maker.takes(order)),
        hashing: row.hashing,
        held_by_run: row.held_by_run,
    })
}

#[derive(Deserialize)]
struct CommandsQuery {
    status: Option<String>,
    page: Option<u64>,
    per_page: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct CommandsOut {
    miner_id: i64,
    commands: Vec<CommandOut>,
    pagination: Pagination,
}

#[derive(Serialize, ToSchema)]
struct CommandOut {
    command_id: String,
    command: String,
    params: serde_json::Value,
    /// `requested`, `dispatched`, `confirmed`, `drifted` or `failed`.
    status: String,
    ip_address: String,
    /// Whether the miner had acknowledged when it was told; no proof that it obeys.
    acknowledged: Option<bool>,
    /// Tries until it was told.
    tries: Option<i64>,
    /// The word of the failure: `unreachable`, `unsupported_command`, `refused`, `timed_out` or `bad_answer`.
    reason: Option<String>,
    /// Why it drifted or failed.
    error: Option<String>,
    /// The curtailment plan that it belongs to.
    plan_id: Option<i64>,
    requested_by: Option<String>,
    requested_at: DateTime<Utc>,
    dispatched_at: Option<DateTime<Utc>>,
    settled_at: Option<DateTime<Utc>>,
}

#[utoipa::path(get, path = "/hosting/api/miners/{miner_id}/commands", operation_id = "list_miner_commands",
    params(("miner_id" = i64, Path), ("status" = Option<String>, Query), ("page" = Option<u64>, Query),
        ("per_page" = Option<u64>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<CommandsOut>)))]
async fn list_miner_commands(
    lists: Lists,
    Permitted { caller, .. }: Permitted<Read<module::HostingStatusMonitor>>,
    Path(miner_id): Path<i64>,
    Query(query): Query<CommandsQuery>,
) -> Result<Envelope<CommandsOut>, ApiError> {
    let state = query.status.as_deref();
    if let Some(word) = state {
        one_of("status", word, STATES.contains(&word).then_some(()), STATES)?;
    }
    let paging = Paging::new(query.page, query.per_page, 20, 100);
    let db = lists.of(&["miners", "miner_commands"]).await?;
    let tenant = caller.user.tenant;
    let filter = miners::Filter { only_of: caller.only_of(), ..miners::Filter::default() };
    miners::find_among(&db, tenant, filter, miner_id).await?.ok_or_else(ApiError::not_found)?;
    let page = miner_commands::list(&db, tenant, miner_id, state, paging).await?;
    let pagination = Pagination::of(&page);
    let commands = page.rows.into_iter().map(CommandOut::from).collect();
    Ok(envelope::ok(CommandsOut { miner_id, commands, pagination }))
}

impl From<miner_commands::Model> for CommandOut {
    fn from(row: miner_commands::Model) -> Self {
        Self {
            params: params(&row),
            command_id: row.id,
            command: row.command,
            status: row.state,
            ip_address: row.address,
            acknowledged: row.acknowledged,
            tries: row.tries,
            reason: row.reason,
            error: row.why,
            plan_id: row.plan_id,
            requested_by: row.requested_by,
            requested_at: row.requested_at,
            dispatched_at: row.dispatched_at,
            settled_at: row.settled_at,
        }
    }
}

fn params(row: &miner_commands::Model) -> serde_json::Value {
    let pool = |line: &str| {
        let (url, worker) = line.split_once(' ').unwrap_or((line, ""));
        serde_json::json!({ "url": url, "worker": worker })
    };
    match (&row.pools, row.fan_percent, row.command.as_str()) {
        (Some(pools), _, _) => serde_json::json!({ "pools": pools.lines().map(pool).collect::<Vec<_>>() }),
        (None, Some(percent), _) => serde_json::json!({ "speed_percent": percent }),
        (None, None, "set_fan") => serde_json::json!({ "mode": "auto" }),
        (None, None, _) => serde_json::json!({}),
    }
}
