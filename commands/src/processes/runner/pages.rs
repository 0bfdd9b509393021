//! Pages of the log that are being handled: several at once, so that none waits for what the one before it caused to be
//! durable. Events of one stream are handled in order all the same.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use domain::Text;
use domain::event::Recorded;
use domain::log::Page;
use futures::future::BoxFuture;
use futures::stream::{self, FuturesOrdered, StreamExt};

use crate::readers::Caused;

/// Streams whose events are handled at the same time. Another page is begun while there are fewer.
const STREAMS_AT_ONCE: usize = 256;

type Stream = (Arc<str>, Text);
type Streams = BTreeMap<Stream, Vec<Recorded>>;

/// A page that has been handled.
struct Done {
    through: u64,
    caused: Caused,
    streams: Vec<Stream>,
}

/// Pages of the log, handled in their order as far as anybody can see.
pub(super) struct Pages<'a> {
    handling: FuturesOrdered<BoxFuture<'a, Done>>,
    /// Of which events are being handled.
    busy: HashSet<Stream>,
    /// Read, but with events of a stream that is busy: it begins when no other page is being handled.
    held_back: Option<(Vec<Stream>, BoxFuture<'a, Done>)>,
}

impl<'a> Pages<'a> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { handling: FuturesOrdered::new(), busy: HashSet::new(), held_back: None }
    }

    /// Whether another page may begin.
    pub(super) fn have_room(&self) -> bool {
        self.held_back.is_none() && self.busy.len() < STREAMS_AT_ONCE
    }

    /// Begins to handle `page`, which follows the one that was begun last. `handle` is given the events of one stream.
    pub(super) fn begin<H>(&mut self, page: Page, handle: impl Fn(Vec<Recorded>) -> H + Send + 'a)
    where
        H: Future<Output = Caused> + Send + 'a,
    {
        let events = by_stream(page.events);
        let streams: Vec<Stream> = events.keys().cloned().collect();
        let handled: BoxFuture<'a, Done> = Box::pin(handled(page.through, events, handle));
        if streams.iter().any(|stream| self.busy.contains(stream)) {
            self.held_back = Some((streams, handled));
        } else {
            self.start(streams, handled);
        }
    }

    fn start(&mut self, streams: Vec<Stream>, handled: BoxFuture<'a, Done>) {
        self.busy.extend(streams);
        self.handling.push_back(handled);
    }

    /// The next page that has been handled, all those before it too: how far that is, and what came of it. `None` when
    /// no page is being handled.
    pub(super) async fn next(&mut self) -> Option<(u64, Caused)> {
        let Done { through, caused, streams } = self.handling.next().await?;
        for stream in streams {
            self.busy.remove(&stream);
        }
        if self.handling.is_empty()
            && let Some((streams, handled)) = self.held_back.take()
        {
            self.start(streams, handled);
        }
        Some((through, caused))
    }
}

fn by_stream(events: Vec<Recorded>) -> Streams {
    let mut streams = Streams::new();
    for event in events {
        let stream = (Arc::clone(&event.aggregate_type), event.aggregate_id.clone());
        streams.entry(stream).or_default().push(event);
    }
    streams
}

async fn handled<H>(through: u64, streams: Streams, handle: impl Fn(Vec<Recorded>) -> H) -> Done
where
    H: Future<Output = Caused>,
{
    let (streams, events): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
    let handling = stream::iter(events).map(handle).buffer_unordered(STREAMS_AT_ONCE);
    let caused = handling.fold(Caused::default(), async |a: Caused, b| a.max(b)).await;
    Done { through, caused, streams }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use domain::TenantId;
    use domain::log::{Append, Log, NewEvent};
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;
    use crate::log::MemoryLog;

    /// A page for each of `events`, which says of which stream it is and its sequence there.
    async fn pages_of(events: &[(&str, u64)]) -> Vec<Page> {
        let (log, mut pages) = (MemoryLog::new(), Vec::new());
        for (after, (stream, sequence)) in (0..).zip(events) {
            let event = NewEvent {
                event_id: Uuid::nil(),
                event_type: "lead.noted",
                event_version: 1,
                payload: "{}".to_owned(),
            };
            let append = Append {
                aggregate_type: "lead",
                aggregate_id: (*stream).to_owned(),
                expected_sequence: sequence - 1,
                events: vec![event],
                tenant: TenantId::DEFAULT,
                metadata: "{}".to_owned(),
                key: None,
            };
            log.append(append).await.unwrap();
            pages.push(log.read_all(after, &[], 1).await.unwrap());
        }
        pages
    }

    fn at(position: u64) -> Caused {
        Caused { by_requests: position, by_processes: 0 }
    }

    #[tokio::test]
    async fn pages_are_done_in_their_order_and_handled_at_the_same_time() {
        let first_may_end = Semaphore::new(0);
        let mut pages = Pages::new();
        for page in pages_of(&[("a", 1), ("b", 1)]).await {
            pages.begin(page, async |events: Vec<Recorded>| {
                let position = events[0].position;
                if position == 1 {
                    drop(first_may_end.acquire().await);
                } else {
                    first_may_end.add_permits(1);
                }
                at(position)
            });
        }
        assert_eq!(pages.next().await, Some((1, at(1))));
        assert_eq!(pages.next().await, Some((2, at(2))));
        assert_eq!(pages.next().await, None);
    }

    #[tokio::test]
    async fn events_of_one_stream_are_never_handled_at_the_same_time() {
        let order = Mutex::new(Vec::new());
        let handle = async |events: Vec<Recorded>| {
            let position = events[0].position;
            order.lock().unwrap().push(position);
            tokio::task::yield_now().await;
            order.lock().unwrap().push(position);
            at(position)
        };
        let mut pages = Pages::new();
        for page in pages_of(&[("a", 1), ("b", 1), ("a", 2)]).await {
            pages.begin(page, handle);
        }
        assert!(!pages.have_room(), "nothing overtakes the page that is held back");
        while pages.next().await.is_some() {}
        assert!(pages.have_room());
        drop(pages);
        assert_eq!(order.into_inner().unwrap(), [1, 2, 1, 2, 3, 3]);
    }
}
