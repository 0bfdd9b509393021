//! What each subscription plan gives.

use serde::{Deserialize, Serialize};

/// Requests to HashInsight that a signed-in user of a plan may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanSettings {
    pub free_per_hour: u32,
    pub basic_per_hour: u32,
    pub pro_per_hour: u32,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self { free_per_hour: 1_000, basic_per_hour: 5_000, pro_per_hour: 20_000 }
    }
}

impl PlanSettings {
    /// A setting that cannot be used, and why.
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let given = [
            ("free_per_hour", self.free_per_hour),
            ("basic_per_hour", self.basic_per_hour),
            ("pro_per_hour", self.pro_per_hour),
        ];
        let nothing = given.into_iter().find(|(_, requests)| *requests == 0);
        nothing.map(|(setting, _)| (setting, "must be at least 1"))
    }
}
