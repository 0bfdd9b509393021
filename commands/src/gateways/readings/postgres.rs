//! Readings in PostgreSQL, in the database of the log.

mod listener;
mod writer;

use std::collections::HashMap;
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use migrations::BATTERY_POSTGRES;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{query, query_as, query_scalar};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::dropping::{self, Tables};
use super::questions::{
    AGGREGATED, ARRIVED, CHARGING, DEVICES, DROP, FORGET, HEAD, HISTORY, KEEP_FROM, LATEST, Parts, RECENT, SUMMARY,
};
use super::queue::Queue;
use super::rows::{self, BucketRow, ReadingRow, SummaryRow, bigint, micros, number, time};
use super::{Accepted, BatteryReadings, Bucket, BucketWidth, ReadingsFault, Report, StoredReading, Stretch, Summary};

const CONNECTIONS: u32 = 6;
const STATEMENT_TIMEOUT: &str = "30s";
/// A server that was stopped in the middle of a transaction must not keep the order of arrival locked.
const SILENCE_MAX: &str = "10s";
const SEEN: &str = "SELECT device, last_seen FROM battery_seen WHERE device = ANY($1)";

/// Readings in PostgreSQL.
#[derive(Debug)]
pub struct PostgresReadings {
    pool: PgPool,
    queue: Queue,
    /// The last arrival as far as this server knows.
    head: watch::Receiver<u64>,
    /// Hears of what other servers write.
    listener: AbortHandle,
}

impl PostgresReadings {
    /// Connects, and creates the tables when they are missing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn connect(url: &str) -> Result<Self, ReadingsFault> {
        let address = PgConnectOptions::from_str(url)?.application_name("corelog");
        let address = address.options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", SILENCE_MAX),
            ("jit", "off"),
        ]);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_with(address).await?;
        BATTERY_POSTGRES.apply_postgres(&mut *pool.acquire().await?).await?;
        let (head, grown) = watch::channel(number(last_arrival_and_kept_from(&pool).await?.0));
        let (queue, waiting) = Queue::new();
        tokio::spawn(writer::write(pool.clone(), waiting, head.clone()));
        let listener = tokio::spawn(listener::follow(pool.clone(), head)).abort_handle();
        Ok(Self { pool, queue, head: grown, listener })
    }
}

impl Drop for PostgresReadings {
    fn drop(&mut self) {
        // The writer ends by itself, when its queue is closed and empty.
        self.listener.abort();
    }
}

async fn last_arrival_and_kept_from(pool: &PgPool) -> sqlx::Result<(i64, i64)> {
    query_as(HEAD).fetch_one(pool).await
}

fn stored(found: Vec<ReadingRow>) -> Result<Vec<StoredReading>, ReadingsFault> {
    found.into_iter().map(rows::stored).collect()
}

#[async_trait]
impl BatteryReadings for PostgresReadings {
    async fn append(&self, reports: Vec<Report>) -> Result<Accepted, ReadingsFault> {
        self.queue.append(reports).await
    }

    async fn latest(&self, device: Uuid) -> Result<Option<StoredReading>, ReadingsFault> {
        let row: Option<ReadingRow> = query_as(LATEST).bind(device).fetch_optional(&self.pool).await?;
        row.map(rows::stored).transpose()
    }

    async fn recent(&self, device: Uuid, span: TimeDelta, limit: u32) -> Result<Vec<StoredReading>, ReadingsFault> {
        let asked = query_as(RECENT).bind(device).bind(micros(span)).bind(i64::from(limit));
        stored(asked.fetch_all(&self.pool).await?)
    }

    async fn last_seen(&self, devices: &[Uuid]) -> Result<HashMap<Uuid, DateTime<Utc>>, ReadingsFault> {
        let found: Vec<(Uuid, i64)> = query_as(SEEN).bind(devices).fetch_all(&self.pool).await?;
        found.into_iter().map(|(device, micros)| Ok((device, time(micros)?))).collect()
    }

    async fn history(&self, stretch: Stretch, limit: u32, offset: u32) -> Result<Vec<StoredReading>, ReadingsFault> {
        let (from, until) = (stretch.from.timestamp_micros(), stretch.until.timestamp_micros());
        let asked = query_as(HISTORY).bind(stretch.device).bind(from).bind(until);
        stored(asked.bind(i64::from(limit)).bind(i64::from(offset)).fetch_all(&self.pool).await?)
    }

    async fn aggregated(&self, stretch: Stretch, width: BucketWidth) -> Result<Vec<Bucket>, ReadingsFault> {
        let (_, kept_from) = last_arrival_and_kept_from(&self.pool).await?;
        let parts = Parts::in_buckets(&stretch, width, kept_from);
        let asked = query_as(AGGREGATED).bind(stretch.device).bind(parts.from).bind(parts.hours);
        let asked = asked.bind(parts.after).bind(parts.until).bind(width.micros());
        let found: Vec<BucketRow> = asked.fetch_all(&self.pool).await?;
        found.into_iter().map(rows::bucket).collect()
    }

    async fn summary(&self, stretch: Stretch, gap_max: TimeDelta) -> Result<Option<Summary>, ReadingsFault> {
        let (_, kept_from) = last_arrival_and_kept_from(&self.pool).await?;
        let parts = Parts::of(&stretch, kept_from);
        let asked = query_as(SUMMARY).bind(stretch.device).bind(parts.from).bind(parts.hours);
        let asked = asked.bind(parts.after).bind(parts.until).bind(kept_from);
        let Some(sums) = asked.fetch_optional(&self.pool).await? else { return Ok(None) };
        let sums: SummaryRow = sums;
        let asked = query_scalar(CHARGING).bind(stretch.device).bind(parts.from.max(kept_from)).bind(parts.until);
        rows::summary(sums, asked.bind(micros(gap_max)).fetch_one(&self.pool).await?).map(Some)
    }

    async fn arrived_after(&self, arrival: u64, limit: u32) -> Result<Vec<StoredReading>, ReadingsFault> {
        stored(query_as(ARRIVED).bind(bigint(arrival)).bind(i64::from(limit)).fetch_all(&self.pool).await?)
    }

    async fn last_arrival(&self) -> Result<u64, ReadingsFault> {
        Ok(number(last_arrival_and_kept_from(&self.pool).await?.0))
    }

    async fn grown(&self, arrival: u64) {
        super::grown(&self.head, arrival).await;
    }

    async fn drop_before(&self, moment: DateTime<Utc>) -> Result<u64, ReadingsFault> {
        dropping::drop_before(self, moment).await
    }

    async fn forget(&self, device: Uuid) -> Result<(), ReadingsFault> {
        for statement in FORGET {
            query(statement).bind(device).execute(&self.pool).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Tables for PostgresReadings {
    async fn keep_from(&self, hour: i64) -> Result<(), ReadingsFault> {
        query(KEEP_FROM).bind(hour).execute(&self.pool).await?;
        Ok(())
    }

    async fn devices_after(&self, device: Uuid, limit: u32) -> Result<Vec<Uuid>, ReadingsFault> {
        Ok(query_scalar(DEVICES).bind(device).bind(i64::from(limit)).fetch_all(&self.pool).await?)
    }

    async fn drop_some(&self, device: Uuid, hour: i64) -> Result<u64, ReadingsFault> {
        let dropped: Vec<i64> = query_scalar(DROP).bind(device).bind(hour).fetch_all(&self.pool).await?;
        Ok(dropped.len() as u64)
    }
}
