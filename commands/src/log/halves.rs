//! Long pages, read in two halves at once: making events of rows takes longer than finding them.

use domain::log::{LogError, Page};

/// Shorter pages are not worth a second query.
const EVENTS_MIN: usize = 2_000;

/// The page of at most `limit` events after `after`, none of which is filtered out. `read` is given the same for a half.
pub(super) async fn page<P>(after: u64, limit: usize, read: impl Fn(u64, usize) -> P) -> Result<Page, LogError>
where
    P: Future<Output = Result<Page, LogError>>,
{
    if limit < EVENTS_MIN {
        return read(after, limit).await;
    }
    let half = limit / 2;
    let middle = after.saturating_add(half as u64);
    let (mut page, rest) = futures::future::try_join(read(after, half), read(middle, limit - half)).await?;
    // It ends before the middle when it was too heavy, or the log does.
    if page.through == middle {
        page.events.extend(rest.events);
        page.through = page.through.max(rest.through);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use super::*;

    /// Of a log of so many events that are not looked at.
    fn read(head: u64, after: u64, limit: usize) -> Ready<Result<Page, LogError>> {
        ready(Ok(Page { events: Vec::new(), through: head.min(after + limit as u64).max(after) }))
    }

    #[tokio::test]
    async fn it_ends_where_the_log_does() {
        for (head, through) in [(0, 100), (3_000, 3_000), (6_000, 6_000), (90_000, 10_100)] {
            let page = page(100, 10_000, |after, limit| read(head, after, limit)).await.unwrap();
            assert_eq!(page.through, through);
        }
    }

    #[tokio::test]
    async fn a_half_that_is_too_heavy_ends_it() {
        let heavy = |after: u64, _| ready(Ok(Page { events: Vec::new(), through: after + 7 }));
        assert_eq!(page(100, 10_000, heavy).await.unwrap().through, 107);
    }
}
