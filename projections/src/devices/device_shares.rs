//! With whom devices are shared: one row a device and user.

use chrono::{DateTime, Utc};
use domain::devices::device::{Device, DeviceEvent, SharePermission};
use domain::event::{DecodeError, Recorded};
use domain::metadata::UserId;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use uuid::Uuid;

use crate::projection::Projection;

/// One share.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_shares_v1")]
pub struct Model {
    /// `<device>/<user>`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub device_id: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    /// As [`SharePermission`] names it.
    pub permission: String,
    pub created_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// How far the user may go.
    ///
    /// # Errors
    /// When the column does not hold a permission.
    pub fn share_permission(&self) -> Result<SharePermission, DbErr> {
        self.permission.parse().map_err(|error| DbErr::Type(format!("{error}")))
    }
}

/// The projection.
pub struct DeviceShares;

fn row_id(device: &str, user: UserId) -> String {
    format!("{device}/{user}")
}

impl Projection for DeviceShares {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = DeviceEvent;

    const NAME: &'static str = "device_shares";
    const TABLE: &'static str = "device_shares_v1";
    const CONSUMES: &'static [&'static str] = &["device"];

    fn decode(recorded: &Recorded) -> Result<Option<DeviceEvent>, DecodeError> {
        recorded.decode::<Device>()
    }

    fn keys(event: &DeviceEvent, recorded: &Recorded) -> Vec<String> {
        match event {
            DeviceEvent::Shared { user_id, .. } | DeviceEvent::Unshared { user_id } => {
                vec![row_id(&recorded.aggregate_id, *user_id)]
            }
            DeviceEvent::Deleted { shared_with, .. } => {
                shared_with.iter().map(|user| row_id(&recorded.aggregate_id, *user)).collect()
            }
            DeviceEvent::Registered { .. }
            | DeviceEvent::Changed { .. }
            | DeviceEvent::Configured { .. }
            | DeviceEvent::KeyRotated { .. }
            | DeviceEvent::SessionsRevoked
            | DeviceEvent::TokenIssued { .. }
            | DeviceEvent::TokensRevoked { .. }
            | DeviceEvent::CameOnline { .. }
            | DeviceEvent::WentOffline { .. } => vec![],
        }
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &DeviceEvent, recorded: &Recorded) -> Option<Model> {
        // Of the events that have keys, the others end the share.
        let DeviceEvent::Shared { user_id, permission } = event else { return None };
        let fresh = Model {
            id: key.clone(),
            tenant: recorded.tenant.to_string(),
            device_id: recorded.aggregate_id.to_string(),
            user_id: user_id.to_string(),
            permission: permission.name().to_owned(),
            created_at: recorded.recorded_at,
            position: recorded.position.cast_signed(),
        };
        Some(row.map_or(fresh, |row| Model { permission: permission.name().to_owned(), ..row }))
    }
}

/// How far `user` may go with a device that is shared with the user.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, device: Uuid, user: UserId) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(row_id(&device.to_string(), user)).one(db).await
}

/// With whom a device is shared, in the order of sharing.
///
/// # Errors
/// What the database said.
pub async fn list(db: &impl ConnectionTrait, device: Uuid) -> Result<Vec<Model>, DbErr> {
    let of_device = Entity::find().filter(Column::DeviceId.eq(device.to_string()));
    of_device.order_by_asc(Column::Position).all(db).await
}
