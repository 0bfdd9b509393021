//! The way in and out.

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use domain::identity::user::{User, UserCommand};
use domain::identity::verification::Purpose;
use projections::identity::users;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope};
use crate::app::{App, Server};
use crate::auth::cookies::{cookie, is_same_origin, set_cookie};
use crate::auth::passwords::Policy;
use crate::auth::recaptcha;
use crate::auth::registration::{Registration, register};
use crate::auth::sign_in::{self, Credentials, Entrance, Lives};
use crate::auth::verification::{self, Deed, Shown};
use crate::auth::{SignedIn, cross_site};
use crate::config::Switch;
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
        .routes(routes!(logout_all))
}

/// A user as Zinnia shows one.
#[derive(Serialize, ToSchema)]
pub(super) struct UserOut {
    id: String,
    email: String,
    username: String,
    role: &'static str,
    email_verified: bool,
    is_active: bool,
    created_at: DateTime<Utc>,
    last_login_at: Option<DateTime<Utc>>,
    /// What clients keep for the user; shown to the user alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
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
            email_verified: row.email_verified,
            is_active: row.is_active,
            created_at: row.created_at,
            last_login_at: row.last_login_at,
            metadata: None,
        })
    }

    /// The same for the user alone.
    ///
    /// # Errors
    /// When the row cannot be read.
    pub(super) fn own(row: users::Model) -> Result<Self, ApiError> {
        let metadata = serde_json::from_str(&row.metadata).map_err(|error| ApiError::internal(&error))?;
        Ok(Self { metadata: Some(metadata), ..Self::of(row)? })
    }
}

#[derive(Deserialize, ToSchema)]
struct RegisterBody {
    email: String,
    username: String,
    password: String,
    confirm_password: Option<String>,
    recaptcha_token: Option<String>,
    /// The code that was mailed to the address, where it is asked for.
    verification_code: Option<String>,
}

#[utoipa::path(post, path = "/api/v1/users/register", operation_id = "register", request_body = RegisterBody,
    responses((status = 201, body = Envelope<UserOut>)))]
async fn register_user(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<RegisterBody>,
) -> Result<(StatusCode, Envelope<UserOut>), ApiError> {
    recaptcha::check(&app, &request, body.recaptcha_token.as_deref()).await?;
    if body.confirm_password.is_some_and(|confirmed| confirmed != body.password) {
        return Err(ApiError::field("confirm_password", "两次输入的密码不一致"));
    }
    check_username(&body.username)?;
    // The code is looked at first: without it nobody is told whether an address is registered.
    let code = body.verification_code.filter(|code| !code.is_empty());
    let code = required(&app, code)?;
    let email = body.email.clone();
    let shown = code.as_deref().map(|code| Shown { purpose: Purpose::Registration, email: &email, code });
    if let Some(shown) = &shown {
        verification::show(&app, &request, shown, Deed::Check).await?;
    }
    let registration = Registration::public(body.email, Some(body.username), None, body.password);
    let id = register(&app, &request, &registration, Policy::Zinnia).await?;
    if let Some(shown) = &shown {
        verification::show(&app, &request, shown, Deed::Use).await?;
        app.execute::<User>(&request.signed_in(id, request.tenant), &id.to_string(), UserCommand::VerifyEmail).await?;
    }
    let user = users::find(app.models.read().await, request.tenant, id).await?;
    let user = UserOut::of(user.ok_or_else(|| ApiError::internal(&"a registered user that no list knows"))?)?;
    Ok((StatusCode::CREATED, envelope::ok(&request, user)))
}

fn required(server: &Server, code: Option<String>) -> Result<Option<String>, ApiError> {
    match server.config.registration.require_email_verification {
        Switch::On if code.is_none() => Err(ApiError::field("verification_code", "请先验证邮箱")),
        Switch::On | Switch::Off => Ok(code),
    }
}

/// Zinnia takes fewer names than the other products.
pub(super) fn check_username(username: &str) -> Result<(), ApiError> {
    if username.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(())
    } else {
        Err(ApiError::field("username", "用户名只能包含字母、数字和下划线"))
    }
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
    Ok((without_cookies(&app), envelope::said::<Value>(&caller.request, "已登出")).into_response())
}

fn without_cookies(server: &Server) -> impl axum::response::IntoResponseParts + use<> {
    set_cookies(server, [(ACCESS_COOKIE, "", TimeDelta::zero()), (REFRESH_COOKIE, "", TimeDelta::zero())])
}

#[derive(Serialize, ToSchema)]
struct LogoutAllOut {
    message: &'static str,
    sessions_revoked: usize,
}

#[utoipa::path(post, path = "/api/v1/users/logout-all", operation_id = "logout_all",
    responses((status = 200, body = Envelope<LogoutAllOut>)))]
async fn logout_all(State(app): State<App>, SignedIn(caller): SignedIn) -> Result<Response, ApiError> {
    let sessions_revoked = sign_in::sign_out_everywhere(&app, &caller).await?;
    let data = LogoutAllOut { message: "已登出所有设备", sessions_revoked };
    Ok((without_cookies(&app), envelope::ok(&caller.request, data)).into_response())
}
