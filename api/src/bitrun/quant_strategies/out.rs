//! How a strategy, its settings and its memory are shown.

use data_encoding::HEXLOWER;
use domain::trading::config::StrategyConfig;
use domain::trading::dca::{DcaConfig, DcaState};
use domain::trading::grid::{GridConfig, GridState};
use domain::trading::rsi::{RsiConfig, RsiState, Signal};
use domain::trading::runtime::RuntimeState;
use projections::trading::quant_strategies::Model;
use rust_decimal::Decimal;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::amount::Amount;
use crate::bitrun::envelope::Timestamp;
use crate::error::ApiError;

#[derive(Serialize, ToSchema)]
pub(super) struct StrategyOut {
    id: String,
    name: String,
    description: String,
    strategy_type: String,
    symbol: String,
    config: ConfigOut,
    runtime_state: RuntimeOut,
    status: String,
    error_message: Option<String>,
    account_id: Option<String>,
    allocated_capital: Option<Amount>,
    allocated_capital_percent: Option<Amount>,
    total_pnl: Amount,
    total_trades: i64,
    winning_trades: i64,
    losing_trades: i64,
    /// A part of all trades, 0 to 1.
    win_rate: Amount,
    /// A part of the highest equity, 0 to 1.
    max_drawdown: Amount,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_run_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum ConfigOut {
    Grid {
        upper_price: Amount,
        lower_price: Amount,
        grid_count: u32,
        total_investment: Amount,
        leverage: Amount,
    },
    Dca {
        order_amount: Amount,
        interval_minutes: u32,
        take_profit_percent: Amount,
        total_budget: Amount,
        max_orders: u32,
    },
    Rsi {
        rsi_period: u32,
        overbought: u32,
        oversold: u32,
        order_amount: Amount,
        timeframe: &'static str,
        leverage: Amount,
    },
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum RuntimeOut {
    Grid {
        initialized: bool,
        config_hash: String,
        grid_levels: Vec<Amount>,
        filled_buys: Vec<FilledBuyOut>,
        filled_sells: Vec<u32>,
        total_invested: Amount,
        total_returned: Amount,
        last_price: Option<Amount>,
        last_check: Option<Timestamp>,
    },
    Dca {
        orders_placed: u32,
        total_invested: Amount,
        total_quantity: Amount,
        avg_cost: Amount,
        last_order_time: Option<Timestamp>,
    },
    Rsi {
        has_position: bool,
        entry_price: Option<Amount>,
        position_size_usd: Amount,
        last_rsi: Option<Amount>,
        last_signal: Option<&'static str>,
    },
}

/// A cell that was bought and not sold yet.
#[derive(Serialize, ToSchema)]
struct FilledBuyOut {
    /// Number of its lower edge in `grid_levels`.
    level: u32,
    price: Amount,
    quantity: Amount,
}

impl TryFrom<Model> for StrategyOut {
    type Error = ApiError;

    fn try_from(row: Model) -> Result<Self, ApiError> {
        let (config, memory) = (row.settings()?, row.memory()?);
        let trades = Decimal::from(row.winning_trades).checked_div(row.total_trades.into());
        Ok(Self {
            runtime_state: RuntimeOut::of(&config, &memory, &row),
            config: config.into(),
            id: row.id,
            name: row.name,
            description: row.description,
            strategy_type: row.strategy_type,
            symbol: row.symbol,
            status: row.status,
            error_message: row.error_message,
            account_id: row.account_id,
            allocated_capital: row.allocated_capital.map(Amount::from),
            allocated_capital_percent: row.allocated_capital_percent.map(Amount::from),
            total_pnl: row.total_pnl.into(),
            total_trades: row.total_trades,
            winning_trades: row.winning_trades,
            losing_trades: row.losing_trades,
            win_rate: Amount(trades.unwrap_or_default().round_dp(4)),
            max_drawdown: row.max_drawdown.into(),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            last_run_at: row.last_run_at.map(Timestamp),
        })
    }
}

impl From<StrategyConfig> for ConfigOut {
    fn from(config: StrategyConfig) -> Self {
        match config {
            StrategyConfig::Grid(GridConfig { upper_price, lower_price, grid_count, total_investment, leverage }) => {
                Self::Grid {
                    upper_price: Amount(upper_price),
                    lower_price: Amount(lower_price),
                    grid_count,
                    total_investment: Amount(total_investment),
                    leverage: Amount(leverage),
                }
            }
            StrategyConfig::Dca(DcaConfig {
                order_amount,
                interval_minutes,
                take_profit_percent,
                total_budget,
                max_orders,
            }) => Self::Dca {
                order_amount: Amount(order_amount),
                interval_minutes,
                take_profit_percent: Amount(take_profit_percent),
                total_budget: Amount(total_budget),
                max_orders,
            },
            StrategyConfig::Rsi(RsiConfig { rsi_period, overbought, oversold, order_amount, timeframe, leverage }) => {
                Self::Rsi {
                    rsi_period,
                    overbought,
                    oversold,
                    order_amount: Amount(order_amount),
                    timeframe: timeframe.as_str(),
                    leverage: Amount(leverage),
                }
            }
        }
    }
}

impl RuntimeOut {
    fn of(config: &StrategyConfig, memory: &RuntimeState, row: &Model) -> Self {
        match memory {
            RuntimeState::Grid(state) => Self::grid(config, state, row),
            RuntimeState::Dca(state) => Self::dca(state),
            RuntimeState::Rsi(state) => Self::rsi(state),
        }
    }

    fn grid(config: &StrategyConfig, state: &GridState, row: &Model) -> Self {
        let levels = match config {
            StrategyConfig::Grid(config) => config.levels(),
            StrategyConfig::Dca(_) | StrategyConfig::Rsi(_) => vec![],
        };
        let held = state.held.iter().map(|held| FilledBuyOut {
            level: held.cell,
            price: Amount(held.price),
            quantity: Amount(held.quantity),
        });
        Self::Grid {
            initialized: state.last_price.is_some(),
            config_hash: HEXLOWER.encode(&Sha256::digest(&row.config)[..8]),
            grid_levels: levels.into_iter().map(Amount).collect(),
            filled_buys: held.collect(),
            filled_sells: state.sold.clone(),
            total_invested: Amount(state.total_invested),
            total_returned: Amount(state.total_returned),
            last_price: state.last_price.map(Amount),
            last_check: row.last_run_at.map(Timestamp),
        }
    }

    fn dca(state: &DcaState) -> Self {
        Self::Dca {
            orders_placed: state.orders_placed,
            total_invested: Amount(state.total_invested),
            total_quantity: Amount(state.total_quantity),
            avg_cost: Amount(state.avg_cost),
            last_order_time: state.last_order_time.map(Timestamp),
        }
    }

    fn rsi(state: &RsiState) -> Self {
        let word = |signal: Signal| match signal {
            Signal::Buy => "buy",
            Signal::Sell => "sell",
        };
        Self::Rsi {
            has_position: state.quantity > Decimal::ZERO,
            entry_price: state.entry_price.map(Amount),
            position_size_usd: Amount(state.position_size),
            last_rsi: state.last_rsi.map(Amount),
            last_signal: state.last_signal.map(word),
        }
    }
}
