//! How a decision is shown.

use domain::trading::order::{OrderOutcome, OrderSize};
use domain::trading::verdict::{AccountSnapshot, Deliberation, MarketSnapshot};
use projections::trading::decisions::Model;
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use crate::amount::Amount;
use crate::bitrun::envelope::Timestamp;
use crate::error::ApiError;

#[derive(Serialize, ToSchema)]
pub(super) struct DecisionOut {
    id: String,
    strategy_id: String,
    account_id: String,
    timestamp: Timestamp,
    chain_of_thought: String,
    market_assessment: String,
    /// 0 to 1. A rule is met or it is not: always 1 for a quant strategy.
    overall_confidence: Amount,
    decisions: Vec<ActionOut>,
    executed: bool,
    execution_results: Vec<ResultOut>,
    ai_model: String,
    tokens_used: u64,
    latency_ms: u64,
    market_snapshot: MarketOut,
    account_snapshot: SnapshotOut,
}

#[derive(Serialize, ToSchema)]
struct ActionOut {
    symbol: String,
    action: &'static str,
    leverage: Amount,
    position_size_usd: Amount,
    entry_price: Amount,
    stop_loss: Option<Amount>,
    take_profit: Option<Amount>,
    /// 0 to 100.
    confidence: u8,
    /// Own money that the position can lose.
    risk_usd: Amount,
    reasoning: String,
}

#[derive(Serialize, ToSchema)]
struct ResultOut {
    symbol: String,
    action: &'static str,
    confidence: u8,
    executed: bool,
    reason: Option<String>,
    requested_size_usd: Amount,
    actual_size_usd: Option<Amount>,
    order_result: OrderResultOut,
    realized_pnl: Option<Amount>,
    fee: Option<Amount>,
}

#[derive(Serialize, ToSchema)]
struct OrderResultOut {
    /// The account's own number of the order: the decision's id.
    order_id: String,
    filled_size: Option<Amount>,
    filled_price: Option<Amount>,
    status: &'static str,
    error: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct MarketOut {
    symbol: String,
    timeframe: &'static str,
    price: Amount,
    /// Close of the last candle: the moment that the decision is about.
    closed_at: Timestamp,
    candles: u32,
    rsi: Option<Amount>,
    previous_rsi: Option<Amount>,
}

#[derive(Serialize, ToSchema)]
struct SnapshotOut {
    equity: Amount,
    available_balance: Amount,
    total_margin_used: Amount,
    unrealized_pnl: Amount,
    positions: Vec<HeldOut>,
}

#[derive(Serialize, ToSchema)]
struct HeldOut {
    symbol: String,
    side: &'static str,
    size: Amount,
    entry_price: Amount,
    mark_price: Amount,
    unrealized_pnl: Amount,
}

impl TryFrom<Model> for DecisionOut {
    type Error = ApiError;

    fn try_from(row: Model) -> Result<Self, ApiError> {
        let (considered, outcome) = (row.considered()?, row.came_to()?);
        Ok(Self {
            decisions: vec![ActionOut::of(&considered)],
            execution_results: outcome.iter().map(|outcome| ResultOut::of(&row.id, &considered, outcome)).collect(),
            id: row.id,
            strategy_id: row.strategy_id,
            account_id: row.account_id,
            timestamp: Timestamp(row.decided_at),
            chain_of_thought: considered.verdict.reasoning,
            market_assessment: considered.verdict.assessment,
            overall_confidence: Amount(Decimal::ONE),
            executed: row.executed,
            ai_model: considered.ai_model,
            tokens_used: considered.tokens_used,
            latency_ms: considered.latency_ms,
            market_snapshot: considered.market.into(),
            account_snapshot: considered.account.into(),
        })
    }
}

/// Certain, in percent.
const CERTAIN: u8 = 100;

impl ActionOut {
    fn of(considered: &Deliberation) -> Self {
        let verdict = &considered.verdict;
        Self {
            symbol: considered.market.symbol.to_string(),
            action: verdict.action.as_str(),
            leverage: Amount(verdict.leverage),
            position_size_usd: Amount(requested(considered)),
            entry_price: Amount(considered.market.price),
            stop_loss: None,
            take_profit: verdict.take_profit.map(Amount),
            confidence: CERTAIN,
            risk_usd: Amount(verdict.own_money().unwrap_or_default().round_dp(8)),
            reasoning: verdict.reasoning.clone(),
        }
    }
}

/// Worth of the order at the price of the decision; 0 without one.
fn requested(considered: &Deliberation) -> Decimal {
    match considered.verdict.size {
        Some(OrderSize::Quote(money)) => money,
        Some(OrderSize::Base(quantity)) => quantity.saturating_mul(considered.market.price).round_dp(8),
        None => Decimal::ZERO,
    }
}

impl ResultOut {
    fn of(id: &str, considered: &Deliberation, outcome: &OrderOutcome) -> Self {
        let (fill, refusal) = match outcome {
            OrderOutcome::Filled(fill) => (Some(fill), None),
            OrderOutcome::Refused { reason, .. } => (None, Some(reason.clone())),
        };
        Self {
            symbol: considered.market.symbol.to_string(),
            action: considered.verdict.action.as_str(),
            confidence: CERTAIN,
            executed: fill.is_some(),
            reason: refusal.clone(),
            requested_size_usd: Amount(requested(considered)),
            actual_size_usd: fill.map(|fill| Amount(fill.notional)),
            order_result: OrderResultOut {
                order_id: id.to_owned(),
                filled_size: fill.map(|fill| Amount(fill.quantity)),
                filled_price: fill.map(|fill| Amount(fill.price)),
                status: if fill.is_some() { "filled" } else { "rejected" },
                error: refusal,
            },
            realized_pnl: fill.and_then(|fill| fill.realized_pnl).map(Amount),
            fee: fill.map(|fill| Amount(fill.fee)),
        }
    }
}

impl From<MarketSnapshot> for MarketOut {
    fn from(market: MarketSnapshot) -> Self {
        Self {
            symbol: market.symbol.to_string(),
            timeframe: market.timeframe.as_str(),
            price: Amount(market.price),
            closed_at: Timestamp(market.closed_at),
            candles: market.candles,
            rsi: market.rsi.map(|(last, _)| Amount(last)),
            previous_rsi: market.rsi.map(|(_, before)| Amount(before)),
        }
    }
}

impl From<AccountSnapshot> for SnapshotOut {
    fn from(account: AccountSnapshot) -> Self {
        let positions = account.positions.into_iter().map(|held| HeldOut {
            symbol: held.symbol.to_string(),
            side: "long",
            size: Amount(held.quantity),
            entry_price: Amount(held.entry_price),
            mark_price: Amount(held.mark_price),
            unrealized_pnl: Amount(held.unrealized_pnl),
        });
        Self {
            positions: positions.collect(),
            equity: Amount(account.equity),
            available_balance: Amount(account.available_balance),
            total_margin_used: Amount(account.margin_used),
            unrealized_pnl: Amount(account.unrealized_pnl),
        }
    }
}
