//! The way in, and the own account.

use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use projections::identity::users;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::passwords::Policy;
use crate::auth::registration::{Registration, register};
use crate::auth::sign_in::{self, Credentials, Entrance, Lives};
use crate::auth::{SignedIn, revoked};
use crate::error::{ApiError, ErrorKind};
use crate::extract::{Body, Form};
use crate::request::RequestContext;

const LIVES: Lives = Lives { access: TimeDelta::minutes(60), refresh: Some(TimeDelta::days(7)) };

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register_user))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(get_current_user))
}

/// A user as BITRUN shows one.
#[derive(Serialize, ToSchema)]
struct UserOut {
    id: String,
    email: String,
    name: String,
    is_active: bool,
}

impl From<users::Model> for UserOut {
    fn from(row: users::Model) -> Self {
        let name = row.name.clone().unwrap_or_else(|| row.shown_name().to_owned());
        Self { id: row.id, email: row.email, name, is_active: row.is_active }
    }
}

#[derive(Deserialize, ToSchema)]
struct RegisterBody {
    email: String,
    password: String,
    name: String,
}

#[utoipa::path(post, path = "/api/v1/auth/register", operation_id = "register", request_body = RegisterBody,
    responses((status = 200, body = UserOut)))]
async fn register_user(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<RegisterBody>,
) -> Result<Json<UserOut>, ApiError> {
    let registration = Registration::public(body.email, None, Some(body.name), body.password);
    let id = register(&app, &request, &registration, Policy::Bitrun).await.map_err(in_its_words)?;
    let user = users::find(app.models.read().await, request.tenant, id).await?;
    Ok(Json(user.ok_or_else(|| ApiError::internal(&"a registered user that no list knows"))?.into()))
}

#[derive(Deserialize, ToSchema)]
struct LoginForm {
    /// The e-mail address.
    username: String,
    password: String,
}

#[derive(Serialize, ToSchema)]
struct TokensOut {
    access_token: String,
    refresh_token: Option<String>,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

impl From<Entrance> for TokensOut {
    fn from(entrance: Entrance) -> Self {
        Self {
            access_token: entrance.access_token,
            refresh_token: entrance.refresh_token,
            token_type: "bearer",
            expires_in: LIVES.access.num_seconds(),
        }
    }
}

#[utoipa::path(post, path = "/api/v1/auth/login", operation_id = "login",
    request_body(content = LoginForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = TokensOut)))]
async fn login(
    State(app): State<App>,
    request: RequestContext,
    Form(form): Form<LoginForm>,
) -> Result<Json<TokensOut>, ApiError> {
    let credentials = Credentials { login: form.username, password: form.password, device_info: None };
    let entrance = sign_in::sign_in(&app, &request, credentials, LIVES).await.map_err(in_its_words)?;
    Ok(Json(entrance.into()))
}

#[derive(Deserialize, ToSchema)]
struct RefreshBody {
    refresh_token: String,
}

#[utoipa::path(post, path = "/api/v1/auth/refresh", operation_id = "refresh_token", request_body = RefreshBody,
    responses((status = 200, body = TokensOut)))]
async fn refresh(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<RefreshBody>,
) -> Result<Json<TokensOut>, ApiError> {
    let entered = sign_in::refresh(&app, &request, &body.refresh_token, LIVES).await;
    Ok(Json(entered.map_err(of_closed_session)?.into()))
}

/// A token of a session that was closed is revoked, whichever of the two it is.
fn of_closed_session(error: ApiError) -> ApiError {
    if error.code == "user.session_closed" { revoked() } else { error }
}

#[derive(Serialize, ToSchema)]
struct MessageOut {
    message: &'static str,
}

#[derive(Deserialize, ToSchema)]
struct LogoutBody {
    refresh_token: Option<String>,
}

#[utoipa::path(post, path = "/api/v1/auth/logout", operation_id = "logout", request_body = LogoutBody,
    responses((status = 200, body = MessageOut)))]
async fn logout(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Body(body): Body<LogoutBody>,
) -> Result<Json<MessageOut>, ApiError> {
    if let Some(token) = body.refresh_token {
        sign_in::sign_out_of(&app, &caller, &token).await?;
    }
    sign_in::sign_out(&app, &caller).await?;
    Ok(Json(MessageOut { message: "Successfully logged out" }))
}

#[utoipa::path(get, path = "/api/v1/auth/me", operation_id = "get_current_user",
    responses((status = 200, body = UserOut)))]
async fn get_current_user(State(app): State<App>, SignedIn(caller): SignedIn) -> Result<Json<UserOut>, ApiError> {
    let user = users::find(app.models.read().await, caller.user.tenant, caller.user.id).await?;
    Ok(Json(user.ok_or_else(ApiError::not_found)?.into()))
}

/// The codes that BITRUN's clients know.
fn in_its_words(error: ApiError) -> ApiError {
    let (kind, code) = match error.code {
        "user.already_registered" => (ErrorKind::IllegalState, "AUTH_EMAIL_EXISTS"),
        "auth.invalid_credentials" => (ErrorKind::Unauthenticated, "AUTH_INVALID_CREDENTIALS"),
        "user.locked" => (ErrorKind::LimitExceeded, "AUTH_ACCOUNT_LOCKED"),
        "user.deactivated" => (ErrorKind::Forbidden, "AUTH_ACCOUNT_DISABLED"),
        _ => return error,
    };
    ApiError { kind, ..error }.with("code", code)
}
