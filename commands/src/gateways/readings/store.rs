//! The port on either engine: a queue in front of the one writer, and the questions beside it.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Database, Encode, Executor, FromRow, IntoArguments, Type};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::queue::Queue;
use super::reader::Reader;
use super::rows::{BucketRow, HOUR, ReadingRow, SummaryRow, number};
use super::{Accepted, BatteryReadings, Bucket, BucketWidth, ReadingsFault, Report, StoredReading, Stretch, Summary};

/// Devices whose readings are looked through before the next ones are looked up.
const DEVICES_AT_ONCE: u32 = 500;

/// Battery readings in a database.
#[derive(Debug)]
pub struct Store<DB: Database> {
    pub(super) reader: Reader<DB>,
    pub(super) queue: Queue,
    /// The last arrival as far as this server knows.
    pub(super) head: watch::Receiver<u64>,
    /// Hears of what other servers write, where there are some.
    pub(super) listener: Option<AbortHandle>,
}

impl<DB: Database> Drop for Store<DB> {
    fn drop(&mut self) {
        // The writer ends by itself, when its queue is closed and empty.
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

#[async_trait]
impl<DB: Database> BatteryReadings for Store<DB>
where
    for<'q> DB::Arguments<'q>: IntoArguments<'q, DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'q> i64: Encode<'q, DB> + Type<DB>,
    for<'q> Uuid: Encode<'q, DB> + Type<DB>,
    for<'r> ReadingRow: FromRow<'r, DB::Row>,
    for<'r> BucketRow: FromRow<'r, DB::Row>,
    for<'r> SummaryRow: FromRow<'r, DB::Row>,
    for<'r> (Uuid, i64): FromRow<'r, DB::Row>,
    for<'r> (i64, i64): FromRow<'r, DB::Row>,
    for<'r> (i64,): FromRow<'r, DB::Row>,
    for<'r> (Uuid,): FromRow<'r, DB::Row>,
{
    async fn append(&self, reports: Vec<Report>) -> Result<Accepted, ReadingsFault> {
        self.queue.append(reports).await
    }

    async fn latest(&self, device: Uuid) -> Result<Option<StoredReading>, ReadingsFault> {
        self.reader.latest(device).await
    }

    async fn last_seen(&self, devices: &[Uuid]) -> Result<HashMap<Uuid, DateTime<Utc>>, ReadingsFault> {
        self.reader.last_seen(devices).await
    }

    async fn history(&self, stretch: Stretch, limit: u32, offset: u32) -> Result<Vec<StoredReading>, ReadingsFault> {
        self.reader.history(stretch, limit, offset).await
    }

    async fn aggregated(&self, stretch: Stretch, width: BucketWidth) -> Result<Vec<Bucket>, ReadingsFault> {
        self.reader.aggregated(stretch, width).await
    }

    async fn summary(&self, stretch: Stretch, gap_max: TimeDelta) -> Result<Option<Summary>, ReadingsFault> {
        self.reader.summary(stretch, gap_max).await
    }

    async fn arrived_after(&self, arrival: u64, limit: u32) -> Result<Vec<StoredReading>, ReadingsFault> {
        self.reader.arrived_after(arrival, limit).await
    }

    async fn last_arrival(&self) -> Result<u64, ReadingsFault> {
        Ok(number(self.reader.head().await?.0))
    }

    async fn grown(&self, arrival: u64) {
        let mut head = self.head.clone();
        if head.wait_for(|head| *head > arrival).await.is_err() {
            // The writer has stopped: nothing will arrive any more.
            std::future::pending::<()>().await;
        }
    }

    async fn drop_before(&self, moment: DateTime<Utc>) -> Result<u64, ReadingsFault> {
        let hour = moment.timestamp_micros().div_euclid(HOUR) * HOUR;
        // First the sums take over, then the readings go.
        self.reader.keep_from(hour).await?;
        let (mut dropped, mut last) = (0, Uuid::nil());
        loop {
            let devices = self.reader.devices_after(last, DEVICES_AT_ONCE).await?;
            let Some(end) = devices.last() else { return Ok(dropped) };
            last = *end;
            for device in devices {
                loop {
                    let some = self.reader.drop_some(device, hour).await?;
                    dropped += some;
                    if some == 0 {
                        break;
                    }
                }
            }
        }
    }

    async fn forget(&self, device: Uuid) -> Result<(), ReadingsFault> {
        self.reader.forget(device).await
    }
}
