//! Owl Factory: GPU tasks, recharge codes and balance.

mod auth;
pub mod envelope;
mod recharge;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(auth::routes()).merge(recharge::routes()).merge(users::routes())
}
