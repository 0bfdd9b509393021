//! What others see of the projections.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::checkpoint::Checkpoint;

/// What operators see of one projection.
#[derive(Debug, Clone)]
pub struct ProjectionStatus {
    pub table: &'static str,
    pub checkpoint: Checkpoint,
    /// Why it stopped, when it did.
    pub halted: Option<String>,
}

/// The state of all projections, by name.
pub type Statuses = BTreeMap<&'static str, ProjectionStatus>;

/// What others see of the projections, wherever it is known: in the runner, or where a batch was written.
#[derive(Clone, Default)]
pub(super) struct Published {
    /// The position that every projection has reached.
    pub(super) position: watch::Sender<u64>,
    pub(super) statuses: watch::Sender<Arc<Statuses>>,
    /// Why all projections stand still, while they do.
    pub(super) paused: watch::Sender<Option<String>>,
}

impl Published {
    /// Where the projections are, by what the tables say.
    pub(super) fn show(&self, statuses: Statuses, reached: u64) {
        self.statuses.send_replace(Arc::new(statuses));
        self.position.send_if_modified(|position| std::mem::replace(position, reached) != reached);
    }

    /// All projections stand still.
    pub(super) fn pause(&self, reason: String) {
        self.paused.send_replace(Some(reason));
    }

    /// Whatever stood in the way has passed.
    pub(super) fn go_on(&self) {
        self.paused.send_if_modified(|paused| paused.take().is_some());
    }
}
