//! Battery readings: how long they are kept, and where they come from.

use chrono::TimeDelta;
use commands::gateways::mqtt::Broker;
use serde::{Deserialize, Serialize};

use super::Switch;

/// The section `[battery]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatterySettings {
    /// Days for which single readings are kept; their sums by hour stay.
    pub keep_days: u32,
    /// A broker at which devices report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<MqttSettings>,
}

/// The section `[battery.mqtt]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// Host and port.
    pub broker: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Under which name the broker keeps the session.
    #[serde(default = "client_id")]
    pub client_id: String,
    /// Whether the broker lets each device send to its own topic only.
    #[serde(default = "not_trusted")]
    pub trusted: Switch,
}

fn client_id() -> String {
    "corelog".to_owned()
}

fn not_trusted() -> Switch {
    Switch::Off
}

impl Default for BatterySettings {
    fn default() -> Self {
        Self { keep_days: 365, mqtt: None }
    }
}

impl BatterySettings {
    /// The name of a setting that is out of range, and what it should be.
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        // Questions reach back 30 days.
        if !(31..=36_500).contains(&self.keep_days) {
            return Some(("keep_days", "must be between 31 and 36500"));
        }
        let mqtt = self.mqtt.as_ref()?;
        if mqtt.address().is_none() {
            Some(("mqtt.broker", "must be a host and a port, such as 127.0.0.1:1883"))
        } else if mqtt.username.is_some() != mqtt.password.is_some() {
            Some(("mqtt.username", "and password go together"))
        } else if mqtt.client_id.is_empty() || mqtt.client_id.len() > 64 || mqtt.client_id.starts_with(' ') {
            Some(("mqtt.client_id", "must have 1 to 64 characters"))
        } else {
            None
        }
    }

    /// For how long single readings are kept.
    pub(crate) fn keep(&self) -> TimeDelta {
        TimeDelta::days(self.keep_days.into())
    }

    /// The same, fit to be shown.
    pub(super) fn masked(&self) -> Self {
        let mask = |mqtt: &MqttSettings| MqttSettings {
            password: mqtt.password.as_ref().map(|_| "(set)".to_owned()),
            ..mqtt.clone()
        };
        Self { mqtt: self.mqtt.as_ref().map(mask), ..self.clone() }
    }
}

impl MqttSettings {
    fn address(&self) -> Option<(String, u16)> {
        let (host, port) = self.broker.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
    }

    /// The broker.
    pub(crate) fn broker(&self) -> Option<Broker> {
        let (host, port) = self.address()?;
        let credentials = self.username.clone().zip(self.password.clone());
        Some(Broker { host, port, client_id: self.client_id.clone(), credentials })
    }
}
