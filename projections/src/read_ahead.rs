//! The log as a sequence of pages, the next ones read while one is worked on.

use std::sync::Arc;

use domain::log::{Log, LogError, Page};
use tokio::sync::mpsc;

/// Pages that wait to be worked on, beside the one that is worked on and the one that is read.
const PAGES_WAITING_MAX: usize = 1;
/// Events of a page: three of them are in memory.
const PAGE_EVENTS: usize = 5_000;

/// Some part of the log, from one position through another.
pub struct ReadAhead {
    pages: mpsc::Receiver<Result<Page, LogError>>,
}

impl ReadAhead {
    /// The events after `after` up to `through` (or the end of the log), of `aggregate_types` only unless that is empty.
    pub fn new(log: &Arc<dyn Log>, after: u64, through: u64, aggregate_types: &[&'static str]) -> Self {
        let (send, pages) = mpsc::channel(PAGES_WAITING_MAX);
        let (log, aggregate_types) = (Arc::clone(log), aggregate_types.to_vec());
        tokio::spawn(async move {
            let mut after = after;
            while after < through {
                let page = log.read_all(after, &aggregate_types, PAGE_EVENTS).await;
                let page = page.map(|page| up_to(page, through));
                let next = page.as_ref().map_or(after, |page| page.through);
                // Nothing new is the end of the log, or a failure that must be told.
                let last = next == after;
                if last && page.is_ok() {
                    return;
                }
                // Nobody listening is the end of the work.
                if send.send(page).await.is_err() || last {
                    return;
                }
                after = next;
            }
        });
        Self { pages }
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// What the log said; nothing comes after it.
    pub async fn next(&mut self) -> Result<Option<Page>, LogError> {
        self.pages.recv().await.transpose()
    }
}

fn up_to(mut page: Page, through: u64) -> Page {
    if page.through > through {
        page.events.retain(|event| event.position <= through);
        page.through = through;
    }
    page
}
