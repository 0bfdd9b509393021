//! The platform's own API: the log, its projections, and what keeps them running.

pub mod envelope;
mod events;
mod outbox;
mod projections;
mod rebuild;
mod streams;
mod tenants;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(events::routes())
        .merge(streams::routes())
        .merge(projections::routes())
        .merge(outbox::routes())
        .merge(rebuild::routes())
        .merge(tenants::routes())
        .merge(users::routes())
}
