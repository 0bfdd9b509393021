//! The port to market data: candles, kept in a time series beside the log.
//!
//! Candles are measurements: nothing is decided by keeping them. They are told apart by market, timeframe and time, and
//! the first reading of a candle stays, so that a decision can always be compared with what it was made on.

mod postgres;
mod sqlite;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::trading::candle::{Candle, Symbol, Timeframe};

pub use postgres::PostgresMarketData;
pub use sqlite::SqliteMarketData;

/// Most candles of one answer.
pub const CANDLES_MAX: u32 = 5_000;
/// Candles written in one statement.
const CANDLES_PER_STATEMENT: usize = 500;

/// Why market data cannot be read or kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the market data are unavailable: {0}")]
pub struct MarketFault(String);

impl From<sqlx::Error> for MarketFault {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<migrations::MigrationError> for MarketFault {
    fn from(error: migrations::MigrationError) -> Self {
        Self(error.to_string())
    }
}

/// Candles of all markets.
#[async_trait]
pub trait MarketData: Send + Sync {
    /// The last at most `limit` candles that were closed at `moment`, the oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn candles(
        &self,
        symbol: &Symbol,
        timeframe: Timeframe,
        moment: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Candle>, MarketFault>;

    /// The candle of any timeframe that was the last to close at `moment`; of several, the shortest.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn last(&self, symbol: &Symbol, moment: DateTime<Utc>) -> Result<Option<(Timeframe, Candle)>, MarketFault> {
        let mut candidates = Vec::new();
        for timeframe in Timeframe::ALL {
            let newest = self.candles(symbol, timeframe, moment, 1).await?;
            candidates.extend(newest.into_iter().map(|candle| (timeframe, candle)));
        }
        Ok(last_of(candidates))
    }

    /// Keeps candles; those that are known already stay as they are. Answers how many were new.
    ///
    /// # Errors
    /// When the database does not answer; then none of them was kept.
    async fn keep(&self, symbol: &Symbol, timeframe: Timeframe, candles: &[Candle]) -> Result<u64, MarketFault>;
}

const INSERT: &str = "INSERT INTO candles (symbol, timeframe, open_time, closed_at, open, high, low, close, volume) ";
const KEEP_THE_FIRST: &str = " ON CONFLICT (symbol, timeframe, open_time) DO NOTHING";
const SELECT_CANDLES: &str = "SELECT open_time, open, high, low, close, volume FROM candles \
    WHERE symbol = $1 AND timeframe = $2 AND closed_at <= $3 ORDER BY open_time DESC LIMIT $4";

/// A stored candle: time of opening in microseconds, then open, high, low, close and volume as text.
type Row = (i64, String, String, String, String, String);

fn candle(row: Row) -> Result<Candle, MarketFault> {
    let (open_time, open, high, low, close, volume) = row;
    let decimal =
        |text: String| text.parse().map_err(|_| MarketFault(format!("{text} is stored where a decimal belongs")));
    let open_time = DateTime::from_timestamp_micros(open_time);
    Ok(Candle {
        open_time: open_time.ok_or_else(|| MarketFault("a stored time is out of range".to_owned()))?,
        open: decimal(open)?,
        high: decimal(high)?,
        low: decimal(low)?,
        close: decimal(close)?,
        volume: decimal(volume)?,
    })
}

/// The rows of a descending query, the oldest first.
fn in_order(rows: Vec<Row>) -> Result<Vec<Candle>, MarketFault> {
    rows.into_iter().rev().map(candle).collect()
}

/// The last to close; of several, the shortest.
fn last_of(candidates: Vec<(Timeframe, Candle)>) -> Option<(Timeframe, Candle)> {
    candidates.into_iter().rev().max_by_key(|(timeframe, candle)| candle.closed_at(*timeframe))
}
