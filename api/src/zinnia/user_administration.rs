//! Users, as the administrators of their tenant see and end them.

use axum::extract::State;
use axum::http::StatusCode;
use commands::{CommandContext, CommandError};
use domain::devices::device::{Device, DeviceCommand, DeviceError};
use domain::identity::role::Role;
use domain::identity::user::{Administrator, User, UserCommand};
use domain::metadata::UserId;
use projections::devices::devices;
use projections::identity::users::{self, UserFilter};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::devices::forget;
use super::envelope::{self, Envelope, Items};
use super::users::UserOut;
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::{Admin, Caller};
use crate::error::ApiError;
use crate::extract::{Path, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_zinnia_users)).routes(routes!(get_user, delete_user))
}

#[derive(Deserialize)]
struct UsersQuery {
    page: Option<u64>,
    page_size: Option<u64>,
    role: Option<String>,
    is_active: Option<bool>,
    search: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/users", operation_id = "get_users",
    params(("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query), ("role" = Option<String>, Query),
        ("is_active" = Option<bool>, Query), ("search" = Option<String>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Items<UserOut>>)))]
async fn list_zinnia_users(
    lists: Lists,
    Admin(caller): Admin,
    Query(query): Query<UsersQuery>,
) -> Result<Envelope<Items<UserOut>>, ApiError> {
    let filter = UserFilter {
        roles: query.role.as_deref().filter(|role| !role.is_empty()).map_or(Ok(Vec::new()), roles)?,
        is_active: query.is_active,
        search: query.search.filter(|search| !search.is_empty()),
    };
    let db = lists.of(&["users"]).await?;
    let paging = envelope::paging(query.page, query.page_size);
    let page = users::list(&db, caller.user.tenant, &filter, paging).await?;
    Ok(envelope::ok(&caller.request, envelope::items(page, UserOut::of)?))
}

/// The roles that Zinnia shows as this one.
fn roles(shown: &str) -> Result<Vec<Role>, ApiError> {
    let roles: Vec<Role> = Role::ALL.into_iter().filter(|role| role.in_zinnia() == shown).collect();
    if roles.is_empty() { Err(ApiError::field("role", "角色必须是 admin、user 或 readonly")) } else { Ok(roles) }
}

#[utoipa::path(get, path = "/api/v1/users/{user_id}", operation_id = "get_user_by_id",
    params(("user_id" = Uuid, Path)), responses((status = 200, body = Envelope<UserOut>)))]
async fn get_user(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
) -> Result<Envelope<UserOut>, ApiError> {
    let user = users::find(app.models.read().await, caller.user.tenant, UserId(id)).await?;
    Ok(envelope::ok(&caller.request, UserOut::of(user.ok_or_else(ApiError::not_found)?)?))
}

#[utoipa::path(delete, path = "/api/v1/users/{user_id}", operation_id = "delete_user",
    params(("user_id" = Uuid, Path)), responses((status = 204)))]
async fn delete_user(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, ApiError> {
    let (user, stream) = (UserId(id), id.to_string());
    let by = Administrator { id: caller.user.id, role: caller.user.role };
    let delete = UserCommand::Delete { by };
    // Repeated, there are fewer devices: each command has its key from what it is for.
    let of_user = caller.request.command_for("user");
    let context = CommandContext { expected_sequence: caller.request.if_match, ..of_user };
    // First a rehearsal: who may not be deleted keeps the devices.
    let rehearsal = CommandContext { dry_run: true, ..context.clone() };
    app.bus.execute::<User>(&stream, delete.clone(), &rehearsal).await?;
    // Devices go first: should this be cut off, it can be repeated.
    delete_devices(&app, &caller, user).await?;
    let deleted = app.bus.execute::<User>(&stream, delete, &context).await?;
    caller.request.note(&stream, &deleted)?;
    app.settled(&caller.request).await;
    app.sessions.forget(user);
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_devices(server: &Server, caller: &Caller, owner: UserId) -> Result<(), ApiError> {
    for device in devices::owned_by(server.models.read().await, caller.user.tenant, owner).await? {
        let request = &caller.request;
        let context = request.command_for(&format!("device/{device}"));
        let deleted = server.bus.execute::<Device>(&device, DeviceCommand::Delete, &context).await;
        match deleted {
            Ok(receipt) => request.reached(receipt.position),
            Err(CommandError::Refused(DeviceError::NotFound)) => {}
            Err(error) => return Err(error.into()),
        }
        if let Ok(id) = device.parse() {
            forget(server, id).await;
        }
    }
    Ok(())
}
