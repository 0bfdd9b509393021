//! The settings in force, one row for each tenant that has changed any.

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::metadata::TenantId;
use domain::platform::settings::{Settings, SettingsEvent};
use sea_orm::entity::prelude::*;

use crate::projection::Projection;

/// The settings of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "settings_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    pub max_concurrent_tasks_per_user: i64,
    /// Seconds.
    pub default_task_timeout: i64,
    pub maintenance_mode: bool,
    pub maintenance_notice: String,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    fn settings(&self) -> Settings {
        let small = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Settings {
            max_concurrent_tasks_per_user: small(self.max_concurrent_tasks_per_user),
            default_task_timeout: small(self.default_task_timeout),
            maintenance_mode: self.maintenance_mode,
            maintenance_notice: self.maintenance_notice.clone(),
        }
    }
}

/// The projection.
pub struct SettingsOfTenants;

impl Projection for SettingsOfTenants {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = SettingsEvent;

    const NAME: &'static str = "settings";
    const TABLE: &'static str = "settings_v1";
    const CONSUMES: &'static [&'static str] = &["settings"];

    fn decode(recorded: &Recorded) -> Result<Option<SettingsEvent>, DecodeError> {
        recorded.decode::<Settings>()
    }

    fn keys(_: &SettingsEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.tenant.to_string()]
    }

    fn key(row: &Model) -> String {
        row.tenant.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &SettingsEvent, recorded: &Recorded) -> Option<Model> {
        let mut settings = row.map_or_else(Settings::default, |row| row.settings());
        let SettingsEvent::Changed { changes } = event;
        settings.set(changes.clone());
        Some(Model {
            tenant: key.clone(),
            max_concurrent_tasks_per_user: i64::from(settings.max_concurrent_tasks_per_user),
            default_task_timeout: i64::from(settings.default_task_timeout),
            maintenance_mode: settings.maintenance_mode,
            maintenance_notice: settings.maintenance_notice,
            updated_at: recorded.recorded_at,
        })
    }
}

/// The settings in force for `tenant`.
///
/// # Errors
/// What the database said.
pub async fn of(db: &impl ConnectionTrait, tenant: TenantId) -> Result<Settings, DbErr> {
    let row = Entity::find_by_id(tenant.to_string()).one(db).await?;
    Ok(row.map_or_else(Settings::default, |row| row.settings()))
}
