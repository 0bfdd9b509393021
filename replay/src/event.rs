//! An event as people see it.

use chrono::{DateTime, Utc};
use domain::event::Recorded;
use domain::metadata::TenantId;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::aggregates::{AggregateType, REDACTED};

/// An event without its secrets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventView {
    pub position: u64,
    pub event_id: Uuid,
    pub recorded_at: DateTime<Utc>,
    pub tenant: TenantId,
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub sequence: u64,
    pub event_type: String,
    pub event_version: u16,
    pub payload: Value,
    pub metadata: Value,
    /// The fields of the payload that were blanked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<&'static str>,
}

impl EventView {
    /// The view of an event. Of a sort of aggregate that this program does not know it shows no payload, because it
    /// cannot tell what in it is secret.
    pub fn of(recorded: &Recorded) -> Self {
        let (payload, redacted) = match AggregateType::named(&recorded.aggregate_type) {
            Ok(aggregate) => {
                let mut payload = parsed(&recorded.payload);
                let redacted = aggregate.redact(&mut payload);
                (payload, redacted)
            }
            Err(_) => (Value::String(REDACTED.to_owned()), vec!["payload"]),
        };
        Self {
            position: recorded.position,
            event_id: recorded.event_id,
            recorded_at: recorded.recorded_at,
            tenant: recorded.tenant,
            aggregate_type: recorded.aggregate_type.to_string(),
            aggregate_id: recorded.aggregate_id.to_string(),
            sequence: recorded.sequence,
            event_type: recorded.event_type.to_string(),
            event_version: recorded.event_version,
            payload,
            metadata: parsed(&recorded.metadata),
            redacted,
        }
    }

    /// A text of the metadata, such as `actor`; empty when it is not there.
    pub fn about(&self, name: &str) -> &str {
        self.metadata.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What is not JSON is shown as the text it is.
fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.to_owned()))
}
