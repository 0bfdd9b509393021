//! Read models built from the log into a database of their own: lists as they were, and rebuilds to compare with.

use domain::log::{Log, PAGE_EVENTS_MAX};
use sea_orm::{DatabaseConnection, TransactionTrait};

use crate::checkpoint::{self, Checkpoint};
use crate::database;
use crate::projection::ProjectionError;
use crate::projector::AnyProjector;

/// Folds the log up to position `through` into an empty database in memory, with the same fold as the live rows.
/// `progress` is told each position reached.
///
/// # Errors
/// When the log or the database does not answer, or an event cannot be read.
pub async fn build(
    log: &dyn Log,
    mut projectors: Vec<Box<dyn AnyProjector>>,
    through: u64,
    progress: impl Fn(u64) + Send,
) -> Result<DatabaseConnection, ProjectionError> {
    let db = database::in_memory().await?;
    database::create_tables(&db, &projectors).await?;
    fold(log, &db, &mut projectors, through, progress).await?;
    Ok(db)
}

/// Folds the log from its beginning up to `through` into the (empty) tables of `db`, with their checkpoints.
///
/// # Errors
/// When the log or the database does not answer, or an event cannot be read.
pub async fn fold(
    log: &dyn Log,
    db: &DatabaseConnection,
    projectors: &mut [Box<dyn AnyProjector>],
    through: u64,
    progress: impl Fn(u64) + Send,
) -> Result<(), ProjectionError> {
    checkpoint::ensure(db, projectors.iter().map(|projector| projector.table())).await?;
    let types: Vec<&str> =
        projectors.iter().flat_map(|projector| projector.aggregate_types().iter().copied()).collect();
    let mut checkpoints = vec![Checkpoint::default(); projectors.len()];
    let mut position = 0;
    while position < through {
        let mut page = log.read_all(position, &types, PAGE_EVENTS_MAX).await?;
        page.events.retain(|event| event.position <= through);
        let reached = page.through.min(through);
        if reached == position {
            break;
        }
        let txn = db.begin().await?;
        for (projector, checkpoint) in projectors.iter_mut().zip(&mut checkpoints) {
            let events: Vec<_> = page.events.iter().filter(|event| projector.consumes(&event.aggregate_type)).collect();
            let from = checkpoint.clone();
            checkpoint.position = reached;
            events.iter().for_each(|event| checkpoint.tally.add(event));
            projector.project(&txn, &events).await?;
            checkpoint::advance(&txn, projector.table(), &from, checkpoint).await?;
        }
        txn.commit().await?;
        position = reached;
        progress(position);
    }
    Ok(())
}
