//! What changed in read models between two moments.

use std::sync::Arc;

use domain::log::Log;
use projections::{Difference, DifferenceKind};
use sea_orm::TransactionTrait;
use serde::Serialize;

use crate::error::ReplayError;
use crate::moment::Moment;
use crate::progress::Progress;
use crate::projections_named;

/// What changed between two positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    pub from: u64,
    pub to: u64,
    pub projections: Vec<ProjectionDiff>,
}

/// What changed in one read model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProjectionDiff {
    pub projection: String,
    pub rows: Vec<RowDiff>,
    /// There are more of them than were asked for.
    pub more: bool,
}

/// A row that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowDiff {
    pub row: String,
    pub change: Change,
    pub fields: Vec<FieldDiff>,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Added,
    Removed,
    Changed,
}

/// A field before and after; null where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDiff {
    pub field: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What changed from `from` to `to` in `projection`, or in all, at most `limit` rows each.
///
/// # Errors
/// When there is no such projection, the log does not answer, or an event cannot be read.
pub async fn diff(
    log: &Arc<dyn Log>,
    projection: Option<&str>,
    (from, to): (Moment, Moment),
    limit: usize,
    progress: &dyn Progress,
) -> Result<Diff, ReplayError> {
    let (from, to) = (from.position(log.as_ref()).await?, to.position(log.as_ref()).await?);
    let report = |position| progress.at("folding to the first moment", position, from);
    let before = projections::scratch::build(log, projections_named(projection)?, from, report).await?;
    let report = |position| progress.at("folding to the second moment", position, to);
    let after = projections::scratch::build(log, projections_named(projection)?, to, report).await?;
    let (before, after) = (before.begin().await?, after.begin().await?);
    let mut projections = Vec::new();
    for projector in projections_named(projection)? {
        let mut found = projector.compare(&before, &after, limit + 1).await?.differences;
        let more = found.len() > limit;
        found.truncate(limit);
        let rows = found.into_iter().map(RowDiff::from).collect();
        projections.push(ProjectionDiff { projection: projector.name().to_owned(), rows, more });
    }
    Ok(Diff { from, to, projections })
}

impl From<Difference> for RowDiff {
    fn from(difference: Difference) -> Self {
        let fields = difference.fields.into_iter().map(|field| FieldDiff {
            field: field.field,
            before: field.first,
            after: field.second,
        });
        let change = match difference.kind {
            DifferenceKind::Changed => Change::Changed,
            DifferenceKind::OnlyInFirst => Change::Removed,
            DifferenceKind::OnlyInSecond => Change::Added,
        };
        Self { row: difference.row, change, fields: fields.collect() }
    }
}
