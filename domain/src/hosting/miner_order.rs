//! What a miner can be told to do, what it says of itself, and whether it obeyed.

pub mod obedience;
pub mod reading;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most pools an order may name; stock firmware has three slots.
pub const POOLS_MAX: usize = 3;

/// One order for one miner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum MinerOrder {
    /// Boots the control board.
    Restart,
    /// Stops hashing; the control board stays reachable.
    Shutdown,
    /// Starts hashing again.
    Start,
    /// Replaces the pools, first one first.
    SetPool { pools: Vec<Pool> },
    /// A fixed fan speed in percent, or back to automatic.
    SetFan { speed_percent: Option<u8> },
}

impl MinerOrder {
    /// The name that users and answers know the order by.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Shutdown => "shutdown",
            Self::Start => "start",
            Self::SetPool { .. } => "set_pool",
            Self::SetFan { .. } => "set_fan",
        }
    }

    /// How long after its dispatch an order may stay without effect before the miner counts as drifted.
    ///
    /// Stock firmware needs about a minute for a configuration write and up to two before it answers; a control board
    /// boots in a few minutes, and hashing starts after the boards are tuned.
    pub const fn patience(&self) -> Duration {
        match self {
            Self::Restart | Self::Start => Duration::from_secs(600),
            Self::Shutdown | Self::SetPool { .. } | Self::SetFan { .. } => Duration::from_secs(240),
        }
    }
}

/// A mining pool as the miner is told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// `stratum+tcp://host:port`.
    pub url: String,
    /// Worker name.
    pub worker: String,
}
