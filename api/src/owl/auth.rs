//! The way in.

use axum::extract::State;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope};
use super::users::UserOut;
use crate::app::App;
use crate::auth::SignedIn;
use crate::auth::passwords::Policy;
use crate::auth::registration::{Registration, register};
use crate::auth::sign_in::{self, Credentials, Lives};
use crate::error::ApiError;
use crate::extract::Body;
use crate::request::RequestContext;

const LIVES: Lives = Lives { access: TimeDelta::minutes(30), refresh: None };

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(register_user)).routes(routes!(login)).routes(routes!(logout))
}

#[derive(Deserialize, ToSchema)]
struct RegisterBody {
    email: String,
    username: String,
    password: String,
    full_name: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct RegisteredOut {
    user_id: String,
}

#[utoipa::path(post, path = "/api/auth/register", operation_id = "register", request_body = RegisterBody,
    responses((status = 200, body = Envelope<RegisteredOut>)))]
async fn register_user(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<RegisterBody>,
) -> Result<Envelope<RegisteredOut>, ApiError> {
    let name = body.full_name.filter(|name| !name.trim().is_empty());
    let registration = Registration::public(body.email, Some(body.username), name, body.password);
    let user_id = register(&app, &request, &registration, Policy::Owl).await?.to_string();
    Ok(envelope::ok(RegisteredOut { user_id }))
}

#[derive(Deserialize, ToSchema)]
struct LoginBody {
    email: String,
    password: String,
}

#[derive(Serialize, ToSchema)]
struct LoginOut {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    user: UserOut,
}

#[utoipa::path(post, path = "/api/auth/login", operation_id = "login", request_body = LoginBody,
    responses((status = 200, body = Envelope<LoginOut>)))]
async fn login(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<LoginBody>,
) -> Result<Envelope<LoginOut>, ApiError> {
    let credentials = Credentials { login: body.email, password: body.password, device_info: None };
    let entrance = sign_in::sign_in(&app, &request, credentials, LIVES).await?;
    Ok(envelope::ok(LoginOut {
        access_token: entrance.access_token,
        token_type: "bearer",
        expires_in: LIVES.access.num_seconds(),
        user: UserOut::of(entrance.user)?,
    }))
}

#[utoipa::path(post, path = "/api/auth/logout", operation_id = "logout", responses((status = 200, body = Envelope<Value>)))]
async fn logout(State(app): State<App>, SignedIn(caller): SignedIn) -> Result<Envelope<Value>, ApiError> {
    sign_in::sign_out(&app, &caller).await?;
    Ok(envelope::ok(Value::Null))
}
