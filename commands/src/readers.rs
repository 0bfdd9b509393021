//! Waiting until the readers of this server have passed a position, so that a client reads its own writes.

mod handled;
mod reached;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use self::handled::Caused;
pub use self::handled::Handled;
use self::reached::Reached;

/// How long an answer waits for the readers.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Process managers that react to process managers: how many steps of such a chain are waited for.
const CHAIN_MAX: usize = 8;
/// So many events the projections may be behind answers that do not wait for them.
const BEHIND_MAX: u64 = 4_096;

/// The readers have not come so far in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the read models have not reached position {position} yet")]
pub struct NotYet {
    pub position: u64,
}

/// The readers that an answer waits for.
#[derive(Clone)]
pub struct Readers {
    projections: Arc<Reached<u64>>,
    wanted: watch::Sender<u64>,
    processes: Arc<Reached<Handled>>,
    /// Whether this server alone shows what its clients did.
    alone: bool,
    /// The highest position of an answer that did not wait for the projections.
    owed: Arc<AtomicU64>,
}

impl Readers {
    /// Waits for these, and tells the projections by `wanted` which position an answer waits for. Where the server is not
    /// `alone`, others show the same projections, and know nothing of what is owed here.
    pub fn new(
        projections: watch::Receiver<u64>,
        wanted: watch::Sender<u64>,
        processes: watch::Receiver<Handled>,
        alone: bool,
    ) -> Self {
        let (projections, processes) = (Reached::of(projections), Reached::of(processes));
        Self { projections, wanted, processes, alone, owed: Arc::default() }
    }

    /// Returns when the process managers have handled everything up to `position`, and the projections show it and
    /// whatever that caused. Answers the position that was waited for.
    ///
    /// # Errors
    /// [`NotYet`] after five seconds.
    pub async fn passed(&self, position: u64) -> Result<u64, NotYet> {
        tokio::time::timeout(WAIT_MAX, self.chain(position)).await.map_err(|_| NotYet { position })
    }

    /// Returns when the process managers have handled everything up to `position`, for an answer that shows nothing of a
    /// projection: whoever reads one [later](Self::shown) waits for it. Answers the position that they owe. The same as
    /// [`passed`](Self::passed) where other servers show the projections, too.
    ///
    /// # Errors
    /// [`NotYet`] after five seconds.
    pub async fn handled_through(&self, position: u64) -> Result<u64, NotYet> {
        if !self.alone {
            return self.passed(position).await;
        }
        let handled = async {
            let position = self.caused(position).await;
            self.owed.fetch_max(position, Ordering::SeqCst);
            // Under a load that projections cannot follow, answers wait for them in the end.
            self.projections.wait(position.saturating_sub(BEHIND_MAX)).await;
            position
        };
        self.owed.fetch_max(position, Ordering::SeqCst);
        tokio::time::timeout(WAIT_MAX, handled).await.map_err(|_| NotYet { position })
    }

    /// Returns when the projections show everything that was answered before: for whoever is about to read one.
    ///
    /// # Errors
    /// [`NotYet`] after five seconds.
    pub async fn shown(&self) -> Result<(), NotYet> {
        self.projected(self.owed.load(Ordering::SeqCst)).await
    }

    /// Returns when the projections have reached `position`.
    ///
    /// # Errors
    /// [`NotYet`] after five seconds.
    pub async fn projected(&self, position: u64) -> Result<(), NotYet> {
        if self.position() >= position {
            return Ok(());
        }
        // A number that a client thought of, and that the log may not have, hurries nobody.
        if position <= self.handled().through {
            self.hurry(position);
        }
        self.wait(position).await
    }

    /// Returns when the projections have gone beyond `position`, whenever that is: for whoever waits for anything new.
    ///
    /// # Errors
    /// [`NotYet`] after five seconds.
    pub async fn beyond(&self, position: u64) -> Result<(), NotYet> {
        self.wait(position.saturating_add(1)).await
    }

    async fn wait(&self, position: u64) -> Result<(), NotYet> {
        let waited = tokio::time::timeout(WAIT_MAX, self.projections.wait(position)).await;
        waited.map_err(|_| NotYet { position })
    }

    /// How far the process managers have come.
    pub fn handled(&self) -> Handled {
        self.processes.now()
    }

    /// The position that the projections have reached.
    pub fn position(&self) -> u64 {
        self.projections.now()
    }

    async fn chain(&self, position: u64) -> u64 {
        let position = self.caused(position).await;
        self.hurry(position);
        self.projections.wait(position).await;
        position
    }

    /// Waits for the process managers, and answers the position of the last event that came of those up to `position`.
    async fn caused(&self, mut position: u64) -> u64 {
        self.processes.wait(position).await;
        position = position.max(self.handled().caused_by_requests(position));
        for _ in 0..CHAIN_MAX {
            self.processes.wait(position).await;
            let caused = self.handled().caused_by_processes(position);
            if caused <= position {
                break;
            }
            position = caused;
        }
        position
    }

    /// Tells the projections not to let events gather before they have reached `position`.
    fn hurry(&self, position: u64) {
        self.wanted.send_if_modified(|wanted| {
            let higher = position > *wanted;
            *wanted = position.max(*wanted);
            higher
        });
    }
}

#[cfg(test)]
mod tests;
