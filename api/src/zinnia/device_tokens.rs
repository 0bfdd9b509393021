//! Tokens that the owner of a device hands out for it.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use domain::devices::device::{Device, DeviceCommand, DeviceEvent, NewToken, TOKEN_HOURS_MAX, TokenPermission};
use ipnet::IpNet;
use projections::devices::device_tokens::{self, DeviceTokens, Included};
use projections::devices::token_uses;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::access::{self, Need};
use super::device_secrets::{self, Kind};
use super::devices::{SaidOut, check_shown};
use super::envelope::{self, Envelope};
use crate::app::{App, row_after};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Body, Path, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_device_token, list_device_tokens, revoke_all_device_tokens))
        .routes(routes!(revoke_device_token))
}

#[derive(Deserialize, ToSchema)]
struct CreateTokenBody {
    name: String,
    /// `read`, `write` or `all`; `write` when missing.
    permission: Option<String>,
    /// From 1 to 8760; for ever when missing.
    expires_in_hours: Option<i64>,
    /// Addresses or networks in CIDR form; any when missing.
    allowed_ips: Option<Vec<String>>,
    /// From 1 to 1000; no limit when missing.
    rate_limit_per_minute: Option<u32>,
}

#[derive(Serialize, ToSchema)]
struct TokenOut {
    id: String,
    device_id: String,
    name: String,
    /// Shown once, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    token_prefix: String,
    permission: String,
    is_revoked: bool,
    is_expired: bool,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    use_count: u64,
    allowed_ips: Vec<String>,
    rate_limit_per_minute: Option<i32>,
    created_at: DateTime<Utc>,
}

impl TokenOut {
    fn of(row: device_tokens::Model, now: DateTime<Utc>) -> Self {
        Self {
            allowed_ips: row.networks().map(str::to_owned).collect(),
            is_revoked: row.revoked_at.is_some(),
            is_expired: row.expires_at.is_some_and(|at| at <= now),
            id: row.id,
            device_id: row.device_id,
            name: row.name,
            token: None,
            token_prefix: row.token_prefix,
            permission: row.permission,
            expires_at: row.expires_at,
            last_used_at: None,
            use_count: 0,
            rate_limit_per_minute: row.rate_limit_per_minute,
            created_at: row.created_at,
        }
    }

    fn used(self, used: Option<&token_uses::Model>) -> Self {
        let last_used_at = used.map(|used| used.last_used_at);
        Self { use_count: used.map_or(0, |used| used.use_count.unsigned_abs()), last_used_at, ..self }
    }
}

#[utoipa::path(post, path = "/api/v1/devices/{id}/tokens", operation_id = "create_device_token",
    params(("id" = Uuid, Path)), request_body = CreateTokenBody,
    responses((status = 201, body = Envelope<TokenOut>)))]
async fn create_device_token(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(body): Body<CreateTokenBody>,
) -> Result<(StatusCode, Envelope<TokenOut>), ApiError> {
    access::device(&app, &caller.user, id, Need::Own).await?;
    let now = app.clock().now();
    let (shown, secret) = device_secrets::fresh(&app.secrets, Kind::Token);
    let token = NewToken {
        id: caller.request.id_for("device_token"),
        name: body.name,
        permission: body.permission.as_deref().map_or(Ok(TokenPermission::Write), permission)?,
        secret: secret.clone(),
        expires_at: body.expires_in_hours.map(|hours| expiry(now, hours)).transpose()?,
        allowed_ips: body.allowed_ips.unwrap_or_default().iter().map(|text| network(text)).collect::<Result<_, _>>()?,
        rate_limit_per_minute: body.rate_limit_per_minute,
    };
    let token_id = token.id;
    let command = DeviceCommand::IssueToken { token };
    let receipt = app.change::<Device>(&caller.request, &id.to_string(), command).await?;
    check_shown(receipt.events.first(), &secret)?;
    // The token is shown here or nowhere, however late the list is.
    let row = row_after::<_, DeviceTokens>(None, &token_id.to_string(), &receipt).ok_or_else(ApiError::not_found)?;
    let out = TokenOut { token: Some(shown), ..TokenOut::of(row, now) };
    Ok(envelope::created(&caller.request, out))
}

fn permission(name: &str) -> Result<TokenPermission, ApiError> {
    name.parse().map_err(|_| ApiError::field("permission", "权限必须是 read、write 或 all"))
}

fn expiry(now: DateTime<Utc>, hours: i64) -> Result<DateTime<Utc>, ApiError> {
    if (1..=TOKEN_HOURS_MAX).contains(&hours) {
        Ok(now + TimeDelta::hours(hours))
    } else {
        Err(ApiError::field("expires_in_hours", "有效期必须在1到8760小时之间"))
    }
}

/// A network, or one address as a network.
fn network(text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = network.ok_or_else(|| ApiError::field("allowed_ips", "必须是 IP 地址或 CIDR 网段"))?;
    Ok(network.trunc().to_string())
}

#[derive(Deserialize)]
struct TokensQuery {
    include_revoked: Option<bool>,
    include_expired: Option<bool>,
}

#[utoipa::path(get, path = "/api/v1/devices/{id}/tokens", operation_id = "list_device_tokens",
    params(("id" = Uuid, Path), ("include_revoked" = Option<bool>, Query), ("include_expired" = Option<bool>, Query)),
    responses((status = 200, body = Envelope<Vec<TokenOut>>)))]
async fn list_device_tokens(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<TokensQuery>,
) -> Result<Envelope<Vec<TokenOut>>, ApiError> {
    access::device(&app, &caller.user, id, Need::Own).await?;
    let included =
        Included { revoked: query.include_revoked.unwrap_or(false), expired: query.include_expired.unwrap_or(false) };
    let now = app.clock().now();
    let rows = device_tokens::list(app.models.read().await, id, included, now).await?;
    app.token_usage.write_down(app.models.as_they_are()).await;
    let counted = token_uses::of(app.models.read().await, rows.iter().map(|row| row.id.as_str())).await?;
    let shown = rows.into_iter().map(|row| {
        let counted = counted.iter().find(|counted| counted.token_id == row.id);
        TokenOut::of(row, now).used(counted)
    });
    Ok(envelope::ok(&caller.request, shown.collect()))
}

#[utoipa::path(delete, path = "/api/v1/devices/{device_id}/tokens/{token_id}", operation_id = "revoke_device_token",
    params(("device_id" = Uuid, Path), ("token_id" = Uuid, Path)), responses((status = 200, body = Envelope<SaidOut>)))]
async fn revoke_device_token(
    State(app): State<App>,
    caller: Caller,
    Path((device_id, token_id)): Path<(Uuid, Uuid)>,
) -> Result<Envelope<SaidOut>, ApiError> {
    access::device(&app, &caller.user, device_id, Need::Own).await?;
    let command = DeviceCommand::RevokeToken { token_id };
    app.change::<Device>(&caller.request, &device_id.to_string(), command).await?;
    app.devices.forget(device_id);
    Ok(envelope::ok(&caller.request, SaidOut::new("令牌已吊销")))
}

#[derive(Serialize, ToSchema)]
struct RevokeAllOut {
    revoked_count: usize,
    message: String,
}

#[utoipa::path(delete, path = "/api/v1/devices/{id}/tokens", operation_id = "revoke_all_device_tokens",
    params(("id" = Uuid, Path)), responses((status = 200, body = Envelope<RevokeAllOut>)))]
async fn revoke_all_device_tokens(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<RevokeAllOut>, ApiError> {
    access::device(&app, &caller.user, id, Need::Own).await?;
    let receipt = app.change::<Device>(&caller.request, &id.to_string(), DeviceCommand::RevokeAllTokens).await?;
    app.devices.forget(id);
    let revoked_count = receipt.events.iter().map(revoked).sum();
    Ok(envelope::ok(&caller.request, RevokeAllOut { revoked_count, message: format!("已吊销 {revoked_count} 个令牌") }))
}

fn revoked(event: &DeviceEvent) -> usize {
    if let DeviceEvent::TokensRevoked { token_ids } = event { token_ids.len() } else { 0 }
}
