//! Read models built anew from the log and put in the place of the live ones.

use std::sync::Arc;

use domain::log::Log;
use projections::scratch::{self, Folding};
use projections::{AnyProjector, Beside, ReadModels};
use serde::Serialize;

use crate::error::ReplayError;
use crate::progress::Progress;

/// A read model that was put in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    pub projection: String,
    pub table: String,
    /// It holds everything up to here.
    pub position: u64,
    /// Events it consumed.
    pub events: u64,
    /// Rolling digest of their positions and ids.
    pub digest: String,
    pub rows: u64,
}

/// Rebuilds the read models of `projectors`. A server may run meanwhile: lists are answered from the old tables up to
/// the moment of the switch, and the projections go on from the new ones.
///
/// # Errors
/// [`ReplayError::Busy`] while another rebuild is under way; when the log or a database does not answer, or an event
/// cannot be read. Each table is then either as before or rebuilt.
pub async fn rebuild(
    log: &Arc<dyn Log>,
    models: &ReadModels,
    projectors: Vec<Box<dyn AnyProjector>>,
    progress: &dyn Progress,
) -> Result<Vec<Rebuilt>, ReplayError> {
    let mut foldings: Vec<Folding> = projectors.into_iter().map(Folding::new).collect();
    let beside = Beside::open(models, "rebuild", &foldings).await?.ok_or(ReplayError::Busy("rebuild"))?;
    let outcome = fold_and_switch(log, models, &beside, &mut foldings, progress).await;
    beside.close().await?;
    outcome
}

async fn fold_and_switch(
    log: &Arc<dyn Log>,
    models: &ReadModels,
    beside: &Beside,
    foldings: &mut [Folding],
    progress: &dyn Progress,
) -> Result<Vec<Rebuilt>, ReplayError> {
    let head = log.head().await?;
    scratch::fold(log, beside.tables(), foldings, head, |position| progress.at("folding", position, head)).await?;
    let total = foldings.len() as u64;
    let mut rebuilt = Vec::with_capacity(foldings.len());
    for (done, folding) in (1..).zip(foldings) {
        beside.switch(log, folding).await?;
        let Folding { projector, checkpoint, .. } = folding;
        rebuilt.push(Rebuilt {
            projection: projector.name().to_owned(),
            table: projector.table().to_owned(),
            position: checkpoint.position,
            events: checkpoint.tally.events,
            digest: checkpoint.tally.hex(),
            rows: projector.count(&models.read).await?,
        });
        progress.at("switching", done, total);
    }
    Ok(rebuilt)
}
