//! How the agents of GPU servers are listened to.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// The section `[agents]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSettings {
    /// How often agents send a heartbeat.
    pub heartbeat_ms: u64,
    /// How long a server may be silent before it counts as lost, and its tasks are given to others.
    pub patience_ms: u64,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self { heartbeat_ms: 3_000, patience_ms: 15_000 }
    }
}

impl AgentSettings {
    /// The setting that cannot be used, and why.
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        if !(100..=60_000).contains(&self.heartbeat_ms) {
            Some(("heartbeat_ms", "must be between 100 and 60000"))
        } else if self.patience_ms < 2 * self.heartbeat_ms || self.patience_ms > 3_600_000 {
            Some(("patience_ms", "must be at least twice heartbeat_ms and at most 3600000"))
        } else {
            None
        }
    }

    /// How long a server may be silent.
    pub(crate) fn patience(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.patience_ms.cast_signed())
    }
}
