//! What a read model is.

use std::hash::Hash;

use domain::event::{DecodeError, Recorded};
use sea_orm::sea_query::IndexCreateStatement;
use sea_orm::{DbErr, EntityTrait, FromQueryResult, IntoActiveModel, ModelTrait};

/// A list, as a pure function of the log.
///
/// The table comes from the row type (a SeaORM entity); its name ends in the version (`recharge_codes_v1`), so that a
/// changed row is a new table that is built beside the old one.
pub trait Projection: Send + Sync + 'static {
    /// The table.
    type Entity: EntityTrait<Model = Self::Row>;
    /// One row.
    type Row: ModelTrait<Entity = Self::Entity>
        + FromQueryResult
        + IntoActiveModel<<Self::Entity as EntityTrait>::ActiveModel>
        + Clone
        + PartialEq
        + Send
        + Sync;
    /// The primary key of a row.
    type Key: Clone + Eq + Ord + Hash + Into<sea_orm::Value> + Send + Sync;
    /// What it understands of the log, decoded once.
    type Event: Send + Sync;

    /// The name that operators see; the table's name without its version.
    const NAME: &'static str;
    /// The table, version included, as the entity names it.
    const TABLE: &'static str;
    /// The sorts of aggregates whose events it consumes.
    const CONSUMES: &'static [&'static str];
    /// Whether a row is of one event alone, and never touched again: then none is looked up or kept in memory.
    const APPENDS: bool = false;

    /// The event as this projection reads it; `None` when it means nothing to it.
    ///
    /// # Errors
    /// When the stored event cannot be read.
    fn decode(recorded: &Recorded) -> Result<Option<Self::Event>, DecodeError>;

    /// The rows that the event touches.
    fn keys(event: &Self::Event, recorded: &Recorded) -> Vec<Self::Key>;

    /// The row under `key` after the event: pure, and the only place where rows change.
    fn fold(row: Option<Self::Row>, key: &Self::Key, event: &Self::Event, recorded: &Recorded) -> Option<Self::Row>;

    /// The key of a row.
    fn key(row: &Self::Row) -> Self::Key;

    /// Indexes beyond the primary key and the columns marked `indexed`.
    fn indexes() -> Vec<IndexCreateStatement> {
        Vec::new()
    }
}

/// Why a batch could not be projected.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// An event cannot be read: this projection stops, the others go on.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The database of the read models: may pass.
    #[error("the read models are unavailable: {0}")]
    Database(#[from] DbErr),
    /// The log: may pass.
    #[error(transparent)]
    Log(#[from] domain::log::LogError),
    /// Somebody else moved the checkpoint or replaced the table meanwhile.
    #[error("the table {0} was moved on or replaced by somebody else")]
    Overtaken(&'static str),
}
