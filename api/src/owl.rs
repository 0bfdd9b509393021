//! Owl Factory: GPU tasks, recharge codes and balance.

mod admin;
mod agents;
mod auth;
pub mod envelope;
mod gpu;
mod ledger;
mod logs;
pub mod maintenance;
mod recharge;
mod tasks;
mod users;
mod whole_numbers;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    let accounts = OpenApiRouter::new().merge(auth::routes()).merge(users::routes());
    let money = OpenApiRouter::new().merge(recharge::routes()).merge(ledger::routes());
    let work = OpenApiRouter::new().merge(tasks::routes()).merge(gpu::routes()).merge(agents::routes());
    accounts.merge(money).merge(work).merge(admin::routes()).merge(logs::routes())
}
