//! Waiting until the readers of this server have passed a position, so that a client reads its own writes.

mod handled;
mod reached;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use self::handled::Caused;
pub use self::handled::Handled;
use self::reached::Reached;

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

/// The readers that an answer waits for.
#[derive(Clone)]
pub struct Readers {
    projections: Arc<Reached<u64>>,
    wanted: watch::Sender<u64>,
    processes: Arc<Reached<Handled>>,
}

impl Readers {
    /// Waits for these, and tells the projections by `wanted` which position an answer waits for.
    pub fn new(
        projections: watch::Receiver<u64>,
        wanted: watch::Sender<u64>,
        processes: watch::Receiver<Handled>,
    ) -> Self {
        Self { projections: Reached::of(projections), wanted, processes: Reached::of(processes) }
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
        // Nobody is hurried: the position may be any number that a client thought of.
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

    async fn chain(&self, mut position: u64) -> u64 {
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
        self.hurry(position);
        self.projections.wait(position).await;
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
