//! What is known of a miner from the start.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{MinerError, MinerEvent};
use crate::hosting::model_catalogue;
use crate::plain_text;

/// Longest serial number, in characters.
pub const SERIAL_NUMBER_CHARS_MAX: usize = 64;
/// Longest place within a site, in characters.
pub const LOCATION_SLOT_CHARS_MAX: usize = 64;
/// Largest hashrate of one machine, in TH/s.
pub const HASHRATE_THS_MAX: f64 = 100_000.0;
/// Largest power of one machine, in W.
pub const POWER_W_MAX: f64 = 1_000_000.0;

/// Where a figure comes from, the most trustworthy first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FigureSource {
    /// The machine said so when it was last read.
    Firmware,
    /// Set by hand for this machine.
    Override,
    /// The plate of the model.
    Nameplate,
}

impl FigureSource {
    /// The word that answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Override => "override",
            Self::Nameplate => "nameplate",
        }
    }
}

/// What is said of a miner when it is registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    pub serial_number: String,
    pub model_id: i64,
    pub site_id: i64,
    pub customer_id: Option<i64>,
    /// Where it can be told and read; without one it cannot.
    pub ip_address: Option<IpAddr>,
    pub location_slot: Option<String>,
    /// When it differs from the plate.
    pub hashrate_ths: Option<f64>,
    /// When it differs from the plate.
    pub power_w: Option<f64>,
}

impl Registration {
    /// Whether a miner can be like this; also asked before its serial number is taken.
    ///
    /// # Errors
    /// The first detail that is out of range.
    pub fn check(&self) -> Result<(), MinerError> {
        let serial = &self.serial_number;
        let serial_fits = (1..=SERIAL_NUMBER_CHARS_MAX).contains(&serial.len())
            && serial.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if !serial_fits {
            return Err(MinerError::SerialNumberOutOfRange);
        }
        if model_catalogue::by_id(self.model_id).is_none() {
            return Err(MinerError::UnknownModel);
        }
        let slot_fits = |slot: &str| {
            !slot.trim().is_empty() && slot.chars().count() <= LOCATION_SLOT_CHARS_MAX && plain_text::is_line(slot)
        };
        if !self.location_slot.as_deref().is_none_or(slot_fits) {
            return Err(MinerError::LocationSlotOutOfRange);
        }
        let of_many = |address: IpAddr| address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
        if self.ip_address.is_some_and(|address| address.is_unspecified() || of_many(address)) {
            return Err(MinerError::AddressOutOfRange);
        }
        if !self.hashrate_ths.is_none_or(|ths| ths > 0.0 && ths <= HASHRATE_THS_MAX) {
            return Err(MinerError::HashrateOutOfRange);
        }
        if !self.power_w.is_none_or(|watts| watts > 0.0 && watts <= POWER_W_MAX) {
            return Err(MinerError::PowerOutOfRange);
        }
        Ok(())
    }

    pub(super) fn registered(self, id: i64) -> Result<MinerEvent, MinerError> {
        self.check()?;
        let plate = model_catalogue::by_id(self.model_id).ok_or(MinerError::UnknownModel)?;
        let source =
            |given: Option<f64>| if given.is_some() { FigureSource::Override } else { FigureSource::Nameplate };
        Ok(MinerEvent::Registered {
            id,
            serial_number: self.serial_number,
            model_id: self.model_id,
            site_id: self.site_id,
            customer_id: self.customer_id,
            ip_address: self.ip_address,
            location_slot: self.location_slot,
            hashrate_ths: self.hashrate_ths.unwrap_or(plate.hashrate_ths),
            hashrate_source: source(self.hashrate_ths),
            power_w: self.power_w.unwrap_or(plate.power_w),
            power_source: source(self.power_w),
        })
    }
}
