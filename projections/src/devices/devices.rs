//! The devices, and by which key each reports. The keys themselves are nowhere; rows show their first characters.

use chrono::{DateTime, Utc};
use domain::devices::device::{Device, DeviceEvent, DeviceStatus, Settings};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Condition;
use sea_orm::{Order, QuerySelect, QueryTrait};
use serde_json::Value as Json;
use uuid::Uuid;

use super::device_shares;
use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One device.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "devices_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub owner_id: String,
    pub name: String,
    pub device_type: String,
    /// As [`DeviceStatus`] names it.
    #[sea_orm(indexed)]
    pub status: String,
    /// A JSON object.
    pub metadata: String,
    /// The keyed hash by which a key is recognised.
    #[sea_orm(indexed)]
    pub key_hash: String,
    pub key_prefix: String,
    /// Position of the event that ended all sessions before it.
    pub sessions_since: i64,
    pub low_battery_threshold: i16,
    pub critical_battery_threshold: i16,
    pub report_interval_seconds: i32,
    pub high_temperature_threshold: f64,
    pub rapid_drain_threshold: i16,
    pub offline_after_seconds: Option<i32>,
    pub configured_at: Option<DateTime<Utc>>,
    /// When it was last known to report as of its last event; readings know better.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// When the status last changed.
    pub status_since: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Position of the event that made the row: a stable order.
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The id.
    ///
    /// # Errors
    /// When the column does not hold one.
    pub fn device_id(&self) -> Result<Uuid, DbErr> {
        parsed(&self.id)
    }

    /// Whose device it is.
    ///
    /// # Errors
    /// When the column does not hold a user's id.
    pub fn owner(&self) -> Result<UserId, DbErr> {
        parsed(&self.owner_id).map(UserId)
    }

    /// Of which tenant.
    ///
    /// # Errors
    /// When the column does not hold a tenant's id.
    pub fn tenant_id(&self) -> Result<TenantId, DbErr> {
        parsed(&self.tenant).map(TenantId)
    }

    /// What it is doing.
    ///
    /// # Errors
    /// When the column does not hold a status.
    pub fn device_status(&self) -> Result<DeviceStatus, DbErr> {
        self.status.parse().map_err(|error| DbErr::Type(format!("{error}")))
    }

    /// What it is judged by.
    pub fn settings(&self) -> Settings {
        Settings {
            low_battery_threshold: u8::try_from(self.low_battery_threshold).unwrap_or_default(),
            critical_battery_threshold: u8::try_from(self.critical_battery_threshold).unwrap_or_default(),
            report_interval_seconds: self.report_interval_seconds.unsigned_abs(),
            high_temperature_threshold: self.high_temperature_threshold,
            rapid_drain_threshold: u8::try_from(self.rapid_drain_threshold).unwrap_or_default(),
            offline_after_seconds: self.offline_after_seconds.map(i32::unsigned_abs),
        }
    }

    fn with_settings(self, settings: &Settings) -> Self {
        Self {
            low_battery_threshold: settings.low_battery_threshold.into(),
            critical_battery_threshold: settings.critical_battery_threshold.into(),
            report_interval_seconds: settings.report_interval_seconds.cast_signed(),
            high_temperature_threshold: settings.high_temperature_threshold,
            rapid_drain_threshold: settings.rapid_drain_threshold.into(),
            offline_after_seconds: settings.offline_after_seconds.map(u32::cast_signed),
            ..self
        }
    }
}

fn parsed(text: &str) -> Result<Uuid, DbErr> {
    text.parse().map_err(|error| DbErr::Type(format!("{text} is no id: {error}")))
}

/// The projection.
pub struct Devices;

impl Projection for Devices {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = DeviceEvent;

    const NAME: &'static str = "devices";
    const TABLE: &'static str = "devices_v1";
    const CONSUMES: &'static [&'static str] = &["device"];

    fn decode(recorded: &Recorded) -> Result<Option<DeviceEvent>, DecodeError> {
        recorded.decode::<Device>()
    }

    fn keys(_: &DeviceEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &DeviceEvent, recorded: &Recorded) -> Option<Model> {
        let at = recorded.recorded_at;
        match event {
            DeviceEvent::Registered { owner_id, name, device_type, metadata, key_hash, key_prefix, .. } => {
                let texts = [key, name, device_type, key_hash, key_prefix];
                Some(registered(*owner_id, texts, Json::from(metadata.clone()).to_string(), recorded))
            }
            DeviceEvent::Changed { name, status, metadata } => row.map(|row| {
                let row = status.map_or_else(|| row.clone(), |status| with_status(row.clone(), status, at));
                Model {
                    name: name.clone().unwrap_or(row.name),
                    metadata: metadata.as_ref().map_or(row.metadata, |map| Json::from(map.clone()).to_string()),
                    updated_at: at,
                    ..row
                }
            }),
            DeviceEvent::Configured { settings } => {
                row.map(|row| Model { configured_at: Some(at), ..row.with_settings(settings) })
            }
            DeviceEvent::KeyRotated { key_hash, key_prefix } => row.map(|row| Model {
                key_hash: key_hash.clone(),
                key_prefix: key_prefix.clone(),
                sessions_since: recorded.position.cast_signed(),
                updated_at: at,
                ..row
            }),
            DeviceEvent::SessionsRevoked => {
                row.map(|row| Model { sessions_since: recorded.position.cast_signed(), ..row })
            }
            DeviceEvent::CameOnline { seen_at } => row.map(|row| Model {
                last_seen_at: row.last_seen_at.max(Some(*seen_at)),
                ..with_status(row, DeviceStatus::Online, at)
            }),
            DeviceEvent::WentOffline { last_seen_at } => row.map(|row| Model {
                last_seen_at: row.last_seen_at.max(*last_seen_at),
                ..with_status(row, DeviceStatus::Offline, at)
            }),
            DeviceEvent::TokenIssued { .. }
            | DeviceEvent::TokensRevoked { .. }
            | DeviceEvent::Shared { .. }
            | DeviceEvent::Unshared { .. } => row,
            DeviceEvent::Deleted { .. } => None,
        }
    }
}

fn registered(
    owner: UserId,
    [id, name, device_type, key_hash, key_prefix]: [&String; 5],
    metadata: String,
    recorded: &Recorded,
) -> Model {
    let row = Model {
        id: id.clone(),
        tenant: recorded.tenant.to_string(),
        owner_id: owner.to_string(),
        name: name.clone(),
        device_type: device_type.clone(),
        status: DeviceStatus::Offline.name().to_owned(),
        metadata,
        key_hash: key_hash.clone(),
        key_prefix: key_prefix.clone(),
        sessions_since: recorded.position.cast_signed(),
        low_battery_threshold: 0,
        critical_battery_threshold: 0,
        report_interval_seconds: 0,
        high_temperature_threshold: 0.0,
        rapid_drain_threshold: 0,
        offline_after_seconds: None,
        configured_at: None,
        last_seen_at: None,
        status_since: recorded.recorded_at,
        created_at: recorded.recorded_at,
        updated_at: recorded.recorded_at,
        position: recorded.position.cast_signed(),
    };
    row.with_settings(&Settings::default())
}

fn with_status(row: Model, status: DeviceStatus, since: DateTime<Utc>) -> Model {
    Model { status: status.name().to_owned(), status_since: since, ..row }
}

/// What a list of devices is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct DeviceFilter {
    pub status: Option<DeviceStatus>,
    pub device_type: Option<String>,
}

/// The devices that `user` owns or that are shared with the user, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    (tenant, user): (TenantId, UserId),
    filter: &DeviceFilter,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let mut condition = Condition::all().add(Column::Tenant.eq(tenant.to_string())).add(visible_to(user));
    if let Some(status) = filter.status {
        condition = condition.add(Column::Status.eq(status.name()));
    }
    if let Some(device_type) = &filter.device_type {
        condition = condition.add(Column::DeviceType.eq(device_type.as_str()));
    }
    page(db, Entity::find().filter(condition), &[(Column::Position, Order::Desc)], paging).await
}

/// Owned by or shared with `user`.
fn visible_to(user: UserId) -> Condition {
    let shared = device_shares::Entity::find()
        .select_only()
        .column(device_shares::Column::DeviceId)
        .filter(device_shares::Column::UserId.eq(user.to_string()));
    Condition::any().add(Column::OwnerId.eq(user.to_string())).add(Column::Id.in_subquery(shared.into_query()))
}

/// The ids of every device that `user` of `tenant` owns.
///
/// # Errors
/// What the database said.
pub async fn owned_by(db: &impl ConnectionTrait, tenant: TenantId, user: UserId) -> Result<Vec<String>, DbErr> {
    Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Tenant.eq(tenant.to_string()))
        .filter(Column::OwnerId.eq(user.to_string()))
        .into_tuple()
        .all(db)
        .await
}

/// A device of `tenant`.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// A device of whatever tenant: what a token of a device is checked against.
///
/// # Errors
/// What the database said.
pub async fn find_anywhere(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).one(db).await
}

/// The device, of whatever tenant, whose key has this hash.
///
/// # Errors
/// What the database said.
pub async fn find_by_key(db: &impl ConnectionTrait, key_hash: &str) -> Result<Option<Model>, DbErr> {
    Entity::find().filter(Column::KeyHash.eq(key_hash)).one(db).await
}
