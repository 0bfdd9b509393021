//! How each user wants to be told of alerts. Of a webhook only the host is shown.

use chrono::{DateTime, Utc};
use domain::devices::notification_preferences::{
    NotificationPreferences as Aggregate, NotificationPreferencesEvent, Preferences, QuietHours,
};
use domain::event::{DecodeError, Recorded};
use domain::metadata::UserId;
use sea_orm::entity::prelude::*;

use crate::projection::Projection;

/// The preferences of one user.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, which users turn on and off")]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notification_preferences_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: String,
    pub tenant: String,
    pub enabled: bool,
    pub email: bool,
    pub web_push: bool,
    pub webhook: bool,
    pub webhook_host: Option<String>,
    pub info: bool,
    pub warning: bool,
    pub critical: bool,
    /// JSON of the quiet hours.
    pub quiet_hours: Option<String>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The quiet hours, if there are any.
    ///
    /// # Errors
    /// When the column does not hold any.
    pub fn quiet_hours(&self) -> Result<Option<QuietHours>, DbErr> {
        let parsed = self.quiet_hours.as_deref().map(serde_json::from_str).transpose();
        parsed.map_err(|error| DbErr::Type(error.to_string()))
    }
}

/// The projection.
pub struct NotificationPreferences;

impl Projection for NotificationPreferences {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = Preferences;

    const NAME: &'static str = "notification_preferences";
    const TABLE: &'static str = "notification_preferences_v1";
    const CONSUMES: &'static [&'static str] = &["notification_preferences"];

    fn decode(recorded: &Recorded) -> Result<Option<Preferences>, DecodeError> {
        Ok(recorded.decode::<Aggregate>()?.and_then(|event| match event {
            NotificationPreferencesEvent::Changed(preferences) => Some(preferences),
            NotificationPreferencesEvent::Subscribed { .. } | NotificationPreferencesEvent::Unsubscribed { .. } => None,
        }))
    }

    fn keys(_: &Preferences, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.user_id.clone()
    }

    fn fold(_: Option<Model>, key: &String, event: &Preferences, recorded: &Recorded) -> Option<Model> {
        Some(Model {
            user_id: key.clone(),
            tenant: recorded.tenant.to_string(),
            enabled: event.enabled,
            email: event.email,
            web_push: event.web_push,
            webhook: event.webhook,
            webhook_host: event.webhook_address.as_ref().map(|address| address.host.clone()),
            info: event.info,
            warning: event.warning,
            critical: event.critical,
            quiet_hours: event.quiet_hours.and_then(|hours| serde_json::to_string(&hours).ok()),
            updated_at: recorded.recorded_at,
        })
    }
}

/// The preferences of a user who ever set any.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, user: UserId) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(user.to_string()).one(db).await
}
