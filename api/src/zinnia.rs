//! Zinnia: battery devices and alerts.

pub mod access;
mod battery;
mod compat;
pub mod device_caller;
mod device_secrets;
mod device_sessions;
mod device_shares;
mod device_tokens;
mod devices;
pub mod envelope;
pub mod known_devices;
pub(crate) mod mqtt_reports;
pub mod reports;
pub mod token_usage;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(users::routes())
        .merge(devices::routes())
        .merge(device_tokens::routes())
        .merge(device_shares::routes())
        .merge(device_sessions::routes())
        .merge(reports::routes())
        .merge(battery::routes())
        .merge(compat::routes())
}
