//! The way in, and the own account.

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use projections::identity::users;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope};
use crate::app::{App, Server};
use crate::auth::cookies::{cookie, is_same_origin, set_cookie};
use crate::auth::passwords::Policy;
use crate::auth::registration::{Registration, register};
use crate::auth::sign_in::{self, Credentials, Entrance, Lives};
use crate::auth::{SignedIn, cross_site};
use crate::error::ApiError;
use crate::extract::Body;
use crate::request::RequestContext;

const REFRESH_LIFE: TimeDelta = TimeDelta::days(7);
const LIVES: Lives = Lives { access: TimeDelta::minutes(15), refresh: Some(REFRESH_LIFE) };
const ACCESS_COOKIE: &str = "access_token";
const REFRESH_COOKIE: &str = "refresh_token";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register_user))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(get_current_user))
}

/// A user as Zinnia shows one.
#[derive(Serialize, ToSchema)]
pub(super) struct UserOut {
    id: String,
    email: String,
    username: String,
    role: &'static str,
    email_verified: bool,
    created_at: DateTime<Utc>,
    last_login_at: Option<DateTime<Utc>>,
}

impl UserOut {
    /// # Errors
    /// When the row holds a role that there is not.
    pub(super) fn of(row: users::Model) -> Result<Self, ApiError> {
        Ok(Self {
            username: row.shown_name().to_owned(),
            role: row.role()?.in_zinnia(),
            id: row.id,
            email: row.email,
            // Nothing verifies addresses yet.
            email_verified: false,
            created_at: row.created_at,
            last_login_at: row.last_login_at,
        })
    }
}

#[derive(Deserialize, ToSchema)]
struct RegisterBody {
    email: String,
    username: String,
    password: String,
    confirm_password: Option<String>,
}

#[utoipa::path(post, path = "/api/v1/users/register", operation_id = "register", request_body = RegisterBody,
    responses((status = 201, body = Envelope<UserOut>)))]
async fn register_user(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<RegisterBody>,
) -> Result<(StatusCode, Envelope<UserOut>), ApiError> {
    if body.confirm_password.is_some_and(|confirmed| confirmed != body.password) {
        return Err(ApiError::field("confirm_password", "两次输入的密码不一致"));
    }
    if !body.username.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(ApiError::field("username", "用户名只能包含字母、数字和下划线"));
    }
    let registration = Registration::public(body.email, Some(body.username), None, body.password);
    let id = register(&app, &request, &registration, Policy::Zinnia).await?;
    let user = users::find(&app.models.read, request.tenant, id).await?;
    let user = UserOut::of(user.ok_or_else(|| ApiError::internal(&"a registered user that no list knows"))?)?;
    Ok((StatusCode::CREATED, envelope::ok(&request, user)))
}

#[derive(Deserialize, ToSchema)]
struct LoginBody {
    /// E-mail address or username.
    login: String,
    password: String,
    device_info: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct LoginOut {
    user: UserOut,
    access_token: String,
    refresh_token: Option<String>,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

#[utoipa::path(post, path = "/api/v1/users/login", operation_id = "login", request_body = LoginBody,
    responses((status = 200, body = Envelope<LoginOut>)))]
async fn login(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<LoginBody>,
) -> Result<Response, ApiError> {
    let credentials = Credentials { login: body.login, password: body.password, device_info: body.device_info };
    let entrance = sign_in::sign_in(&app, &request, credentials, LIVES).await?;
    welcome(&app, &request, entrance)
}

#[derive(Deserialize, ToSchema)]
struct RefreshBody {
    /// Taken from the cookie when missing.
    refresh_token: Option<String>,
}

#[utoipa::path(post, path = "/api/v1/users/refresh", operation_id = "refresh_token", request_body = RefreshBody,
    responses((status = 200, body = Envelope<LoginOut>)))]
async fn refresh(
    State(app): State<App>,
    request: RequestContext,
    headers: HeaderMap,
    Body(body): Body<RefreshBody>,
) -> Result<Response, ApiError> {
    let from_cookie = cookie(&headers, REFRESH_COOKIE).filter(|_| body.refresh_token.is_none());
    if from_cookie.is_some() && !is_same_origin(&headers) {
        return Err(cross_site());
    }
    let token = body.refresh_token.as_deref().or(from_cookie);
    let token = token.ok_or_else(|| ApiError::unauthenticated("No refresh token"))?;
    let entrance = sign_in::refresh(&app, &request, token, LIVES).await?;
    welcome(&app, &request, entrance)
}

/// The tokens, in the body and as cookies.
fn welcome(server: &Server, request: &RequestContext, entrance: Entrance) -> Result<Response, ApiError> {
    let refresh_cookie = entrance.refresh_token.as_deref().unwrap_or_default();
    let cookies =
        [(ACCESS_COOKIE, &*entrance.access_token, LIVES.access), (REFRESH_COOKIE, refresh_cookie, REFRESH_LIFE)];
    let cookies = set_cookies(server, cookies);
    let data = LoginOut {
        user: UserOut::of(entrance.user)?,
        access_token: entrance.access_token,
        refresh_token: entrance.refresh_token,
        token_type: "Bearer",
        expires_in: LIVES.access.num_seconds(),
    };
    Ok((cookies, envelope::ok(request, data)).into_response())
}

fn set_cookies(
    server: &Server,
    cookies: [(&str, &str, TimeDelta); 2],
) -> impl axum::response::IntoResponseParts + use<> {
    let mode = server.config.mode;
    let cookies = cookies.into_iter().filter_map(|(name, value, life)| set_cookie(name, value, life, mode));
    AppendHeaders(cookies.map(|cookie| (SET_COOKIE, cookie)).collect::<Vec<_>>())
}

#[utoipa::path(post, path = "/api/v1/users/logout", operation_id = "logout",
    responses((status = 200, body = Envelope<Value>)))]
async fn logout(State(app): State<App>, SignedIn(caller): SignedIn) -> Result<Response, ApiError> {
    sign_in::sign_out(&app, &caller).await?;
    let gone = [(ACCESS_COOKIE, "", TimeDelta::zero()), (REFRESH_COOKIE, "", TimeDelta::zero())];
    Ok((set_cookies(&app, gone), envelope::said::<Value>(&caller.request, "已登出")).into_response())
}

#[utoipa::path(get, path = "/api/v1/users/me", operation_id = "get_current_user",
    responses((status = 200, body = Envelope<UserOut>)))]
async fn get_current_user(State(app): State<App>, SignedIn(caller): SignedIn) -> Result<Envelope<UserOut>, ApiError> {
    let user = users::find(&app.models.read, caller.user.tenant, caller.user.id).await?;
    Ok(envelope::ok(&caller.request, UserOut::of(user.ok_or_else(ApiError::not_found)?)?))
}
