//! What administrators look at and set.

mod config;
mod stats;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(config::routes()).merge(stats::routes()).merge(users::routes())
}
