//! The alert rules of each user.

use chrono::{DateTime, Utc};
use domain::devices::alert_rule::{AlertRule, AlertRules as Rules, AlertRulesEvent};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use uuid::Uuid;

use crate::projection::Projection;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_rules_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    pub name: String,
    pub alert_type: String,
    pub level: String,
    pub cooldown_minutes: i32,
    pub duration_minutes: i32,
    pub enabled: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct AlertRules;

impl Projection for AlertRules {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = AlertRulesEvent;

    const NAME: &'static str = "alert_rules";
    const TABLE: &'static str = "alert_rules_v1";
    const CONSUMES: &'static [&'static str] = &["alert_rule"];

    fn decode(recorded: &Recorded) -> Result<Option<AlertRulesEvent>, DecodeError> {
        recorded.decode::<Rules>()
    }

    fn keys(event: &AlertRulesEvent, _: &Recorded) -> Vec<String> {
        match event {
            AlertRulesEvent::Created(rule) | AlertRulesEvent::Changed(rule) => vec![rule.rule_id.to_string()],
            AlertRulesEvent::Deleted { rule_id } => vec![rule_id.to_string()],
        }
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &AlertRulesEvent, recorded: &Recorded) -> Option<Model> {
        match event {
            AlertRulesEvent::Created(rule) => Some(created(key, rule, recorded)),
            AlertRulesEvent::Changed(rule) => row.map(|row| Model {
                created_at: row.created_at,
                position: row.position,
                ..created(key, rule, recorded)
            }),
            AlertRulesEvent::Deleted { .. } => None,
        }
    }
}

fn created(key: &str, rule: &AlertRule, recorded: &Recorded) -> Model {
    Model {
        id: key.to_owned(),
        tenant: recorded.tenant.to_string(),
        user_id: recorded.aggregate_id.to_string(),
        name: rule.name.clone(),
        alert_type: rule.alert_type.name().to_owned(),
        level: rule.level.name().to_owned(),
        cooldown_minutes: rule.cooldown_minutes.cast_signed(),
        duration_minutes: rule.duration_minutes.cast_signed(),
        enabled: rule.enabled,
        created_at: recorded.recorded_at,
        updated_at: recorded.recorded_at,
        position: recorded.position.cast_signed(),
    }
}

/// The rules of a user in the order of their creation; the enabled ones, or all.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    (tenant, user): (TenantId, UserId),
    with_disabled: bool,
) -> Result<Vec<Model>, DbErr> {
    let mut of_user =
        Entity::find().filter(Column::Tenant.eq(tenant.to_string())).filter(Column::UserId.eq(user.to_string()));
    if !with_disabled {
        of_user = of_user.filter(Column::Enabled.eq(true));
    }
    of_user.order_by_asc(Column::Position).order_by_asc(Column::Id).all(db).await
}

/// One rule of a user.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, user: UserId, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).filter(Column::UserId.eq(user.to_string())).one(db).await
}
