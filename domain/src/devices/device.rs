//! A device: a thing with a battery, of one owner, shared with others, that reports under a key or a token.
//!
//! Keys and tokens are random secrets that stand nowhere: the log has keyed hashes of them and their first characters.
//! A report is a measurement and no event; that a device came online or fell silent is decided, and is one.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;

mod access;
mod known;
mod refusal;
mod settings;
mod status;
#[cfg(test)]
mod tests;

pub use access::{HashedSecret, NewToken, SharePermission, TokenPermission, UnknownPermission};
pub use known::Known;
pub use refusal::DeviceError;
pub use settings::{Settings, SettingsChanges};
pub use status::{DeviceStatus, UnknownStatus};

/// Longest name of a device or a token, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Longest type of a device, in characters.
pub const TYPE_CHARS_MAX: usize = 50;
/// Largest metadata of a device, in bytes of JSON.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Most tokens of a device that are valid at the same time.
pub const TOKENS_MAX: usize = 20;
/// Longest life of a token, in hours.
pub const TOKEN_HOURS_MAX: i64 = 8_760;
/// Most requests a minute that a token may be limited to.
pub const TOKEN_RATE_MAX: u32 = 1_000;
/// Most networks that a token may be bound to.
pub const TOKEN_NETWORKS_MAX: usize = 50;
/// Most people that a device may be shared with.
pub const SHARES_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceEvent {
    Registered {
        device_id: Uuid,
        owner_id: UserId,
        name: String,
        device_type: String,
        metadata: Map<String, Value>,
        key_hash: String,
        key_prefix: String,
    },
    /// What is absent stays as it was.
    Changed {
        name: Option<String>,
        status: Option<DeviceStatus>,
        metadata: Option<Map<String, Value>>,
    },
    Configured {
        settings: Settings,
    },
    KeyRotated {
        key_hash: String,
        key_prefix: String,
    },
    /// Whatever was exchanged for the key before this is worth nothing.
    SessionsRevoked,
    TokenIssued {
        token_id: Uuid,
        name: String,
        permission: TokenPermission,
        token_hash: String,
        token_prefix: String,
        expires_at: Option<DateTime<Utc>>,
        /// Networks in CIDR form; any when empty.
        allowed_ips: Vec<String>,
        rate_limit_per_minute: Option<u32>,
    },
    TokensRevoked {
        token_ids: Vec<Uuid>,
    },
    Shared {
        user_id: UserId,
        permission: SharePermission,
    },
    Unshared {
        user_id: UserId,
    },
    CameOnline {
        seen_at: DateTime<Utc>,
    },
    WentOffline {
        /// The last report before the silence; none when there never was one.
        last_seen_at: Option<DateTime<Utc>>,
    },
    /// Takes its tokens and shares along.
    Deleted {
        token_ids: Vec<Uuid>,
        shared_with: Vec<UserId>,
    },
}

event_names!(DeviceEvent {
    Registered => "device.registered" 1,
    Changed => "device.changed" 1,
    Configured => "device.configured" 1,
    KeyRotated => "device.key_rotated" 1,
    SessionsRevoked => "device.sessions_revoked" 1,
    TokenIssued => "device.token_issued" 1,
    TokensRevoked => "device.tokens_revoked" 1,
    Shared => "device.shared" 1,
    Unshared => "device.unshared" 1,
    CameOnline => "device.came_online" 1,
    WentOffline => "device.went_offline" 1,
    Deleted => "device.deleted" 1,
});

#[derive(Debug, Clone)]
pub enum DeviceCommand {
    /// Brings a device into being.
    Register {
        device_id: Uuid,
        owner: UserId,
        name: String,
        device_type: String,
        metadata: Map<String, Value>,
        key: HashedSecret,
    },
    /// Changes what is given.
    Change { name: Option<String>, status: Option<DeviceStatus>, metadata: Option<Map<String, Value>> },
    /// Changes the settings that are given.
    Configure { changes: SettingsChanges },
    /// Replaces the key; the old one is worth nothing from now on.
    RotateKey { key: HashedSecret },
    /// Ends what was exchanged for the key.
    RevokeSessions,
    /// Hands out one more token.
    IssueToken { token: NewToken },
    /// Takes one token back.
    RevokeToken { token_id: Uuid },
    /// Takes back every token that is valid.
    RevokeAllTokens,
    /// Lets `user` in, or changes how far.
    Share { user: UserId, permission: SharePermission },
    /// Shuts `user` out.
    Unshare { user: UserId },
    /// A report has come.
    Hear { seen_at: DateTime<Utc> },
    /// No report has come for too long.
    FallSilent { last_seen_at: Option<DateTime<Utc>> },
    /// Ends the device.
    Delete,
}

/// Whether there is such a device, and what is known of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Device {
    #[default]
    Unknown,
    Registered(Box<Known>),
    Deleted,
}

impl Device {
    /// What is known of it.
    ///
    /// # Errors
    /// [`DeviceError::NotFound`] when there is none, or no longer.
    pub fn known(&self) -> Result<&Known, DeviceError> {
        match self {
            Self::Unknown | Self::Deleted => Err(DeviceError::NotFound),
            Self::Registered(known) => Ok(known),
        }
    }
}

impl Decider for Device {
    const SECRET_FIELDS: &'static [&'static str] = &["key_hash", "token_hash"];

    fn decide(&self, command: DeviceCommand, now: DateTime<Utc>) -> Result<Vec<DeviceEvent>, DeviceError> {
        let events = match command {
            DeviceCommand::Register { device_id, owner, name, device_type, metadata, key } => {
                if *self != Self::Unknown {
                    return Err(DeviceError::AlreadyRegistered);
                }
                let name = known::checked_name(&name)?;
                let device_type = known::checked_type(&device_type)?;
                known::check_metadata(&metadata)?;
                let HashedSecret { hash: key_hash, prefix: key_prefix } = key;
                let owner_id = owner;
                vec![DeviceEvent::Registered { device_id, owner_id, name, device_type, metadata, key_hash, key_prefix }]
            }
            DeviceCommand::Change { name, status, metadata } => self.known()?.change(name, status, metadata)?,
            DeviceCommand::Configure { changes } => self.known()?.configure(&changes)?,
            DeviceCommand::RotateKey { key } => {
                self.known()?;
                vec![DeviceEvent::KeyRotated { key_hash: key.hash, key_prefix: key.prefix }]
            }
            DeviceCommand::RevokeSessions => {
                self.known()?;
                vec![DeviceEvent::SessionsRevoked]
            }
            DeviceCommand::IssueToken { token } => vec![self.known()?.issue_token(token, now)?],
            DeviceCommand::RevokeToken { token_id } => vec![self.known()?.revoke_token(token_id)?],
            DeviceCommand::RevokeAllTokens => self.known()?.revoke_all_tokens(now),
            DeviceCommand::Share { user, permission } => self.known()?.share(user, permission)?,
            DeviceCommand::Unshare { user } => vec![self.known()?.unshare(user)?],
            DeviceCommand::Hear { seen_at } => self.known()?.hear(seen_at)?,
            DeviceCommand::FallSilent { last_seen_at } => self.known()?.fall_silent(last_seen_at),
            DeviceCommand::Delete => vec![self.known()?.delete()],
        };
        Ok(events)
    }
}

impl cqrs_es::Aggregate for Device {
    const TYPE: &'static str = "device";
    type Command = DeviceCommand;
    type Event = DeviceEvent;
    type Error = DeviceError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: DeviceEvent) {
        match (&mut *self, event) {
            (
                Self::Unknown,
                DeviceEvent::Registered { device_id, owner_id, name, device_type, metadata, key_hash, .. },
            ) => {
                let known = Known::new((device_id, owner_id), name, device_type, metadata, key_hash);
                *self = Self::Registered(Box::new(known));
            }
            (Self::Registered(_), DeviceEvent::Deleted { .. }) => *self = Self::Deleted,
            (Self::Registered(known), event) => known.apply(event),
            (Self::Unknown | Self::Deleted, _) => {}
        }
    }
}
