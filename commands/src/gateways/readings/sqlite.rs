//! Readings in an SQLite file of their own: they come in by the thousand, which must not hold up the log.

mod connections;
mod reader;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use self::connections::Connections;
use self::writer::Writer;
use super::dropping::{self, Tables};
use super::queue::Queue;
use super::{Accepted, BatteryReadings, Bucket, BucketWidth, ReadingsFault, Report, StoredReading, Stretch, Summary};

/// How long a connection waits for another one that has the file locked.
const BUSY: Duration = Duration::from_secs(5);

/// Readings in an SQLite file.
#[derive(Debug)]
pub struct SqliteReadings {
    connections: Arc<Connections>,
    queue: Queue,
    /// The last arrival.
    head: watch::Receiver<u64>,
}

impl SqliteReadings {
    /// Opens the file, or makes it. Other programs may read it.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn open(path: &Path) -> Result<Self, ReadingsFault> {
        let place = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Writer::open(place));
        let (writer, head) = opened.await.map_err(|error| ReadingsFault::because(&error))??;
        let (queue, waiting) = Queue::new();
        let thread = std::thread::Builder::new().name("battery-writer".to_owned());
        thread.spawn(move || writer.run(waiting)).map_err(|error| ReadingsFault::because(&error))?;
        Ok(Self { connections: Arc::new(Connections::to(path)), queue, head })
    }
}

#[async_trait]
impl BatteryReadings for SqliteReadings {
    async fn append(&self, reports: Vec<Report>) -> Result<Accepted, ReadingsFault> {
        self.queue.append(reports).await
    }

    async fn latest(&self, device: Uuid) -> Result<Option<StoredReading>, ReadingsFault> {
        self.connections.ask(move |connection| reader::latest(connection, device)).await
    }

    async fn recent(&self, device: Uuid, span: TimeDelta, limit: u32) -> Result<Vec<StoredReading>, ReadingsFault> {
        self.connections.ask(move |connection| reader::recent(connection, device, span, limit)).await
    }

    async fn last_seen(&self, devices: &[Uuid]) -> Result<HashMap<Uuid, DateTime<Utc>>, ReadingsFault> {
        let devices = devices.to_vec();
        self.connections.ask(move |connection| reader::last_seen(connection, &devices)).await
    }

    async fn history(&self, stretch: Stretch, limit: u32, offset: u32) -> Result<Vec<StoredReading>, ReadingsFault> {
        self.connections.ask(move |connection| reader::history(connection, stretch, limit, offset)).await
    }

    async fn aggregated(&self, stretch: Stretch, width: BucketWidth) -> Result<Vec<Bucket>, ReadingsFault> {
        self.connections.ask(move |connection| reader::aggregated(connection, stretch, width)).await
    }

    async fn summary(&self, stretch: Stretch, gap_max: TimeDelta) -> Result<Option<Summary>, ReadingsFault> {
        self.connections.ask(move |connection| reader::summary(connection, stretch, gap_max)).await
    }

    async fn arrived_after(&self, arrival: u64, limit: u32) -> Result<Vec<StoredReading>, ReadingsFault> {
        self.connections.ask(move |connection| reader::arrived_after(connection, arrival, limit)).await
    }

    async fn last_arrival(&self) -> Result<u64, ReadingsFault> {
        Ok(*self.head.borrow())
    }

    async fn grown(&self, arrival: u64) {
        super::grown(&self.head, arrival).await;
    }

    async fn drop_before(&self, moment: DateTime<Utc>) -> Result<u64, ReadingsFault> {
        dropping::drop_before(self, moment).await
    }

    async fn forget(&self, device: Uuid) -> Result<(), ReadingsFault> {
        self.connections.ask(move |connection| reader::forget(connection, device)).await
    }
}

#[async_trait]
impl Tables for SqliteReadings {
    async fn keep_from(&self, hour: i64) -> Result<(), ReadingsFault> {
        self.connections.ask(move |connection| reader::keep_from(connection, hour)).await
    }

    async fn devices_after(&self, device: Uuid, limit: u32) -> Result<Vec<Uuid>, ReadingsFault> {
        self.connections.ask(move |connection| reader::devices_after(connection, device, limit)).await
    }

    async fn drop_some(&self, device: Uuid, hour: i64) -> Result<u64, ReadingsFault> {
        self.connections.ask(move |connection| reader::drop_some(connection, device, hour)).await
    }
}
