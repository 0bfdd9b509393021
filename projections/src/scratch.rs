//! Read models built from the log into tables of their own: lists as they were, rebuilds, and what to compare with.

use std::sync::Arc;

use domain::event::Recorded;
use domain::log::{Log, Page};
use sea_orm::DatabaseConnection;

use crate::checkpoint::{self, Checkpoint};
use crate::database::{self, Tables};
use crate::projection::ProjectionError;
use crate::projector::AnyProjector;
use crate::read_ahead::ReadAhead;
use crate::writer::Batch;

/// Rows that may wait in memory to be written: each is written once for all events that touch it meanwhile.
const ROWS_UNWRITTEN_MAX: usize = 20_000;

/// A projection on its way along the log, and how far it has come.
pub struct Folding {
    pub projector: Box<dyn AnyProjector>,
    pub checkpoint: Checkpoint,
    /// The position of the checkpoint in the table.
    written: u64,
}

impl Folding {
    /// At the beginning of the log.
    pub fn new(projector: Box<dyn AnyProjector>) -> Self {
        Self { projector, checkpoint: Checkpoint::default(), written: 0 }
    }

    /// Folds what it consumes of a page.
    async fn fold(&mut self, tables: &Tables, page: &Page) -> Result<(), ProjectionError> {
        let since = self.checkpoint.position;
        if since >= page.through {
            return Ok(());
        }
        let fresh = |event: &&Recorded| event.position > since && self.projector.consumes(&event.aggregate_type);
        let events: Vec<&Recorded> = page.events.iter().filter(fresh).collect();
        self.projector.decode(&events)?;
        self.projector.fold(&tables.db, &events).await?;
        events.iter().for_each(|event| self.checkpoint.tally.add(event));
        self.checkpoint.position = page.through;
        Ok(())
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
    let tables = database::temporary().await?;
    let mut foldings: Vec<Folding> = projectors.into_iter().map(Folding::new).collect();
    database::create_bare_tables(&tables.db, foldings.iter().map(|folding| &*folding.projector)).await?;
    fold(log, &tables, &mut foldings, through, progress).await?;
    for folding in &foldings {
        database::create_indexes(&tables.db, &*folding.projector).await?;
    }
    Ok(tables.db)
}

/// Folds the log on from where each of `foldings` is, up to `through`, into `tables`, with their checkpoints. Nobody
/// else may write these tables.
///
/// # Errors
/// When the log or the database does not answer, or an event cannot be read. The foldings cannot go on then.
pub async fn fold(
    log: &Arc<dyn Log>,
    tables: &Tables,
    foldings: &mut [Folding],
    through: u64,
    progress: impl Fn(u64) + Send,
) -> Result<(), ProjectionError> {
    checkpoint::ensure(&tables.db, foldings.iter().map(|folding| folding.projector.table())).await?;
    let types: Vec<&str> =
        foldings.iter().flat_map(|folding| folding.projector.aggregate_types().iter().copied()).collect();
    let from = foldings.iter().map(|folding| folding.checkpoint.position).min().unwrap_or(through);
    let mut pages = ReadAhead::new(log, from, through, &types);
    while let Some(page) = pages.next().await? {
        for folding in &mut *foldings {
            folding.fold(tables, &page).await?;
        }
        if foldings.iter().map(|folding| folding.projector.unwritten()).sum::<usize>() > ROWS_UNWRITTEN_MAX {
            write(tables, foldings).await?;
        }
        progress(page.through);
    }
    write(tables, foldings).await
}

async fn write(tables: &Tables, foldings: &mut [Folding]) -> Result<(), ProjectionError> {
    let mut batch = Batch::default();
    for Folding { projector, checkpoint, written } in foldings.iter_mut() {
        if checkpoint.position > *written {
            batch.advance(projector.table(), *written, checkpoint.clone());
            batch.change(projector.changes());
            *written = checkpoint.position;
        }
    }
    tables.write(batch).await
}
