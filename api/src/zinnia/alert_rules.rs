//! Alert rules: what a user wants to be told of. They count for the devices that the user owns; whoever a device is
//! shared with sees its alerts, but adds none.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::devices::alert_rule::{AlertRule, AlertRules, AlertRulesCommand, COOLDOWN_MINUTES, RuleChange};
use domain::devices::alert_type::{AlertLevel, AlertType};
use projections::devices::alert_rules as rules;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::envelope::{self, Envelope};
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Body, Path, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_alert_rule, list_alert_rules))
        .routes(routes!(update_alert_rule, delete_alert_rule))
}

/// A rule.
#[derive(Serialize, ToSchema)]
struct RuleOut {
    id: String,
    user_id: String,
    name: String,
    /// `low_battery`, `critical_battery`, `high_temperature`, `device_offline` or `rapid_drain`.
    alert_type: String,
    /// `info`, `warning` or `critical`.
    level: String,
    cooldown_minutes: i32,
    /// How long it must have been so before there is an alert.
    duration_minutes: i32,
    enabled: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<rules::Model> for RuleOut {
    fn from(row: rules::Model) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            name: row.name,
            alert_type: row.alert_type,
            level: row.level,
            cooldown_minutes: row.cooldown_minutes,
            duration_minutes: row.duration_minutes,
            enabled: row.enabled,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CreateRuleBody {
    name: String,
    alert_type: String,
    level: String,
    /// 30 when absent.
    cooldown_minutes: Option<u32>,
    /// 0 when absent.
    duration_minutes: Option<u32>,
    /// True when absent.
    enabled: Option<bool>,
}

#[utoipa::path(post, path = "/api/v1/alerts/rules", operation_id = "create_alert_rule", request_body = CreateRuleBody,
    responses((status = 201, body = Envelope<RuleOut>)))]
async fn create_alert_rule(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<CreateRuleBody>,
) -> Result<(StatusCode, Envelope<RuleOut>), ApiError> {
    let rule_id = caller.request.id_for("alert_rule");
    let command = AlertRulesCommand::Create(AlertRule {
        rule_id,
        name: body.name,
        alert_type: alert_type(&body.alert_type)?,
        level: level(&body.level)?,
        cooldown_minutes: body.cooldown_minutes.unwrap_or(COOLDOWN_MINUTES),
        duration_minutes: body.duration_minutes.unwrap_or(0),
        enabled: body.enabled.unwrap_or(true),
    });
    let rule = carry_out(&app, &caller, rule_id, command).await?;
    Ok(envelope::created(&caller.request, rule))
}

#[derive(Deserialize)]
struct RulesQuery {
    /// Disabled rules are listed on request only.
    include_disabled: Option<bool>,
}

#[utoipa::path(get, path = "/api/v1/alerts/rules", operation_id = "list_alert_rules",
    params(("include_disabled" = Option<bool>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Vec<RuleOut>>)))]
async fn list_alert_rules(
    lists: Lists,
    caller: Caller,
    Query(query): Query<RulesQuery>,
) -> Result<Envelope<Vec<RuleOut>>, ApiError> {
    let db = lists.of(&["alert_rules"]).await?;
    let with_disabled = query.include_disabled.unwrap_or(false);
    let rows = rules::list(&db, (caller.user.tenant, caller.user.id), with_disabled).await?;
    Ok(envelope::ok(&caller.request, rows.into_iter().map(RuleOut::from).collect()))
}

#[derive(Deserialize, ToSchema)]
struct UpdateRuleBody {
    name: Option<String>,
    alert_type: Option<String>,
    level: Option<String>,
    cooldown_minutes: Option<u32>,
    duration_minutes: Option<u32>,
    enabled: Option<bool>,
}

#[utoipa::path(put, path = "/api/v1/alerts/rules/{id}", operation_id = "update_alert_rule",
    params(("id" = Uuid, Path)), request_body = UpdateRuleBody, responses((status = 200, body = Envelope<RuleOut>)))]
async fn update_alert_rule(
    State(app): State<App>,
    caller: Caller,
    Path(rule_id): Path<Uuid>,
    Body(body): Body<UpdateRuleBody>,
) -> Result<Envelope<RuleOut>, ApiError> {
    let change = RuleChange {
        name: body.name,
        alert_type: body.alert_type.as_deref().map(alert_type).transpose()?,
        level: body.level.as_deref().map(level).transpose()?,
        cooldown_minutes: body.cooldown_minutes,
        duration_minutes: body.duration_minutes,
        enabled: body.enabled,
    };
    let rule = carry_out(&app, &caller, rule_id, AlertRulesCommand::Change { rule_id, change }).await?;
    Ok(envelope::ok(&caller.request, rule))
}

#[utoipa::path(delete, path = "/api/v1/alerts/rules/{id}", operation_id = "delete_alert_rule",
    params(("id" = Uuid, Path)), responses((status = 204)))]
async fn delete_alert_rule(
    State(app): State<App>,
    caller: Caller,
    Path(rule_id): Path<Uuid>,
) -> Result<StatusCode, ApiError> {
    let (id, delete) = (caller.user.id.to_string(), AlertRulesCommand::Delete { rule_id });
    app.change::<AlertRules>(&caller.request, &id, delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Carries out a change of the caller's rules, and answers the rule after it.
async fn carry_out(
    server: &Server,
    caller: &Caller,
    rule_id: Uuid,
    command: AlertRulesCommand,
) -> Result<RuleOut, ApiError> {
    server.change::<AlertRules>(&caller.request, &caller.user.id.to_string(), command).await?;
    let row = rules::find(server.models.read().await, caller.user.id, rule_id).await?;
    Ok(row.ok_or_else(ApiError::not_found)?.into())
}

/// The type of alert that a word names.
pub(super) fn alert_type(word: &str) -> Result<AlertType, ApiError> {
    word.parse().map_err(|_| {
        ApiError::field("alert_type", format!("必须是 {} 之一", AlertType::ALL.map(AlertType::name).join("、")))
    })
}

/// The level that a word names.
pub(super) fn level(word: &str) -> Result<AlertLevel, ApiError> {
    word.parse().map_err(|_| {
        ApiError::field("level", format!("必须是 {} 之一", AlertLevel::ALL.map(AlertLevel::name).join("、")))
    })
}
