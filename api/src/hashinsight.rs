//! HashInsight: Bitcoin mining hosting, CRM, curtailment.

mod auth;
mod crm;
mod curtailment;
mod customers;
mod deals;
pub mod envelope;
mod leads;
mod miner_commands;
mod miners;
mod pages;
mod sites;
mod unique_names;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(leads::routes())
        .merge(customers::routes())
        .merge(deals::routes())
        .merge(sites::routes())
        .merge(miners::routes())
        .merge(miner_commands::routes())
        .merge(curtailment::routes())
}
