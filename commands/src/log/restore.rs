//! Filling an empty log with what another one held.

use async_trait::async_trait;
use domain::Recorded;
use domain::log::{CommandUnderKey, LogError};

/// A log that is being filled: everything stands in it as it stood where it comes from, positions, ids and times
/// included. Nobody sees any of it before [`commit`](Self::commit), and nothing is left of it without.
#[async_trait]
pub trait Restore: Send {
    /// Takes the next events. Their positions follow each other from 1; whoever calls has checked that.
    async fn events(&mut self, events: Vec<Recorded>) -> Result<(), LogError>;

    /// Takes commands that may be repeated.
    async fn commands(&mut self, commands: Vec<CommandUnderKey>) -> Result<(), LogError>;

    /// Takes how far a reader had come.
    async fn reader_position(&mut self, reader: String, position: u64) -> Result<(), LogError>;

    /// Makes all of it durable.
    async fn commit(self: Box<Self>) -> Result<(), LogError>;
}

/// Only an empty log may be filled.
pub(super) fn not_empty() -> LogError {
    LogError::Unavailable("the log is not empty: only an empty one can be filled".to_owned())
}
