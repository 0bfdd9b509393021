//! Market data: where they are kept, and how they come in.

mod candles_csv;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use commands::gateways::market::{MarketData, MarketFault, PostgresMarketData, SqliteMarketData};
use domain::trading::candle::{Candle, Symbol, Timeframe};

use crate::config::Config;
use crate::error::ApiError;
use crate::server::StartError;
use crate::storage::{MARKET_FILE, data_dir, in_database, in_directory};

/// Candles kept in one transaction.
const CANDLES_AT_ONCE: usize = 10_000;

/// Opens the candles of the installation that `config` names.
///
/// # Errors
/// A sentence that says what could not be opened.
pub async fn open(config: &Config) -> Result<Arc<dyn MarketData>, StartError> {
    if let Some(url) = &config.database_url {
        let market = PostgresMarketData::connect(url).await;
        return Ok(Arc::new(market.map_err(|error| in_database(&error))?));
    }
    let directory = data_dir(config)?;
    let market = SqliteMarketData::open(&directory.join(MARKET_FILE)).await;
    let market = market.map_err(|error| in_directory(directory, &error))?;
    Ok(Arc::new(market))
}

/// Keeps the candles of a CSV file, or none of them when a line is wrong. Answers what was done, in a sentence.
///
/// # Errors
/// A sentence that names the lines that are no candles, or says what does not answer.
pub async fn import_candles(
    config: &Config,
    symbol: &Symbol,
    timeframe: Timeframe,
    file: &Path,
) -> Result<String, String> {
    let text = fs::File::open(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let candles = candles_csv::read(text, timeframe).map_err(|error| format!("{}: {error}", file.display()))?;
    let market = open(config).await.map_err(|error| error.to_string())?;
    let new = keep(market.as_ref(), symbol, timeframe, &candles).await.map_err(|error| error.to_string())?;
    let known = candles.len() as u64 - new;
    Ok(format!("{new} candles of {symbol} ({timeframe}) imported, {known} were there before"))
}

async fn keep(
    market: &dyn MarketData,
    symbol: &Symbol,
    timeframe: Timeframe,
    candles: &[Candle],
) -> Result<u64, MarketFault> {
    let mut new = 0;
    for some in candles.chunks(CANDLES_AT_ONCE) {
        new += market.keep(symbol, timeframe, some).await?;
    }
    Ok(new)
}

impl From<MarketFault> for ApiError {
    fn from(fault: MarketFault) -> Self {
        Self::unavailable(&fault)
    }
}
