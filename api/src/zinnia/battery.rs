//! The readings of a device, for whoever may look at it.

use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use commands::gateways::readings::{Bucket, BucketWidth, Stretch, Summary};
use domain::devices::drain;
use domain::devices::reading::{BatteryReading, PowerSaving};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::access::{self, Need};
use super::envelope::{self, Envelope};
use super::reports::{BatteryData, gap_max};
use crate::app::{App, Server};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Path, Query};

/// Longest stretch of time of one question.
const STRETCH_MAX: TimeDelta = TimeDelta::days(30);
/// How far the clocks of clients may run ahead.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);
const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
const OFFSET_MAX: u32 = 10_000_000;
/// Readings that the drain is computed from at most: twice as many as a device that reports most often has in an hour.
const RECENT_MAX: u32 = 720;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_latest_battery))
        .routes(routes!(get_battery_history))
        .routes(routes!(get_aggregated_battery))
        .routes(routes!(get_battery_stats))
}

#[derive(Serialize, ToSchema)]
struct LatestOut {
    device_id: String,
    /// Percent.
    battery_level: u8,
    is_charging: bool,
    #[schema(value_type = String)]
    power_saving_mode: PowerSaving,
    recorded_at: DateTime<Utc>,
    is_low_battery: bool,
    is_critical: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voltage: Option<f64>,
    /// Points of charge an hour, over the last hour without charging; null while that is not known.
    drain_rate_per_hour: Option<f64>,
    /// Null while it does not drain.
    minutes_to_empty: Option<f64>,
}

#[utoipa::path(get, path = "/api/v1/battery/latest/{device_id}", operation_id = "get_latest_battery",
    params(("device_id" = Uuid, Path)), responses((status = 200, body = Envelope<LatestOut>)))]
async fn get_latest_battery(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<LatestOut>, ApiError> {
    let device = access::known_device(&app, &caller.user, id, Need::Read).await?;
    let recent = app.readings.recent(id, drain::WINDOW, RECENT_MAX).await?;
    let recent: Vec<BatteryReading> = recent.into_iter().map(|kept| kept.reading).collect();
    let latest = recent.first().ok_or_else(ApiError::not_found)?;
    let drain = drain::drain(&recent);
    let settings = &device.settings;
    let out = LatestOut {
        device_id: id.to_string(),
        battery_level: latest.level,
        is_charging: latest.is_charging,
        power_saving_mode: latest.power_saving,
        recorded_at: latest.recorded_at,
        is_low_battery: latest.level < settings.low_battery_threshold,
        is_critical: latest.level < settings.critical_battery_threshold,
        temperature: latest.temperature,
        voltage: latest.voltage,
        drain_rate_per_hour: drain.map(|drain| tenths(drain.per_hour)),
        minutes_to_empty: drain.and_then(|drain| drain.minutes_to_empty).map(f64::round),
    };
    Ok(envelope::ok(&caller.request, out))
}

#[derive(Deserialize)]
struct HistoryQuery {
    start_time: DateTime<Utc>,
    end_time: DateTime<Utc>,
    limit: Option<u32>,
    offset: Option<u32>,
}

#[utoipa::path(get, path = "/api/v1/battery/history/{device_id}", operation_id = "get_battery_history",
    params(("device_id" = Uuid, Path), ("start_time" = DateTime<Utc>, Query), ("end_time" = DateTime<Utc>, Query),
        ("limit" = Option<u32>, Query), ("offset" = Option<u32>, Query)),
    responses((status = 200, body = Envelope<Vec<BatteryData>>)))]
async fn get_battery_history(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<HistoryQuery>,
) -> Result<Envelope<Vec<BatteryData>>, ApiError> {
    access::known_device(&app, &caller.user, id, Need::Read).await?;
    let stretch = stretch(&app, id, (query.start_time, query.end_time))?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::field("limit", format!("必须在1到{LIMIT_MAX}之间")));
    }
    let offset = query.offset.unwrap_or(0);
    if offset > OFFSET_MAX {
        return Err(ApiError::field("offset", format!("不能超过{OFFSET_MAX}")));
    }
    let history = app.readings.history(stretch, limit, offset).await?;
    Ok(envelope::ok(&caller.request, history.into_iter().map(BatteryData::from).collect()))
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Interval {
    Minute,
    Hour,
    Day,
}

#[derive(Deserialize)]
struct AggregatedQuery {
    start_time: DateTime<Utc>,
    end_time: DateTime<Utc>,
    interval: Option<Interval>,
}

#[derive(Serialize, ToSchema)]
struct BucketOut {
    /// When it begins.
    bucket: DateTime<Utc>,
    avg_level: f64,
    min_level: u8,
    max_level: u8,
    count: u64,
}

impl From<Bucket> for BucketOut {
    fn from(bucket: Bucket) -> Self {
        let levels = bucket.levels;
        Self {
            bucket: bucket.start,
            avg_level: hundredths(levels.mean()),
            min_level: levels.min,
            max_level: levels.max,
            count: levels.readings,
        }
    }
}

#[utoipa::path(get, path = "/api/v1/battery/aggregated/{device_id}", operation_id = "get_aggregated_battery",
    params(("device_id" = Uuid, Path), ("start_time" = DateTime<Utc>, Query), ("end_time" = DateTime<Utc>, Query),
        ("interval" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Vec<BucketOut>>)))]
async fn get_aggregated_battery(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<AggregatedQuery>,
) -> Result<Envelope<Vec<BucketOut>>, ApiError> {
    access::known_device(&app, &caller.user, id, Need::Read).await?;
    let stretch = stretch(&app, id, (query.start_time, query.end_time))?;
    let width = match query.interval.unwrap_or(Interval::Hour) {
        Interval::Minute => BucketWidth::Minute,
        Interval::Hour => BucketWidth::Hour,
        Interval::Day => BucketWidth::Day,
    };
    let buckets = app.readings.aggregated(stretch, width).await?;
    Ok(envelope::ok(&caller.request, buckets.into_iter().map(BucketOut::from).collect()))
}

#[derive(Deserialize)]
struct StatsQuery {
    start_time: DateTime<Utc>,
    end_time: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
struct StatsOut {
    device_id: String,
    period_start: DateTime<Utc>,
    period_end: DateTime<Utc>,
    avg_battery_level: f64,
    min_battery_level: u8,
    max_battery_level: u8,
    total_records: u64,
    /// Each reading that says so counts until the next one, but for two intervals of report at most.
    charging_duration_minutes: f64,
    /// Readings below 20 percent.
    low_battery_count: u64,
}

#[utoipa::path(get, path = "/api/v1/battery/stats/{device_id}", operation_id = "get_battery_stats",
    params(("device_id" = Uuid, Path), ("start_time" = DateTime<Utc>, Query), ("end_time" = DateTime<Utc>, Query)),
    responses((status = 200, body = Envelope<StatsOut>)))]
async fn get_battery_stats(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<StatsQuery>,
) -> Result<Envelope<StatsOut>, ApiError> {
    let device = access::known_device(&app, &caller.user, id, Need::Read).await?;
    let stretch = stretch(&app, id, (query.start_time, query.end_time))?;
    let gap_max = gap_max(device.settings.report_interval_seconds);
    let summary = app.readings.summary(stretch, gap_max).await?;
    Ok(envelope::ok(&caller.request, stats(id, &query, summary)))
}

fn stats(id: Uuid, query: &StatsQuery, summary: Option<Summary>) -> StatsOut {
    let empty = StatsOut {
        device_id: id.to_string(),
        period_start: query.start_time,
        period_end: query.end_time,
        avg_battery_level: 0.0,
        min_battery_level: 0,
        max_battery_level: 100,
        total_records: 0,
        charging_duration_minutes: 0.0,
        low_battery_count: 0,
    };
    let Some(summary) = summary else { return empty };
    StatsOut {
        avg_battery_level: hundredths(summary.levels.mean()),
        min_battery_level: summary.levels.min,
        max_battery_level: summary.levels.max,
        total_records: summary.levels.readings,
        charging_duration_minutes: tenths(summary.charging.as_seconds_f64() / 60.0),
        low_battery_count: summary.low,
        ..empty
    }
}

/// The time from `start` up to and including `end`, if it may be asked for.
fn stretch(server: &Server, device: Uuid, (start, end): (DateTime<Utc>, DateTime<Utc>)) -> Result<Stretch, ApiError> {
    if start >= end {
        return Err(ApiError::field("start_time", "开始时间必须早于结束时间"));
    }
    if end - start > STRETCH_MAX {
        return Err(ApiError::field("end_time", "查询时间范围不能超过30天"));
    }
    if end > server.clock().now() + CLOCK_SKEW {
        return Err(ApiError::field("end_time", "结束时间不能晚于当前时间"));
    }
    if start < DateTime::UNIX_EPOCH {
        return Err(ApiError::field("start_time", "开始时间过早"));
    }
    Ok(Stretch { device, from: start, until: end + TimeDelta::microseconds(1) })
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
