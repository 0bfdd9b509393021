//! Market data in an SQLite file of their own: they are written in bulk, which must not hold up the log.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::trading::candle::{Candle, Symbol, Timeframe};
use sqlx::QueryBuilder;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

use super::{
    CANDLES_MAX, CANDLES_PER_STATEMENT, INSERT, KEEP_THE_FIRST, MarketData, MarketFault, Row, SELECT_CANDLES, in_order,
};

const CONNECTIONS: u32 = 4;
const BUSY: Duration = Duration::from_secs(5);

/// Candles in an SQLite file.
pub struct SqliteMarketData {
    pool: SqlitePool,
}

impl SqliteMarketData {
    /// Opens the file, or makes it; several programs may have it open.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn open(path: &Path) -> Result<Self, MarketFault> {
        let place = path.to_owned();
        let migrated = tokio::task::spawn_blocking(move || {
            let mut connection = rusqlite::Connection::open(place)?;
            connection.busy_timeout(BUSY)?;
            migrations::MARKET_SQLITE.apply_sqlite(&mut connection)
        });
        migrated.await.map_err(|error| MarketFault(error.to_string()))??;
        let options =
            SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal).busy_timeout(BUSY);
        Ok(Self { pool: SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await? })
    }
}

#[async_trait]
impl MarketData for SqliteMarketData {
    async fn candles(
        &self,
        symbol: &Symbol,
        timeframe: Timeframe,
        moment: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Candle>, MarketFault> {
        let rows: Vec<Row> = sqlx::query_as(SELECT_CANDLES)
            .bind(symbol.as_str())
            .bind(timeframe.as_str())
            .bind(moment.timestamp_micros())
            .bind(i64::from(limit.min(CANDLES_MAX)))
            .fetch_all(&self.pool)
            .await?;
        in_order(rows)
    }

    async fn keep(&self, symbol: &Symbol, timeframe: Timeframe, candles: &[Candle]) -> Result<u64, MarketFault> {
        let mut transaction = self.pool.begin().await?;
        let mut new = 0;
        for candles in candles.chunks(CANDLES_PER_STATEMENT) {
            let mut statement = QueryBuilder::new(INSERT);
            statement.push_values(candles, |mut row, candle| {
                row.push_bind(symbol.as_str())
                    .push_bind(timeframe.as_str())
                    .push_bind(candle.open_time.timestamp_micros())
                    .push_bind(candle.closed_at(timeframe).timestamp_micros());
                for number in [candle.open, candle.high, candle.low, candle.close, candle.volume] {
                    row.push_bind(number.to_string());
                }
            });
            statement.push(KEEP_THE_FIRST);
            new += statement.build().execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        Ok(new)
    }
}
