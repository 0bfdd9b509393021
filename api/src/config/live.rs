//! The limits of live connections.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The section `[live]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveSettings {
    /// Connections at the same time.
    pub connections_max: usize,
    /// Of one user or device.
    pub connections_per_caller_max: usize,
    /// Time to show who one is.
    pub auth_timeout_ms: u64,
    /// Pause between two signs of life.
    pub heartbeat_ms: u64,
    /// Silence after which a connection is given up.
    pub silence_max_ms: u64,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_caller_max: 50,
            auth_timeout_ms: 30_000,
            heartbeat_ms: 30_000,
            silence_max_ms: 60_000,
        }
    }
}

impl LiveSettings {
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        if self.connections_max == 0 {
            Some(("connections_max", "must be at least 1"))
        } else if self.connections_per_caller_max == 0 {
            Some(("connections_per_caller_max", "must be at least 1"))
        } else if self.auth_timeout_ms == 0 {
            Some(("auth_timeout_ms", "must be at least 1"))
        } else if self.heartbeat_ms == 0 {
            Some(("heartbeat_ms", "must be at least 1"))
        } else if self.silence_max_ms <= self.heartbeat_ms {
            Some(("silence_max_ms", "must be above heartbeat_ms"))
        } else {
            None
        }
    }

    /// Time to show who one is.
    pub fn auth_timeout(&self) -> Duration {
        Duration::from_millis(self.auth_timeout_ms)
    }

    /// Pause between two signs of life.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// Silence after which a connection is given up.
    pub fn silence_max(&self) -> Duration {
        Duration::from_millis(self.silence_max_ms)
    }
}
