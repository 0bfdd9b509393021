//! What an alert can be about, and how much it matters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is wrong with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertType {
    LowBattery,
    CriticalBattery,
    HighTemperature,
    DeviceOffline,
    RapidDrain,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertLevel {
    Info,
    Warning,
    Critical,
}

/// A word that is none of those that may stand here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of {known}")]
pub struct UnknownWord {
    word: String,
    known: String,
}

impl AlertType {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::LowBattery, Self::CriticalBattery, Self::HighTemperature, Self::DeviceOffline, Self::RapidDrain];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LowBattery => "low_battery",
            Self::CriticalBattery => "critical_battery",
            Self::HighTemperature => "high_temperature",
            Self::DeviceOffline => "device_offline",
            Self::RapidDrain => "rapid_drain",
        }
    }
}

impl AlertLevel {
    /// Every one, the least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for AlertType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for AlertLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AlertType {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|known| known.name() == word)
            .ok_or_else(|| UnknownWord { word: word.to_owned(), known: Self::ALL.map(Self::name).join(", ") })
    }
}

impl FromStr for AlertLevel {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|known| known.name() == word)
            .ok_or_else(|| UnknownWord { word: word.to_owned(), known: Self::ALL.map(Self::name).join(", ") })
    }
}
