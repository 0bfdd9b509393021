//! Dropping old readings, some at a time, so that nobody who reports waits for long.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::ReadingsFault;
use super::rows::HOUR;

/// Devices whose readings are looked through before the next ones are looked up.
const DEVICES_AT_ONCE: u32 = 500;

/// Tables from which readings are dropped.
#[async_trait]
pub(super) trait Tables: Sync {
    /// Hours before `hour` count by their sums from now on.
    async fn keep_from(&self, hour: i64) -> Result<(), ReadingsFault>;

    /// The devices after `device`, of which there may be more when `limit` are answered.
    async fn devices_after(&self, device: Uuid, limit: u32) -> Result<Vec<Uuid>, ReadingsFault>;

    /// Drops some of the readings of `device` from before `hour`, and answers how many; 0 when there are none.
    async fn drop_some(&self, device: Uuid, hour: i64) -> Result<u64, ReadingsFault>;
}

/// Drops the readings from before the hour of `moment`, except the latest of each device.
pub(super) async fn drop_before(tables: &impl Tables, moment: DateTime<Utc>) -> Result<u64, ReadingsFault> {
    let hour = moment.timestamp_micros().div_euclid(HOUR) * HOUR;
    // First the sums take over, then the readings go.
    tables.keep_from(hour).await?;
    let (mut dropped, mut last) = (0, Uuid::nil());
    loop {
        let devices = tables.devices_after(last, DEVICES_AT_ONCE).await?;
        let Some(end) = devices.last() else { return Ok(dropped) };
        last = *end;
        for device in devices {
            loop {
                let some = tables.drop_some(device, hour).await?;
                dropped += some;
                if some == 0 {
                    break;
                }
            }
        }
    }
}
