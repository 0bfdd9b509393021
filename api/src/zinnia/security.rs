//! What protects the way in: reCAPTCHA, codes mailed to addresses, forgotten passwords.

use axum::extract::State;
use domain::identity::user::{User, UserCommand, user_id};
use domain::identity::verification::{LIFE_MINUTES, Purpose};
use domain::metadata::UserId;
use projections::identity::users;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope};
use crate::app::{App, Server};
use crate::auth::passwords::{self, Policy};
use crate::auth::recaptcha;
use crate::auth::verification::{self, Deed, Shown};
use crate::config::Switch;
use crate::error::{ApiError, ErrorKind};
use crate::extract::Body;
use crate::request::RequestContext;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_recaptcha_config))
        .routes(routes!(get_registration_config))
        .routes(routes!(send_verification_code))
        .routes(routes!(verify_code))
        .routes(routes!(send_password_reset_code))
        .routes(routes!(confirm_password_reset))
}

#[derive(Serialize, ToSchema)]
struct RecaptchaOut {
    enabled: bool,
    site_key: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/auth/recaptcha/config", operation_id = "get_recaptcha_config",
    responses((status = 200, body = Envelope<RecaptchaOut>)))]
async fn get_recaptcha_config(State(app): State<App>, request: RequestContext) -> Envelope<RecaptchaOut> {
    let site_key = app.config.registration.recaptcha().map(|(site_key, _)| site_key.to_owned());
    envelope::ok(&request, RecaptchaOut { enabled: site_key.is_some(), site_key })
}

#[derive(Serialize, ToSchema)]
struct RegistrationOut {
    require_email_verification: bool,
    require_recaptcha: bool,
    recaptcha_site_key: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/auth/registration/config", operation_id = "get_registration_config",
    responses((status = 200, body = Envelope<RegistrationOut>)))]
async fn get_registration_config(State(app): State<App>, request: RequestContext) -> Envelope<RegistrationOut> {
    let settings = &app.config.registration;
    let recaptcha_site_key = settings.recaptcha().map(|(site_key, _)| site_key.to_owned());
    let out = RegistrationOut {
        require_email_verification: settings.require_email_verification == Switch::On,
        require_recaptcha: recaptcha_site_key.is_some(),
        recaptcha_site_key,
    };
    envelope::ok(&request, out)
}

#[derive(Deserialize, ToSchema)]
struct SendBody {
    email: String,
    /// `registration` or `password_reset`; `registration` when missing.
    purpose: Option<String>,
    recaptcha_token: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SentOut {
    message: &'static str,
    expires_in_minutes: i64,
}

#[utoipa::path(post, path = "/api/v1/auth/verification/send", operation_id = "send_verification_code",
    request_body = SendBody, responses((status = 200, body = Envelope<SentOut>)))]
async fn send_verification_code(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<SendBody>,
) -> Result<Envelope<SentOut>, ApiError> {
    send(&app, &request, purpose(body.purpose.as_deref())?, &body).await
}

#[utoipa::path(post, path = "/api/v1/auth/password-reset/send", operation_id = "send_password_reset_code",
    request_body = SendBody, responses((status = 200, body = Envelope<SentOut>)))]
async fn send_password_reset_code(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<SendBody>,
) -> Result<Envelope<SentOut>, ApiError> {
    send(&app, &request, Purpose::PasswordReset, &body).await
}

/// Mails a code to whom it may be of use. The answer is the same for everybody.
async fn send(
    server: &Server,
    request: &RequestContext,
    purpose: Purpose,
    body: &SendBody,
) -> Result<Envelope<SentOut>, ApiError> {
    recaptcha::check(server, request, body.recaptcha_token.as_deref()).await?;
    if server.config.rate_limits == Switch::On {
        server.code_limits.count(request.remote_addr, server.clock().now()).map_err(too_many)?;
    }
    let known = users::find_anywhere(server.models.read().await, user_id(&body.email)).await?;
    // Whoever registered without showing a code may do so later.
    let is_user =
        known.is_some_and(|user| user.is_active && (purpose == Purpose::PasswordReset || user.email_verified));
    verification::send(server, request, (purpose, &body.email), |code| letter(purpose, is_user, code)).await?;
    Ok(envelope::ok(request, SentOut { message: "如果该邮箱可用，验证码已发送", expires_in_minutes: LIFE_MINUTES }))
}

/// What is mailed: a code where it is of use, a hint to whoever has an account, nothing to whoever has none.
fn letter(purpose: Purpose, is_user: bool, code: &str) -> Option<(&'static str, String)> {
    let with_code = |what: &str| {
        format!("您正在{what}，验证码为：{code}\n\n验证码 {LIFE_MINUTES} 分钟内有效。如非本人操作，请忽略此邮件。\n")
    };
    match (purpose, is_user) {
        (Purpose::Registration, false) => Some(("Zinnia 注册验证码", with_code("注册 Zinnia 账户"))),
        (Purpose::PasswordReset, true) => Some(("Zinnia 密码重置验证码", with_code("重置 Zinnia 密码"))),
        (Purpose::Registration, true) => {
            let hint =
                "您的邮箱已注册 Zinnia 账户，请直接登录；如忘记密码，请使用密码重置。\n如非本人操作，请忽略此邮件。\n";
            Some(("Zinnia 账户提示", hint.to_owned()))
        }
        (Purpose::PasswordReset, false) => None,
    }
}

fn purpose(name: Option<&str>) -> Result<Purpose, ApiError> {
    match name {
        None | Some("registration") => Ok(Purpose::Registration),
        Some("password_reset") => Ok(Purpose::PasswordReset),
        Some(_) => Err(ApiError::field("purpose", "用途必须是 registration 或 password_reset")),
    }
}

fn too_many(seconds: u64) -> ApiError {
    let refusal = ApiError::new(ErrorKind::TooManyRequests, "rate_limit_exceeded", "Too many codes for this address");
    ApiError { retry_after: Some(seconds), ..refusal }
}

#[derive(Deserialize, ToSchema)]
struct VerifyBody {
    email: String,
    code: String,
    purpose: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct VerifiedOut {
    message: &'static str,
}

#[utoipa::path(post, path = "/api/v1/auth/verification/verify", operation_id = "verify_code",
    request_body = VerifyBody, responses((status = 200, body = Envelope<VerifiedOut>)))]
async fn verify_code(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<VerifyBody>,
) -> Result<Envelope<VerifiedOut>, ApiError> {
    let shown = Shown { purpose: purpose(body.purpose.as_deref())?, email: &body.email, code: &body.code };
    verification::show(&app, &request, &shown, Deed::Verify).await?;
    if shown.purpose == Purpose::Registration {
        note_verified(&app, &request, user_id(&body.email)).await?;
    }
    Ok(envelope::said_with(&request, "验证码正确", VerifiedOut { message: "验证码正确" }))
}

/// Notes that the address is the user's, if there is such a user already.
async fn note_verified(server: &Server, request: &RequestContext, id: UserId) -> Result<(), ApiError> {
    let Some(user) = users::find_anywhere(server.models.read().await, id).await? else { return Ok(()) };
    let request = request.within(user.tenant_id()?);
    server.execute::<User>(&request, &id.to_string(), UserCommand::VerifyEmail).await?;
    Ok(())
}

#[derive(Deserialize, ToSchema)]
struct ResetBody {
    email: String,
    code: String,
    new_password: String,
    confirm_password: String,
}

#[utoipa::path(post, path = "/api/v1/auth/password-reset/confirm", operation_id = "confirm_password_reset",
    request_body = ResetBody, responses((status = 200, body = Envelope<Value>)))]
async fn confirm_password_reset(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<ResetBody>,
) -> Result<Envelope<Value>, ApiError> {
    check_new_password(&body.new_password, Some(&body.confirm_password))?;
    let shown = Shown { purpose: Purpose::PasswordReset, email: &body.email, code: &body.code };
    verification::show(&app, &request, &shown, Deed::Use).await?;
    reset(&app, &request, user_id(&body.email), body.new_password).await?;
    Ok(envelope::said(&request, "密码重置成功"))
}

async fn reset(server: &Server, request: &RequestContext, id: UserId, password: String) -> Result<(), ApiError> {
    let user = users::find_anywhere(server.models.read().await, id).await?.ok_or_else(ApiError::not_found)?;
    let password_hash = passwords::hash(password).await?;
    let request = request.signed_in(id, user.tenant_id()?);
    server.execute::<User>(&request, &id.to_string(), UserCommand::ResetPassword { password_hash }).await?;
    server.sessions.forget(id);
    Ok(())
}

/// What is wrong with a password that is to be set, if anything.
pub(super) fn check_new_password(password: &str, confirmed: Option<&str>) -> Result<(), ApiError> {
    if confirmed.is_some_and(|confirmed| confirmed != password) {
        return Err(ApiError::field("confirm_password", "两次输入的密码不一致"));
    }
    match Policy::Zinnia.objection(password) {
        Some(objection) => Err(ApiError::field("new_password", objection)),
        None => Ok(()),
    }
}
