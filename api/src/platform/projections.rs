//! How far read models and process managers have come.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_projections))
}

#[derive(Serialize, ToSchema)]
struct ProjectionsOut {
    /// The highest position of the log.
    head: u64,
    projections: Vec<ProjectionOut>,
    processes: ProcessesOut,
    /// How far each reader of the log was when it last said so (process managers, gateways): after a restart it goes on
    /// from there.
    readers: BTreeMap<String, u64>,
}

/// The process managers, which move together.
#[derive(Serialize, ToSchema)]
struct ProcessesOut {
    position: u64,
    /// Positions between them and the head of the log.
    lag: u64,
    /// The highest position of an event that they caused, as far as this server knows.
    produced: u64,
}

#[derive(Serialize, ToSchema)]
struct ProjectionOut {
    name: String,
    table: String,
    position: u64,
    /// Positions between the projection and the head of the log.
    lag: u64,
    /// Events consumed.
    events: u64,
    /// Rolling SHA-256 of the positions and ids of the events consumed.
    digest: String,
    /// Why it stopped, when it did.
    halted: Option<String>,
}

#[utoipa::path(get, path = "/platform/v1/projections", operation_id = "list_projections",
    responses((status = 200, body = ProjectionsOut)))]
async fn list_projections(State(app): State<App>, _admin: Admin) -> Result<Json<ProjectionsOut>, ApiError> {
    let head = app.log().head().await?;
    let handled = app.readers.handled();
    let processes = ProcessesOut {
        position: handled.through,
        lag: head.saturating_sub(handled.through),
        produced: handled.produced,
    };
    let readers = app.log().reader_positions().await?;
    let statuses = app.statuses.borrow().clone();
    let shown = statuses.iter().map(|(name, status)| ProjectionOut {
        name: (*name).to_owned(),
        table: status.table.to_owned(),
        position: status.checkpoint.position,
        lag: head.saturating_sub(status.checkpoint.position),
        events: status.checkpoint.tally.events,
        digest: status.checkpoint.tally.hex(),
        halted: status.halted.clone(),
    });
    Ok(Json(ProjectionsOut { head, projections: shown.collect(), processes, readers }))
}
