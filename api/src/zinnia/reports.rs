//! Readings that devices report: one at a time or a thousand, over HTTP, MQTT or a WebSocket.

use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use commands::gateways::readings::{Accepted, Report, StoredReading};
use domain::devices::device::{Device, DeviceCommand, DeviceStatus};
use domain::devices::reading::{BatteryReading, PowerSaving, READINGS_MAX};
use domain::refusal::Refusal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::device_caller::{DeviceCaller, Reporting};
use super::envelope::{self, Envelope};
use crate::app::{App, Server};
use crate::error::ApiError;
use crate::extract::Body;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(report_battery)).routes(routes!(report_battery_batch))
}

/// One reading as a device sends it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct ReportBody {
    /// Percent.
    pub battery_level: u8,
    #[serde(default)]
    pub is_charging: bool,
    /// `off`, `low`, `medium`, `high` or `extreme`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub power_saving_mode: PowerSaving,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    pub voltage: Option<f64>,
    /// The moment of receipt when missing.
    pub recorded_at: Option<DateTime<Utc>>,
}

/// A reading that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatteryData {
    id: String,
    device_id: String,
    /// Percent.
    battery_level: u8,
    is_charging: bool,
    #[schema(value_type = String)]
    power_saving_mode: PowerSaving,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voltage: Option<f64>,
    recorded_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

impl From<StoredReading> for BatteryData {
    fn from(stored: StoredReading) -> Self {
        let reading = stored.reading;
        Self {
            id: reading.id().to_string(),
            device_id: reading.device.to_string(),
            battery_level: reading.level,
            is_charging: reading.is_charging,
            power_saving_mode: reading.power_saving,
            temperature: reading.temperature,
            voltage: reading.voltage,
            recorded_at: reading.recorded_at,
            created_at: stored.received_at,
        }
    }
}

/// Takes in what a device reports, all of it or nothing. When this answers, the readings are durable; if the device was
/// offline, it has come online.
///
/// # Errors
/// The first reading that cannot be true, or that the readings are unavailable.
pub async fn accept(server: &Server, caller: &DeviceCaller, bodies: Vec<ReportBody>) -> Result<Accepted, ApiError> {
    if bodies.is_empty() || bodies.len() > READINGS_MAX {
        return Err(ApiError::field("data", format!("数据条数必须在1到{READINGS_MAX}之间")));
    }
    let now = server.clock().now();
    let oldest = now - server.config.battery.keep();
    let several = bodies.len() > 1;
    let checked = bodies.into_iter().enumerate().map(|(place, body)| {
        let reading = reading_of(caller, &body, now).checked(oldest, now);
        let reading = reading.map_err(|refusal| {
            let error = ApiError::new(refusal.kind().into(), refusal.code(), refusal.to_string());
            if several { error.with("place", place + 1) } else { error }
        })?;
        Ok(Report { reading, received_at: now })
    });
    let reports = checked.collect::<Result<Vec<_>, ApiError>>()?;
    let accepted = server.readings.append(reports).await?;
    if caller.device.status == DeviceStatus::Offline {
        come_online(server, caller, now).await;
    }
    Ok(accepted)
}

/// The readings are kept already: a device that cannot be called online now will be by its next report.
async fn come_online(server: &Server, caller: &DeviceCaller, now: DateTime<Utc>) {
    let id = caller.device.id;
    let heard = server.execute::<Device>(&caller.request, &id.to_string(), DeviceCommand::Hear { seen_at: now }).await;
    server.devices.forget(id);
    if let Err(error) = heard {
        tracing::warn!(device = %id, error = %error.message, "a device that reports could not be called online");
    }
}

fn reading_of(caller: &DeviceCaller, body: &ReportBody, now: DateTime<Utc>) -> BatteryReading {
    BatteryReading {
        device: caller.device.id,
        recorded_at: body.recorded_at.unwrap_or(now),
        level: body.battery_level,
        is_charging: body.is_charging,
        power_saving: body.power_saving_mode,
        temperature: body.temperature,
        voltage: body.voltage,
    }
}

/// Takes in one reading, and answers the one that is kept for its time.
///
/// # Errors
/// As [`accept`].
pub async fn accept_one(server: &Server, caller: &DeviceCaller, body: ReportBody) -> Result<StoredReading, ApiError> {
    let kept = accept(server, caller, vec![body]).await?.kept;
    kept.into_iter().next().ok_or_else(|| ApiError::internal(&"a report without an outcome"))
}

#[utoipa::path(post, path = "/api/v1/battery/report", operation_id = "report_battery", request_body = ReportBody,
    responses((status = 200, body = Envelope<BatteryData>)))]
async fn report_battery(
    State(app): State<App>,
    Reporting(caller): Reporting,
    Body(body): Body<ReportBody>,
) -> Result<Envelope<BatteryData>, ApiError> {
    let kept = accept_one(&app, &caller, body).await?;
    Ok(envelope::ok(&caller.request, kept.into()))
}

#[derive(Deserialize, ToSchema)]
struct BatchBody {
    /// 1 to 1,000 readings.
    data: Vec<ReportBody>,
}

/// What came of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchOut {
    inserted_count: usize,
    /// Readings that were kept already.
    duplicate_count: usize,
}

impl From<&Accepted> for BatchOut {
    fn from(accepted: &Accepted) -> Self {
        Self { inserted_count: accepted.new, duplicate_count: accepted.kept.len() - accepted.new }
    }
}

#[utoipa::path(post, path = "/api/v1/battery/batch-report", operation_id = "report_battery_batch",
    request_body = BatchBody, responses((status = 200, body = Envelope<BatchOut>)))]
async fn report_battery_batch(
    State(app): State<App>,
    Reporting(caller): Reporting,
    Body(body): Body<BatchBody>,
) -> Result<Envelope<BatchOut>, ApiError> {
    let accepted = accept(&app, &caller, body.data).await?;
    Ok(envelope::ok(&caller.request, BatchOut::from(&accepted)))
}

/// For how long after a reading its device counts as charging when nothing else is heard of it.
pub(super) fn gap_max(report_interval_seconds: u32) -> TimeDelta {
    TimeDelta::seconds(2 * i64::from(report_interval_seconds))
}
