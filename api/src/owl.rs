//! Owl Factory: GPU tasks, recharge codes and balance.

pub mod envelope;
mod recharge;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(recharge::routes())
}
