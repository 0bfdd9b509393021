//! How devices are watched, and how their owners are told.

use std::time::Duration;

use commands::gateways::notifications::PrivateTargets;
use serde::{Deserialize, Serialize};

/// The section `[alerts]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertSettings {
    /// Pause between two looks for silent devices.
    pub check_every_ms: u64,
    /// Pauses before a notification that failed is tried again.
    pub retry_after_ms: [u64; 3],
    /// Whether webhooks and push services may lie in private networks or on this machine.
    pub allow_private_targets: bool,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self { check_every_ms: 30_000, retry_after_ms: [1_000, 3_000, 9_000], allow_private_targets: false }
    }
}

impl AlertSettings {
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        (self.check_every_ms == 0).then_some(("check_every_ms", "must be at least 1"))
    }

    /// Pause between two looks for silent devices.
    pub fn check_every(&self) -> Duration {
        Duration::from_millis(self.check_every_ms)
    }

    /// Pauses before further tries.
    pub fn retry_after(&self) -> [Duration; 3] {
        self.retry_after_ms.map(Duration::from_millis)
    }

    /// Whether private networks may be called.
    pub fn private_targets(&self) -> PrivateTargets {
        if self.allow_private_targets { PrivateTargets::Allowed } else { PrivateTargets::Refused }
    }
}
