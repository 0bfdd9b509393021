//! Devices shared with others of the same tenant.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::devices::device::{Device, DeviceCommand, SharePermission};
use domain::metadata::UserId;
use projections::devices::device_shares;
use projections::identity::users;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::access::{self, Need};
use super::envelope::{self, Envelope};
use super::users::UserOut;
use crate::app::{App, Server};
use crate::auth::{AuthUser, Caller};
use crate::error::ApiError;
use crate::extract::{Body, Path};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(share_device))
        .routes(routes!(list_device_shares))
        .routes(routes!(unshare_device))
}

#[derive(Deserialize, ToSchema)]
struct ShareBody {
    /// E-mail address or username.
    user_identifier: String,
    /// `read`, `write` or `admin`; `read` when missing.
    permission: Option<String>,
}

/// With whom a device is shared: flat, as the document has it, and with the whole user.
#[derive(Serialize, ToSchema)]
struct ShareOut {
    id: String,
    device_id: String,
    user_id: String,
    username: String,
    email: String,
    permission: String,
    created_at: DateTime<Utc>,
    user: UserOut,
}

impl ShareOut {
    fn of(share: device_shares::Model, user: users::Model) -> Result<Self, ApiError> {
        Ok(Self {
            id: share.id,
            device_id: share.device_id,
            user_id: share.user_id,
            username: user.shown_name().to_owned(),
            email: user.email.clone(),
            permission: share.permission,
            created_at: share.created_at,
            user: UserOut::of(user)?,
        })
    }
}

#[utoipa::path(post, path = "/api/v1/users/devices/{device_id}/share", operation_id = "share_device",
    params(("device_id" = Uuid, Path)), request_body = ShareBody,
    responses((status = 201, body = Envelope<ShareOut>)))]
async fn share_device(
    State(app): State<App>,
    caller: Caller,
    Path(device_id): Path<Uuid>,
    Body(body): Body<ShareBody>,
) -> Result<(StatusCode, Envelope<ShareOut>), ApiError> {
    access::device(&app, &caller.user, device_id, Need::Share).await?;
    let permission = body.permission.as_deref().map_or(Ok(SharePermission::Read), permission)?;
    let user = find_user(&app, &caller.user, &body.user_identifier).await?;
    let user_id = user.user_id()?;
    let command = DeviceCommand::Share { user: user_id, permission };
    app.change::<Device>(&caller.request, &device_id.to_string(), command).await?;
    let share =
        device_shares::find(app.models.read().await, device_id, user_id).await?.ok_or_else(ApiError::not_found)?;
    Ok(envelope::created(&caller.request, ShareOut::of(share, user)?))
}

fn permission(name: &str) -> Result<SharePermission, ApiError> {
    name.parse().map_err(|_| ApiError::field("permission", "权限必须是 read、write 或 admin"))
}

/// An active user of the caller's tenant.
async fn find_user(server: &Server, caller: &AuthUser, identifier: &str) -> Result<users::Model, ApiError> {
    let found = users::find_by_login(server.models.read().await, identifier.trim()).await?;
    let theirs = found.filter(|user| user.is_active && user.tenant == caller.tenant.to_string());
    theirs.ok_or_else(|| ApiError { code: "user.not_found", ..ApiError::not_found() })
}

#[utoipa::path(get, path = "/api/v1/users/devices/{device_id}/shares", operation_id = "list_device_shares",
    params(("device_id" = Uuid, Path)), responses((status = 200, body = Envelope<Vec<ShareOut>>)))]
async fn list_device_shares(
    State(app): State<App>,
    caller: Caller,
    Path(device_id): Path<Uuid>,
) -> Result<Envelope<Vec<ShareOut>>, ApiError> {
    access::device(&app, &caller.user, device_id, Need::Read).await?;
    let db = app.models.read().await;
    let shares = device_shares::list(db, device_id).await?;
    let with: Vec<String> = shares.iter().map(|share| share.user_id.clone()).collect();
    let users = users::find_all(db, caller.user.tenant, &with).await?;
    let shown = shares.into_iter().filter_map(|share| {
        let user = users.iter().find(|user| user.id == share.user_id).cloned();
        user.map(|user| ShareOut::of(share, user))
    });
    Ok(envelope::ok(&caller.request, shown.collect::<Result<_, _>>()?))
}

#[utoipa::path(delete, path = "/api/v1/users/devices/{device_id}/share/{user_id}", operation_id = "remove_device_share",
    params(("device_id" = Uuid, Path), ("user_id" = Uuid, Path)), responses((status = 204)))]
async fn unshare_device(
    State(app): State<App>,
    caller: Caller,
    Path((device_id, user_id)): Path<(Uuid, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let user = UserId(user_id);
    // Nobody has to keep what was shared with them.
    let need = if user == caller.user.id { Need::Read } else { Need::Share };
    access::device(&app, &caller.user, device_id, need).await?;
    app.change::<Device>(&caller.request, &device_id.to_string(), DeviceCommand::Unshare { user }).await?;
    Ok(StatusCode::NO_CONTENT)
}
