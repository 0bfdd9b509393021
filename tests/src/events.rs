//! Appends for tests that care about the log and not about what is in it.

use domain::log::{Append, CommandKey, NewEvent};
use domain::{Metadata, TenantId};
use uuid::Uuid;

/// An append of `count` events to the stream `aggregate_type` `aggregate_id` that stands at `expected_sequence`.
pub fn append(aggregate_type: &'static str, aggregate_id: &str, expected_sequence: u64, count: usize) -> Append {
    let metadata = Metadata::of(TenantId::DEFAULT, "system", "cli", event_id());
    Append {
        aggregate_type,
        aggregate_id: aggregate_id.to_owned(),
        expected_sequence,
        events: (0..count).map(|number| event(&format!(r#"{{"changed":{{"number":{number}}}}}"#))).collect(),
        tenant: TenantId::DEFAULT,
        metadata: serde_json::to_string(&metadata).unwrap_or_default(),
        key: None,
    }
}

/// An event with this payload.
pub fn event(payload: &str) -> NewEvent {
    NewEvent { event_id: event_id(), event_type: "thing.changed", event_version: 1, payload: payload.to_owned() }
}

/// The key `key` for a command with `fingerprint`.
pub fn key(key: &str, fingerprint: &[u8]) -> CommandKey {
    CommandKey { key: key.to_owned(), fingerprint: fingerprint.to_owned() }
}

#[expect(clippy::disallowed_methods, reason = "tests need ids and have no source of them")]
fn event_id() -> Uuid {
    Uuid::now_v7()
}
