//! The alerts of a device that is deleted are over.

use async_trait::async_trait;
use domain::devices::alert::{DeviceAlerts, DeviceAlertsCommand};
use domain::devices::device::{Device, DeviceEvent};
use domain::event::Recorded;

use super::{Process, ProcessError};
use crate::bus::CommandBus;

/// The process manager.
pub struct CloseAlertsOfDeletedDevice;

#[async_trait]
impl Process for CloseAlertsOfDeletedDevice {
    fn name(&self) -> &'static str {
        "close_alerts_of_deleted_device"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["device"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Some(DeviceEvent::Deleted { .. }) = event.decode::<Device>()? else { return Ok(None) };
        let context = self.context(bus, event, "close")?;
        let receipt = bus.execute::<DeviceAlerts>(&event.aggregate_id, DeviceAlertsCommand::Close, &context).await?;
        Ok(Some(receipt.position))
    }
}
