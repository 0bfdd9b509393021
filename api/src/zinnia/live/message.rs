//! What is said on a live connection, both ways: JSON texts with a `type`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use commands::gateways::readings::StoredReading;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::extract::json;
use crate::zinnia::alerts::AlertOut;
use crate::zinnia::reports::{BatchOut, BatteryData, ReportBody};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuthType {
    DeviceToken,
    Jwt,
}

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Inbound {
    Auth {
        token: String,
        auth_type: AuthType,
    },
    BatteryReport {
        msg_id: Option<Value>,
        #[serde(flatten)]
        reading: ReportBody,
    },
    BatchBatteryReport {
        msg_id: Option<Value>,
        data: Vec<ReportBody>,
    },
    Ping {},
    Subscribe {
        device_ids: Vec<String>,
    },
    Unsubscribe {
        device_ids: Vec<String>,
    },
}

const TYPES: [&str; 6] = ["auth", "battery_report", "batch_battery_report", "ping", "subscribe", "unsubscribe"];

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ErrorCode {
    InvalidMessage,
    InvalidFormat,
    Unauthorized,
    AuthTimeout,
    TooManyConnections,
    SlowClient,
}

impl Inbound {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, (ErrorCode, String)> {
        json::check(text.as_bytes()).map_err(|error| (ErrorCode::InvalidFormat, error.message))?;
        let mut value: Value =
            serde_json::from_str(text).map_err(|error| (ErrorCode::InvalidFormat, error.to_string()))?;
        let known = value.get("type").and_then(Value::as_str).is_some_and(|name| TYPES.contains(&name));
        if !known {
            return Err((ErrorCode::InvalidMessage, format!("type 必须是 {} 之一", TYPES.join("、"))));
        }
        // Some clients wrap the fields.
        for wrapper in ["data", "payload"] {
            if let Some(Value::Object(inner)) = value.get(wrapper).cloned()
                && let Some(outer) = value.as_object_mut()
            {
                inner.into_iter().filter(|(name, _)| name != "type").for_each(|(name, field)| {
                    outer.insert(name, field);
                });
            }
        }
        serde_json::from_value(value).map_err(|error| (ErrorCode::InvalidFormat, error.to_string()))
    }
}

/// What the server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Outbound {
    Connected {
        message: &'static str,
        server_time: DateTime<Utc>,
        /// Seconds.
        auth_timeout: u64,
    },
    AuthResult {
        success: bool,
        message: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<Uuid>,
        #[serde(skip_serializing_if = "Option::is_none")]
        device_id: Option<Uuid>,
    },
    BatteryReportResult {
        msg_id: Option<Value>,
        success: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<BatteryData>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    BatchBatteryReportResult {
        msg_id: Option<Value>,
        success: bool,
        #[serde(flatten)]
        data: Option<BatchOut>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    Pong {
        server_time: DateTime<Utc>,
    },
    SubscribeResult {
        success: bool,
        subscribed: Vec<Uuid>,
        /// Devices that there are not for whoever asks, or that are too many.
        failed: Vec<String>,
    },
    UnsubscribeResult {
        success: bool,
        unsubscribed: Vec<Uuid>,
    },
    BatteryPush {
        device_id: Uuid,
        data: BatteryData,
        timestamp: DateTime<Utc>,
    },
    AlertPush {
        device_id: String,
        alert: AlertOut,
        timestamp: DateTime<Utc>,
    },
    /// The device is no longer shown to whoever listens.
    SubscriptionEnded {
        device_id: Uuid,
    },
    Error {
        code: ErrorCode,
        message: String,
    },
}

impl Outbound {
    pub(super) fn battery(reading: StoredReading, timestamp: DateTime<Utc>) -> Self {
        Self::BatteryPush { device_id: reading.reading.device, data: reading.into(), timestamp }
    }

    pub(super) fn alert(alert: AlertOut, timestamp: DateTime<Utc>) -> Self {
        Self::AlertPush { device_id: alert.device_id().to_owned(), alert, timestamp }
    }

    pub(super) fn error(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Error { code, message: message.into() }
    }

    pub(super) fn to_text(&self) -> Arc<str> {
        serde_json::to_string(self).unwrap_or_default().into()
    }
}
