//! What a miner can be told to do.

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

/// A mining pool as the miner is told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// `stratum+tcp://host:port`.
    pub url: String,
    /// Worker name.
    pub worker: String,
}
