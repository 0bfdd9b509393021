//! The platform's own API: the log, its projections, and what keeps them running.

pub mod envelope;
mod projections;
mod tenants;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(projections::routes()).merge(tenants::routes()).merge(users::routes())
}
