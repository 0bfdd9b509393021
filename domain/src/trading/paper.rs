//! The book of the built-in paper exchange: cash, positions and fills at the last known price.
//!
//! Every position is long, has its own (isolated) margin of notional / leverage, and can lose no more than it: there
//! is no liquidation before the close. Slippage goes against the account, and the fee is taken from the cash.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::trading::candle::{PRICE_MAX, Symbol};
use crate::trading::order::{
    Fill, LEVERAGE_MAX, MONEY_MAX, Order, OrderSize, Side, ceil, ceil_price, floor, floor_price, share,
};

/// Cash a paper account starts with unless told otherwise.
pub const INITIAL_BALANCE: Decimal = Decimal::from_parts(10_000, 0, 0, false, 0);
/// Taker fee in basis points of the notional: that of the big perpetual exchanges.
pub const FEE_BPS: u32 = 5;
/// How far a fill is from the last price, against the account, in basis points.
pub const SLIPPAGE_BPS: u32 = 2;
/// How many orders an account remembers to carry none out twice.
pub const ORDERS_REMEMBERED: usize = 1_000;
/// Most markets one account holds positions in.
pub const POSITIONS_MAX: usize = 200;

/// On what terms a paper account trades.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaperTerms {
    pub initial_balance: Decimal,
    pub fee_bps: u32,
    pub slippage_bps: u32,
}

impl PaperTerms {
    /// The usual terms.
    pub fn with_balance(initial_balance: Decimal) -> Self {
        Self { initial_balance, fee_bps: FEE_BPS, slippage_bps: SLIPPAGE_BPS }
    }
}

/// What is held of one market.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub quantity: Decimal,
    /// Average over the fills that opened it.
    pub entry_price: Decimal,
    /// Money set aside for it.
    pub margin: Decimal,
}

impl Position {
    /// Gain or loss before fees if `quantity` of it were sold at `price`: at worst its part of the margin.
    /// `None` when it does not fit a decimal.
    pub fn pnl_at(&self, price: Decimal, quantity: Decimal) -> Option<Decimal> {
        let gain = price.checked_sub(self.entry_price)?.checked_mul(quantity)?;
        Some(floor(gain).max(-self.margin_of(quantity)?))
    }

    fn margin_of(&self, quantity: Decimal) -> Option<Decimal> {
        if quantity >= self.quantity {
            return Some(self.margin);
        }
        self.margin.checked_mul(quantity)?.checked_div(self.quantity).map(floor)
    }
}

/// Why the paper exchange does not carry an order out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    #[error("Insufficient balance: the order needs {needed}, {available} is available")]
    InsufficientBalance { needed: Decimal, available: Decimal },
    #[error("No position to sell: the order is for {wanted}, {held} is held")]
    NoPosition { wanted: Decimal, held: Decimal },
    #[error("The order is too small: it is worth nothing after rounding")]
    TooSmall,
    #[error("The order's size, price or leverage is out of range")]
    OutOfRange,
    #[error("The account holds {POSITIONS_MAX} positions, the most there may be")]
    TooManyPositions,
}

/// What an order did to the book.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub fill: Fill,
    pub cash_after: Decimal,
    /// `None` when nothing is left of it.
    pub position_after: Option<Position>,
}

/// Cash and positions of one paper account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaperBook {
    terms: PaperTerms,
    cash: Decimal,
    positions: BTreeMap<Symbol, Position>,
    recent_orders: VecDeque<Uuid>,
}

impl PaperBook {
    /// A book with nothing but its first cash.
    pub fn new(terms: PaperTerms) -> Self {
        Self { cash: terms.initial_balance, terms, positions: BTreeMap::new(), recent_orders: VecDeque::new() }
    }

    /// Money that is free.
    pub fn cash(&self) -> Decimal {
        self.cash
    }

    /// What is held, by market.
    pub fn positions(&self) -> &BTreeMap<Symbol, Position> {
        &self.positions
    }

    /// Whether this order has been answered before.
    pub fn knows(&self, client_order_id: Uuid) -> bool {
        self.recent_orders.contains(&client_order_id)
    }

    /// What `order` would do, without doing it.
    ///
    /// # Errors
    /// Why it cannot be carried out.
    pub fn execute(&self, order: &Order) -> Result<Execution, OrderRefusal> {
        let size_is_sound = match order.size {
            OrderSize::Quote(money) => money > Decimal::ZERO && money <= MONEY_MAX * LEVERAGE_MAX,
            OrderSize::Base(quantity) => quantity > Decimal::ZERO,
        };
        let sound = size_is_sound
            && order.reference_price > Decimal::ZERO
            && order.reference_price <= PRICE_MAX
            && (Decimal::ONE..=LEVERAGE_MAX).contains(&order.leverage);
        if !sound {
            return Err(OrderRefusal::OutOfRange);
        }
        match order.side {
            Side::Buy => self.buy(order),
            Side::Sell => self.sell(order),
        }
    }

    /// Remembers that an order was answered.
    pub fn remember(&mut self, client_order_id: Uuid) {
        if self.recent_orders.len() >= ORDERS_REMEMBERED {
            self.recent_orders.pop_front();
        }
        self.recent_orders.push_back(client_order_id);
    }

    /// Books what an order did.
    pub fn book(&mut self, symbol: Symbol, cash_after: Decimal, position_after: Option<Position>) {
        self.cash = cash_after;
        match position_after {
            Some(position) => self.positions.insert(symbol, position),
            None => self.positions.remove(&symbol),
        };
    }

    fn buy(&self, order: &Order) -> Result<Execution, OrderRefusal> {
        let (fill, margin) = self.bought(order).ok_or(OrderRefusal::OutOfRange)?;
        if fill.quantity <= Decimal::ZERO {
            return Err(OrderRefusal::TooSmall);
        }
        let needed = margin.saturating_add(fill.fee);
        if needed > self.cash {
            return Err(OrderRefusal::InsufficientBalance { needed, available: self.cash });
        }
        let held = self.positions.get(&order.symbol);
        if held.is_none() && self.positions.len() >= POSITIONS_MAX {
            return Err(OrderRefusal::TooManyPositions);
        }
        let position = grown(held, &fill, margin).ok_or(OrderRefusal::OutOfRange)?;
        Ok(Execution { fill, cash_after: self.cash - needed, position_after: Some(position) })
    }

    /// The fill of a purchase and the margin it needs.
    fn bought(&self, order: &Order) -> Option<(Fill, Decimal)> {
        let slippage = share(order.reference_price, self.terms.slippage_bps)?;
        let price = ceil_price(order.reference_price.checked_add(slippage)?);
        let quantity = match order.size {
            OrderSize::Quote(money) => floor(money.checked_div(price)?),
            OrderSize::Base(quantity) => floor(quantity),
        };
        let notional = ceil(quantity.checked_mul(price)?);
        let fee = ceil(share(notional, self.terms.fee_bps)?);
        let margin = ceil(notional.checked_div(order.leverage)?);
        Some((Fill { side: Side::Buy, quantity, price, notional, fee, realized_pnl: None }, margin))
    }

    fn sell(&self, order: &Order) -> Result<Execution, OrderRefusal> {
        let slippage = share(order.reference_price, self.terms.slippage_bps).ok_or(OrderRefusal::OutOfRange)?;
        let price = floor_price(order.reference_price - slippage);
        let wanted = match order.size {
            OrderSize::Quote(money) => money.checked_div(price).map(floor).ok_or(OrderRefusal::OutOfRange)?,
            OrderSize::Base(quantity) => floor(quantity),
        };
        if wanted <= Decimal::ZERO || price <= Decimal::ZERO {
            return Err(OrderRefusal::TooSmall);
        }
        let Some(held) = self.positions.get(&order.symbol).filter(|held| held.quantity >= wanted) else {
            let held = self.positions.get(&order.symbol).map_or(Decimal::ZERO, |position| position.quantity);
            return Err(OrderRefusal::NoPosition { wanted, held });
        };
        self.sold(held, wanted, price).ok_or(OrderRefusal::OutOfRange)
    }

    fn sold(&self, held: &Position, quantity: Decimal, price: Decimal) -> Option<Execution> {
        let pnl = held.pnl_at(price, quantity)?;
        let margin = held.margin_of(quantity)?;
        let back = self.cash.checked_add(margin)?.checked_add(pnl)?;
        let notional = floor(quantity.checked_mul(price)?);
        // A fee cannot take more than there is: a position that lost all its margin leaves nothing to pay it from.
        let fee = ceil(share(notional, self.terms.fee_bps)?).min(back.max(Decimal::ZERO));
        let left = held.quantity - quantity;
        let position = Position { quantity: left, entry_price: held.entry_price, margin: held.margin - margin };
        Some(Execution {
            fill: Fill { side: Side::Sell, quantity, price, notional, fee, realized_pnl: Some(pnl) },
            cash_after: back - fee,
            position_after: (left > Decimal::ZERO).then_some(position),
        })
    }
}

/// The position after a purchase; `None` when it does not fit a decimal.
fn grown(held: Option<&Position>, fill: &Fill, margin: Decimal) -> Option<Position> {
    let Some(held) = held else {
        return Some(Position { quantity: fill.quantity, entry_price: fill.price, margin });
    };
    let quantity = held.quantity.checked_add(fill.quantity)?;
    let cost = held.quantity.checked_mul(held.entry_price)?.checked_add(fill.notional)?;
    let entry_price = ceil_price(cost.checked_div(quantity)?);
    Some(Position { quantity, entry_price, margin: held.margin.checked_add(margin)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }
    fn order(side: Side, amount: OrderSize, reference_price: &str, leverage: i64) -> Order {
        Order {
            client_order_id: Uuid::nil(),
            symbol: "BTC/USDT:USDT".parse().unwrap(),
            side,
            size: amount,
            reference_price: decimal(reference_price),
            leverage: leverage.into(),
        }
    }
    fn buy(money: &str, price: &str, leverage: i64) -> Order {
        order(Side::Buy, OrderSize::Quote(decimal(money)), price, leverage)
    }
    fn sell(quantity: &str, price: &str) -> Order {
        order(Side::Sell, OrderSize::Base(decimal(quantity)), price, 1)
    }
    fn book() -> PaperBook {
        PaperBook::new(PaperTerms::with_balance(INITIAL_BALANCE))
    }
    fn after(mut book: PaperBook, order: &Order) -> PaperBook {
        let done = book.execute(order).unwrap();
        book.book(order.symbol.clone(), done.cash_after, done.position_after);
        book
    }

    #[test]
    fn a_purchase_pays_slippage_and_fee() {
        let done = book().execute(&buy("1000", "100000", 1)).unwrap();
        assert_eq!(done.fill.price, decimal("100020"));
        assert_eq!(done.fill.quantity, decimal("0.00999800"));
        assert_eq!(done.fill.notional, decimal("999.99996"));
        assert_eq!(done.fill.fee, decimal("0.49999998"));
        assert_eq!(done.cash_after, decimal("8999.50004002"));
    }

    #[test]
    fn a_round_trip_at_one_price_costs_slippage_and_two_fees() {
        let held = after(book(), &buy("1000", "100000", 1));
        let done = held.execute(&sell("0.009998", "100000")).unwrap();
        assert_eq!(done.fill.price, decimal("99980"));
        assert_eq!(done.fill.realized_pnl, Some(decimal("-0.39992")));
        assert_eq!(done.position_after, None);
        let fees = decimal("0.49999998") + done.fill.fee;
        assert_eq!(done.cash_after, INITIAL_BALANCE - decimal("0.39992") - fees);
    }

    #[test]
    fn leverage_sets_less_aside_and_losses_stop_at_it() {
        let held = after(book(), &buy("1000", "100000", 10));
        let position = held.positions().values().next().unwrap().clone();
        assert_eq!(position.margin, decimal("99.999996"));
        let crash = held.execute(&sell("0.009998", "50000")).unwrap();
        assert_eq!(crash.fill.realized_pnl, Some(-position.margin));
        assert!(crash.cash_after < INITIAL_BALANCE - position.margin);
    }

    #[test]
    fn a_part_of_a_position_is_sold_at_its_average_price() {
        let held = after(after(book(), &buy("1000", "100000", 1)), &buy("1000", "50000", 1));
        let position = held.positions().values().next().unwrap().clone();
        assert_eq!(position.quantity, decimal("0.029994"));
        assert!((position.entry_price - decimal("66680")).abs() < decimal("0.001"), "{position:?}");
        let done = held.execute(&sell("0.014997", "80000")).unwrap();
        let left = done.position_after.unwrap();
        assert_eq!(left.quantity, decimal("0.014997"));
        assert_eq!(left.entry_price, position.entry_price);
        assert!((left.margin * Decimal::TWO - position.margin).abs() < decimal("0.0001"));
    }

    #[test]
    fn what_cannot_be_paid_held_or_counted_is_refused() {
        let refused = |order| book().execute(&order).unwrap_err();
        assert!(matches!(refused(buy("10000", "100000", 1)), OrderRefusal::InsufficientBalance { .. }));
        assert!(matches!(refused(sell("1", "100000")), OrderRefusal::NoPosition { .. }));
        assert_eq!(refused(buy("0.00000001", "100000", 1)), OrderRefusal::TooSmall);
        assert_eq!(refused(buy("0", "100000", 1)), OrderRefusal::OutOfRange);
        assert_eq!(refused(buy("79228162514264337593543950335", "0.0000001", 1)), OrderRefusal::OutOfRange);
        assert_eq!(refused(buy("100", "100000", 51)), OrderRefusal::OutOfRange);
        let poor = PaperBook::new(PaperTerms::with_balance(Decimal::ONE_HUNDRED));
        assert!(poor.execute(&buy("100", "100000", 1)).is_err(), "the fee has to be paid as well");
    }

    #[test]
    fn only_the_last_orders_are_remembered() {
        let mut book = book();
        for n in 0..=ORDERS_REMEMBERED {
            book.remember(Uuid::from_u128(n as u128));
        }
        assert!(!book.knows(Uuid::from_u128(0)));
        assert!(book.knows(Uuid::from_u128(1)) && book.knows(Uuid::from_u128(ORDERS_REMEMBERED as u128)));
    }
}
