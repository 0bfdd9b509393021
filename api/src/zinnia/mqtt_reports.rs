//! Reports that come over MQTT. The topic names the device; the message holds its key or token beside the reading, unless
//! the broker is trusted to let each device send to its own topic only.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use commands::gateways::mqtt::{Inbox, Taken};
use domain::devices::device::DeviceStatus;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::device_caller::{DeviceCaller, Purpose, authenticate};
use super::reports::{ReportBody, accept};
use crate::app::App;
use crate::config::Switch;
use crate::error::{ApiError, ErrorKind};
use crate::extract::json;
use crate::request::RequestContext;
use crate::surface::Surface;

/// Takes in what devices report.
pub(crate) struct MqttReports {
    pub(crate) app: App,
    pub(crate) trusted: Switch,
}

/// Who sends a message, as it says itself.
#[derive(Deserialize)]
struct Sender {
    #[serde(alias = "api_key")]
    token: Option<String>,
}

#[async_trait]
impl Inbox for MqttReports {
    async fn take(&self, device: Uuid, message: &[u8], retained: bool) -> Taken {
        let outcome = self.accept(device, message, retained).await;
        let word = if outcome.is_ok() { "accepted" } else { "refused" };
        match outcome {
            Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal) => return Taken::Later,
            Err(error) => tracing::debug!(%device, error = %error.message, "a report over MQTT is refused"),
            Ok(()) => {}
        }
        metrics::counter!("corelog_mqtt_messages", "outcome" => word).increment(1);
        Taken::Done
    }
}

impl MqttReports {
    async fn accept(&self, device: Uuid, message: &[u8], retained: bool) -> Result<(), ApiError> {
        json::check(message)?;
        let message: Value = serde_json::from_slice(message).map_err(|error| malformed(&error))?;
        let sender = Sender::deserialize(&message).map_err(|error| malformed(&error))?;
        let reports = reports(message)?;
        if retained && reports.iter().any(|report| report.recorded_at.is_none()) {
            return Err(ApiError::field("recorded_at", "a retained message does not say when it was true"));
        }
        let caller = self.caller(device, sender.token.as_deref()).await?;
        accept(&self.app, &caller, reports).await.map(|_| ())
    }

    async fn caller(&self, device: Uuid, credential: Option<&str>) -> Result<DeviceCaller, ApiError> {
        let (app, clock) = (&self.app, self.app.clock().clone());
        // The address of the device stays with the broker: tokens that are bound to networks are refused.
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let request = RequestContext::new(clock.new_id(), Surface::Zinnia, address, clock);
        let unknown = || ApiError::unauthenticated("No device has these credentials");
        if let Some(credential) = credential {
            let caller = authenticate(app, &request, credential, Purpose::Report).await?;
            return if caller.device.id == device { Ok(caller) } else { Err(unknown()) };
        }
        if self.trusted == Switch::Off {
            return Err(unknown());
        }
        let found = app.devices.by_id(app, device).await?.ok_or_else(unknown)?;
        if found.status == DeviceStatus::Disabled {
            return Err(ApiError::forbidden("The device is disabled"));
        }
        let request = request.of_device(found.id, found.tenant);
        Ok(DeviceCaller { device: Arc::clone(&found), request })
    }
}

/// One report, or the list in `data`.
fn reports(mut message: Value) -> Result<Vec<ReportBody>, ApiError> {
    match message.get_mut("data").map(Value::take) {
        Some(list) => serde_json::from_value(list).map_err(|error| malformed(&error)),
        None => serde_json::from_value(message).map(|report| vec![report]).map_err(|error| malformed(&error)),
    }
}

fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::new(ErrorKind::Malformed, "invalid_request", format!("the message is no report: {error}"))
}
