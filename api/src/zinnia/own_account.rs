//! The own account.

use axum::extract::State;
use commands::CommandContext;
use domain::identity::user::{User, UserCommand};
use projections::identity::users;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope};
use super::security::check_new_password;
use super::users::{UserOut, check_username};
use crate::app::{App, Server};
use crate::auth::passwords::Policy;
use crate::auth::{Caller, SignedIn, own_account, sign_in};
use crate::error::ApiError;
use crate::extract::Body;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_current_user, update_current_user)).routes(routes!(change_password))
}

#[utoipa::path(get, path = "/api/v1/users/me", operation_id = "get_current_user",
    responses((status = 200, body = Envelope<UserOut>)))]
async fn get_current_user(State(app): State<App>, SignedIn(caller): SignedIn) -> Result<Envelope<UserOut>, ApiError> {
    shown(&app, &caller).await
}

async fn shown(server: &Server, caller: &Caller) -> Result<Envelope<UserOut>, ApiError> {
    let user = users::find(server.models.read().await, caller.user.tenant, caller.user.id).await?;
    Ok(envelope::ok(&caller.request, UserOut::own(user.ok_or_else(ApiError::not_found)?)?))
}

#[derive(Deserialize, ToSchema)]
struct UpdateUserBody {
    username: Option<String>,
    metadata: Option<Map<String, Value>>,
}

#[utoipa::path(put, path = "/api/v1/users/me", operation_id = "update_current_user", request_body = UpdateUserBody,
    responses((status = 200, body = Envelope<UserOut>)))]
async fn update_current_user(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Body(body): Body<UpdateUserBody>,
) -> Result<Envelope<UserOut>, ApiError> {
    body.username.as_deref().map_or(Ok(()), check_username)?;
    let profile = body.metadata.map(|metadata| UserCommand::ChangeProfile { name: None, metadata: Some(metadata) });
    let stream = caller.user.id.to_string();
    if let Some(profile) = &profile {
        // Metadata that are refused must not leave the username changed.
        let rehearsal = CommandContext { dry_run: true, key: None, ..caller.request.command() };
        app.bus.execute::<User>(&stream, profile.clone(), &rehearsal).await?;
    }
    own_account::change_profile(&app, &caller, body.username, None).await?;
    if let Some(profile) = profile {
        app.execute::<User>(&caller.request, &stream, profile).await?;
    }
    shown(&app, &caller).await
}

#[derive(Deserialize, ToSchema)]
struct ChangePasswordBody {
    current_password: String,
    new_password: String,
    confirm_password: Option<String>,
}

#[utoipa::path(put, path = "/api/v1/users/me/password", operation_id = "change_password",
    request_body = ChangePasswordBody, responses((status = 200, body = Envelope<Value>)))]
async fn change_password(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Body(body): Body<ChangePasswordBody>,
) -> Result<Envelope<Value>, ApiError> {
    check_new_password(&body.new_password, body.confirm_password.as_deref())?;
    let passwords = (body.current_password, body.new_password);
    own_account::change_password(&app, &caller, passwords, Policy::Zinnia).await?;
    // No refresh token outlives the password, not even this session's.
    sign_in::sign_out(&app, &caller).await?;
    Ok(envelope::said(&caller.request, "密码修改成功"))
}
