//! How miners are spoken to.

use std::time::Duration;

use commands::gateways::miner_orders::OrderLimits;
use commands::gateways::miners::{AsicLimits, MinerCredentials};
use domain::hosting::curtailment_run::plan::ATTEMPTS_MAX;
use serde::{Deserialize, Serialize};

/// The section `[miners]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinerSettings {
    /// Sign-in at miners; without it the defaults of their makers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Tries to dispatch an order to a miner that does not answer.
    pub tries_max: u32,
    /// Pause between them.
    pub try_again_ms: u64,
    /// Pause between the readings that look whether an order is obeyed.
    pub read_every_ms: u64,
    /// How long an order may stay without effect; without it 4 minutes, or 10 for `restart` and `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
    /// Time limit of one connection.
    pub connect_ms: u64,
    /// Time limit of finding out what a miner is.
    pub identify_ms: u64,
    /// Time limit of the acknowledgement of an order.
    pub dispatch_ms: u64,
    /// Time limit of one reading.
    pub read_ms: u64,
    /// Miners that are spoken to at the same time.
    pub conversations: usize,
    /// Orders to a miner of a curtailment run before it counts as drifted.
    pub curtailment_attempts_max: u32,
}

impl Default for MinerSettings {
    fn default() -> Self {
        let (orders, asic) = (OrderLimits::default(), AsicLimits::default());
        Self {
            username: None,
            password: None,
            tries_max: orders.tries_max,
            try_again_ms: milliseconds(orders.try_again_after),
            read_every_ms: milliseconds(orders.read_every),
            patience_ms: None,
            connect_ms: milliseconds(asic.connect),
            identify_ms: milliseconds(asic.identify),
            dispatch_ms: milliseconds(asic.dispatch),
            read_ms: milliseconds(asic.read),
            conversations: orders.conversations,
            curtailment_attempts_max: 2,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl MinerSettings {
    /// The name of a setting that is out of range, and what it should be.
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let day_ms = 86_400_000;
        let limits = [
            ("connect_ms", self.connect_ms),
            ("identify_ms", self.identify_ms),
            ("dispatch_ms", self.dispatch_ms),
            ("read_ms", self.read_ms),
            ("read_every_ms", self.read_every_ms),
        ];
        let patience = self.patience_ms.iter().map(|limit| ("patience_ms", *limit));
        let wrong_limit = limits.into_iter().chain(patience).find(|(_, limit)| !(1..=day_ms).contains(limit));
        if !(1..=100).contains(&self.tries_max) {
            Some(("tries_max", "must be between 1 and 100"))
        } else if let Some((setting, _)) = wrong_limit {
            Some((setting, "must be between 1 and 86400000"))
        } else if self.try_again_ms > day_ms {
            Some(("try_again_ms", "must be at most 86400000"))
        } else if !(1..=10_000).contains(&self.conversations) {
            Some(("conversations", "must be between 1 and 10000"))
        } else if !(1..=ATTEMPTS_MAX).contains(&self.curtailment_attempts_max) {
            Some(("curtailment_attempts_max", "must be between 1 and 50"))
        } else if self.username.is_some() != self.password.is_some() {
            Some(("username", "and password go together"))
        } else {
            None
        }
    }

    /// The time limits of orders.
    pub(crate) fn orders(&self) -> OrderLimits {
        OrderLimits {
            tries_max: self.tries_max,
            try_again_after: Duration::from_millis(self.try_again_ms),
            read_every: Duration::from_millis(self.read_every_ms),
            patience: self.patience_ms.map(Duration::from_millis),
            conversations: self.conversations,
        }
    }

    /// The time limits of conversations.
    pub(crate) fn conversation(&self) -> AsicLimits {
        AsicLimits {
            connect: Duration::from_millis(self.connect_ms),
            identify: Duration::from_millis(self.identify_ms),
            dispatch: Duration::from_millis(self.dispatch_ms),
            read: Duration::from_millis(self.read_ms),
            ..AsicLimits::default()
        }
    }

    /// Sign-in at miners.
    pub(crate) fn credentials(&self) -> Option<MinerCredentials> {
        let (username, password) = (self.username.clone()?, self.password.clone()?);
        Some(MinerCredentials { username, password })
    }
}
