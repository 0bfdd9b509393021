//! Events of the log, filtered and paged.

use domain::event::Recorded;
use domain::log::{Log, LogError, PAGE_EVENTS_MAX};
use domain::metadata::TenantId;
use serde::Deserialize;

use crate::aggregates::{AGGREGATES, AggregateType};
use crate::error::ReplayError;

/// How many positions one page looks through: filters that let little through give short pages, not slow ones.
const POSITIONS_MAX: u64 = 200_000;

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub tenant: Option<TenantId>,
    /// An event's name, or what it begins with up to a dot: `recharge_code` for all events of recharge codes.
    pub event_type: Option<String>,
    /// Such as `user:<id>` or `process:<name>`.
    pub actor: Option<String>,
    /// The sort and the id of one aggregate.
    pub stream: Option<(String, String)>,
}

/// Some events of a part of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsPage {
    pub events: Vec<Recorded>,
    /// Everything up to here has been looked at: the next page comes after it.
    pub through: u64,
    /// Whether the part of the log has more to look at.
    pub more: bool,
}

#[derive(Deserialize)]
struct Actor<'a> {
    #[serde(borrow)]
    actor: std::borrow::Cow<'a, str>,
}

impl EventFilter {
    /// Whether the event is wanted.
    pub fn lets_through(&self, event: &Recorded) -> bool {
        let of_tenant = self.tenant.is_none_or(|tenant| tenant == event.tenant);
        let of_type = self.event_type.as_deref().is_none_or(|wanted| is_of_type(&event.event_type, wanted));
        let of_stream = self
            .stream
            .as_ref()
            .is_none_or(|(sort, id)| **sort == *event.aggregate_type && **id == *event.aggregate_id);
        of_tenant && of_type && of_stream && self.actor.as_deref().is_none_or(|wanted| is_by(event, wanted))
    }

    /// The sorts of aggregates that wanted events are of; empty when they may be of any.
    pub fn aggregate_types(&self) -> Vec<&'static str> {
        let of_type = self.event_type.as_deref().and_then(|wanted| wanted.split('.').next());
        let wanted = self.stream.as_ref().map(|(sort, _)| sort.as_str()).or(of_type);
        let known = AGGREGATES.iter().find(|aggregate| Some(aggregate.name) == wanted);
        known.map(|aggregate| aggregate.name).into_iter().collect()
    }
}

/// Makes sure that there are events called `event_type`, or a sort of aggregate.
///
/// # Errors
/// [`ReplayError::UnknownAggregate`] or [`ReplayError::UnknownEvent`], with what there is.
pub fn known_event(event_type: &str) -> Result<(), ReplayError> {
    let sort = event_type.split('.').next().unwrap_or_default();
    let aggregate = AggregateType::named(sort)?;
    if event_type == aggregate.name || aggregate.events.iter().any(|(name, _)| *name == event_type) {
        return Ok(());
    }
    let known = aggregate.events.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    Err(ReplayError::UnknownEvent { name: event_type.to_owned(), known })
}

fn is_of_type(event_type: &str, wanted: &str) -> bool {
    event_type.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_by(event: &Recorded, wanted: &str) -> bool {
    serde_json::from_str::<Actor>(&event.metadata).is_ok_and(|metadata| metadata.actor == wanted)
}

/// The next at most `limit` events after `after`, up to `through`, that `filter` lets through.
///
/// # Errors
/// When the log does not answer.
pub async fn page(
    log: &dyn Log,
    filter: &EventFilter,
    (after, through): (u64, u64),
    limit: usize,
) -> Result<EventsPage, LogError> {
    let mut found = Vec::new();
    if let Some((sort, id)) = &filter.stream {
        let stream = log.read_stream(sort, id, 0).await?;
        found.extend(stream.into_iter().filter(|event| event.position > after));
        return Ok(cut(found, filter, (through, through), limit));
    }
    let types = filter.aggregate_types();
    let (mut reached, last) = (after, through.min(after.saturating_add(POSITIONS_MAX)));
    // Most often the next few events are those that are wanted.
    let mut next = limit + 1;
    while reached < last && found.len() <= limit {
        let page = log.read_all(reached, &types, next).await?;
        if page.through == reached {
            break;
        }
        reached = page.through;
        found.extend(page.events.into_iter().filter(|event| filter.lets_through(event)));
        next = PAGE_EVENTS_MAX;
    }
    Ok(cut(found, filter, (reached.max(after).min(through), through), limit))
}

fn cut(found: Vec<Recorded>, filter: &EventFilter, (reached, through): (u64, u64), limit: usize) -> EventsPage {
    let within = |event: &Recorded| event.position <= through && filter.lets_through(event);
    let mut events: Vec<Recorded> = found.into_iter().filter(within).collect();
    if events.len() <= limit {
        return EventsPage { events, through: reached, more: reached < through };
    }
    events.truncate(limit);
    let last = events.last().map_or(reached, |event| event.position);
    EventsPage { events, through: last, more: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_whole_words() {
        assert!(is_of_type("recharge_code.redeemed", "recharge_code"));
        assert!(is_of_type("recharge_code.redeemed", "recharge_code.redeemed"));
        assert!(!is_of_type("recharge_code.redeemed", "recharge"));
        assert!(!is_of_type("user.registered", "username"));
    }

    #[test]
    fn a_type_names_the_sort_of_aggregate() {
        let filter =
            |event_type: &str| EventFilter { event_type: Some(event_type.to_owned()), ..EventFilter::default() };
        assert_eq!(filter("user.registered").aggregate_types(), ["user"]);
        assert!(filter("stranger.came").aggregate_types().is_empty());
    }
}
