//! The settings of a device: when its battery is low, how often it reports.

use serde::{Deserialize, Serialize};

use super::DeviceError;

/// Lowest and highest charge, in percent, that a battery may be called low or critical at.
const LEVEL: std::ops::RangeInclusive<u8> = 1..=100;
/// Shortest and longest pause between reports, in seconds.
const INTERVAL: std::ops::RangeInclusive<u32> = 10..=3_600;
/// Lowest and highest temperature, in degrees Celsius, that may be called high.
const TEMPERATURE: std::ops::RangeInclusive<f64> = -40.0..=200.0;
/// Fewest and most points of charge, lost within an hour, that may be called rapid.
const DRAIN: std::ops::RangeInclusive<u8> = 1..=100;
/// Shortest and longest silence, in seconds, that may be called offline.
const SILENCE: std::ops::RangeInclusive<u32> = 30..=604_800;
/// Reports that may be missed before a device is offline.
const MISSED_REPORTS: u32 = 3;
/// Shortest silence that is offline where nothing else is set, in seconds.
const SILENCE_MIN: u32 = 180;

/// What a device is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Below this charge in percent the battery is low.
    pub low_battery_threshold: u8,
    /// Below this one it is critical.
    pub critical_battery_threshold: u8,
    /// How often the device reports.
    pub report_interval_seconds: u32,
    /// Above this temperature in degrees Celsius it is too hot.
    pub high_temperature_threshold: f64,
    /// Points of charge, lost within an hour without charging, that are too many.
    pub rapid_drain_threshold: u8,
    /// Silence that means offline; three reports, but three minutes at least, when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_after_seconds: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            low_battery_threshold: 20,
            critical_battery_threshold: 10,
            report_interval_seconds: 60,
            high_temperature_threshold: 45.0,
            rapid_drain_threshold: 20,
            offline_after_seconds: None,
        }
    }
}

/// What is given is changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SettingsChanges {
    pub low_battery_threshold: Option<u8>,
    pub critical_battery_threshold: Option<u8>,
    pub report_interval_seconds: Option<u32>,
    pub high_temperature_threshold: Option<f64>,
    pub rapid_drain_threshold: Option<u8>,
    pub offline_after_seconds: Option<u32>,
}

impl Settings {
    /// How long a device may be silent before it is offline, in seconds.
    pub fn silence_seconds(&self) -> u32 {
        let missed = self.report_interval_seconds.saturating_mul(MISSED_REPORTS).max(SILENCE_MIN);
        self.offline_after_seconds.unwrap_or(missed)
    }

    pub(super) fn changed(&self, changes: &SettingsChanges) -> Result<Self, DeviceError> {
        let settings = Self {
            low_battery_threshold: changes.low_battery_threshold.unwrap_or(self.low_battery_threshold),
            critical_battery_threshold: changes.critical_battery_threshold.unwrap_or(self.critical_battery_threshold),
            report_interval_seconds: changes.report_interval_seconds.unwrap_or(self.report_interval_seconds),
            high_temperature_threshold: changes.high_temperature_threshold.unwrap_or(self.high_temperature_threshold),
            rapid_drain_threshold: changes.rapid_drain_threshold.unwrap_or(self.rapid_drain_threshold),
            offline_after_seconds: changes.offline_after_seconds.or(self.offline_after_seconds),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), DeviceError> {
        if !LEVEL.contains(&self.low_battery_threshold) {
            Err(DeviceError::LowThresholdOutOfRange)
        } else if !LEVEL.contains(&self.critical_battery_threshold) {
            Err(DeviceError::CriticalThresholdOutOfRange)
        } else if self.critical_battery_threshold >= self.low_battery_threshold {
            Err(DeviceError::CriticalNotBelowLow)
        } else if !INTERVAL.contains(&self.report_interval_seconds) {
            Err(DeviceError::IntervalOutOfRange)
        } else if !TEMPERATURE.contains(&self.high_temperature_threshold) {
            Err(DeviceError::TemperatureOutOfRange)
        } else if !DRAIN.contains(&self.rapid_drain_threshold) {
            Err(DeviceError::DrainOutOfRange)
        } else if self.offline_after_seconds.is_some_and(|seconds| !SILENCE.contains(&seconds)) {
            Err(DeviceError::SilenceOutOfRange)
        } else {
            Ok(())
        }
    }
}
