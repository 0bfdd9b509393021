//! What a miner says of itself at one moment.

use serde::{Deserialize, Serialize};

use super::MinerOrder;

/// One reading of one miner. What the firmware does not report is `None` or empty, never a guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerReading {
    /// Manufacturer, such as `Antminer`.
    pub make: String,
    /// As the gateway writes it, without blanks, such as `S19Pro` or `M50SVH50`.
    pub model: String,
    /// Family of the firmware, such as `AntMiner Stock`.
    pub firmware: String,
    pub firmware_version: Option<String>,
    pub serial_number: Option<String>,
    pub mac_address: Option<String>,
    /// Whether the firmware says that it is set to mine; a sleeping miner says no. See [`MinerReading::hashes`].
    pub is_mining: bool,
    pub hashrate_ths: Option<f64>,
    /// What the model does when all is well.
    pub expected_hashrate_ths: Option<f64>,
    /// Stock Antminers report none.
    pub power: Option<PowerReading>,
    /// Seconds since the mining process started; a restart begins it anew.
    pub uptime_seconds: Option<u64>,
    pub fan_control: Option<FanControl>,
    /// One value a fan that turns.
    pub fan_speeds_rpm: Vec<f64>,
    /// The pools in use, first one first.
    pub pools: Vec<PoolReading>,
    /// The hottest of all boards and chips.
    pub temperature_max_celsius: Option<f64>,
    pub capabilities: MinerCapabilities,
}

impl MinerReading {
    /// Share of the expected hashrate below which a miner does not count as hashing.
    const IDLE_SHARE: f64 = 0.01;

    /// Whether the measured hashrate shows work; `None` if there is no measurement.
    pub fn hashes(&self) -> Option<bool> {
        let floor_ths = self.expected_hashrate_ths.map_or(0.0, |expected| expected * Self::IDLE_SHARE);
        self.hashrate_ths.map(|measured| measured > floor_ths)
    }
}

/// Electric power together with where the figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PowerReading {
    pub power_watts: f64,
    pub source: PowerSource,
}

/// Where a figure of power comes from, the most trustworthy first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerSource {
    /// A meter or a switched power distribution unit.
    Meter,
    /// The miner itself.
    Firmware,
    /// Set by hand for this miner.
    Override,
    /// The data sheet of the model.
    Nameplate,
}

/// How the fans are governed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum FanControl {
    /// By the firmware, after the temperature.
    Automatic,
    Fixed {
        speed_percent: u8,
    },
}

/// One pool as the miner reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReading {
    /// With or without the scheme, as the firmware writes it.
    pub url: String,
    pub worker: Option<String>,
    pub is_active: Option<bool>,
}

/// Which orders the firmware of a miner takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "one independent yes or no an order")]
pub struct MinerCapabilities {
    pub restart: bool,
    pub shutdown: bool,
    pub start: bool,
    pub set_pool: bool,
    pub set_fan: bool,
}

impl MinerCapabilities {
    /// Whether the firmware takes this order.
    pub const fn allow(&self, order: &MinerOrder) -> bool {
        match order {
            MinerOrder::Restart => self.restart,
            MinerOrder::Shutdown => self.shutdown,
            MinerOrder::Start => self.start,
            MinerOrder::SetPool { .. } => self.set_pool,
            MinerOrder::SetFan { .. } => self.set_fan,
        }
    }
}
