//! What a reading, or its absence, says about one type of alert.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::Observation;
use crate::devices::device::Settings;

/// An alert clears this much beyond its threshold, so that it does not come and go.
const LEVEL_MARGIN: u8 = 5;
const TEMPERATURE_MARGIN: f64 = 2.0;

/// Why an alert is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClearReason {
    /// The value is well within its range.
    Recovered,
    /// The battery is being charged.
    Charging,
    /// The device is heard again.
    Reported,
    /// A more serious alert says it.
    Superseded,
    DeviceDeleted,
}

/// How long a device may be silent.
pub(super) fn offline_after(settings: &Settings) -> TimeDelta {
    TimeDelta::seconds(settings.silence_seconds().into())
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Signal {
    /// Nothing can be said.
    Unknown,
    /// It is wrong.
    Holds { value: f64, threshold: f64 },
    /// Not wrong enough to begin, nor good enough to end.
    Near,
    /// It is good.
    Over { reason: ClearReason, value: Option<f64> },
}

impl Signal {
    pub(super) fn reported() -> Self {
        Self::Over { reason: ClearReason::Reported, value: None }
    }

    /// In minutes.
    pub(super) fn silent(silent_for: TimeDelta, settings: &Settings) -> Self {
        let minutes = |time: TimeDelta| (time.as_seconds_f64() / 6.0).floor() / 10.0;
        Self::Holds { value: minutes(silent_for), threshold: minutes(offline_after(settings)) }
    }

    pub(super) fn superseded(observation: &Observation) -> Self {
        Self::Over { reason: ClearReason::Superseded, value: Some(observation.level.into()) }
    }

    pub(super) fn critical(observation: &Observation, settings: &Settings) -> Self {
        Self::level(observation, settings.critical_battery_threshold)
    }

    pub(super) fn low(observation: &Observation, settings: &Settings) -> Self {
        Self::level(observation, settings.low_battery_threshold)
    }

    fn level(observation: &Observation, threshold: u8) -> Self {
        let value = f64::from(observation.level);
        if observation.is_charging {
            Self::Over { reason: ClearReason::Charging, value: Some(value) }
        } else if observation.level < threshold {
            Self::Holds { value, threshold: threshold.into() }
        } else if observation.level < threshold.saturating_add(LEVEL_MARGIN).min(100) {
            Self::Near
        } else {
            Self::Over { reason: ClearReason::Recovered, value: Some(value) }
        }
    }

    pub(super) fn temperature(observation: &Observation, settings: &Settings) -> Self {
        let threshold = settings.high_temperature_threshold;
        match observation.temperature {
            None => Self::Unknown,
            Some(value) if value > threshold => Self::Holds { value, threshold },
            Some(value) if value > threshold - TEMPERATURE_MARGIN => Self::Near,
            Some(value) => Self::Over { reason: ClearReason::Recovered, value: Some(value) },
        }
    }

    pub(super) fn drain(observation: &Observation, settings: &Settings) -> Self {
        let threshold = settings.rapid_drain_threshold;
        match observation.drained {
            _ if observation.is_charging => Self::Over { reason: ClearReason::Charging, value: None },
            None => Self::Unknown,
            Some(lost) if lost >= threshold => Self::Holds { value: lost.into(), threshold: threshold.into() },
            Some(lost) if lost > threshold.saturating_sub(LEVEL_MARGIN) => Self::Near,
            Some(lost) => Self::Over { reason: ClearReason::Recovered, value: Some(lost.into()) },
        }
    }
}
