//! Zinnia: battery devices and alerts.

pub mod envelope;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(users::routes())
}
