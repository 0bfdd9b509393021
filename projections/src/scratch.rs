//! Read models built from the log into tables of their own: lists as they were, rebuilds, and what to compare with.

use std::sync::Arc;

use domain::event::Recorded;
use domain::log::Log;
use sea_orm::{DatabaseConnection, TransactionTrait};

use crate::checkpoint::{self, Checkpoint};
use crate::database;
use crate::projection::ProjectionError;
use crate::projector::AnyProjector;
use crate::read_ahead::ReadAhead;

/// A projection on its way along the log, and how far it has come.
pub struct Folding {
    pub projector: Box<dyn AnyProjector>,
    pub checkpoint: Checkpoint,
}

impl Folding {
    /// At the beginning of the log.
    pub fn new(projector: Box<dyn AnyProjector>) -> Self {
        Self { projector, checkpoint: Checkpoint::default() }
    }
}

/// Folds the log up to position `through` into an empty database that is gone with its connection, with the same fold
/// as the live rows. `progress` is told each position reached.
///
/// # Errors
/// When the log or the database does not answer, or an event cannot be read.
pub async fn build(
    log: &Arc<dyn Log>,
    projectors: Vec<Box<dyn AnyProjector>>,
    through: u64,
    progress: impl Fn(u64) + Send,
) -> Result<DatabaseConnection, ProjectionError> {
    let db = database::temporary().await?;
    let mut foldings: Vec<Folding> = projectors.into_iter().map(Folding::new).collect();
    database::create_tables(&db, foldings.iter().map(|folding| &*folding.projector)).await?;
    fold(log, &db, &mut foldings, through, progress).await?;
    Ok(db)
}

/// Folds the log on from where each of `foldings` is, up to `through`, into the tables of `db`, with their checkpoints.
///
/// # Errors
/// When the log or the database does not answer, or an event cannot be read.
pub async fn fold(
    log: &Arc<dyn Log>,
    db: &DatabaseConnection,
    foldings: &mut [Folding],
    through: u64,
    progress: impl Fn(u64) + Send,
) -> Result<(), ProjectionError> {
    checkpoint::ensure(db, foldings.iter().map(|folding| folding.projector.table())).await?;
    let types: Vec<&str> =
        foldings.iter().flat_map(|folding| folding.projector.aggregate_types().iter().copied()).collect();
    let from = foldings.iter().map(|folding| folding.checkpoint.position).min().unwrap_or(through);
    let mut pages = ReadAhead::new(log, from, through, &types);
    while let Some(page) = pages.next().await? {
        let txn = db.begin().await?;
        for folding in foldings.iter_mut().filter(|folding| folding.checkpoint.position < page.through) {
            let since = folding.checkpoint.position;
            let fresh = |event: &&Recorded| event.position > since && folding.projector.consumes(&event.aggregate_type);
            let events: Vec<&Recorded> = page.events.iter().filter(fresh).collect();
            let mut next = Checkpoint { position: page.through, ..folding.checkpoint.clone() };
            events.iter().for_each(|event| next.tally.add(event));
            folding.projector.decode(&events)?;
            checkpoint::advance(&txn, folding.projector.table(), &folding.checkpoint, &next).await?;
            folding.projector.project(&txn, &events).await?;
            folding.checkpoint = next;
        }
        txn.commit().await?;
        progress(page.through);
    }
    Ok(())
}
