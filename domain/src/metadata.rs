//! Who did it, where, and because of what: stored beside every event, never inside one.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An organisation. No query and no command crosses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(pub Uuid);

impl TenantId {
    /// The tenant that public registration joins.
    pub const DEFAULT: Self = Self(Uuid::from_u128(1));
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A person who can sign in; the same in all four products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Uuid);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The envelope of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The organisation whose event it is.
    pub tenant: TenantId,
    /// `user:<id>`, `device:<id>`, `agent:<server>`, `process:<name>`, `gateway:<name>`, `anonymous` or `system`.
    pub actor: Cow<'static, str>,
    /// `hashinsight`, `zinnia`, `bitrun`, `owl`, `platform`, `process`, `gateway` or `cli`.
    pub surface: Cow<'static, str>,
    /// The request in whose course the command was given.
    pub request_id: Uuid,
    /// The command that caused the event; all events of one command share it.
    pub command_id: Uuid,
    /// The first command of the chain.
    pub correlation_id: Uuid,
    /// The event that caused the command, when a process or gateway gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// The network address the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_addr: Option<String>,
}

impl Metadata {
    /// Metadata of a command that nobody outside asked for (start-up, tests, command line).
    pub fn of(
        tenant: TenantId,
        actor: impl Into<Cow<'static, str>>,
        surface: impl Into<Cow<'static, str>>,
        id: Uuid,
    ) -> Self {
        Self {
            tenant,
            actor: actor.into(),
            surface: surface.into(),
            request_id: id,
            command_id: id,
            correlation_id: id,
            causation_id: None,
            remote_addr: None,
        }
    }
}
