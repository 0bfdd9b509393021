//! The tokens of devices. The tokens themselves are nowhere; rows show their first characters.

use chrono::{DateTime, Utc};
use domain::devices::device::{Device, DeviceEvent, TokenPermission};
use domain::event::{DecodeError, Recorded};
use sea_orm::QueryOrder;
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Condition;
use uuid::Uuid;

use crate::projection::Projection;

/// Tokens that a list shows at most; a device has twenty that are valid.
const LISTED_MAX: u64 = 1_000;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_tokens_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub device_id: String,
    pub name: String,
    /// As [`TokenPermission`] names it.
    pub permission: String,
    /// The keyed hash by which a token is recognised.
    #[sea_orm(indexed)]
    pub token_hash: String,
    pub token_prefix: String,
    pub expires_at: Option<DateTime<Utc>>,
    /// Networks in CIDR form, each in a line; any when empty.
    pub allowed_ips: String,
    pub rate_limit_per_minute: Option<i32>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// What it is good for.
    ///
    /// # Errors
    /// When the column does not hold a permission.
    pub fn token_permission(&self) -> Result<TokenPermission, DbErr> {
        self.permission.parse().map_err(|error| DbErr::Type(format!("{error}")))
    }

    /// The networks that it is bound to, in CIDR form.
    pub fn networks(&self) -> impl Iterator<Item = &str> {
        self.allowed_ips.lines()
    }
}

/// The projection.
pub struct DeviceTokens;

impl Projection for DeviceTokens {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = DeviceEvent;

    const NAME: &'static str = "device_tokens";
    const TABLE: &'static str = "device_tokens_v1";
    const CONSUMES: &'static [&'static str] = &["device"];

    fn decode(recorded: &Recorded) -> Result<Option<DeviceEvent>, DecodeError> {
        recorded.decode::<Device>()
    }

    fn keys(event: &DeviceEvent, _: &Recorded) -> Vec<String> {
        match event {
            DeviceEvent::TokenIssued { token_id, .. } => vec![token_id.to_string()],
            DeviceEvent::TokensRevoked { token_ids } | DeviceEvent::Deleted { token_ids, .. } => {
                token_ids.iter().map(Uuid::to_string).collect()
            }
            DeviceEvent::Registered { .. }
            | DeviceEvent::Changed { .. }
            | DeviceEvent::Configured { .. }
            | DeviceEvent::KeyRotated { .. }
            | DeviceEvent::SessionsRevoked
            | DeviceEvent::Shared { .. }
            | DeviceEvent::Unshared { .. }
            | DeviceEvent::CameOnline { .. }
            | DeviceEvent::WentOffline { .. } => vec![],
        }
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &DeviceEvent, recorded: &Recorded) -> Option<Model> {
        if let DeviceEvent::TokensRevoked { .. } = event {
            return row.map(|row| Model { revoked_at: Some(recorded.recorded_at), ..row });
        }
        // Of the events that have keys, the last one deletes the device.
        let DeviceEvent::TokenIssued {
            name,
            permission,
            token_hash,
            token_prefix,
            expires_at,
            allowed_ips,
            rate_limit_per_minute,
            ..
        } = event
        else {
            return None;
        };
        Some(Model {
            id: key.clone(),
            tenant: recorded.tenant.to_string(),
            device_id: recorded.aggregate_id.to_string(),
            name: name.clone(),
            permission: permission.name().to_owned(),
            token_hash: token_hash.clone(),
            token_prefix: token_prefix.clone(),
            expires_at: *expires_at,
            allowed_ips: allowed_ips.join("\n"),
            rate_limit_per_minute: rate_limit_per_minute.map(u32::cast_signed),
            revoked_at: None,
            created_at: recorded.recorded_at,
            position: recorded.position.cast_signed(),
        })
    }
}

/// Which tokens a list shows besides the valid ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Included {
    pub revoked: bool,
    pub expired: bool,
}

/// The tokens of a device, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    device: Uuid,
    included: Included,
    now: DateTime<Utc>,
) -> Result<Vec<Model>, DbErr> {
    let mut condition = Condition::all().add(Column::DeviceId.eq(device.to_string()));
    if !included.revoked {
        condition = condition.add(Column::RevokedAt.is_null());
    }
    if !included.expired {
        condition = condition.add(Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now)));
    }
    Entity::find().filter(condition).order_by_desc(Column::Position).limit(LISTED_MAX).all(db).await
}

/// One token of a device.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, device: Uuid, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).filter(Column::DeviceId.eq(device.to_string())).one(db).await
}

/// The token, of whatever device, that has this hash and was not revoked.
///
/// # Errors
/// What the database said.
pub async fn find_by_hash(db: &impl ConnectionTrait, token_hash: &str) -> Result<Option<Model>, DbErr> {
    Entity::find().filter(Column::TokenHash.eq(token_hash)).filter(Column::RevokedAt.is_null()).one(db).await
}
