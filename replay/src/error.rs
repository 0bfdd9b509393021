//! What can go wrong in a replay.

use domain::event::DecodeError;
use domain::log::LogError;
use projections::ProjectionError;
use sea_orm::DbErr;

/// Why a replay came to no result.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    #[error("the read models are unavailable: {0}")]
    Database(#[from] DbErr),
    #[error("the table {table} cannot be compared: {error}")]
    Compared { table: &'static str, error: DbErr },
    #[error("there is no projection {name}; there are: {known}")]
    UnknownProjection { name: String, known: String },
    #[error("there is no sort of aggregate {name}; there are: {known}")]
    UnknownAggregate { name: String, known: String },
    #[error("there is no event {name}; there are: {known}")]
    UnknownEvent { name: String, known: String },
    /// Secrets, kept commands and readers are for another installation, which takes no table.
    #[error("--full is for ndjson: a table cannot be imported")]
    FullTable,
    #[error("the range ends before it begins")]
    Backwards,
    /// Somebody else does the same at the moment.
    #[error("another {0} is under way")]
    Busy(&'static str),
    /// The state of an aggregate cannot be shown.
    #[error("the state cannot be shown: {0}")]
    State(serde_json::Error),
    /// Writing what was asked for.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
    /// Reading what is to be imported.
    #[error("the file cannot be read: {0}")]
    Input(std::io::Error),
    #[error("line {line}: {reason}")]
    Import { line: u64, reason: String },
    /// What is to be imported is not what was exported.
    #[error("the file was cut off or changed since it was exported: {0}")]
    NotWhole(String),
}

impl From<csv::Error> for ReplayError {
    fn from(error: csv::Error) -> Self {
        Self::Output(error.into())
    }
}
