//! Market data in PostgreSQL, in the database of the log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::trading::candle::{Candle, Symbol, Timeframe};
use sqlx::QueryBuilder;
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::{
    CANDLES_MAX, CANDLES_PER_STATEMENT, INSERT, KEEP_THE_FIRST, MarketData, MarketFault, Row, SELECT_CANDLES, in_order,
};

const CONNECTIONS: u32 = 4;

/// Candles in PostgreSQL.
pub struct PostgresMarketData {
    pool: PgPool,
}

impl PostgresMarketData {
    /// Connects, and creates the table when it is missing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn connect(url: &str) -> Result<Self, MarketFault> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
        migrations::MARKET_POSTGRES.apply_postgres(&mut *pool.acquire().await?).await?;
        Ok(Self { pool })
    }
}

#[async_trait]
impl MarketData for PostgresMarketData {
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
