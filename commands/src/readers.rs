//! Waiting until the readers of this server have passed a position, so that a client reads its own writes.

use std::time::Duration;

use tokio::sync::watch;

/// How long an answer waits for the readers.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Process managers that react to process managers: how many steps of such a chain are waited for.
const CHAIN_MAX: usize = 8;

/// The readers have not come so far in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the read models have not reached position {position} yet")]
pub struct NotYet {
    pub position: u64,
}

/// How far the process managers have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handled {
    /// Every event up to here has been handled.
    pub through: u64,
    /// The highest position of an event that this caused.
    pub produced: u64,
}

/// The readers that an answer waits for.
#[derive(Clone)]
pub struct Readers {
    projections: watch::Receiver<u64>,
    processes: watch::Receiver<Handled>,
}

impl Readers {
    /// Waits for these.
    pub fn new(projections: watch::Receiver<u64>, processes: watch::Receiver<Handled>) -> Self {
        Self { projections, processes }
    }

    /// Returns when the process managers have handled everything up to `position`, and the projections show it and
    /// whatever that caused. Answers the position that was waited for.
    ///
    /// # Errors
    /// [`NotYet`] after five seconds.
    pub async fn passed(&self, position: u64) -> Result<u64, NotYet> {
        tokio::time::timeout(WAIT_MAX, self.chain(position)).await.map_err(|_| NotYet { position })
    }

    /// Returns when the projections have reached `position`.
    ///
    /// # Errors
    /// [`NotYet`] after five seconds.
    pub async fn projected(&self, position: u64) -> Result<(), NotYet> {
        let mut projections = self.projections.clone();
        let waited = tokio::time::timeout(WAIT_MAX, projections.wait_for(|reached| *reached >= position)).await;
        waited.map(|_| ()).map_err(|_| NotYet { position })
    }

    /// How far the process managers have come.
    pub fn handled(&self) -> Handled {
        *self.processes.borrow()
    }

    /// The position that the projections have reached.
    pub fn position(&self) -> u64 {
        *self.projections.borrow()
    }

    async fn chain(&self, mut position: u64) -> u64 {
        let mut processes = self.processes.clone();
        for _ in 0..CHAIN_MAX {
            let produced = match processes.wait_for(|handled| handled.through >= position).await {
                Ok(handled) => handled.produced,
                // The runner is gone: the server is shutting down.
                Err(_) => break,
            };
            if produced <= position {
                break;
            }
            position = produced;
        }
        let _ = self.projections.clone().wait_for(|reached| *reached >= position).await;
        position
    }
}
