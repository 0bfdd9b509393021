//! BITRUN: trading strategies, AI and quant.

pub mod envelope;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
}
