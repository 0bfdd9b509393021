//! HashInsight: Bitcoin mining hosting, CRM, curtailment.

mod crm;
mod customers;
mod deals;
pub mod envelope;
mod leads;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(leads::routes()).merge(customers::routes()).merge(deals::routes())
}
