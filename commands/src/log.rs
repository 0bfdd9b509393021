//! The engines behind the port [`domain::log::Log`]. One contract suite, `tests/it/log_contract.rs`, holds for all.
//!
//! | engine | for | how |
//! |---|---|---|
//! | [`SqliteLog`] | one machine | one writer thread, one durable transaction for all commands that wait |
//! | [`PostgresLog`] | several servers | one statement for all commands that wait, positions given out under a lock |
//! | [`MemoryLog`] | unit tests | a vector; nothing survives |
//!
//! All of them keep the newest events in memory, so that readers at the end of the log cost no query.

mod jobs;
mod limits;
mod memory;
mod names;
mod postgres;
mod sqlite;
mod tail;

pub use memory::MemoryLog;
pub use postgres::{PostgresLog, PostgresOptions};
pub use sqlite::SqliteLog;

use chrono::{DateTime, Utc};
use domain::Recorded;

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
