//! Owl Factory: GPU tasks, recharge codes and balance.

mod agents;
mod auth;
pub mod envelope;
mod gpu;
mod ledger;
mod recharge;
mod tasks;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(recharge::routes())
        .merge(ledger::routes())
        .merge(tasks::routes())
        .merge(gpu::routes())
        .merge(agents::routes())
        .merge(users::routes())
}
