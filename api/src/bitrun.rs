//! BITRUN: accounts at exchanges, rule-based strategies, and what they decide.

mod accounts;
mod auth;
mod decisions;
pub mod envelope;
mod quant_strategies;
mod workers;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::error::{ApiError, Place};

/// Its operations.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(accounts::routes())
        .merge(quant_strategies::routes())
        .merge(decisions::routes())
        .merge(workers::routes())
}

/// The `limit` of a list, from 1 to `most`.
fn limit(given: Option<u64>, default: u64, most: u64) -> Result<u64, ApiError> {
    let limit = given.unwrap_or(default);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::field("limit", format!("must be between 1 and {most}")).of(Place::Query))
    }
}

/// The `offset` of a list.
fn offset(given: Option<u64>) -> Result<u64, ApiError> {
    let offset = given.unwrap_or(0);
    if u32::try_from(offset).is_ok() {
        Ok(offset)
    } else {
        Err(ApiError::field("offset", format!("must be between 0 and {}", u32::MAX)).of(Place::Query))
    }
}
