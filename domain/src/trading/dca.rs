//! Dollar-cost averaging: buys the same amount at every interval, and sells all once the price is far enough above
//! the average cost; then a new round begins.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::trading::config::Fields;
use crate::trading::order::{Fill, MONEY_MAX, OrderSize, Side, ceil_price};
use crate::trading::verdict::{Action, MarketSnapshot, Verdict};

/// Settings of a round of purchases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DcaConfig {
    /// Money for one purchase.
    pub order_amount: Decimal,
    /// 1 minute to 30 days.
    pub interval_minutes: u32,
    /// How far above the average cost all is sold, 0.1 to 100.
    pub take_profit_percent: Decimal,
    /// Most money in one round; 0 for no limit.
    pub total_budget: Decimal,
    /// Most purchases in one round; 0 for no limit.
    pub max_orders: u32,
}

/// Where a round stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DcaState {
    pub orders_placed: u32,
    pub total_invested: Decimal,
    pub total_quantity: Decimal,
    pub avg_cost: Decimal,
    /// Close of the candle at which the last purchase was made.
    pub last_order_time: Option<DateTime<Utc>>,
}

impl DcaConfig {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, String> {
        let percent = Decimal::from(5);
        Ok(Self {
            order_amount: fields.money("order_amount")?,
            interval_minutes: fields.whole("interval_minutes", None, 1, 43_200)?,
            take_profit_percent: fields.within(
                "take_profit_percent",
                Some(percent),
                Decimal::new(1, 1),
                Decimal::ONE_HUNDRED,
            )?,
            total_budget: fields.within("total_budget", Some(Decimal::ZERO), Decimal::ZERO, MONEY_MAX)?,
            max_orders: fields.whole("max_orders", Some(0), 0, 1_000_000)?,
        })
    }

    /// What to do at the price and time of `market`: taking profit goes before buying.
    pub(crate) fn judge(&self, state: &DcaState, market: &MarketSnapshot) -> Verdict {
        let price = market.price;
        let target = self.target(state);
        let holds = state.total_quantity > Decimal::ZERO;
        let assessment = if holds {
            format!("{price} against an average cost of {}", state.avg_cost)
        } else {
            format!("{price}, nothing held")
        };
        if holds && price >= target {
            let reasoning = format!(
                "Price {price} has reached the target {target}, {} % above the average cost.",
                self.take_profit_percent
            );
            let size = OrderSize::Base(state.total_quantity);
            return Verdict::order(Action::CloseLong, size, Decimal::ONE, assessment, reasoning);
        }
        if let Some(obstacle) = self.obstacle(state, market.closed_at) {
            return Verdict::idle(holds, assessment, obstacle);
        }
        let reasoning =
            format!("Purchase {} of this round: {} at {price}.", state.orders_placed + 1, self.order_amount);
        let size = OrderSize::Quote(self.order_amount);
        Verdict::order(Action::OpenLong, size, Decimal::ONE, assessment, reasoning)
    }

    /// The price at which all is sold.
    fn target(&self, state: &DcaState) -> Decimal {
        let factor = Decimal::ONE + self.take_profit_percent / Decimal::ONE_HUNDRED;
        ceil_price(state.avg_cost.saturating_mul(factor))
    }

    /// Why there is no purchase now.
    fn obstacle(&self, state: &DcaState, now: DateTime<Utc>) -> Option<String> {
        let interval = TimeDelta::minutes(self.interval_minutes.into());
        if self.max_orders > 0 && state.orders_placed >= self.max_orders {
            return Some(format!("All {} orders of this round are placed.", self.max_orders));
        }
        let after = state.total_invested.saturating_add(self.order_amount);
        if self.total_budget > Decimal::ZERO && after > self.total_budget {
            return Some(format!("{} of the budget of {} is spent.", state.total_invested, self.total_budget));
        }
        let next = state.last_order_time.and_then(|last| last.checked_add_signed(interval))?;
        (now < next).then(|| format!("The next purchase is due at {}.", next.format("%Y-%m-%d %H:%M UTC")))
    }
}

impl DcaState {
    /// The state after a cycle at `now` that led to `fill`, or to none.
    pub(crate) fn after(&self, now: DateTime<Utc>, fill: Option<&Fill>) -> Self {
        let Some(fill) = fill else { return self.clone() };
        if fill.side == Side::Sell {
            return Self { last_order_time: self.last_order_time, ..Self::default() };
        }
        let total_invested = self.total_invested.saturating_add(fill.notional);
        let total_quantity = self.total_quantity.saturating_add(fill.quantity);
        Self {
            orders_placed: self.orders_placed.saturating_add(1),
            total_invested,
            total_quantity,
            avg_cost: total_invested.checked_div(total_quantity).map_or(self.avg_cost, ceil_price),
            last_order_time: Some(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::trading::candle::Timeframe;

    fn read(config: &Value) -> Result<DcaConfig, String> {
        DcaConfig::read(&Fields(config.as_object().unwrap()))
    }
    fn config() -> DcaConfig {
        read(&json!({"order_amount": 100, "interval_minutes": 120, "max_orders": 3})).unwrap()
    }
    fn at(hour: i64, price: i64) -> MarketSnapshot {
        MarketSnapshot {
            symbol: "BTC/USDT:USDT".parse().unwrap(),
            timeframe: Timeframe::OneHour,
            price: price.into(),
            closed_at: DateTime::UNIX_EPOCH + TimeDelta::hours(hour),
            candles: 1,
            rsi: None,
        }
    }
    fn cycle(config: &DcaConfig, state: &DcaState, market: &MarketSnapshot) -> (Verdict, DcaState) {
        let verdict = config.judge(state, market);
        let fill = verdict.size.map(|size| {
            let (side, quantity) = match size {
                OrderSize::Quote(money) => (Side::Buy, money / market.price),
                OrderSize::Base(quantity) => (Side::Sell, quantity),
            };
            let notional = quantity * market.price;
            Fill { side, quantity, price: market.price, notional, fee: Decimal::ZERO, realized_pnl: None }
        });
        (verdict, state.after(market.closed_at, fill.as_ref()))
    }

    #[test]
    fn it_buys_at_once_and_then_at_every_interval() {
        let (first, state) = cycle(&config(), &DcaState::default(), &at(0, 100));
        assert_eq!((first.action, first.size), (Action::OpenLong, Some(OrderSize::Quote(100.into()))));
        let (second, state) = cycle(&config(), &state, &at(1, 50));
        assert_eq!(
            (second.action, &*second.reasoning),
            (Action::Hold, "The next purchase is due at 1970-01-01 02:00 UTC.")
        );
        let (third, state) = cycle(&config(), &state, &at(2, 50));
        assert_eq!(third.action, Action::OpenLong);
        assert_eq!((state.orders_placed, state.total_quantity), (2, 3.into()));
        assert_eq!(state.avg_cost, "66.666666666667".parse().unwrap());
    }

    #[test]
    fn profit_is_taken_at_the_target_and_a_new_round_begins() {
        let (_, state) = cycle(&config(), &DcaState::default(), &at(0, 100));
        assert_eq!(config().judge(&state, &at(1, 104)).action, Action::Hold);
        let (sold, state) = cycle(&config(), &state, &at(1, 105));
        assert_eq!((sold.action, sold.size), (Action::CloseLong, Some(OrderSize::Base(1.into()))));
        assert_eq!((state.orders_placed, state.total_quantity), (0, Decimal::ZERO));
        assert_eq!(config().judge(&state, &at(1, 105)).action, Action::Wait);
        assert_eq!(config().judge(&state, &at(2, 105)).action, Action::OpenLong);
    }

    #[test]
    fn orders_and_budget_are_limited() {
        let spent = DcaState { orders_placed: 3, total_invested: 300.into(), ..DcaState::default() };
        assert_eq!(config().judge(&spent, &at(99, 100)).reasoning, "All 3 orders of this round are placed.");
        let thrifty = DcaConfig { max_orders: 0, total_budget: 350.into(), ..config() };
        assert_eq!(thrifty.judge(&spent, &at(99, 100)).reasoning, "300 of the budget of 350 is spent.");
        let ample = DcaConfig { max_orders: 0, total_budget: 400.into(), ..config() };
        assert_eq!(ample.judge(&spent, &at(99, 100)).action, Action::OpenLong);
    }

    #[test]
    fn a_refused_purchase_is_tried_again() {
        let state = DcaState::default().after(at(0, 100).closed_at, None);
        assert_eq!(config().judge(&state, &at(0, 100)).action, Action::OpenLong);
    }

    #[test]
    fn settings_have_ranges_and_defaults() {
        assert_eq!(read(&json!({"order_amount": 1, "interval_minutes": 1})).unwrap().take_profit_percent, 5.into());
        let wrong = |config: Value| read(&config).unwrap_err();
        assert_eq!(wrong(json!({})), "order_amount is required");
        assert_eq!(wrong(json!({"order_amount": 1})), "interval_minutes is required");
        let interval = wrong(json!({"order_amount": 1, "interval_minutes": 43_201}));
        assert_eq!(interval, "interval_minutes must be between 1 and 43200");
        let half = wrong(json!({"order_amount": 1, "interval_minutes": 1.5}));
        assert_eq!(half, "interval_minutes must be a whole number");
        let profit = wrong(json!({"order_amount": 1, "interval_minutes": 1, "take_profit_percent": 0}));
        assert_eq!(profit, "take_profit_percent must be between 0.1 and 100");
    }
}
