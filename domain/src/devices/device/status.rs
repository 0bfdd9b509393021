//! The status of a device.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a device is doing. People set any of these; reports and silence move it between the first two only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceStatus {
    /// Reports come.
    Online,
    /// No reports come, or none ever came.
    Offline,
    /// Somebody is at work on it: reports are taken, silence means nothing.
    Maintenance,
    /// Its reports are refused.
    Disabled,
}

/// A word that names no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a status")]
pub struct UnknownStatus(pub String);

impl DeviceStatus {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Online, Self::Offline, Self::Maintenance, Self::Disabled];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Maintenance => "maintenance",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for DeviceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeviceStatus {
    type Err = UnknownStatus;

    fn from_str(name: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| UnknownStatus(name.to_owned()))
    }
}
