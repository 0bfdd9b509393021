//! Grid: the range between two prices is cut into equal cells. A cell is bought when the price falls through its
//! lower edge and sold when the price reaches its upper edge, so every swing inside the range earns one step.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::trading::config::Fields;
use crate::trading::order::{Fill, OrderSize, Side, floor, floor_price};
use crate::trading::paper::{FEE_BPS, SLIPPAGE_BPS};
use crate::trading::verdict::{Action, MarketSnapshot, Verdict};

/// Settings of a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridConfig {
    pub upper_price: Decimal,
    pub lower_price: Decimal,
    /// Number of cells, 2 to 200.
    pub grid_count: u32,
    /// Own money for the whole grid; with leverage the cells are worth that many times as much.
    pub total_investment: Decimal,
    /// 1 to 50.
    pub leverage: Decimal,
}

/// A cell that was bought and not sold yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldCell {
    /// Counted from the lowest.
    pub cell: u32,
    pub quantity: Decimal,
    pub price: Decimal,
}

/// Where a grid stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GridState {
    pub held: Vec<HeldCell>,
    /// Cells whose last order was a sale.
    pub sold: Vec<u32>,
    pub total_invested: Decimal,
    pub total_returned: Decimal,
    /// Price of the last cycle; `None` before the first.
    pub last_price: Option<Decimal>,
}

impl GridConfig {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, String> {
        let config = Self {
            upper_price: fields.price("upper_price")?,
            lower_price: fields.price("lower_price")?,
            grid_count: fields.whole("grid_count", None, 2, 200)?,
            total_investment: fields.money("total_investment")?,
            leverage: fields.leverage()?,
        };
        if config.upper_price <= config.lower_price {
            return Err("upper_price must be greater than lower_price".into());
        }
        config.check_profit()?;
        Ok(config)
    }

    /// The step of the highest cell, the thinnest one in relation to its price, has to pay for a round trip.
    fn check_profit(&self) -> Result<(), String> {
        let gain = self.step() * Decimal::from(10_000) / self.upper_price;
        let cost_bps = Decimal::from(2 * (FEE_BPS + SLIPPAGE_BPS));
        if gain > cost_bps {
            return Ok(());
        }
        Err(format!(
            "the profit per grid ({} basis points) does not cover fees and slippage ({cost_bps}); use fewer grids or a wider range",
            gain.round_dp(2)
        ))
    }

    /// Height of one cell.
    pub fn step(&self) -> Decimal {
        (self.upper_price - self.lower_price) / Decimal::from(self.grid_count)
    }

    /// The edges of the cells, from the lowest to the highest: one more than there are cells.
    pub fn levels(&self) -> Vec<Decimal> {
        (0..=self.grid_count).map(|n| self.level(n)).collect()
    }

    fn level(&self, n: u32) -> Decimal {
        let height = (self.upper_price - self.lower_price) * Decimal::from(n) / Decimal::from(self.grid_count);
        floor_price(self.lower_price + height)
    }

    /// What to do at the price of `market`. Sales go before purchases, one order a cycle.
    pub(crate) fn judge(&self, state: &GridState, market: &MarketSnapshot) -> Verdict {
        let price = market.price;
        let assessment = self.assess(price);
        let Some(last) = state.last_price else {
            let reasoning = format!(
                "Grid of {} cells from {} to {} set up at {price}; a cell is bought when the price falls through its lower edge.",
                self.grid_count, self.lower_price, self.upper_price
            );
            return Verdict::idle(false, assessment, reasoning);
        };
        let ripe = |held: &&HeldCell| price >= self.level(held.cell + 1);
        let sale: Vec<&HeldCell> = state.held.iter().filter(ripe).collect();
        if !sale.is_empty() {
            return self.sell(&sale, price, assessment);
        }
        let fallen_through = |cell: u32| (price..last).contains(&self.level(cell));
        let free = |cell: &u32| state.held.iter().all(|held| held.cell != *cell);
        let cells: Vec<u32> = (0..self.grid_count).filter(|cell| fallen_through(*cell)).filter(free).collect();
        if !cells.is_empty() {
            return self.buy(cells, price, assessment);
        }
        let reasoning = format!(
            "Price {price}, before {last}: no edge crossed that asks for an order; {} cells held.",
            state.held.len()
        );
        Verdict::idle(!state.held.is_empty(), assessment, reasoning)
    }

    fn assess(&self, price: Decimal) -> String {
        if price > self.upper_price {
            format!("{price} is above the grid")
        } else if price < self.lower_price {
            format!("{price} is below the grid")
        } else {
            format!("{price} is inside the grid")
        }
    }

    fn sell(&self, ripe: &[&HeldCell], price: Decimal, assessment: String) -> Verdict {
        let quantity: Decimal = ripe.iter().map(|held| held.quantity).sum();
        let cells: Vec<u32> = ripe.iter().map(|held| held.cell).collect();
        let reasoning = format!("Price {price} has reached the upper edge of {} held cell(s): {cells:?}.", cells.len());
        let size = OrderSize::Base(quantity);
        Verdict { cells, ..Verdict::order(Action::CloseLong, size, self.leverage, assessment, reasoning) }
    }

    fn buy(&self, cells: Vec<u32>, price: Decimal, assessment: String) -> Verdict {
        let cell_money = self.total_investment * self.leverage / Decimal::from(self.grid_count);
        let size = OrderSize::Quote(floor(cell_money * Decimal::from(cells.len())));
        let reasoning =
            format!("Price {price} has fallen through the lower edge of {} cell(s): {cells:?}.", cells.len());
        let take_profit = cells.first().map(|lowest| self.level(lowest + 1));
        Verdict { take_profit, cells, ..Verdict::order(Action::OpenLong, size, self.leverage, assessment, reasoning) }
    }

    /// Own money tied up in cells.
    pub(crate) fn invested(&self, state: &GridState) -> Decimal {
        let worth: Decimal = state.held.iter().map(|held| held.quantity * held.price).sum();
        worth / self.leverage
    }
}

impl GridState {
    /// The state after a cycle at `price` in which `verdict` led to `fill`, or to none. A sale never lowers `last_price`,
    /// so that edges fallen through in the same move are still seen by the next cycle.
    pub(crate) fn after(&self, price: Decimal, verdict: &Verdict, fill: Option<&Fill>) -> Self {
        let mut state = self.clone();
        match fill {
            Some(fill) if fill.side == Side::Sell => {
                state.held.retain(|held| !verdict.cells.contains(&held.cell));
                state.sold.extend(&verdict.cells);
                state.total_returned = state.total_returned.saturating_add(fill.notional);
            }
            Some(fill) => {
                state.sold.retain(|cell| !verdict.cells.contains(cell));
                state.held.extend(shared_out(&verdict.cells, fill));
                state.total_invested = state.total_invested.saturating_add(fill.notional);
            }
            None => {}
        }
        let is_sale = verdict.action == Action::CloseLong;
        state.last_price = Some(state.last_price.filter(|_| is_sale).map_or(price, |last| last.max(price)));
        state
    }
}

/// Every cell gets the same part of the fill; what cannot be shared out goes to the first.
fn shared_out(cells: &[u32], fill: &Fill) -> Vec<HeldCell> {
    let count = Decimal::from(cells.len().max(1));
    let part = floor(fill.quantity / count);
    let rest = fill.quantity - part * count;
    let quantity = |n: usize| if n == 0 { part + rest } else { part };
    cells
        .iter()
        .enumerate()
        .map(|(n, cell)| HeldCell { cell: *cell, quantity: quantity(n), price: fill.price })
        .collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::*;
    use crate::trading::candle::Timeframe;

    fn read(config: &Value) -> Result<GridConfig, String> {
        GridConfig::read(&Fields(config.as_object().unwrap()))
    }
    /// Edges 90, 95, 100, 105, 110.
    fn config() -> GridConfig {
        read(&json!({"upper_price": 110, "lower_price": 90, "grid_count": 4, "total_investment": 400})).unwrap()
    }
    fn at(price: i64) -> MarketSnapshot {
        MarketSnapshot {
            symbol: "BTC/USDT:USDT".parse().unwrap(),
            timeframe: Timeframe::OneHour,
            price: price.into(),
            closed_at: DateTime::UNIX_EPOCH,
            candles: 1,
            rsi: None,
        }
    }
    fn fill(verdict: &Verdict, price: i64) -> Option<Fill> {
        let price = Decimal::from(price);
        let quantity = match verdict.size? {
            OrderSize::Quote(money) => floor(money / price),
            OrderSize::Base(quantity) => quantity,
        };
        let side = verdict.action.side()?;
        Some(Fill { side, quantity, price, notional: quantity * price, fee: Decimal::ZERO, realized_pnl: None })
    }
    /// One cycle in which every order is filled.
    fn cycle(state: &GridState, price: i64) -> (Verdict, GridState) {
        let verdict = config().judge(state, &at(price));
        let next = state.after(price.into(), &verdict, fill(&verdict, price).as_ref());
        (verdict, next)
    }
    fn walk(prices: &[i64]) -> (Verdict, GridState) {
        let start = (Verdict::idle(false, "", ""), GridState::default());
        prices.iter().fold(start, |(_, state), price| cycle(&state, *price))
    }

    #[test]
    fn the_first_look_only_sets_the_grid_up() {
        let (verdict, state) = walk(&[102]);
        assert_eq!((verdict.action, verdict.size), (Action::Wait, None));
        assert_eq!(state, GridState { last_price: Some(102.into()), ..GridState::default() });
    }

    #[test]
    fn a_cell_is_bought_on_the_way_down_and_sold_a_step_higher() {
        let (bought, state) = walk(&[102, 99]);
        assert_eq!((bought.action, &bought.cells[..]), (Action::OpenLong, &[2][..]));
        assert_eq!(bought.size, Some(OrderSize::Quote(100.into())));
        assert_eq!(bought.take_profit, Some(105.into()));
        assert_eq!(state.held.len(), 1);
        let (sold, state) = cycle(&state, 105);
        assert_eq!((sold.action, &sold.cells[..]), (Action::CloseLong, &[2][..]));
        assert!(state.held.is_empty());
        assert_eq!(state.sold, [2]);
        assert!(state.total_returned > state.total_invested);
    }

    #[test]
    fn a_held_cell_is_not_bought_twice() {
        let (verdict, _) = walk(&[102, 99, 101, 99]);
        assert_eq!((verdict.action, verdict.size), (Action::Hold, None));
    }

    #[test]
    fn a_fall_through_several_edges_is_one_order_shared_out() {
        let (verdict, state) = walk(&[102, 91]);
        assert_eq!(verdict.cells, [1, 2]);
        assert_eq!(verdict.size, Some(OrderSize::Quote(200.into())));
        let held: Decimal = state.held.iter().map(|held| held.quantity).sum();
        assert_eq!(held, floor(Decimal::from(200) / Decimal::from(91)));
    }

    #[test]
    fn a_refused_purchase_changes_nothing_but_the_last_price() {
        let (_, state) = walk(&[102]);
        let verdict = config().judge(&state, &at(99));
        let next = state.after(99.into(), &verdict, None);
        assert_eq!(next, GridState { last_price: Some(99.into()), ..state });
    }

    #[test]
    fn a_fall_after_a_sale_is_seen_from_where_it_began() {
        let (bought, _) = walk(&[102, 99, 105, 94]);
        assert_eq!((bought.action, &bought.cells[..]), (Action::OpenLong, &[1, 2][..]));
    }

    #[test]
    fn a_refused_sale_is_tried_again() {
        let (_, state) = walk(&[102, 99]);
        let verdict = config().judge(&state, &at(106));
        let next = state.after(106.into(), &verdict, None);
        assert_eq!(config().judge(&next, &at(107)).action, Action::CloseLong);
    }

    #[test]
    fn impossible_grids_are_named() {
        let grid = |upper: i64, lower: i64, count: i64| {
            read(&json!({"upper_price": upper, "lower_price": lower, "grid_count": count, "total_investment": 1}))
        };
        assert_eq!(grid(90, 110, 4), Err("upper_price must be greater than lower_price".into()));
        assert_eq!(grid(110, 90, 1), Err("grid_count must be between 2 and 200".into()));
        assert_eq!(grid(110, 90, 201), Err("grid_count must be between 2 and 200".into()));
        assert_eq!(grid(110, 0, 4), Err("lower_price must be above 0 and at most 1000000000".into()));
        assert!(grid(1010, 1000, 200).unwrap_err().starts_with("the profit per grid"));
        assert_eq!(read(&json!({})), Err("upper_price is required".into()));
        let leverage =
            json!({"upper_price": 110, "lower_price": 90, "grid_count": 4, "total_investment": 1, "leverage": 51});
        assert_eq!(read(&leverage), Err("leverage must be between 1 and 50".into()));
    }
}
