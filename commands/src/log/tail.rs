//! The end of the log in memory: how far it reaches, and its newest events.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

use domain::Recorded;
use domain::log::{PAGE_EVENTS_MAX, Page};
use tokio::sync::watch;

const EVENTS_MAX: usize = 2 * PAGE_EVENTS_MAX;
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a record takes beside its texts, roughly.
const RECORD_BYTES: usize = 256;

/// Readers who are nearly up to date read here what was just appended; writers wake them.
#[derive(Debug)]
pub(super) struct Tail {
    recent: RwLock<Recent>,
    head: watch::Sender<u64>,
}

/// Events without a gap between them.
#[derive(Debug, Default)]
struct Recent {
    events: VecDeque<Recorded>,
    bytes: usize,
}

impl Tail {
    pub(super) fn new(head: u64) -> Self {
        Self { recent: RwLock::default(), head: watch::Sender::new(head) }
    }

    /// The highest position known of.
    pub(super) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// Returns when the log reaches beyond `position`.
    pub(super) async fn grown(&self, position: u64) {
        // The sender is in `self`, so the wait cannot end otherwise.
        let _ = self.head.subscribe().wait_for(|head| *head > position).await;
    }

    /// Tells everybody who waits that the log reaches to `head`.
    pub(super) fn advance(&self, head: u64) {
        self.head.send_if_modified(|known| {
            let grown = head > *known;
            *known = head.max(*known);
            grown
        });
    }

    /// Takes in events that are durable, in order of position.
    pub(super) fn append(&self, events: impl IntoIterator<Item = Recorded>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        events.into_iter().for_each(|event| recent.push(event));
        let last = recent.events.back().map(|event| event.position);
        drop(recent);
        last.inspect(|head| self.advance(*head));
    }

    /// What [`domain::log::Log::read_all`] gives, or `None` when the event after `after` is not in memory.
    pub(super) fn page(&self, after: u64, aggregate_types: &[&str], limit: usize) -> Option<Page> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let first = recent.events.front()?.position;
        let skip = usize::try_from(after.checked_add(1)?.checked_sub(first)?).ok()?;
        let mut page = Page { events: Vec::new(), through: recent.events.get(skip)?.position };
        for event in recent.events.range(skip..) {
            page.through = event.position;
            if wanted(aggregate_types, &event.aggregate_type) {
                page.events.push(event.clone());
                if page.events.len() >= limit {
                    break;
                }
            }
        }
        Some(page)
    }
}

impl Recent {
    fn push(&mut self, event: Recorded) {
        // Another server may have appended in between; what is kept has no holes.
        if self.events.back().is_some_and(|last| last.position + 1 != event.position) {
            *self = Self::default();
        }
        self.bytes += bytes(&event);
        self.events.push_back(event);
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= bytes(&oldest);
        }
    }
}

fn bytes(event: &Recorded) -> usize {
    RECORD_BYTES + event.payload.len() + event.metadata.len()
}

/// Whether a filter by sorts of aggregates lets `aggregate_type` through.
pub(super) fn wanted(aggregate_types: &[&str], aggregate_type: &str) -> bool {
    aggregate_types.is_empty() || aggregate_types.contains(&aggregate_type)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use domain::TenantId;
    use uuid::Uuid;

    use super::*;

    fn event(position: u64) -> Recorded {
        let text: Arc<str> = "lead".into();
        Recorded {
            position,
            event_id: Uuid::nil(),
            aggregate_type: text.clone(),
            aggregate_id: text.clone().into(),
            sequence: 1,
            event_type: text.clone(),
            event_version: 1,
            payload: text.clone().into(),
            tenant: TenantId::DEFAULT,
            metadata: text.into(),
            recorded_at: DateTime::UNIX_EPOCH,
        }
    }
    fn positions(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.position).collect()
    }

    #[test]
    fn it_answers_only_from_where_it_has_everything() {
        let tail = Tail::new(4);
        tail.append([event(5), event(6), event(7)]);
        assert!(tail.page(3, &[], 10).is_none());
        assert_eq!(positions(&tail.page(4, &[], 10).unwrap()), [5, 6, 7]);
        assert_eq!(positions(&tail.page(5, &[], 1).unwrap()), [6]);
        assert_eq!(tail.page(4, &["deal"], 10).unwrap().through, 7);
        assert!(tail.page(7, &[], 10).is_none());
    }

    #[test]
    fn a_gap_empties_it() {
        let tail = Tail::new(0);
        tail.append([event(1), event(2), event(4)]);
        assert!(tail.page(1, &[], 10).is_none());
        assert_eq!(positions(&tail.page(3, &[], 10).unwrap()), [4]);
        assert_eq!(tail.head(), 4);
    }

    #[test]
    fn it_is_bounded() {
        let tail = Tail::new(0);
        let count = EVENTS_MAX as u64 + 5;
        tail.append((1..=count).map(event));
        assert!(tail.page(4, &[], 1).is_none());
        assert_eq!(positions(&tail.page(5, &[], 1).unwrap()), [6]);
    }
}
