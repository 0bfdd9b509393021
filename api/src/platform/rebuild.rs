//! A read model built anew while the server runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::metadata::TenantId;
use replay::projections_named;
use replay::rebuild::rebuild;
use replay::verify::verify;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, Server};
use crate::auth::Admin;
use crate::error::ApiError;
use crate::extract::Path;

/// Rows that are counted as different at most.
const DIFFERENCES_MAX: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(rebuild_projection))
}

#[derive(Serialize, ToSchema)]
struct RebuildOut {
    projection: String,
    table: String,
    /// It holds everything up to here.
    position: u64,
    /// Events that it consumed.
    events: u64,
    /// Rolling SHA-256 of their positions and ids.
    digest: String,
    rows: u64,
    /// True when nothing was put in place.
    dry_run: bool,
    /// After a dry run: rows of the live table that are not what the log says (at most 10,000 are counted).
    differing_rows: Option<u64>,
}

#[utoipa::path(post, path = "/platform/v1/projections/{name}/rebuild", operation_id = "rebuild_projection",
    params(
        ("name" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Only compare a rebuilt table with the live one")),
    responses((status = 200, body = RebuildOut)))]
async fn rebuild_projection(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<Json<RebuildOut>, ApiError> {
    // It is work on the tables of all tenants: those who run the installation may ask for it.
    if caller.user.tenant != TenantId::DEFAULT {
        return Err(ApiError::forbidden("Administrators of the installation only"));
    }
    let dry_run = caller.request.dry_run;
    let work = async move { if dry_run { compared(&app, &name).await } else { rebuilt(&app, &name).await } };
    // In a task of its own, because a client that hangs up must not leave it half done.
    tokio::spawn(work).await.map_err(|error| ApiError::internal(&error))?.map(Json)
}

async fn rebuilt(server: &Arc<Server>, name: &str) -> Result<RebuildOut, ApiError> {
    let rebuilt = rebuild(server.log(), server.models.as_they_are(), projections_named(Some(name))?, &()).await?;
    let rebuilt = rebuilt.into_iter().next().ok_or_else(ApiError::not_found)?;
    tracing::info!(projection = name, position = rebuilt.position, "a read model was rebuilt");
    Ok(RebuildOut {
        projection: rebuilt.projection,
        table: rebuilt.table,
        position: rebuilt.position,
        events: rebuilt.events,
        digest: rebuilt.digest,
        rows: rebuilt.rows,
        dry_run: false,
        differing_rows: None,
    })
}

async fn compared(server: &Arc<Server>, name: &str) -> Result<RebuildOut, ApiError> {
    let projectors = projections_named(Some(name))?;
    let compared = verify(server.log(), server.models.as_they_are(), projectors, DIFFERENCES_MAX, &()).await?;
    let compared = compared.projections.into_iter().next().ok_or_else(ApiError::not_found)?;
    Ok(RebuildOut {
        projection: compared.projection,
        table: compared.table,
        position: compared.position,
        events: compared.events,
        digest: compared.digest,
        rows: compared.rows,
        dry_run: true,
        differing_rows: Some(compared.differences.len() as u64),
    })
}
