//! Devices that call for themselves: the credentials that they show, and the extractors that stand in a handler's
//! signature.
//!
//! A device shows its key (`X-API-Key`), a token that was handed out for it, or a session that it got for its key
//! (`Authorization: Bearer`). [`Reporting`] takes those that may report readings, [`Reading`] those that may read them.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use domain::devices::device::DeviceStatus;
use uuid::Uuid;

use super::device_sessions::of_session;
use super::known_devices::FoundDevice;
use crate::app::{App, Server};
use crate::auth::{TokenKind, bearer};
use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;

/// What a device wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Report,
    Read,
}

/// A device that has shown what it may report under.
#[derive(Clone)]
pub struct DeviceCaller {
    pub device: Arc<FoundDevice>,
    /// In the tenant and the name of the device.
    pub request: RequestContext,
}

/// A device that may report its readings.
pub struct Reporting(pub DeviceCaller);

/// A device that may read its readings.
pub struct Reading(pub DeviceCaller);

impl FromRequestParts<App> for Reporting {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        of_request(parts, app, Purpose::Report).await.map(Self)
    }
}

impl FromRequestParts<App> for Reading {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        of_request(parts, app, Purpose::Read).await.map(Self)
    }
}

async fn of_request(parts: &mut Parts, app: &App, purpose: Purpose) -> Result<DeviceCaller, ApiError> {
    let request = RequestContext::from_request_parts(parts, app).await?;
    let shown = shown(&parts.headers).ok_or_else(unknown)?;
    authenticate(app, &request, shown, purpose).await
}

/// The credential of a device in the headers of a request.
pub fn shown(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    key.or_else(|| bearer(headers))
}

/// The device that `credential` (a key, a token or a session) belongs to, if that is good for `purpose` now and from
/// where the request comes. Counts one use of a token.
///
/// # Errors
/// Unauthenticated, forbidden, or too many requests.
pub async fn authenticate(
    server: &Server,
    request: &RequestContext,
    credential: &str,
    purpose: Purpose,
) -> Result<DeviceCaller, ApiError> {
    let device = match server.devices.by_secret(server, credential).await? {
        Some(device) => device,
        None => of_session(server, credential, TokenKind::Access).await?.ok_or_else(unknown)?,
    };
    check_token(server, &device, request, purpose)?;
    if device.status == DeviceStatus::Disabled {
        return Err(ApiError { code: "device.disabled", ..ApiError::forbidden("The device is disabled") });
    }
    let request = request.of_device(device.id, device.tenant);
    Ok(DeviceCaller { device, request })
}

fn check_token(
    server: &Server,
    device: &FoundDevice,
    request: &RequestContext,
    purpose: Purpose,
) -> Result<(), ApiError> {
    let Some(token) = &device.token else { return Ok(()) };
    let now = server.clock().now();
    if token.expires_at.is_some_and(|at| at <= now) {
        return Err(unknown());
    }
    if !token.admits(request.remote_addr) {
        return Err(ApiError::forbidden("The token may not be used from this address"));
    }
    let may = match purpose {
        Purpose::Report => token.permission.writes(),
        Purpose::Read => token.permission.reads(),
    };
    if !may {
        return Err(ApiError::forbidden(format!("The token is good for {} only", token.permission)));
    }
    server.token_usage.count(token.id, token.rate_limit_per_minute, now).map_err(too_many)
}

fn too_many(seconds: u64) -> ApiError {
    let refusal = ApiError::new(ErrorKind::TooManyRequests, "rate_limit_exceeded", "The token is used too often");
    ApiError { retry_after: Some(seconds), ..refusal }
}

/// No device has this credential, or no longer.
fn unknown() -> ApiError {
    ApiError::unauthenticated("No device has these credentials")
}

impl DeviceCaller {
    /// The id of the device.
    pub fn id(&self) -> Uuid {
        self.device.id
    }
}
