//! What a strategy remembers from cycle to cycle, and how each sort of rules judges and books.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use serde::{Deserialize, Serialize};

use crate::trading::candle::{Candle, Symbol, Timeframe};
use crate::trading::config::StrategyConfig;
use crate::trading::dca::DcaState;
use crate::trading::grid::GridState;
use crate::trading::indicator;
use crate::trading::order::Fill;
use crate::trading::rsi::RsiState;
use crate::trading::verdict::{MarketSnapshot, Verdict};

/// The memory of a strategy, by the sort of its rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeState {
    Grid(GridState),
    Dca(DcaState),
    Rsi(RsiState),
}

impl StrategyConfig {
    /// Reads the market for these rules from the candles that are closed at `now`; `None` when there are none.
    pub(crate) fn look(
        &self,
        symbol: &Symbol,
        timeframe: Timeframe,
        candles: &[Candle],
        now: DateTime<Utc>,
    ) -> Option<MarketSnapshot> {
        let open = candles.partition_point(|candle| candle.closed_at(timeframe) <= now);
        let closed = &candles[..open];
        let last = closed.last()?;
        let rsi = match self {
            Self::Grid(_) | Self::Dca(_) => None,
            Self::Rsi(config) => last_two(&indicator::rsi(closed, config.rsi_period)),
        };
        Some(MarketSnapshot {
            symbol: symbol.clone(),
            timeframe,
            price: last.close,
            closed_at: last.closed_at(timeframe),
            candles: u32::try_from(closed.len()).unwrap_or(u32::MAX),
            rsi,
        })
    }
}

impl RuntimeState {
    /// The memory of a strategy that has not looked at the market yet.
    pub fn fresh(config: &StrategyConfig) -> Self {
        match config {
            StrategyConfig::Grid(_) => Self::Grid(GridState::default()),
            StrategyConfig::Dca(_) => Self::Dca(DcaState::default()),
            StrategyConfig::Rsi(_) => Self::Rsi(RsiState::default()),
        }
    }

    /// Whether the strategy owns a position.
    pub fn holds(&self) -> bool {
        match self {
            Self::Grid(state) => !state.held.is_empty(),
            Self::Dca(state) => state.total_quantity > Decimal::ZERO,
            Self::Rsi(state) => state.quantity > Decimal::ZERO,
        }
    }

    /// What these rules say to the market.
    pub(crate) fn judge(&self, config: &StrategyConfig, market: &MarketSnapshot) -> Verdict {
        match (config, self) {
            (StrategyConfig::Grid(config), Self::Grid(state)) => config.judge(state, market),
            (StrategyConfig::Dca(config), Self::Dca(state)) => config.judge(state, market),
            (StrategyConfig::Rsi(config), Self::Rsi(state)) => config.judge(state, market),
            (StrategyConfig::Grid(_) | StrategyConfig::Dca(_) | StrategyConfig::Rsi(_), _) => {
                Self::fresh(config).judge(config, market)
            }
        }
    }

    /// The memory after a cycle in which `verdict` led to `fill`, or to none.
    pub(crate) fn after(
        &self,
        config: &StrategyConfig,
        market: &MarketSnapshot,
        verdict: &Verdict,
        fill: Option<&Fill>,
    ) -> Self {
        match (config, self) {
            (_, Self::Grid(state)) => Self::Grid(state.after(market.price, verdict, fill)),
            (_, Self::Dca(state)) => Self::Dca(state.after(market.closed_at, fill)),
            (StrategyConfig::Rsi(config), Self::Rsi(state)) => Self::Rsi(state.after(config, market, fill)),
            (StrategyConfig::Grid(_) | StrategyConfig::Dca(_), Self::Rsi(state)) => Self::Rsi(state.clone()),
        }
    }

    /// What was paid for that which is held before a sale, and not `after` it. The account knows only the average of all
    /// that is held of a market, whichever strategy bought it.
    pub fn cost_of_sold(&self, after: &Self) -> Decimal {
        match (self, after) {
            (Self::Grid(before), Self::Grid(after)) => {
                let sold = before.held.iter().filter(|held| after.held.iter().all(|other| other.cell != held.cell));
                sold.map(|held| held.quantity.saturating_mul(held.price)).fold(Decimal::ZERO, Decimal::saturating_add)
            }
            (Self::Dca(before), Self::Dca(after)) => before.total_invested.saturating_sub(after.total_invested),
            (Self::Rsi(before), Self::Rsi(after)) => before.position_size.saturating_sub(after.position_size),
            (Self::Grid(_) | Self::Dca(_) | Self::Rsi(_), _) => Decimal::ZERO,
        }
    }

    /// Own money in positions.
    pub(crate) fn invested(&self, config: &StrategyConfig) -> Decimal {
        match (config, self) {
            (StrategyConfig::Grid(config), Self::Grid(state)) => config.invested(state),
            (StrategyConfig::Rsi(config), Self::Rsi(state)) => state.position_size / config.leverage,
            (_, Self::Dca(state)) => state.total_invested,
            (_, Self::Grid(_) | Self::Rsi(_)) => Decimal::ZERO,
        }
    }
}

/// The last value and the one before, to ten decimals.
fn last_two(values: &[f64]) -> Option<(Decimal, Decimal)> {
    let [.., before, last] = values else { return None };
    let decimal = |value: f64| Decimal::from_f64(value).map(|value| value.round_dp(10));
    Some((decimal(*last)?, decimal(*before)?))
}
