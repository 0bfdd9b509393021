//! Who may do what with a device: people it is shared with, and tokens handed out for it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedSecret {
    /// A keyed hash, in hexadecimal.
    pub hash: String,
    /// The first characters, for people to tell secrets apart.
    pub prefix: String,
}

/// How far somebody whom a device is shared with may go; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharePermission {
    /// Look.
    Read,
    /// Change name, status and settings.
    Write,
    /// Share the device with others.
    Admin,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenPermission {
    /// Reading readings.
    Read,
    /// Reporting them.
    Write,
    /// Both.
    All,
}

/// A word that names no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a permission")]
pub struct UnknownPermission(pub String);

impl SharePermission {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl TokenPermission {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::All];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::All => "all",
        }
    }

    /// Whether readings may be read.
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether readings may be reported.
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

impl fmt::Display for SharePermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SharePermission {
    type Err = UnknownPermission;

    fn from_str(name: &str) -> Result<Self, UnknownPermission> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| UnknownPermission(name.to_owned()))
    }
}

impl fmt::Display for TokenPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TokenPermission {
    type Err = UnknownPermission;

    fn from_str(name: &str) -> Result<Self, UnknownPermission> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| UnknownPermission(name.to_owned()))
    }
}

/// A token to be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub id: Uuid,
    pub name: String,
    pub permission: TokenPermission,
    pub secret: HashedSecret,
    pub expires_at: Option<DateTime<Utc>>,
    /// Networks in CIDR form; any when empty.
    pub allowed_ips: Vec<String>,
    pub rate_limit_per_minute: Option<u32>,
}
