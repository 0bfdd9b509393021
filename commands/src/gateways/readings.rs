//! The port to battery readings, kept in a time series beside the log.
//!
//! Readings are told apart by device and time; the first one stays, so reports can be repeated. Late ones are kept in
//! their place. Each reading has its place in the order of arrival, by which a follower reads all of them. Beside the
//! readings stand their sums by hour, which outlive them.
//!
//! Everybody who reports at the same time shares one durable transaction. Both engines are asked the same queries, see
//! `questions`.

mod dropping;
mod postgres;
mod questions;
mod queue;
mod rows;
mod sqlite;

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::devices::reading::BatteryReading;
use tokio::sync::watch;
use uuid::Uuid;

pub use postgres::PostgresReadings;
pub use sqlite::SqliteReadings;

/// Why readings cannot be read or kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the battery readings are unavailable: {0}")]
pub struct ReadingsFault(String);

impl ReadingsFault {
    fn because(error: &dyn std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl From<sqlx::Error> for ReadingsFault {
    fn from(error: sqlx::Error) -> Self {
        Self::because(&error)
    }
}

impl From<rusqlite::Error> for ReadingsFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::because(&error)
    }
}

impl From<migrations::MigrationError> for ReadingsFault {
    fn from(error: migrations::MigrationError) -> Self {
        Self::because(&error)
    }
}

/// A reading on its way in.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub reading: BatteryReading,
    /// By the clock of the server.
    pub received_at: DateTime<Utc>,
}

/// A reading that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReading {
    /// Its place in the order of arrival, from 1; some numbers may be missing.
    pub arrival: u64,
    pub received_at: DateTime<Utc>,
    pub reading: BatteryReading,
}

/// What came of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// For each reading of the report the one that is kept for its device and time, in the order of the report.
    pub kept: Vec<StoredReading>,
    /// How many of them were new.
    pub new: usize,
}

/// A stretch of time of one device: from `from`, before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub device: Uuid,
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// How much time one bucket covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketWidth {
    Minute,
    Hour,
    Day,
}

impl BucketWidth {
    fn micros(self) -> i64 {
        const MINUTE: i64 = 60_000_000;
        match self {
            Self::Minute => MINUTE,
            Self::Hour => 60 * MINUTE,
            Self::Day => 24 * 60 * MINUTE,
        }
    }
}

/// The levels of some readings, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// Never 0.
    pub readings: u64,
    pub sum: u64,
    pub min: u8,
    pub max: u8,
}

impl Levels {
    /// The mean level.
    #[expect(clippy::cast_precision_loss, reason = "sums of levels stay far below 2^52")]
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.readings as f64
    }
}

/// The readings of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    pub start: DateTime<Utc>,
    pub levels: Levels,
}

/// The readings of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub levels: Levels,
    /// Readings below [`LOW_LEVEL`](domain::devices::reading::LOW_LEVEL).
    pub low: u64,
    /// For how long the device was charging: each reading that says so counts until the next one.
    pub charging: TimeDelta,
}

/// Readings of all devices.
#[async_trait]
pub trait BatteryReadings: Send + Sync {
    /// Keeps the readings of one report. They are durable when this answers.
    ///
    /// # Errors
    /// When the database does not answer; the report can be repeated.
    async fn append(&self, reports: Vec<Report>) -> Result<Accepted, ReadingsFault>;

    /// The reading of the latest time, whatever arrived after it.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn latest(&self, device: Uuid) -> Result<Option<StoredReading>, ReadingsFault>;

    /// The reading of the latest time and those from up to `span` before it, the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn recent(&self, device: Uuid, span: TimeDelta, limit: u32) -> Result<Vec<StoredReading>, ReadingsFault>;

    /// When each of `devices` that ever reported was last heard of, by the clock of the server.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn last_seen(&self, devices: &[Uuid]) -> Result<HashMap<Uuid, DateTime<Utc>>, ReadingsFault>;

    /// At most `limit` readings of a stretch of time, the newest first, without the first `offset` of them.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn history(&self, stretch: Stretch, limit: u32, offset: u32) -> Result<Vec<StoredReading>, ReadingsFault>;

    /// The buckets of a stretch of time that hold readings, the newest first. Of hours whose readings were dropped
    /// only the whole is known: the first and the last one then count as a whole.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn aggregated(&self, stretch: Stretch, width: BucketWidth) -> Result<Vec<Bucket>, ReadingsFault>;

    /// The sum of a stretch of time, if there are readings. After a reading that says it was charging, no more than
    /// `gap_max` counts as charging. Where readings were dropped, that time is estimated from their number.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn summary(&self, stretch: Stretch, gap_max: TimeDelta) -> Result<Option<Summary>, ReadingsFault>;

    /// At most `limit` readings that arrived after `arrival`, in their order. No reading ever appears before one that
    /// was shown here.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn arrived_after(&self, arrival: u64, limit: u32) -> Result<Vec<StoredReading>, ReadingsFault>;

    /// The last arrival; 0 when nothing ever arrived.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn last_arrival(&self) -> Result<u64, ReadingsFault>;

    /// Waits until something has arrived after `arrival`.
    async fn grown(&self, arrival: u64);

    /// Drops the readings from before `moment`, except the latest of each device; the sums by hour stay. Answers how
    /// many were dropped.
    ///
    /// # Errors
    /// When the database does not answer; what is not dropped will be the next time.
    async fn drop_before(&self, moment: DateTime<Utc>) -> Result<u64, ReadingsFault>;

    /// Drops everything of one device.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn forget(&self, device: Uuid) -> Result<(), ReadingsFault>;
}

/// Waits until `head` is past `arrival`.
async fn grown(head: &watch::Receiver<u64>, arrival: u64) {
    if head.clone().wait_for(|head| *head > arrival).await.is_err() {
        // The writer has stopped: nothing will arrive any more.
        std::future::pending::<()>().await;
    }
}
