//! Orders at the market, and what became of them. All money is in the quote currency.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::trading::candle::{SCALE_MAX, Symbol};

/// Decimals of amounts and quantities; what an account may lose is rounded up, what it may gain down.
pub const SCALE: u32 = 8;
/// Most money that any one setting, order or account may name at the start.
pub const MONEY_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// Highest leverage.
pub const LEVERAGE_MAX: Decimal = Decimal::from_parts(50, 0, 0, false, 0);

/// Which way an order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Buy,
    Sell,
}

/// How much to trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderSize {
    /// As much as this much money buys.
    Quote(Decimal),
    /// This many units.
    Base(Decimal),
}

/// An order at the market.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The sender's own number of the order: an account carries it out once. A strategy uses its decision's id.
    pub client_order_id: Uuid,
    pub symbol: Symbol,
    pub side: Side,
    pub size: OrderSize,
    /// The last price known to the sender; the paper exchange fills at it, plus or minus slippage.
    pub reference_price: Decimal,
    pub leverage: Decimal,
}

/// An order carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    pub side: Side,
    pub quantity: Decimal,
    pub price: Decimal,
    /// Quantity times price.
    pub notional: Decimal,
    pub fee: Decimal,
    /// Profit or loss before fees; only when the order closed a position or a part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realized_pnl: Option<Decimal>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderOutcome {
    Filled(Fill),
    Refused {
        reason: String,
        /// Whether the next order will be refused as well.
        lasting: bool,
    },
}

/// `value` with at most [`SCALE`] decimals, never more than it was.
pub(crate) fn floor(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(SCALE, RoundingStrategy::ToNegativeInfinity).normalize()
}

/// `value` with at most [`SCALE`] decimals, never less than it was.
pub(crate) fn ceil(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(SCALE, RoundingStrategy::ToPositiveInfinity).normalize()
}

/// `price` with as many decimals as candles have, never more than it was.
pub(crate) fn floor_price(price: Decimal) -> Decimal {
    price.round_dp_with_strategy(SCALE_MAX, RoundingStrategy::ToNegativeInfinity).normalize()
}

/// `price` with as many decimals as candles have, never less than it was.
pub(crate) fn ceil_price(price: Decimal) -> Decimal {
    price.round_dp_with_strategy(SCALE_MAX, RoundingStrategy::ToPositiveInfinity).normalize()
}

/// `basis_points` hundredths of a percent of `value`; `None` when it does not fit a decimal.
pub(crate) fn share(value: Decimal, basis_points: u32) -> Option<Decimal> {
    value.checked_mul(Decimal::new(i64::from(basis_points), 4))
}
