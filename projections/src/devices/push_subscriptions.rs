//! The browsers that each user is told of alerts in. What reaches them is not here.

use chrono::{DateTime, Utc};
use domain::devices::notification_preferences::{NotificationPreferences, NotificationPreferencesEvent};
use domain::event::{DecodeError, Recorded};
use domain::metadata::UserId;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::projection::Projection;

/// One browser.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "push_subscriptions_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    /// The host of the push service.
    pub push_service: String,
    pub created_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct PushSubscriptions;

impl Projection for PushSubscriptions {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = NotificationPreferencesEvent;

    const NAME: &'static str = "push_subscriptions";
    const TABLE: &'static str = "push_subscriptions_v1";
    const CONSUMES: &'static [&'static str] = &["notification_preferences"];

    fn decode(recorded: &Recorded) -> Result<Option<NotificationPreferencesEvent>, DecodeError> {
        recorded.decode::<NotificationPreferences>()
    }

    fn keys(event: &NotificationPreferencesEvent, _: &Recorded) -> Vec<String> {
        match event {
            NotificationPreferencesEvent::Changed(_) => vec![],
            NotificationPreferencesEvent::Subscribed { subscription_id, .. }
            | NotificationPreferencesEvent::Unsubscribed { subscription_id, .. } => vec![subscription_id.to_string()],
        }
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(
        row: Option<Model>,
        key: &String,
        event: &NotificationPreferencesEvent,
        recorded: &Recorded,
    ) -> Option<Model> {
        match event {
            NotificationPreferencesEvent::Changed(_) => row,
            NotificationPreferencesEvent::Subscribed { push_service, .. } => Some(Model {
                id: key.clone(),
                tenant: recorded.tenant.to_string(),
                user_id: recorded.aggregate_id.to_string(),
                push_service: push_service.clone(),
                created_at: row.map_or(recorded.recorded_at, |row| row.created_at),
                position: recorded.position.cast_signed(),
            }),
            NotificationPreferencesEvent::Unsubscribed { .. } => None,
        }
    }
}

/// The browsers of a user, in the order in which they came.
///
/// # Errors
/// What the database said.
pub async fn list(db: &impl ConnectionTrait, user: UserId) -> Result<Vec<Model>, DbErr> {
    let of_user = Entity::find().filter(Column::UserId.eq(user.to_string()));
    of_user.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).all(db).await
}
