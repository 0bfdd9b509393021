//! Zinnia: battery devices and alerts.

pub mod access;
mod alert_rules;
pub(crate) mod alert_words;
mod alerts;
mod battery;
pub mod code_limits;
mod compat;
pub mod device_caller;
mod device_secrets;
mod device_sessions;
mod device_shares;
mod device_tokens;
mod devices;
pub mod envelope;
pub mod known_devices;
pub mod live;
pub(crate) mod mqtt_reports;
pub(crate) mod notification_preferences;
mod own_account;
pub mod reports;
mod security;
pub mod token_usage;
mod user_administration;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(security::routes())
        .merge(users::routes())
        .merge(own_account::routes())
        .merge(user_administration::routes())
        .merge(devices::routes())
        .merge(device_tokens::routes())
        .merge(device_shares::routes())
        .merge(device_sessions::routes())
        .merge(alert_rules::routes())
        .merge(alerts::routes())
        .merge(notification_preferences::routes())
        .merge(live::routes())
        .merge(reports::routes())
        .merge(battery::routes())
        .merge(compat::routes())
}
