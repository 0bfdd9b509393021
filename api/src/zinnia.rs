//! Zinnia: battery devices and alerts.

pub mod access;
pub mod code_limits;
pub mod device_caller;
mod device_secrets;
mod device_sessions;
mod device_shares;
mod device_tokens;
mod devices;
pub mod envelope;
pub mod known_devices;
mod own_account;
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
}
