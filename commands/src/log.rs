//! The engines behind the port [`domain::log::Log`]. One contract suite, `tests/it/log_contract.rs`, holds for all.
//!
//! | engine | for | how |
//! |---|---|---|
//! | [`SqliteLog`] | one machine | one writer thread, one durable transaction for all commands that wait |
//! | [`PostgresLog`] | several servers | one statement for all commands that wait, positions given out under a lock |
//! | [`MemoryLog`] | unit tests | a vector; nothing survives |
//!
//! All of them keep the newest events in memory, so that readers at the end of the log cost no query.

mod halves;
mod jobs;
mod limits;
mod memory;
mod names;
mod postgres;
mod restore;
mod sqlite;
mod tail;

pub use memory::MemoryLog;
pub use postgres::{PostgresLog, PostgresOptions, PostgresRestore};
pub use restore::Restore;
pub use sqlite::{ReadOnlySqliteLog, SqliteLog, SqliteRestore};

use chrono::{DateTime, Utc};
use domain::log::Append;
use domain::{Recorded, Text};

use self::names::Shared;

/// The time that events are recorded at, unless the last one was later: the record never goes backwards, whatever
/// the clock of the machine does.
#[expect(clippy::disallowed_methods, reason = "recorded_at says when the log was written, not when it was decided")]
fn time_of_recording(last: DateTime<Utc>) -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now).max(last)
}

/// First and last position of the events of one command; 0 when it has none.
fn ends(events: &[Recorded]) -> (u64, u64) {
    let position = |event: Option<&Recorded>| event.map_or(0, |event| event.position);
    (position(events.first()), position(events.last()))
}

/// The events of `append` as the log has them from position `first` on.
fn recorded(append: &Append, first: u64, recorded_at: DateTime<Utc>, shared: &mut Shared) -> Vec<Recorded> {
    let aggregate_type = shared.aggregate_types.get(append.aggregate_type);
    let record = (0..).zip(&append.events).map(|(place, event)| {
        let parts = [&*append.aggregate_id, &*event.payload, &*append.metadata];
        let [aggregate_id, payload, metadata] = Text::together(parts, &mut shared.scratch);
        Recorded {
            position: first + place,
            event_id: event.event_id,
            aggregate_type: aggregate_type.clone(),
            aggregate_id,
            sequence: append.expected_sequence + 1 + place,
            event_type: shared.event_types.get(event.event_type),
            event_version: event.event_version,
            payload,
            tenant: append.tenant,
            metadata,
            recorded_at,
        }
    });
    record.collect()
}
