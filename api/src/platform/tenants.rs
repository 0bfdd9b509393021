//! Tenants, as whoever runs the installation sees and makes them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::identity::tenant::{Tenant, TenantCommand};
use domain::metadata::TenantId;
use projections::Paging;
use projections::identity::tenants;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::envelope::{self, Items, Outcome, outcome};
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::Installer;
use crate::error::ApiError;
use crate::extract::{Body, Path, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_tenant, list_tenants)).routes(routes!(rename_tenant))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TenantBody {
    name: String,
}

#[derive(Serialize, ToSchema)]
struct TenantOut {
    id: String,
    name: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<tenants::Model> for TenantOut {
    fn from(row: tenants::Model) -> Self {
        Self { id: row.id, name: row.name, created_at: row.created_at, updated_at: row.updated_at }
    }
}

#[utoipa::path(post, path = "/platform/v1/tenants", operation_id = "create_tenant", request_body = TenantBody,
    params(("dry_run" = Option<bool>, Query)), responses((status = 201, body = TenantOut)))]
async fn create_tenant(
    State(app): State<App>,
    Installer(caller): Installer,
    Body(body): Body<TenantBody>,
) -> Result<Outcome<TenantOut>, ApiError> {
    let id = caller.request.id_for("tenant");
    app.execute::<Tenant>(&caller.request, &id.to_string(), TenantCommand::Create { name: body.name }).await?;
    outcome(&caller.request, StatusCode::CREATED, shown(&app, caller.user.tenant, TenantId(id))).await
}

#[derive(Deserialize)]
struct TenantsQuery {
    page: Option<u64>,
    per_page: Option<u64>,
}

#[utoipa::path(get, path = "/platform/v1/tenants", operation_id = "list_tenants",
    params(("page" = Option<u64>, Query), ("per_page" = Option<u64>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Items<TenantOut>)))]
async fn list_tenants(
    lists: Lists,
    Installer(caller): Installer,
    Query(query): Query<TenantsQuery>,
) -> Result<Json<Items<TenantOut>>, ApiError> {
    let db = lists.of(&["tenants"]).await?;
    let paging = Paging::new(query.page, query.per_page, 50, 200);
    Ok(Json(envelope::items(tenants::list(&db, caller.user.tenant, paging).await?, TenantOut::from)))
}

#[utoipa::path(put, path = "/platform/v1/tenants/{id}", operation_id = "rename_tenant", request_body = TenantBody,
    params(("id" = Uuid, Path), ("dry_run" = Option<bool>, Query)), responses((status = 200, body = TenantOut)))]
async fn rename_tenant(
    State(app): State<App>,
    Installer(caller): Installer,
    Path(id): Path<Uuid>,
    Body(body): Body<TenantBody>,
) -> Result<Outcome<TenantOut>, ApiError> {
    let rename = TenantCommand::Rename { name: body.name };
    app.change::<Tenant>(&caller.request, &id.to_string(), rename).await?;
    outcome(&caller.request, StatusCode::OK, shown(&app, caller.user.tenant, TenantId(id))).await
}

async fn shown(server: &Server, tenant: TenantId, id: TenantId) -> Result<TenantOut, ApiError> {
    let row = tenants::find(server.models.read().await, tenant, id).await?;
    Ok(row.ok_or_else(ApiError::not_found)?.into())
}
