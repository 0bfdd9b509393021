//! A read model as it was at a moment.

use std::sync::Arc;

use domain::log::Log;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::ReplayError;
use crate::moment::Moment;
use crate::progress::Progress;
use crate::projections_named;

/// Some rows of a read model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    pub projection: String,
    /// The moment, as a position.
    pub position: u64,
    /// How many rows there were in all.
    pub total: u64,
    /// In order of their key, column by column.
    pub rows: Vec<Map<String, Value>>,
}

/// The first `limit` rows of `projection` at `moment`, or now.
///
/// # Errors
/// When there is no such projection, the log does not answer, or an event cannot be read.
pub async fn list(
    log: &Arc<dyn Log>,
    projection: &str,
    moment: Option<Moment>,
    limit: u64,
    progress: &dyn Progress,
) -> Result<Listed, ReplayError> {
    let through = match moment {
        Some(moment) => moment.position(log.as_ref()).await?,
        None => log.head().await?,
    };
    let report = |position| progress.at("folding", position, through);
    let db = projections::scratch::build(log, projections_named(Some(projection))?, through, report).await?;
    let mut listed = Listed { projection: projection.to_owned(), position: through, total: 0, rows: Vec::new() };
    for projector in projections_named(Some(projection))? {
        listed.total = projector.count(&db).await?;
        let rows = projector.rows(&db, 0, limit).await?;
        listed.rows = rows.into_iter().map(|row| row.into_iter().collect()).collect();
    }
    Ok(listed)
}
