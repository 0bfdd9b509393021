//! Proof that the live read models are what the log says: built once more and compared, row by row and field by field.

use std::sync::Arc;

use domain::log::Log;
use projections::checkpoint::{self, Checkpoint};
use projections::scratch::{self, Folding};
use projections::{AnyProjector, Beside, Difference, DifferenceKind, FieldDifference, ReadModels};
use sea_orm::{DatabaseTransaction, TransactionTrait};
use serde::Serialize;

use crate::error::ReplayError;
use crate::progress::Progress;

/// What a verification came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The end of the log.
    pub head: u64,
    /// Whether nothing differs anywhere.
    pub equal: bool,
    pub projections: Vec<Verified>,
}

/// One read model, compared as of its own checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    pub projection: String,
    pub table: String,
    /// The checkpoint of the live table.
    pub position: u64,
    /// Events that the live table says it consumed.
    pub events: u64,
    /// Rolling digest of the positions and ids of the events that the live table says it consumed.
    pub digest: String,
    /// Live rows that were compared.
    pub rows: u64,
    /// Fields of the checkpoint that are not what the log says.
    pub checkpoint: Vec<FieldFound>,
    pub differences: Vec<RowFound>,
    /// There are more differences than were asked for.
    pub more: bool,
}

/// A row that is not what the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowFound {
    pub row: String,
    pub finding: Finding,
    pub fields: Vec<FieldFound>,
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It has other values.
    Differs,
    /// The live table has no such row.
    Missing,
    /// Only the live table has such a row.
    Surplus,
}

/// A field and its two values; null where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldFound {
    pub field: String,
    pub live: Option<String>,
    pub rebuilt: Option<String>,
}

impl Verified {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.checkpoint.is_empty() && self.differences.is_empty()
    }
}

/// Compares the live read models of `projectors` with what the log says, reporting at most `limit` rows each. A server
/// may run meanwhile: the live tables are read as they are at one moment.
///
/// # Errors
/// [`ReplayError::Busy`] while another verification is under way; when the log or a database does not answer, or an
/// event cannot be read.
pub async fn verify(
    log: &Arc<dyn Log>,
    models: &ReadModels,
    projectors: Vec<Box<dyn AnyProjector>>,
    limit: usize,
    progress: &dyn Progress,
) -> Result<Verification, ReplayError> {
    let foldings: Vec<Folding> = projectors.into_iter().map(Folding::new).collect();
    let beside = Beside::open(models, "verify", &foldings).await?.ok_or(ReplayError::Busy("verification"))?;
    let outcome = fold_and_compare(log, models, &beside, foldings, (limit, progress)).await;
    beside.close().await?;
    let projections = outcome?;
    Ok(Verification { head: log.head().await?, equal: projections.iter().all(Verified::is_equal), projections })
}

async fn fold_and_compare(
    log: &Arc<dyn Log>,
    models: &ReadModels,
    beside: &Beside,
    foldings: Vec<Folding>,
    (limit, progress): (usize, &dyn Progress),
) -> Result<Vec<Verified>, ReplayError> {
    let live = models.snapshot().await?;
    let level = fold_level(log, &live, beside, foldings, progress).await?;
    let rebuilt = beside.tables().db.begin().await?;
    let total = level.len() as u64;
    let mut verified = Vec::with_capacity(level.len());
    for (done, (checkpoint, folding)) in (1..).zip(level) {
        let compared = folding.projector.compare(&live, &rebuilt, limit + 1).await;
        let compared = compared.map_err(|error| ReplayError::Compared { table: folding.projector.table(), error })?;
        let more = compared.differences.len() > limit;
        verified.push(Verified {
            projection: folding.projector.name().to_owned(),
            table: folding.projector.table().to_owned(),
            position: checkpoint.position,
            events: checkpoint.tally.events,
            digest: checkpoint.tally.hex(),
            rows: compared.rows,
            checkpoint: differing(&checkpoint, &folding.checkpoint),
            differences: compared.differences.into_iter().take(limit).map(RowFound::from).collect(),
            more,
        });
        progress.at("comparing", done, total);
    }
    Ok(verified)
}

/// Folds each projection to where its live table is. Answers the live checkpoint beside each.
async fn fold_level(
    log: &Arc<dyn Log>,
    live: &DatabaseTransaction,
    beside: &Beside,
    foldings: Vec<Folding>,
    progress: &dyn Progress,
) -> Result<Vec<(Checkpoint, Folding)>, ReplayError> {
    let mut targets = Vec::with_capacity(foldings.len());
    for folding in foldings {
        targets.push((checkpoint::load(live, folding.projector.table()).await?, folding));
    }
    targets.sort_by_key(|(checkpoint, _)| checkpoint.position);
    let (checkpoints, mut foldings): (Vec<_>, Vec<_>) = targets.into_iter().unzip();
    let last = checkpoints.last().map_or(0, |checkpoint| checkpoint.position);
    for (place, checkpoint) in checkpoints.iter().enumerate() {
        let report = |position| progress.at("folding", position, last);
        // Those whose tables are further on come along; those that are there stay.
        scratch::fold(log, beside.tables(), &mut foldings[place..], checkpoint.position, report).await?;
    }
    Ok(checkpoints.into_iter().zip(foldings).collect())
}

fn differing(live: &Checkpoint, rebuilt: &Checkpoint) -> Vec<FieldFound> {
    let field = |field: &str, live: String, rebuilt: String| FieldFound {
        field: field.to_owned(),
        live: Some(live),
        rebuilt: Some(rebuilt),
    };
    let fields = [
        field("position", live.position.to_string(), rebuilt.position.to_string()),
        field("events", live.tally.events.to_string(), rebuilt.tally.events.to_string()),
        field("digest", live.tally.hex(), rebuilt.tally.hex()),
    ];
    fields.into_iter().filter(|field| field.live != field.rebuilt).collect()
}

impl From<Difference> for RowFound {
    fn from(difference: Difference) -> Self {
        let finding = match difference.kind {
            DifferenceKind::Changed => Finding::Differs,
            DifferenceKind::OnlyInFirst => Finding::Surplus,
            DifferenceKind::OnlyInSecond => Finding::Missing,
        };
        let field = |FieldDifference { field, first, second }| FieldFound { field, live: first, rebuilt: second };
        Self { row: difference.row, finding, fields: difference.fields.into_iter().map(field).collect() }
    }
}
