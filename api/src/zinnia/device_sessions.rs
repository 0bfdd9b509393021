//! Sessions of devices: short-lived tokens for a key that is better not sent with every report.
//!
//! Nothing is kept of a session. It says since which event the sessions of its device are good, so a rotated key or a
//! revocation ends all of them at once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use chrono::TimeDelta;
use domain::devices::device::{Device, DeviceCommand, DeviceStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::device_caller::shown;
use super::device_secrets::Kind;
use super::devices::SaidOut;
use super::envelope::{self, Envelope};
use super::known_devices::FoundDevice;
use crate::app::{App, Server};
use crate::auth::TokenKind;
use crate::error::ApiError;
use crate::extract::Body;
use crate::request::RequestContext;

const ACCESS_LIFE: TimeDelta = TimeDelta::minutes(15);
const REFRESH_LIFE: TimeDelta = TimeDelta::days(7);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(exchange_key)).routes(routes!(get_token)).routes(routes!(revoke))
}

#[derive(Deserialize, ToSchema)]
struct ExchangeBody {
    /// Taken from the header `X-API-Key` when missing.
    api_key: Option<String>,
    /// Of an earlier exchange, instead of the key.
    refresh_token: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SessionOut {
    access_token: String,
    refresh_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

#[utoipa::path(post, path = "/api/v1/auth/exchange", operation_id = "exchange_device_key", request_body = ExchangeBody,
    responses((status = 200, body = Envelope<SessionOut>)))]
async fn exchange_key(
    State(app): State<App>,
    request: RequestContext,
    headers: HeaderMap,
    Body(body): Body<ExchangeBody>,
) -> Result<Envelope<SessionOut>, ApiError> {
    open(&app, &request, &headers, &body).await
}

#[utoipa::path(post, path = "/api/v1/auth/token", operation_id = "get_device_token", request_body = ExchangeBody,
    responses((status = 200, body = Envelope<SessionOut>)))]
async fn get_token(
    State(app): State<App>,
    request: RequestContext,
    headers: HeaderMap,
    Body(body): Body<ExchangeBody>,
) -> Result<Envelope<SessionOut>, ApiError> {
    open(&app, &request, &headers, &body).await
}

async fn open(
    server: &Server,
    request: &RequestContext,
    headers: &HeaderMap,
    body: &ExchangeBody,
) -> Result<Envelope<SessionOut>, ApiError> {
    let device = match (body.api_key.as_deref().or_else(|| shown(headers)), body.refresh_token.as_deref()) {
        (Some(key), _) if Kind::of(key) == Some(Kind::Key) => server.devices.by_secret(server, key).await?,
        (None, Some(refresh)) => of_session(server, refresh, TokenKind::Refresh).await?,
        (Some(_) | None, _) => None,
    };
    let device = device.filter(|device| device.status != DeviceStatus::Disabled);
    let device = device.ok_or_else(|| ApiError::unauthenticated("No device has these credentials"))?;
    let now = server.clock().now();
    let sign = |kind, life| server.tokens.sign_for_device((device.id, device.sessions_since), kind, (now, now + life));
    let session = SessionOut {
        access_token: sign(TokenKind::Access, ACCESS_LIFE)?,
        refresh_token: sign(TokenKind::Refresh, REFRESH_LIFE)?,
        token_type: "Bearer",
        expires_in: ACCESS_LIFE.num_seconds(),
    };
    Ok(envelope::ok(request, session))
}

/// The device whose session a token belongs to, if the session is good.
pub(super) async fn of_session(
    server: &Server,
    token: &str,
    kind: TokenKind,
) -> Result<Option<Arc<FoundDevice>>, ApiError> {
    let Some(claims) = server.tokens.read_of_device(token, kind, server.clock().now()) else { return Ok(None) };
    let device = server.devices.by_id(server, claims.device).await?;
    Ok(device.filter(|device| device.sessions_since == claims.since))
}

#[derive(Deserialize, ToSchema)]
struct RevokeBody {
    /// A token that was handed out for the device, or one of a session: then all its sessions end.
    token: String,
}

#[utoipa::path(post, path = "/api/v1/auth/revoke", operation_id = "revoke_own_token", request_body = RevokeBody,
    responses((status = 200, body = Envelope<SaidOut>)))]
async fn revoke(
    State(app): State<App>,
    request: RequestContext,
    Body(body): Body<RevokeBody>,
) -> Result<Envelope<SaidOut>, ApiError> {
    // Whoever shows a token may end it; what is no token has ended already.
    let said = envelope::ok(&request, SaidOut::new("令牌已吊销"));
    let Some((device, command)) = revocation(&app, &body.token).await? else { return Ok(said) };
    let request = request.of_device(device.id, device.tenant);
    app.execute::<Device>(&request, &device.id.to_string(), command).await?;
    app.devices.forget(device.id);
    Ok(said)
}

async fn revocation(server: &Server, token: &str) -> Result<Option<(Arc<FoundDevice>, DeviceCommand)>, ApiError> {
    if Kind::of(token) == Some(Kind::Token) {
        let device = server.devices.by_secret(server, token).await?;
        let id = device.as_ref().and_then(|device| device.token.as_ref()).map(|token| token.id);
        return Ok(device.zip(id.map(|token_id| DeviceCommand::RevokeToken { token_id })));
    }
    let by_access = of_session(server, token, TokenKind::Access).await?;
    let device = if by_access.is_some() { by_access } else { of_session(server, token, TokenKind::Refresh).await? };
    Ok(device.map(|device| (device, DeviceCommand::RevokeSessions)))
}
