//! One transaction in the making, beside which the next events are folded.

use tokio::task::JoinHandle;

use crate::database::Tables;
use crate::projection::ProjectionError;
use crate::writer::{Batch, failed};

/// At most one transaction. It goes on when this is dropped: a batch is written as a whole or not at all.
#[derive(Default)]
pub(super) struct Writing {
    task: Option<JoinHandle<Result<(), ProjectionError>>>,
}

impl Writing {
    /// Whether nothing is being written.
    pub(super) fn is_over(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Writes `batch`, and calls `written` when that is done. The one before must be [`over`](Self::over).
    pub(super) fn begin(&mut self, tables: &Tables, batch: Batch, written: impl FnOnce() + Send + 'static) {
        let tables = tables.clone();
        self.task = Some(tokio::spawn(async move {
            tables.write(batch).await?;
            written();
            Ok(())
        }));
    }

    /// Returns when nothing is being written; may be dropped before.
    ///
    /// # Errors
    /// Why the transaction failed.
    pub(super) async fn over(&mut self) -> Result<(), ProjectionError> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let outcome = task.await;
        self.task = None;
        outcome.unwrap_or_else(|panic| Err(failed(&panic).into()))
    }
}
