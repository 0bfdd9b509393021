//! The way in: forms, a session cookie, and redirects.

use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, Html, IntoResponse, Response};
use chrono::TimeDelta;
use domain::identity::role::Role;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::pages::{self, FormToken};
use crate::app::{App, Server};
use crate::auth::cookies::{is_same_origin, set_cookie};
use crate::auth::passwords::Policy;
use crate::auth::registration::{Registration, register};
use crate::auth::sign_in::{self, Credentials, Entrance, Lives};
use crate::auth::{SignedIn, cross_site};
use crate::error::{ApiError, ErrorKind};
use crate::extract::Form;
use crate::request::RequestContext;

const LIFE: TimeDelta = TimeDelta::hours(8);
const COOKIE: &str = "session";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show_login, login))
        .routes(routes!(show_register, register_user))
        .routes(routes!(logout))
}

#[utoipa::path(get, path = "/login", operation_id = "show_login", responses((status = 200, content_type = "text/html")))]
async fn show_login(State(app): State<App>) -> Html<String> {
    Html(pages::login(&FormToken::new(&app), None))
}

#[derive(Deserialize, ToSchema)]
struct LoginForm {
    /// E-mail address or username.
    email: String,
    password: String,
    csrf_token: Option<String>,
}

#[utoipa::path(post, path = "/login", operation_id = "login",
    request_body(content = LoginForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 302), (status = 401, content_type = "text/html")))]
async fn login(
    State(app): State<App>,
    request: RequestContext,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Result<Response, ApiError> {
    check_form(&app, &headers, form.csrf_token.as_deref())?;
    let credentials = Credentials { login: form.email, password: form.password, device_info: None };
    let lives = Lives { access: LIFE, refresh: None };
    match sign_in::sign_in(&app, &request, credentials, lives).await {
        Ok(entrance) => welcome(&app, &entrance),
        Err(refusal) => {
            let (status, message) = page_of(refusal)?;
            Ok((status, Html(pages::login(&FormToken::new(&app), Some(&message)))).into_response())
        }
    }
}

fn welcome(server: &Server, entrance: &Entrance) -> Result<Response, ApiError> {
    let cookie = set_cookie(COOKIE, &entrance.access_token, LIFE, server.config.mode);
    let cookies = AppendHeaders(cookie.map(|cookie| (SET_COOKIE, cookie)));
    Ok((cookies, found(dashboard(entrance.user.role()?))).into_response())
}

/// Where a user of this role begins.
fn dashboard(role: Role) -> &'static str {
    match role {
        Role::Owner | Role::Admin => "/admin/site-owners",
        Role::MiningSiteOwner => "/hosting/host/my-customers",
        Role::Client => "/hosting/",
        Role::Customer | Role::Guest | Role::User | Role::Readonly => "/",
    }
}

#[utoipa::path(get, path = "/logout", operation_id = "logout", responses((status = 302)))]
async fn logout(
    State(app): State<App>,
    headers: HeaderMap,
    signed_in: Result<SignedIn, ApiError>,
) -> Result<Response, ApiError> {
    let Ok(SignedIn(caller)) = signed_in else { return Ok(found("/login").into_response()) };
    // It is a GET that changes something.
    if !is_same_origin(&headers) {
        return Err(cross_site());
    }
    sign_in::sign_out(&app, &caller).await?;
    let gone = set_cookie(COOKIE, "", TimeDelta::zero(), app.config.mode);
    Ok((AppendHeaders(gone.map(|cookie| (SET_COOKIE, cookie))), found("/")).into_response())
}

#[utoipa::path(get, path = "/register", operation_id = "show_register",
    responses((status = 200, content_type = "text/html")))]
async fn show_register(State(app): State<App>) -> Html<String> {
    Html(pages::register(&FormToken::new(&app), None))
}

#[derive(Deserialize, ToSchema)]
struct RegisterForm {
    email: String,
    password: String,
    name: Option<String>,
    username: Option<String>,
    csrf_token: Option<String>,
}

#[utoipa::path(post, path = "/register", operation_id = "register",
    request_body(content = RegisterForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 302), (status = 400, content_type = "text/html")))]
async fn register_user(
    State(app): State<App>,
    request: RequestContext,
    headers: HeaderMap,
    Form(form): Form<RegisterForm>,
) -> Result<Response, ApiError> {
    check_form(&app, &headers, form.csrf_token.as_deref())?;
    // Browsers send fields that were left empty.
    let filled = |field: Option<String>| field.filter(|text| !text.trim().is_empty());
    let registration = Registration::public(form.email, filled(form.username), filled(form.name), form.password);
    match register(&app, &request, &registration, Policy::HashInsight).await {
        Ok(_) => Ok(found("/login").into_response()),
        Err(refusal) => {
            let (status, message) = page_of(refusal)?;
            Ok((status, Html(pages::register(&FormToken::new(&app), Some(&message)))).into_response())
        }
    }
}

/// What a form's page says of a refusal; faults of the server stay errors.
fn page_of(refusal: ApiError) -> Result<(StatusCode, String), ApiError> {
    let status = match (refusal.code, refusal.kind) {
        // The original shows the page of a locked account as any other.
        ("user.locked", _) => StatusCode::OK,
        (_, ErrorKind::Unauthenticated) => StatusCode::UNAUTHORIZED,
        (_, ErrorKind::Forbidden) => StatusCode::FORBIDDEN,
        (_, ErrorKind::Invalid | ErrorKind::AlreadyExists) => StatusCode::BAD_REQUEST,
        (_, _) => return Err(refusal),
    };
    let message = refusal.fields.first().map(|field| field.fault.to_string());
    Ok((status, message.unwrap_or(refusal.message)))
}

/// Forms come from our own pages. Browsers say so themselves; a token that is sent along must be one of ours.
fn check_form(server: &Server, headers: &HeaderMap, in_form: Option<&str>) -> Result<(), ApiError> {
    let in_header = headers.get("x-csrf-token").map(|value| value.to_str().unwrap_or_default());
    let is_ours = |token| FormToken::is_ours(server, token);
    if is_same_origin(headers) && in_form.into_iter().chain(in_header).all(is_ours) {
        Ok(())
    } else {
        Err(cross_site())
    }
}

/// 302, as the original answers (and not 303).
fn found(location: &'static str) -> impl IntoResponse {
    (StatusCode::FOUND, [(LOCATION, HeaderValue::from_static(location))])
}
