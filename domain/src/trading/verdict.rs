//! What a strategy made of the market in one cycle, as it is recorded and shown.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::trading::candle::{Symbol, Timeframe};
use crate::trading::order::{Order, OrderSize, Side};
use crate::trading::paper::Position;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    OpenLong,
    OpenShort,
    CloseLong,
    CloseShort,
    /// Keep what is held.
    Hold,
    /// Hold nothing yet and wait.
    Wait,
}

impl Action {
    /// The word clients read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenLong => "open_long",
            Self::OpenShort => "open_short",
            Self::CloseLong => "close_long",
            Self::CloseShort => "close_short",
            Self::Hold => "hold",
            Self::Wait => "wait",
        }
    }

    /// The side of the order it needs; `None` when it needs none.
    pub fn side(self) -> Option<Side> {
        match self {
            Self::OpenLong | Self::CloseShort => Some(Side::Buy),
            Self::CloseLong | Self::OpenShort => Some(Side::Sell),
            Self::Hold | Self::Wait => None,
        }
    }
}

/// The last closed candle of a market, and what was computed from it and those before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarketSnapshot {
    pub symbol: Symbol,
    pub timeframe: Timeframe,
    /// The last close.
    pub price: Decimal,
    /// When that candle closed: the strategy's clock, so that a history can be walked through at any speed.
    pub closed_at: DateTime<Utc>,
    /// How many candles were looked at.
    pub candles: u32,
    /// RSI of the last closed candle and of the one before, to ten decimals, where a strategy uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rsi: Option<(Decimal, Decimal)>,
}

/// The account as it stood before the decision, valued at the last known prices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountSnapshot {
    pub equity: Decimal,
    pub available_balance: Decimal,
    pub margin_used: Decimal,
    pub unrealized_pnl: Decimal,
    pub positions: Vec<PositionSnapshot>,
}

/// One position of an [`AccountSnapshot`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PositionSnapshot {
    pub symbol: Symbol,
    pub quantity: Decimal,
    pub entry_price: Decimal,
    pub margin: Decimal,
    pub mark_price: Decimal,
    pub unrealized_pnl: Decimal,
}

impl AccountSnapshot {
    /// An account with this cash and these positions; a market without a price is valued at its entry price.
    pub fn of(
        cash: Decimal,
        positions: &BTreeMap<Symbol, Position>,
        price_of: impl Fn(&Symbol) -> Option<Decimal>,
    ) -> Self {
        let value = |(symbol, held): (&Symbol, &Position)| {
            let mark_price = price_of(symbol).unwrap_or(held.entry_price);
            PositionSnapshot {
                symbol: symbol.clone(),
                quantity: held.quantity,
                entry_price: held.entry_price,
                margin: held.margin,
                mark_price,
                unrealized_pnl: held.pnl_at(mark_price, held.quantity).unwrap_or_default(),
            }
        };
        let positions: Vec<PositionSnapshot> = positions.iter().map(value).collect();
        let sum = |part: fn(&PositionSnapshot) -> Decimal| {
            positions.iter().map(part).fold(Decimal::ZERO, Decimal::saturating_add)
        };
        let (margin_used, unrealized_pnl) = (sum(|held| held.margin), sum(|held| held.unrealized_pnl));
        let equity = cash.saturating_add(margin_used).saturating_add(unrealized_pnl);
        Self { equity, available_balance: cash, margin_used, unrealized_pnl, positions }
    }
}

/// What to do, with how much, and why. A rule is met or it is not, so there is no degree of confidence in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub action: Action,
    /// Set when the action needs an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<OrderSize>,
    pub leverage: Decimal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_profit: Option<Decimal>,
    /// Cells of a grid that the order is for, counted from the lowest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<u32>,
    /// The market in a few words.
    pub assessment: String,
    /// The rule that led to the action, with its numbers.
    pub reasoning: String,
}

impl Verdict {
    /// Nothing to do.
    pub fn idle(holds: bool, assessment: impl Into<String>, reasoning: impl Into<String>) -> Self {
        Self {
            action: if holds { Action::Hold } else { Action::Wait },
            size: None,
            leverage: Decimal::ONE,
            take_profit: None,
            cells: vec![],
            assessment: assessment.into(),
            reasoning: reasoning.into(),
        }
    }

    /// An order: `action` with `size`.
    pub fn order(
        action: Action,
        size: OrderSize,
        leverage: Decimal,
        assessment: impl Into<String>,
        reasoning: impl Into<String>,
    ) -> Self {
        Self { action, size: Some(size), leverage, ..Self::idle(false, assessment, reasoning) }
    }

    /// Own money that a purchase ties up, fees aside; `None` for anything else.
    pub fn own_money(&self) -> Option<Decimal> {
        match (self.action.side()?, self.size?) {
            (Side::Buy, OrderSize::Quote(money)) => money.checked_div(self.leverage),
            (Side::Buy, OrderSize::Base(_)) | (Side::Sell, OrderSize::Quote(_) | OrderSize::Base(_)) => None,
        }
    }
}

/// A verdict with what it was based on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deliberation {
    pub verdict: Verdict,
    pub market: MarketSnapshot,
    pub account: AccountSnapshot,
    /// Who decided: `quant:` and the sort of strategy.
    pub ai_model: String,
    pub tokens_used: u64,
    /// From the trigger to the verdict, reading the market included.
    pub latency_ms: u64,
}

impl Deliberation {
    /// The order that the decision `decision_id` asks for; its own number is the decision's.
    pub fn order(&self, decision_id: Uuid) -> Option<Order> {
        Some(Order {
            client_order_id: decision_id,
            symbol: self.market.symbol.clone(),
            side: self.verdict.action.side()?,
            size: self.verdict.size?,
            reference_price: self.market.price,
            leverage: self.verdict.leverage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_worth_its_cash_margins_and_gains() {
        let held = |quantity: i64, entry_price: i64, margin: i64| Position {
            quantity: quantity.into(),
            entry_price: entry_price.into(),
            margin: margin.into(),
        };
        let (known, unknown): (Symbol, Symbol) = ("BTC/USDT".parse().unwrap(), "ETH/USDT".parse().unwrap());
        let positions = BTreeMap::from([(known.clone(), held(2, 100, 50)), (unknown, held(1, 10, 10))]);
        let price_of = |symbol: &Symbol| (*symbol == known).then(|| Decimal::from(110));
        let account = AccountSnapshot::of(1_000.into(), &positions, price_of);
        assert_eq!((account.margin_used, account.unrealized_pnl), (60.into(), 20.into()));
        assert_eq!((account.available_balance, account.equity), (1_000.into(), 1_080.into()));
        assert_eq!(account.positions[1].mark_price, 10.into());
    }
}
