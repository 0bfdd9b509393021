//! The alerts that were raised, and what became of each.

use chrono::{DateTime, Utc};
use domain::devices::alert::{DeviceAlerts, DeviceAlertsEvent};
use domain::devices::alert_type::{AlertLevel, AlertType};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Condition, Index, IndexCreateStatement};
use sea_orm::{Order, QuerySelect, QueryTrait};
use uuid::Uuid;

use super::device_shares;
use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One alert.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "alerts_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    pub device_id: String,
    /// The owner of the device, whose rule it is.
    #[sea_orm(indexed)]
    pub owner_id: String,
    pub rule_id: String,
    pub alert_type: String,
    pub level: String,
    /// As [`AlertStatus`] names it.
    pub status: String,
    /// The worst so far.
    pub value: f64,
    pub threshold: f64,
    pub triggered_at: DateTime<Utc>,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertStatus {
    Active,
    Acknowledged,
    Resolved,
}

impl AlertStatus {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Active, Self::Acknowledged, Self::Resolved];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl Model {
    /// The device, as an id.
    ///
    /// # Errors
    /// When the column holds none.
    pub fn device(&self) -> Result<Uuid, DbErr> {
        self.device_id.parse().map_err(|error| DbErr::Type(format!("{error}")))
    }

    fn with_status(self, status: AlertStatus) -> Self {
        Self { status: status.name().to_owned(), ..self }
    }
}

/// The projection.
pub struct Alerts;

impl Projection for Alerts {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = DeviceAlertsEvent;

    const NAME: &'static str = "alerts";
    const TABLE: &'static str = "alerts_v1";
    const CONSUMES: &'static [&'static str] = &["alert"];

    fn decode(recorded: &Recorded) -> Result<Option<DeviceAlertsEvent>, DecodeError> {
        recorded.decode::<DeviceAlerts>()
    }

    fn keys(event: &DeviceAlertsEvent, _: &Recorded) -> Vec<String> {
        match event {
            DeviceAlertsEvent::ConditionBegan { .. } | DeviceAlertsEvent::ConditionEnded { .. } => vec![],
            DeviceAlertsEvent::Triggered { alert_id, .. }
            | DeviceAlertsEvent::Worsened { alert_id, .. }
            | DeviceAlertsEvent::Acknowledged { alert_id, .. }
            | DeviceAlertsEvent::Resolved { alert_id, .. }
            | DeviceAlertsEvent::Cleared { alert_id, .. } => vec![alert_id.to_string()],
        }
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &DeviceAlertsEvent, recorded: &Recorded) -> Option<Model> {
        match event {
            DeviceAlertsEvent::ConditionBegan { .. } | DeviceAlertsEvent::ConditionEnded { .. } => row,
            DeviceAlertsEvent::Triggered { alert_type, rule_id, owner, level, value, threshold, at, .. } => {
                Some(Model {
                    id: key.clone(),
                    tenant: recorded.tenant.to_string(),
                    device_id: recorded.aggregate_id.to_string(),
                    owner_id: owner.to_string(),
                    rule_id: rule_id.to_string(),
                    alert_type: alert_type.name().to_owned(),
                    level: level.name().to_owned(),
                    status: AlertStatus::Active.name().to_owned(),
                    value: *value,
                    threshold: *threshold,
                    triggered_at: *at,
                    acknowledged_at: None,
                    resolved_at: None,
                    position: recorded.position.cast_signed(),
                })
            }
            DeviceAlertsEvent::Worsened { value, .. } => row.map(|row| Model { value: *value, ..row }),
            DeviceAlertsEvent::Acknowledged { .. } => row.map(|row| {
                let acknowledged_at = Some(recorded.recorded_at);
                Model { acknowledged_at, ..row.with_status(AlertStatus::Acknowledged) }
            }),
            DeviceAlertsEvent::Resolved { .. } => row
                .map(|row| Model { resolved_at: Some(recorded.recorded_at), ..row.with_status(AlertStatus::Resolved) }),
            DeviceAlertsEvent::Cleared { at, .. } => {
                row.map(|row| Model { resolved_at: Some(*at), ..row.with_status(AlertStatus::Resolved) })
            }
        }
    }

    fn indexes() -> Vec<IndexCreateStatement> {
        vec![
            Index::create()
                .name("alerts_v1_by_device")
                .table(Entity)
                .col(Column::DeviceId)
                .col(Column::Status)
                .if_not_exists()
                .to_owned(),
        ]
    }
}

/// What a list of alerts is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    pub device: Option<Uuid>,
    pub level: Option<AlertLevel>,
    pub status: Option<AlertStatus>,
    pub alert_type: Option<AlertType>,
}

impl AlertFilter {
    fn condition(&self) -> Condition {
        Condition::all()
            .add_option(self.device.map(|device| Column::DeviceId.eq(device.to_string())))
            .add_option(self.level.map(|level| Column::Level.eq(level.name())))
            .add_option(self.status.map(|status| Column::Status.eq(status.name())))
            .add_option(self.alert_type.map(|alert_type| Column::AlertType.eq(alert_type.name())))
    }
}

/// The alerts of the devices that `user` owns or that are shared with the user, the newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    (tenant, user): (TenantId, UserId),
    filter: &AlertFilter,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let condition =
        Condition::all().add(Column::Tenant.eq(tenant.to_string())).add(visible_to(user)).add(filter.condition());
    page(db, Entity::find().filter(condition), &[(Column::Position, Order::Desc), (Column::Id, Order::Asc)], paging)
        .await
}

fn visible_to(user: UserId) -> Condition {
    let shared = device_shares::Entity::find()
        .select_only()
        .column(device_shares::Column::DeviceId)
        .filter(device_shares::Column::UserId.eq(user.to_string()));
    Condition::any().add(Column::OwnerId.eq(user.to_string())).add(Column::DeviceId.in_subquery(shared.into_query()))
}

/// One alert of `tenant`.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// How many alerts of a device are neither acknowledged nor resolved.
///
/// # Errors
/// What the database said.
pub async fn count_active(db: &impl ConnectionTrait, device: Uuid) -> Result<u64, DbErr> {
    let filter = AlertFilter { device: Some(device), status: Some(AlertStatus::Active), ..AlertFilter::default() };
    Entity::find().filter(filter.condition()).count(db).await
}
