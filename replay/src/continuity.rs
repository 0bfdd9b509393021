//! What must hold from each event to the next.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::billing::balance::{Balance, BalanceEvent, Entry, Figures};
use domain::event::Recorded;
use domain::metadata::TenantId;
use serde::Serialize;
use uuid::Uuid;

use crate::aggregates::AggregateType;

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Positions follow each other from 1.
    Positions,
    /// Times never go backwards.
    Times,
    /// The sequence of each stream follows from 1.
    Sequences,
    /// A stream stays with one tenant, and the metadata say the same.
    Tenants,
    /// No event's id stands twice.
    Ids,
    /// Each payload is what its name and version promise.
    Payloads,
    /// Each entry of a balance is the sum of the entries up to it.
    Balances,
    /// Each redemption is credited at most once, with as much as was redeemed.
    Redemptions,
    /// The events of each kept command exist.
    Commands,
    /// Each read model has consumed what the log holds for it, no more and no less.
    Projections,
    /// No process manager or gateway stands beyond the end of the log.
    Readers,
    /// The database refuses to change what is recorded.
    Guards,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Positions,
        Self::Times,
        Self::Sequences,
        Self::Tenants,
        Self::Ids,
        Self::Payloads,
        Self::Balances,
        Self::Redemptions,
        Self::Commands,
        Self::Projections,
        Self::Readers,
        Self::Guards,
    ];
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: Check,
    /// Where in the log, when it is about an event.
    pub position: Option<u64>,
    pub what: String,
}

/// The last sequence and the tenant of each stream.
type Streams = HashMap<Arc<str>, (u64, TenantId)>;

/// What is known of the events so far.
#[derive(Default)]
pub(crate) struct Continuity {
    position: u64,
    time: Option<DateTime<Utc>>,
    /// By sort of aggregate.
    streams: HashMap<Arc<str>, Streams>,
    ids: HashSet<Uuid>,
    balances: HashMap<Arc<str>, Figures>,
}

impl Continuity {
    /// What is wrong with the next event.
    pub(crate) fn check(&mut self, event: &Recorded) -> Vec<Finding> {
        let mut wrong = Vec::new();
        let mut find = |check, what: String| wrong.push(Finding { check, position: Some(event.position), what });
        if event.position != self.position + 1 {
            find(Check::Positions, format!("position {} follows {}", event.position, self.position));
        }
        self.position = event.position;
        if let Some(time) = self.time.filter(|time| *time > event.recorded_at) {
            find(Check::Times, format!("recorded at {}, the one before at {time}", event.recorded_at));
        }
        self.time = Some(event.recorded_at);
        if !self.ids.insert(event.event_id) {
            find(Check::Ids, format!("the id {} stands twice", event.event_id));
        }
        self.check_stream(event, &mut find);
        match AggregateType::named(&event.aggregate_type) {
            Ok(aggregate) => drop((aggregate.check)(event).map_err(|error| find(Check::Payloads, error.to_string()))),
            Err(error) => find(Check::Payloads, error.to_string()),
        }
        self.check_balance(event, &mut find);
        wrong
    }

    /// The number of streams.
    pub(crate) fn streams(&self) -> u64 {
        self.streams.values().map(|streams| streams.len() as u64).sum()
    }

    fn check_stream(&mut self, event: &Recorded, find: &mut impl FnMut(Check, String)) {
        let stream = format!("{}/{}", event.aggregate_type, event.aggregate_id);
        let sort = self.streams.entry(Arc::clone(&event.aggregate_type)).or_default();
        // A copy: the id as it was read keeps the whole event in memory.
        let (sequence, tenant) = sort.entry(Arc::from(&*event.aggregate_id)).or_insert((0, event.tenant));
        if event.sequence != *sequence + 1 {
            find(Check::Sequences, format!("sequence {} follows {sequence} in {stream}", event.sequence));
        }
        *sequence = event.sequence;
        if event.tenant != *tenant {
            find(Check::Tenants, format!("{stream} belongs to {tenant}, the event to {}", event.tenant));
        }
        match event.metadata() {
            Ok(metadata) if metadata.tenant == event.tenant => {}
            Ok(metadata) => {
                find(Check::Tenants, format!("the metadata name the tenant {}, not {}", metadata.tenant, event.tenant));
            }
            Err(error) => find(Check::Payloads, format!("metadata: {error}")),
        }
    }

    fn check_balance(&mut self, event: &Recorded, find: &mut impl FnMut(Check, String)) {
        // One that cannot be read was found already.
        let Ok(Some(entry)) = event.decode::<Balance>() else { return };
        let sums = self.balances.entry(Arc::from(&*event.aggregate_id)).or_default();
        let Some(expected) = sum(*sums, &entry) else {
            return find(Check::Balances, format!("the sum passes every number in balance/{}", event.aggregate_id));
        };
        let (before, after) = written(&entry, *sums, expected);
        if before != *sums || after != expected {
            let what = format!(
                "the entries up to it make {sums:?}, with it {expected:?}; it says {before:?} and {after:?} in balance/{}",
                event.aggregate_id
            );
            find(Check::Balances, what);
        }
        *sums = after;
    }
}

/// What the entries come to with `entry`, from its kind and amount alone.
fn sum(sums: Figures, entry: &BalanceEvent) -> Option<Figures> {
    let Figures { balance, held, spent } = sums;
    Some(match entry {
        BalanceEvent::Credited { amount, .. } | BalanceEvent::Adjusted { amount, .. } => {
            Figures { balance: balance.checked_add(*amount)?, ..sums }
        }
        BalanceEvent::Held(entry) => Figures { held: held.checked_add(entry.amount)?, ..sums },
        BalanceEvent::Released(entry) => Figures { held: held.checked_sub(entry.amount)?, ..sums },
        BalanceEvent::Captured(Entry { amount, .. }) => Figures {
            balance: balance.checked_sub(*amount)?,
            held: held.checked_sub(*amount)?,
            spent: spent.checked_add(*amount)?,
        },
        BalanceEvent::Refunded(Entry { amount, .. }) => {
            Figures { balance: balance.checked_add(*amount)?, spent: spent.checked_sub(*amount)?, ..sums }
        }
    })
}

/// What the entry itself says was before and after it. A credit says only what the balance is after it.
fn written(entry: &BalanceEvent, sums: Figures, expected: Figures) -> (Figures, Figures) {
    match entry {
        BalanceEvent::Credited { balance_after, .. } => (sums, Figures { balance: *balance_after, ..expected }),
        BalanceEvent::Adjusted { before, after, .. } => (*before, *after),
        BalanceEvent::Held(entry)
        | BalanceEvent::Captured(entry)
        | BalanceEvent::Released(entry)
        | BalanceEvent::Refunded(entry) => (entry.before, entry.after),
    }
}
