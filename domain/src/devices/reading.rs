//! What a battery device reports. Readings are measurements, not state: they are stored beside the log.

use chrono::{DateTime, SubsecRound, TimeDelta, TimeZone, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Refusal, RefusalKind};

/// Highest level, in percent.
pub const LEVEL_MAX: u8 = 100;
/// Temperatures that a device may report, in degrees Celsius.
pub const TEMPERATURE_MIN: f64 = -40.0;
/// See [`TEMPERATURE_MIN`].
pub const TEMPERATURE_MAX: f64 = 85.0;
/// Highest voltage that a device may report.
pub const VOLTAGE_MAX: f64 = 10.0;
/// Most readings of one report.
pub const READINGS_MAX: usize = 1_000;
/// Below this level a reading counts as low in statistics, whatever the thresholds of its device.
pub const LOW_LEVEL: u8 = 20;
/// How far the clock of a device may run ahead of the server's.
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);

/// How hard a device saves power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerSaving {
    #[default]
    Off,
    Low,
    Medium,
    High,
    Extreme,
}

impl PowerSaving {
    /// All of them, the weakest first.
    pub const ALL: [Self; 5] = [Self::Off, Self::Low, Self::Medium, Self::High, Self::Extreme];
}

/// Why a reading is not accepted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadingError {
    #[error("battery_level must be 0 to {LEVEL_MAX}")]
    Level,
    #[error("temperature must be {TEMPERATURE_MIN} to {TEMPERATURE_MAX}")]
    Temperature,
    #[error("voltage must be 0 to {VOLTAGE_MAX}")]
    Voltage,
    #[error("recorded_at lies in the future")]
    Future,
    #[error("recorded_at lies before {0}, from when on readings are kept")]
    TooOld(DateTime<Utc>),
}

impl Refusal for ReadingError {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Level => "battery_reading.level_invalid",
            Self::Temperature => "battery_reading.temperature_invalid",
            Self::Voltage => "battery_reading.voltage_invalid",
            Self::Future => "battery_reading.in_the_future",
            Self::TooOld(_) => "battery_reading.too_old",
        }
    }
}

/// One measurement of one device. Device and time tell readings apart.
#[derive(Debug, Clone, PartialEq)]
pub struct BatteryReading {
    pub device: Uuid,
    /// By the clock of the device, in microseconds.
    pub recorded_at: DateTime<Utc>,
    /// Percent.
    pub level: u8,
    pub is_charging: bool,
    pub power_saving: PowerSaving,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    pub voltage: Option<f64>,
}

impl BatteryReading {
    /// The reading, if it can be true: its values are in range, and it was made after `oldest` and not after `now`.
    /// A clock that runs ahead by a few seconds is set back to `now`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn checked(mut self, oldest: DateTime<Utc>, now: DateTime<Utc>) -> Result<Self, ReadingError> {
        if self.level > LEVEL_MAX {
            return Err(ReadingError::Level);
        }
        // A comparison with what is no number is false.
        let within = |value: Option<f64>, min: f64, max: f64| value.is_none_or(|value| value >= min && value <= max);
        if !within(self.temperature, TEMPERATURE_MIN, TEMPERATURE_MAX) {
            return Err(ReadingError::Temperature);
        }
        if !within(self.voltage, 0.0, VOLTAGE_MAX) {
            return Err(ReadingError::Voltage);
        }
        if self.recorded_at > now + CLOCK_SKEW {
            return Err(ReadingError::Future);
        }
        if self.recorded_at < oldest {
            return Err(ReadingError::TooOld(oldest));
        }
        self.recorded_at = self.recorded_at.min(now).trunc_subsecs(6);
        Ok(self)
    }

    /// The id that clients see: the same for the same device and time, so that a repeated report shows the first one.
    pub fn id(&self) -> Uuid {
        Uuid::new_v5(&self.device, &self.recorded_at.timestamp_micros().to_be_bytes())
    }
}

/// A time in Unix seconds or, if it is too large for that, milliseconds: what weak devices send.
pub fn of_unix_time(number: i64) -> Option<DateTime<Utc>> {
    const MILLISECONDS_FROM: i64 = 100_000_000_000;
    if number.abs() < MILLISECONDS_FROM {
        Utc.timestamp_opt(number, 0).single()
    } else {
        Utc.timestamp_millis_opt(number).single()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_700_000_000 + seconds, 0).unwrap()
    }
    fn reading() -> BatteryReading {
        BatteryReading {
            device: Uuid::from_u128(7),
            recorded_at: at(0),
            level: 50,
            is_charging: false,
            power_saving: PowerSaving::Off,
            temperature: Some(21.5),
            voltage: Some(3.9),
        }
    }
    fn checked(reading: BatteryReading) -> Result<BatteryReading, ReadingError> {
        reading.checked(at(-100), at(10))
    }

    #[test]
    fn values_at_the_ends_of_their_ranges_are_accepted() {
        for (level, temperature, voltage) in [(0, -40.0, 0.0), (100, 85.0, 10.0)] {
            let temperature = Some(temperature);
            let reading = BatteryReading { level, temperature, voltage: Some(voltage), ..reading() };
            assert_eq!(checked(reading.clone()), Ok(reading));
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert_eq!(checked(BatteryReading { level: 101, ..reading() }), Err(ReadingError::Level));
        for temperature in [-40.1, 85.1, f64::NAN, f64::INFINITY] {
            let reading = BatteryReading { temperature: Some(temperature), ..reading() };
            assert_eq!(checked(reading), Err(ReadingError::Temperature));
        }
        for voltage in [-0.1, 10.1, f64::NAN] {
            let reading = BatteryReading { voltage: Some(voltage), ..reading() };
            assert_eq!(checked(reading), Err(ReadingError::Voltage));
        }
    }

    #[test]
    fn a_clock_may_run_ahead_by_seconds_only() {
        let ahead = checked(BatteryReading { recorded_at: at(14), ..reading() }).unwrap();
        assert_eq!(ahead.recorded_at, at(10));
        assert_eq!(checked(BatteryReading { recorded_at: at(16), ..reading() }), Err(ReadingError::Future));
        assert_eq!(checked(BatteryReading { recorded_at: at(-101), ..reading() }), Err(ReadingError::TooOld(at(-100))));
    }

    #[test]
    fn the_id_follows_from_device_and_time() {
        let other = BatteryReading { level: 1, ..reading() };
        assert_eq!(reading().id(), other.id());
        assert_ne!(reading().id(), BatteryReading { recorded_at: at(1), ..reading() }.id());
    }

    #[test]
    fn unix_times_are_seconds_or_milliseconds() {
        assert_eq!(of_unix_time(1_700_000_000), Some(at(0)));
        assert_eq!(of_unix_time(1_700_000_000_000), Some(at(0)));
        assert_eq!(of_unix_time(i64::MAX), None);
    }
}
