//! What is known of a device, and the rules of each change.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::metadata::UserId;
use crate::{payload, plain_text};

use super::{
    DeviceError, DeviceEvent, DeviceStatus, METADATA_BYTES_MAX, NAME_CHARS_MAX, NewToken, SHARES_MAX, Settings,
    SettingsChanges, SharePermission, TOKEN_HOURS_MAX, TOKEN_NETWORKS_MAX, TOKEN_RATE_MAX, TOKENS_MAX, TYPE_CHARS_MAX,
};

/// A registered device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known {
    pub id: Uuid,
    pub owner: UserId,
    pub name: String,
    pub device_type: String,
    pub status: DeviceStatus,
    pub metadata: Map<String, Value>,
    pub settings: Settings,
    pub key_hash: String,
    /// Tokens that were not taken back, and when each expires.
    pub tokens: BTreeMap<Uuid, Option<DateTime<Utc>>>,
    pub shares: BTreeMap<UserId, SharePermission>,
}

impl Known {
    pub(super) fn new(
        (id, owner): (Uuid, UserId),
        name: String,
        device_type: String,
        metadata: Map<String, Value>,
        key_hash: String,
    ) -> Self {
        Self {
            id,
            owner,
            name,
            device_type,
            status: DeviceStatus::Offline,
            metadata,
            settings: Settings::default(),
            key_hash,
            tokens: BTreeMap::new(),
            shares: BTreeMap::new(),
        }
    }

    pub(super) fn change(
        &self,
        name: Option<String>,
        status: Option<DeviceStatus>,
        metadata: Option<Map<String, Value>>,
    ) -> Result<Vec<DeviceEvent>, DeviceError> {
        let name = name.map(|name| checked_name(&name)).transpose()?.filter(|name| *name != self.name);
        let status = status.filter(|status| *status != self.status);
        let metadata = metadata.filter(|metadata| *metadata != self.metadata);
        metadata.as_ref().map_or(Ok(()), check_metadata)?;
        if name.is_none() && status.is_none() && metadata.is_none() {
            return Ok(vec![]);
        }
        Ok(vec![DeviceEvent::Changed { name, status, metadata }])
    }

    pub(super) fn configure(&self, changes: &SettingsChanges) -> Result<Vec<DeviceEvent>, DeviceError> {
        let settings = self.settings.changed(changes)?;
        Ok(if settings == self.settings { vec![] } else { vec![DeviceEvent::Configured { settings }] })
    }

    pub(super) fn issue_token(&self, token: NewToken, now: DateTime<Utc>) -> Result<DeviceEvent, DeviceError> {
        let name = checked_name(&token.name)?;
        let longest = now + TimeDelta::hours(TOKEN_HOURS_MAX);
        if token.expires_at.is_some_and(|at| at <= now || at > longest) {
            return Err(DeviceError::TokenLifeOutOfRange);
        }
        if token.rate_limit_per_minute.is_some_and(|rate| !(1..=TOKEN_RATE_MAX).contains(&rate)) {
            return Err(DeviceError::TokenRateOutOfRange);
        }
        if token.allowed_ips.len() > TOKEN_NETWORKS_MAX {
            return Err(DeviceError::TooManyNetworks);
        }
        if self.valid_tokens(now).len() >= TOKENS_MAX {
            return Err(DeviceError::TooManyTokens);
        }
        Ok(DeviceEvent::TokenIssued {
            token_id: token.id,
            name,
            permission: token.permission,
            token_hash: token.secret.hash,
            token_prefix: token.secret.prefix,
            expires_at: token.expires_at,
            allowed_ips: token.allowed_ips,
            rate_limit_per_minute: token.rate_limit_per_minute,
        })
    }

    pub(super) fn revoke_token(&self, token_id: Uuid) -> Result<DeviceEvent, DeviceError> {
        if self.tokens.contains_key(&token_id) {
            Ok(DeviceEvent::TokensRevoked { token_ids: vec![token_id] })
        } else {
            Err(DeviceError::TokenNotFound)
        }
    }

    pub(super) fn revoke_all_tokens(&self, now: DateTime<Utc>) -> Vec<DeviceEvent> {
        let token_ids = self.valid_tokens(now);
        if token_ids.is_empty() { vec![] } else { vec![DeviceEvent::TokensRevoked { token_ids }] }
    }

    fn valid_tokens(&self, now: DateTime<Utc>) -> Vec<Uuid> {
        let valid = self.tokens.iter().filter(|(_, expires_at)| expires_at.is_none_or(|at| at > now));
        valid.map(|(id, _)| *id).collect()
    }

    pub(super) fn share(&self, user_id: UserId, permission: SharePermission) -> Result<Vec<DeviceEvent>, DeviceError> {
        if user_id == self.owner {
            return Err(DeviceError::SharedWithOwner);
        }
        match self.shares.get(&user_id) {
            Some(present) if *present == permission => Ok(vec![]),
            None if self.shares.len() >= SHARES_MAX => Err(DeviceError::TooManyShares),
            Some(_) | None => Ok(vec![DeviceEvent::Shared { user_id, permission }]),
        }
    }

    pub(super) fn unshare(&self, user_id: UserId) -> Result<DeviceEvent, DeviceError> {
        if self.shares.contains_key(&user_id) {
            Ok(DeviceEvent::Unshared { user_id })
        } else {
            Err(DeviceError::NotShared)
        }
    }

    pub(super) fn hear(&self, seen_at: DateTime<Utc>) -> Result<Vec<DeviceEvent>, DeviceError> {
        match self.status {
            DeviceStatus::Offline => Ok(vec![DeviceEvent::CameOnline { seen_at }]),
            DeviceStatus::Online | DeviceStatus::Maintenance => Ok(vec![]),
            DeviceStatus::Disabled => Err(DeviceError::Disabled),
        }
    }

    pub(super) fn fall_silent(&self, last_seen_at: Option<DateTime<Utc>>) -> Vec<DeviceEvent> {
        match self.status {
            DeviceStatus::Online => vec![DeviceEvent::WentOffline { last_seen_at }],
            DeviceStatus::Offline | DeviceStatus::Maintenance | DeviceStatus::Disabled => vec![],
        }
    }

    pub(super) fn delete(&self) -> DeviceEvent {
        DeviceEvent::Deleted {
            token_ids: self.tokens.keys().copied().collect(),
            shared_with: self.shares.keys().copied().collect(),
        }
    }

    pub(super) fn apply(&mut self, event: DeviceEvent) {
        match event {
            // A device is registered and deleted once; `Device::apply` does both.
            DeviceEvent::Registered { .. } | DeviceEvent::Deleted { .. } | DeviceEvent::SessionsRevoked => {}
            DeviceEvent::Changed { name, status, metadata } => {
                self.name = name.unwrap_or_else(|| std::mem::take(&mut self.name));
                self.status = status.unwrap_or(self.status);
                self.metadata = metadata.unwrap_or_else(|| std::mem::take(&mut self.metadata));
            }
            DeviceEvent::Configured { settings } => self.settings = settings,
            DeviceEvent::KeyRotated { key_hash, .. } => self.key_hash = key_hash,
            DeviceEvent::TokenIssued { token_id, expires_at, .. } => {
                self.tokens.insert(token_id, expires_at);
            }
            DeviceEvent::TokensRevoked { token_ids } => self.tokens.retain(|id, _| !token_ids.contains(id)),
            DeviceEvent::Shared { user_id, permission } => {
                self.shares.insert(user_id, permission);
            }
            DeviceEvent::Unshared { user_id } => {
                self.shares.remove(&user_id);
            }
            DeviceEvent::CameOnline { .. } => self.status = DeviceStatus::Online,
            DeviceEvent::WentOffline { .. } => self.status = DeviceStatus::Offline,
        }
    }
}

pub(super) fn checked_name(name: &str) -> Result<String, DeviceError> {
    checked(name, NAME_CHARS_MAX).ok_or(DeviceError::NameOutOfRange)
}

pub(super) fn checked_type(device_type: &str) -> Result<String, DeviceError> {
    checked(device_type, TYPE_CHARS_MAX).ok_or(DeviceError::TypeOutOfRange)
}

fn checked(text: &str, chars_max: usize) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= chars_max && plain_text::is_line(text);
    fits.then(|| text.to_owned())
}

/// NUL fits no text column of a database.
pub(super) fn check_metadata(metadata: &Map<String, Value>) -> Result<(), DeviceError> {
    let json = Value::Object(metadata.clone()).to_string();
    if json.len() > METADATA_BYTES_MAX {
        Err(DeviceError::MetadataTooLarge)
    } else if payload::holds_nul(&json) {
        Err(DeviceError::MetadataHasNul)
    } else {
        Ok(())
    }
}
