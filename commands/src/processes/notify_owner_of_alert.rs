//! Tell the owner of a device of each alert, once.

use async_trait::async_trait;
use domain::devices::alert::{DeviceAlerts, DeviceAlertsEvent};
use domain::devices::notification::{Message, Notification, NotificationCommand};
use domain::event::Recorded;

use super::{Process, ProcessError};
use crate::bus::CommandBus;

/// The process manager.
pub struct NotifyOwnerOfAlert;

#[async_trait]
impl Process for NotifyOwnerOfAlert {
    fn name(&self) -> &'static str {
        "notify_owner_of_alert"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["alert"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Some(DeviceAlertsEvent::Triggered {
            alert_id,
            alert_type,
            device_id,
            rule_id,
            owner,
            level,
            value,
            threshold,
            at,
            ..
        }) = event.decode::<DeviceAlerts>()?
        else {
            return Ok(None);
        };
        let (user_id, triggered_at) = (owner, at);
        let message =
            Message { alert_id, device_id, rule_id, user_id, alert_type, level, value, threshold, triggered_at };
        let context = self.context(bus, event, "request")?;
        let request = NotificationCommand::Request(message);
        let receipt = bus.execute::<Notification>(&alert_id.to_string(), request, &context).await?;
        Ok(Some(receipt.position))
    }
}
