//! Alerts: what was raised about the devices that a user owns or that are shared with the user, and what is done about it.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::devices::alert::{DeviceAlerts, DeviceAlertsCommand};
use domain::devices::alert_type::AlertType;
use projections::devices::alerts::{self, AlertFilter, AlertStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::access::{self, Need};
use super::alert_rules::{alert_type, level};
use super::alert_words;
use super::envelope::{self, Envelope, Items};
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Body, Path, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_alert_events))
        .routes(routes!(acknowledge_alert))
        .routes(routes!(resolve_alert))
        .routes(routes!(update_alert_status))
        .routes(routes!(count_active_alerts))
}

/// An alert.
#[derive(Serialize, ToSchema)]
pub(super) struct AlertOut {
    id: String,
    device_id: String,
    rule_id: String,
    alert_type: String,
    level: String,
    /// `active`, `acknowledged` or `resolved`.
    status: String,
    message: String,
    /// The worst so far: percent, degrees Celsius, minutes of silence, or points lost within an hour.
    value: f64,
    threshold: f64,
    triggered_at: DateTime<Utc>,
    acknowledged_at: Option<DateTime<Utc>>,
    resolved_at: Option<DateTime<Utc>>,
}

impl AlertOut {
    pub(super) fn device_id(&self) -> &str {
        &self.device_id
    }

    /// # Errors
    /// When the row holds a type that there is not.
    pub(super) fn of(row: alerts::Model) -> Result<Self, ApiError> {
        let kind: AlertType = row.alert_type.parse().map_err(|error| ApiError::internal(&error))?;
        Ok(Self {
            message: alert_words::sentence(kind, row.value),
            id: row.id,
            device_id: row.device_id,
            rule_id: row.rule_id,
            alert_type: row.alert_type,
            level: row.level,
            status: row.status,
            value: row.value,
            threshold: row.threshold,
            triggered_at: row.triggered_at,
            acknowledged_at: row.acknowledged_at,
            resolved_at: row.resolved_at,
        })
    }
}

#[derive(Deserialize)]
struct AlertsQuery {
    device_id: Option<Uuid>,
    level: Option<String>,
    status: Option<String>,
    alert_type: Option<String>,
    page: Option<u64>,
    page_size: Option<u64>,
}

#[utoipa::path(get, path = "/api/v1/alerts/events", operation_id = "list_alert_events",
    params(("device_id" = Option<Uuid>, Query), ("level" = Option<String>, Query), ("status" = Option<String>, Query),
        ("alert_type" = Option<String>, Query), ("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query),
        ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Items<AlertOut>>)))]
async fn list_alert_events(
    lists: Lists,
    caller: Caller,
    Query(query): Query<AlertsQuery>,
) -> Result<Envelope<Items<AlertOut>>, ApiError> {
    let filter = AlertFilter {
        device: query.device_id,
        level: query.level.as_deref().map(level).transpose()?,
        status: query.status.as_deref().map(status).transpose()?,
        alert_type: query.alert_type.as_deref().map(alert_type).transpose()?,
    };
    let db = lists.of(&["alerts", "device_shares"]).await?;
    let paging = envelope::paging(query.page, query.page_size);
    let page = alerts::list(&db, (caller.user.tenant, caller.user.id), &filter, paging).await?;
    Ok(envelope::ok(&caller.request, envelope::items(page, AlertOut::of)?))
}

#[utoipa::path(post, path = "/api/v1/alerts/events/{id}/acknowledge", operation_id = "acknowledge_alert",
    params(("id" = Uuid, Path)), responses((status = 200, body = Envelope<AlertOut>)))]
async fn acknowledge_alert(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<AlertOut>, ApiError> {
    set_status(&app, &caller, id, AlertStatus::Acknowledged).await
}

#[utoipa::path(post, path = "/api/v1/alerts/events/{id}/resolve", operation_id = "resolve_alert",
    params(("id" = Uuid, Path)), responses((status = 200, body = Envelope<AlertOut>)))]
async fn resolve_alert(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<AlertOut>, ApiError> {
    set_status(&app, &caller, id, AlertStatus::Resolved).await
}

#[derive(Deserialize, ToSchema)]
struct StatusBody {
    /// `active`, `acknowledged` or `resolved`.
    status: String,
}

#[utoipa::path(put, path = "/api/v1/alerts/events/{id}/status", operation_id = "update_alert_status",
    params(("id" = Uuid, Path)), request_body = StatusBody, responses((status = 200, body = Envelope<AlertOut>)))]
async fn update_alert_status(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(body): Body<StatusBody>,
) -> Result<Envelope<AlertOut>, ApiError> {
    set_status(&app, &caller, id, status(&body.status)?).await
}

/// How many alerts of a device wait for somebody.
#[derive(Serialize, ToSchema)]
struct CountOut {
    device_id: Uuid,
    active_count: u64,
    /// The same, as older clients read it.
    active_alerts: u64,
}

#[utoipa::path(get, path = "/api/v1/alerts/devices/{device_id}/count", operation_id = "count_active_alerts",
    params(("device_id" = Uuid, Path)), responses((status = 200, body = Envelope<CountOut>)))]
async fn count_active_alerts(
    State(app): State<App>,
    caller: Caller,
    Path(device_id): Path<Uuid>,
) -> Result<Envelope<CountOut>, ApiError> {
    access::device(&app, &caller.user, device_id, Need::Read).await?;
    let count = alerts::count_active(app.models.read().await, device_id).await?;
    Ok(envelope::ok(&caller.request, CountOut { device_id, active_count: count, active_alerts: count }))
}

/// Changes what becomes of an alert, for whoever may write to its device.
async fn set_status(
    server: &Server,
    caller: &Caller,
    alert_id: Uuid,
    status: AlertStatus,
) -> Result<Envelope<AlertOut>, ApiError> {
    let device_id = find(server, caller, alert_id).await?.device()?;
    access::device(server, &caller.user, device_id, Need::Write).await?;
    let by = caller.user.id;
    let command = match status {
        AlertStatus::Active => DeviceAlertsCommand::Reopen { alert_id },
        AlertStatus::Acknowledged => DeviceAlertsCommand::Acknowledge { alert_id, by },
        AlertStatus::Resolved => DeviceAlertsCommand::Resolve { alert_id, by },
    };
    server.execute::<DeviceAlerts>(&caller.request, &device_id.to_string(), command).await?;
    let row = find(server, caller, alert_id).await?;
    Ok(envelope::ok(&caller.request, AlertOut::of(row)?))
}

async fn find(server: &Server, caller: &Caller, id: Uuid) -> Result<alerts::Model, ApiError> {
    alerts::find(server.models.read().await, caller.user.tenant, id).await?.ok_or_else(ApiError::not_found)
}

fn status(word: &str) -> Result<AlertStatus, ApiError> {
    let found = AlertStatus::ALL.into_iter().find(|status| status.name() == word);
    found.ok_or_else(|| ApiError::field("status", "必须是 active、acknowledged、resolved 之一"))
}
