//! Owl Factory: GPU tasks, recharge codes and balance.

mod admin;
mod auth;
pub mod envelope;
mod logs;
pub mod maintenance;
mod recharge;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    let accounts = OpenApiRouter::new().merge(auth::routes()).merge(users::routes());
    accounts.merge(recharge::routes()).merge(admin::routes()).merge(logs::routes())
}
