//! Battery devices and their settings.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::devices::device::{Device, DeviceCommand, DeviceEvent, DeviceStatus, HashedSecret, SettingsChanges};
use projections::devices::devices::{self, DeviceFilter, Devices};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::access::{self, Need};
use super::device_secrets::{self, Kind};
use super::envelope::{self, Envelope, Items};
use crate::app::{App, Server, row_after};
use crate::as_of::Lists;
use crate::auth::Caller;
use crate::error::{ApiError, ErrorKind};
use crate::extract::{Body, Path, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_device, list_devices))
        .routes(routes!(get_device, update_device, delete_device))
        .routes(routes!(get_device_config, update_device_config))
        .routes(routes!(rotate_device_key))
}

/// A device.
#[derive(Serialize, ToSchema)]
struct DeviceOut {
    id: String,
    owner_id: String,
    name: String,
    device_type: String,
    /// `online`, `offline`, `maintenance` or `disabled`.
    status: String,
    api_key_prefix: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    last_seen_at: Option<DateTime<Utc>>,
    metadata: Map<String, Value>,
}

impl DeviceOut {
    fn of(row: devices::Model) -> Result<Self, ApiError> {
        Ok(Self {
            metadata: serde_json::from_str(&row.metadata).map_err(|error| ApiError::internal(&error))?,
            id: row.id,
            owner_id: row.owner_id,
            name: row.name,
            device_type: row.device_type,
            status: row.status,
            api_key_prefix: row.key_prefix,
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_seen_at: row.last_seen_at,
        })
    }
}

/// The settings of a device.
#[derive(Serialize, ToSchema)]
struct ConfigOut {
    device_id: String,
    /// Percent.
    low_battery_threshold: u8,
    /// Percent.
    critical_battery_threshold: u8,
    report_interval_seconds: u32,
    /// Degrees Celsius.
    high_temperature_threshold: f64,
    /// Points of charge lost within an hour without charging.
    rapid_drain_threshold: u8,
    /// Silence after which the device is offline.
    offline_after_seconds: u32,
    updated_at: DateTime<Utc>,
}

impl ConfigOut {
    fn of(row: &devices::Model) -> Self {
        let settings = row.settings();
        Self {
            device_id: row.id.clone(),
            low_battery_threshold: settings.low_battery_threshold,
            critical_battery_threshold: settings.critical_battery_threshold,
            report_interval_seconds: settings.report_interval_seconds,
            high_temperature_threshold: settings.high_temperature_threshold,
            rapid_drain_threshold: settings.rapid_drain_threshold,
            offline_after_seconds: settings.silence_seconds(),
            updated_at: row.configured_at.unwrap_or(row.created_at),
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CreateDeviceBody {
    name: String,
    device_type: String,
    metadata: Option<Map<String, Value>>,
}

#[derive(Serialize, ToSchema)]
struct CreateDeviceOut {
    device: DeviceOut,
    /// Shown once, here.
    api_key: String,
    config: ConfigOut,
}

#[utoipa::path(post, path = "/api/v1/devices", operation_id = "create_device", request_body = CreateDeviceBody,
    responses((status = 201, body = Envelope<CreateDeviceOut>)))]
async fn create_device(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<CreateDeviceBody>,
) -> Result<(StatusCode, Envelope<CreateDeviceOut>), ApiError> {
    let device_id = caller.request.id_for("device");
    let (api_key, key) = device_secrets::fresh(&app.secrets, Kind::Key);
    let command = DeviceCommand::Register {
        device_id,
        owner: caller.user.id,
        name: body.name,
        device_type: body.device_type,
        metadata: body.metadata.unwrap_or_default(),
        key: key.clone(),
    };
    let receipt = app.change::<Device>(&caller.request, &device_id.to_string(), command).await?;
    check_shown(receipt.events.first(), &key)?;
    // The key is shown here or nowhere, however late the list is.
    let row = row_after::<_, Devices>(None, &device_id.to_string(), &receipt).ok_or_else(ApiError::not_found)?;
    let config = ConfigOut::of(&row);
    Ok(envelope::created(&caller.request, CreateDeviceOut { device: DeviceOut::of(row)?, api_key, config }))
}

/// The answer to the first request with this key was lost before it could be kept, and the secret stands nowhere.
pub(super) fn check_shown(event: Option<&DeviceEvent>, secret: &HashedSecret) -> Result<(), ApiError> {
    let issued = match event {
        Some(DeviceEvent::Registered { key_hash, .. } | DeviceEvent::KeyRotated { key_hash, .. }) => Some(key_hash),
        Some(DeviceEvent::TokenIssued { token_hash, .. }) => Some(token_hash),
        Some(
            DeviceEvent::Changed { .. }
            | DeviceEvent::Configured { .. }
            | DeviceEvent::SessionsRevoked
            | DeviceEvent::TokensRevoked { .. }
            | DeviceEvent::Shared { .. }
            | DeviceEvent::Unshared { .. }
            | DeviceEvent::CameOnline { .. }
            | DeviceEvent::WentOffline { .. }
            | DeviceEvent::Deleted { .. },
        )
        | None => None,
    };
    let shown_once = "a secret was made under this key before, and is shown only once";
    let lost = || ApiError::new(ErrorKind::IllegalState, "device.shown_once", shown_once);
    issued.filter(|hash| **hash == secret.hash).map(|_| ()).ok_or_else(lost)
}

#[derive(Deserialize)]
struct DevicesQuery {
    page: Option<u64>,
    page_size: Option<u64>,
    status: Option<String>,
    device_type: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/devices", operation_id = "list_devices",
    params(("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query), ("status" = Option<String>, Query),
        ("device_type" = Option<String>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Items<DeviceOut>>)))]
async fn list_devices(
    State(app): State<App>,
    lists: Lists,
    caller: Caller,
    Query(query): Query<DevicesQuery>,
) -> Result<Envelope<Items<DeviceOut>>, ApiError> {
    let filter = DeviceFilter {
        status: query.status.as_deref().filter(|status| !status.is_empty()).map(status).transpose()?,
        device_type: query.device_type.filter(|device_type| !device_type.is_empty()),
    };
    let db = lists.of(&["devices", "device_shares"]).await?;
    let paging = envelope::paging(query.page, query.page_size);
    let mut page = devices::list(&db, (caller.user.tenant, caller.user.id), &filter, paging).await?;
    if lists.are_of_now() {
        heard(&app, &mut page.rows).await?;
    }
    Ok(envelope::ok(&caller.request, envelope::items(page, DeviceOut::of)?))
}

#[utoipa::path(get, path = "/api/v1/devices/{id}", operation_id = "get_device", params(("id" = Uuid, Path)),
    responses((status = 200, body = Envelope<DeviceOut>)))]
async fn get_device(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<DeviceOut>, ApiError> {
    let mut row = access::device(&app, &caller.user, id, Need::Read).await?;
    heard(&app, std::slice::from_mut(&mut row)).await?;
    Ok(envelope::ok(&caller.request, DeviceOut::of(row)?))
}

/// The readings know when each device was last heard of.
async fn heard(server: &Server, rows: &mut [devices::Model]) -> Result<(), ApiError> {
    let ids = rows.iter().map(devices::Model::device_id).collect::<Result<Vec<_>, _>>()?;
    let seen = server.readings.last_seen(&ids).await?;
    for (row, id) in rows.iter_mut().zip(&ids) {
        row.last_seen_at = row.last_seen_at.max(seen.get(id).copied());
    }
    Ok(())
}

#[derive(Deserialize, ToSchema)]
struct UpdateDeviceBody {
    name: Option<String>,
    status: Option<String>,
    metadata: Option<Map<String, Value>>,
}

#[utoipa::path(put, path = "/api/v1/devices/{id}", operation_id = "update_device", params(("id" = Uuid, Path)),
    request_body = UpdateDeviceBody, responses((status = 200, body = Envelope<DeviceOut>)))]
async fn update_device(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(body): Body<UpdateDeviceBody>,
) -> Result<Envelope<DeviceOut>, ApiError> {
    let status = body.status.as_deref().map(status).transpose()?;
    let command = DeviceCommand::Change { name: body.name, status, metadata: body.metadata };
    let mut row = change(&app, &caller, (id, Need::Write), command).await?;
    heard(&app, std::slice::from_mut(&mut row)).await?;
    Ok(envelope::ok(&caller.request, DeviceOut::of(row)?))
}

#[derive(Serialize, ToSchema)]
pub(super) struct SaidOut {
    message: &'static str,
}

impl SaidOut {
    pub(super) fn new(message: &'static str) -> Self {
        Self { message }
    }
}

#[utoipa::path(delete, path = "/api/v1/devices/{id}", operation_id = "delete_device", params(("id" = Uuid, Path)),
    responses((status = 200, body = Envelope<SaidOut>)))]
async fn delete_device(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<SaidOut>, ApiError> {
    access::device(&app, &caller.user, id, Need::Own).await?;
    app.change::<Device>(&caller.request, &id.to_string(), DeviceCommand::Delete).await?;
    forget(&app, id).await;
    Ok(envelope::ok(&caller.request, SaidOut::new("设备已删除")))
}

/// A device that was deleted takes its readings along.
pub(super) async fn forget(server: &Server, id: Uuid) {
    server.devices.forget(id);
    if let Err(fault) = server.readings.forget(id).await {
        tracing::warn!(device = %id, %fault, "readings of a deleted device stay, and nobody can see them");
    }
}

#[utoipa::path(get, path = "/api/v1/devices/{id}/config", operation_id = "get_device_config",
    params(("id" = Uuid, Path)), responses((status = 200, body = Envelope<ConfigOut>)))]
async fn get_device_config(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<ConfigOut>, ApiError> {
    let row = access::device(&app, &caller.user, id, Need::Read).await?;
    Ok(envelope::ok(&caller.request, ConfigOut::of(&row)))
}

#[derive(Deserialize, ToSchema)]
struct UpdateConfigBody {
    low_battery_threshold: Option<u8>,
    critical_battery_threshold: Option<u8>,
    report_interval_seconds: Option<u32>,
    high_temperature_threshold: Option<f64>,
    rapid_drain_threshold: Option<u8>,
    offline_after_seconds: Option<u32>,
}

#[utoipa::path(put, path = "/api/v1/devices/{id}/config", operation_id = "update_device_config",
    params(("id" = Uuid, Path)), request_body = UpdateConfigBody,
    responses((status = 200, body = Envelope<ConfigOut>)))]
async fn update_device_config(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(body): Body<UpdateConfigBody>,
) -> Result<Envelope<ConfigOut>, ApiError> {
    let changes = SettingsChanges {
        low_battery_threshold: body.low_battery_threshold,
        critical_battery_threshold: body.critical_battery_threshold,
        report_interval_seconds: body.report_interval_seconds,
        high_temperature_threshold: body.high_temperature_threshold,
        rapid_drain_threshold: body.rapid_drain_threshold,
        offline_after_seconds: body.offline_after_seconds,
    };
    let row = change(&app, &caller, (id, Need::Write), DeviceCommand::Configure { changes }).await?;
    Ok(envelope::ok(&caller.request, ConfigOut::of(&row)))
}

#[derive(Serialize, ToSchema)]
struct RotateKeyOut {
    /// Shown once, here.
    api_key: String,
    api_key_prefix: String,
    message: &'static str,
}

#[utoipa::path(post, path = "/api/v1/devices/{id}/rotate-key", operation_id = "rotate_device_key",
    params(("id" = Uuid, Path)), responses((status = 200, body = Envelope<RotateKeyOut>)))]
async fn rotate_device_key(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<RotateKeyOut>, ApiError> {
    access::device(&app, &caller.user, id, Need::Own).await?;
    let (api_key, key) = device_secrets::fresh(&app.secrets, Kind::Key);
    let command = DeviceCommand::RotateKey { key: key.clone() };
    let receipt = app.change::<Device>(&caller.request, &id.to_string(), command).await?;
    app.devices.forget(id);
    check_shown(receipt.events.first(), &key)?;
    let message = "API Key 已轮换，请妥善保存新的密钥";
    Ok(envelope::ok(&caller.request, RotateKeyOut { api_key, api_key_prefix: key.prefix, message }))
}

/// Carries out a change for whoever may make it, and answers the device after it.
async fn change(
    server: &Server,
    caller: &Caller,
    (id, need): (Uuid, Need),
    command: DeviceCommand,
) -> Result<devices::Model, ApiError> {
    access::device(server, &caller.user, id, need).await?;
    server.change::<Device>(&caller.request, &id.to_string(), command).await?;
    server.devices.forget(id);
    access::device(server, &caller.user, id, need).await
}

fn status(name: &str) -> Result<DeviceStatus, ApiError> {
    name.parse().map_err(|_| ApiError::field("status", "状态必须是 online、offline、maintenance 或 disabled"))
}
