//! Events as they are stored, and how they are read back.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::aggregate::Decider;
use crate::metadata::{Metadata, TenantId};
use crate::text::Text;

/// The storage names of an event enum. Implemented by [`event_names!`](crate::event_names) only.
pub trait EventNames: cqrs_es::DomainEvent {
    /// Every (storage name, version) that the enum writes.
    const NAMES: &'static [(&'static str, u16)];
    /// The storage name and version of this event.
    fn name(&self) -> (&'static str, u16);
}

/// Ties each variant to its storage name and version. Names are never renamed; a changed shape gets a new version
/// and an [`Upcaster`].
#[macro_export]
macro_rules! event_names {
    ($event:ident { $($variant:ident => $name:literal $version:literal),+ $(,)? }) => {
        impl $crate::event::EventNames for $event {
            const NAMES: &'static [(&'static str, u16)] = &[$(($name, $version)),+];
            fn name(&self) -> (&'static str, u16) {
                match self { $(Self::$variant { .. } => ($name, $version)),+ }
            }
        }
        impl cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                $crate::event::EventNames::name(self).0.to_owned()
            }
            fn event_version(&self) -> String {
                $crate::event::EventNames::name(self).1.to_string()
            }
        }
    };
}

/// One step from an old stored form to the next: `(event_type, from)` becomes version `from + 1`.
pub struct Upcaster {
    /// The storage name whose payload is lifted.
    pub event_type: &'static str,
    /// The version it lifts.
    pub from: u16,
    /// The payload of version `from`, tag included, to that of `from + 1`.
    pub up: fn(Value) -> Value,
}

/// One record of the log. Cheap to clone: texts are shared.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Global place in the log, from 1, without gaps, in the order of commits.
    pub position: u64,
    /// A UUID of version 7.
    pub event_id: Uuid,
    /// The sort of aggregate, such as `recharge_code`.
    pub aggregate_type: Arc<str>,
    /// Which one.
    pub aggregate_id: Text,
    /// Place in the stream of its aggregate, from 1.
    pub sequence: u64,
    /// Storage name, such as `recharge_code.redeemed`.
    pub event_type: Arc<str>,
    /// Version of the payload's shape.
    pub event_version: u16,
    /// The event as JSON.
    pub payload: Text,
    /// The tenant, the one part of the metadata that every reader needs.
    pub tenant: TenantId,
    /// [`Metadata`] as JSON, parsed only by those who ask.
    pub metadata: Text,
    /// Server clock at the append, UTC, microseconds.
    pub recorded_at: DateTime<Utc>,
}

/// A stored event that cannot be read: the log is damaged, or newer than this program.
#[derive(Debug, thiserror::Error)]
#[error("event {position} ({event_type} v{event_version}) cannot be read: {reason}")]
pub struct DecodeError {
    /// Where it stands.
    pub position: u64,
    /// Its storage name.
    pub event_type: String,
    /// Its version.
    pub event_version: u16,
    /// What the parser said.
    pub reason: String,
}

impl Recorded {
    /// The event of aggregate `A`, or `None` when the record belongs to another sort of aggregate.
    ///
    /// # Errors
    /// [`DecodeError`] when the payload does not have the shape its name and version promise.
    pub fn decode<A: Decider>(&self) -> Result<Option<A::Event>, DecodeError> {
        if &*self.aggregate_type != A::TYPE {
            return Ok(None);
        }
        let lifted = A::UPCASTERS.iter().any(|u| u.event_type == &*self.event_type && u.from >= self.event_version);
        let (event, version): (Result<A::Event, _>, u16) = if lifted {
            match serde_json::from_str(&self.payload).map(|payload| self.lift(A::UPCASTERS, payload)) {
                Ok((payload, version)) => (serde_json::from_value(payload), version),
                Err(error) => (Err(error), self.event_version),
            }
        } else {
            (serde_json::from_str(&self.payload), self.event_version)
        };
        let event = event.map_err(|error| self.unreadable(&error))?;
        // A later program may have changed the shape in a way that this one would not notice.
        let (name, known) = event.name();
        if name != &*self.event_type || known != version {
            return Err(self.unreadable(&format_args!("this program knows its payload as {name} v{known}")));
        }
        Ok(Some(event))
    }

    /// The metadata, parsed.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not what this program writes.
    pub fn metadata(&self) -> Result<Metadata, DecodeError> {
        serde_json::from_str(&self.metadata).map_err(|error| self.unreadable(&error))
    }

    /// The payload as lifted, and the version that it has then.
    fn lift(&self, upcasters: &[Upcaster], mut payload: Value) -> (Value, u16) {
        let mut version = self.event_version;
        while let Some(step) = upcasters.iter().find(|u| u.event_type == &*self.event_type && u.from == version) {
            payload = (step.up)(payload);
            version += 1;
        }
        (payload, version)
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> DecodeError {
        DecodeError {
            position: self.position,
            event_type: self.event_type.to_string(),
            event_version: self.event_version,
            reason: error.to_string(),
        }
    }
}
