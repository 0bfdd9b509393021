//! RSI: buys when the index falls to the oversold line, sells when it rises to the overbought line. Only the crossing
//! is a signal: an index that stays beyond a line gives no second one.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::trading::candle::Timeframe;
use crate::trading::config::Fields;
use crate::trading::order::{Fill, OrderSize, Side};
use crate::trading::verdict::{Action, MarketSnapshot, Verdict};

/// Settings of an RSI strategy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RsiConfig {
    /// 2 to 100.
    pub rsi_period: u32,
    /// 50 to 95.
    pub overbought: u32,
    /// 5 to 50.
    pub oversold: u32,
    /// Worth of one position, leverage included.
    pub order_amount: Decimal,
    pub timeframe: Timeframe,
    /// 1 to 50.
    pub leverage: Decimal,
}

/// What the index said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// It fell to the oversold line.
    Buy,
    /// It rose to the overbought line.
    Sell,
}

/// Where the strategy stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RsiState {
    /// Units held; 0 when there is no position.
    pub quantity: Decimal,
    pub entry_price: Option<Decimal>,
    pub position_size: Decimal,
    pub last_rsi: Option<Decimal>,
    pub last_signal: Option<Signal>,
}

impl RsiConfig {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, String> {
        let timeframe = fields.text("timeframe")?.unwrap_or("1h");
        let config = Self {
            rsi_period: fields.whole("rsi_period", Some(14), 2, 100)?,
            overbought: fields.whole("overbought", Some(70), 50, 95)?,
            oversold: fields.whole("oversold", Some(30), 5, 50)?,
            order_amount: fields.money("order_amount")?,
            timeframe: timeframe
                .parse()
                .map_err(|error: crate::trading::candle::UnknownTimeframe| error.to_string())?,
            leverage: fields.leverage()?,
        };
        if config.overbought <= config.oversold {
            return Err("overbought must be greater than oversold".into());
        }
        Ok(config)
    }

    /// What the last two values of the index ask for.
    pub(crate) fn judge(&self, state: &RsiState, market: &MarketSnapshot) -> Verdict {
        let holds = state.quantity > Decimal::ZERO;
        let Some((last, before)) = market.rsi else {
            let reasoning =
                format!("RSI({}) needs more candles than the {} there are.", self.rsi_period, market.candles);
            return Verdict::idle(holds, "no reading yet", reasoning);
        };
        let assessment = self.assess(last);
        let moved = format!("RSI({}) went from {before:.2} to {last:.2}", self.rsi_period);
        match (self.signal(market), holds) {
            (Some(Signal::Buy), false) => {
                let reasoning = format!("{moved}, down to the oversold line of {}.", self.oversold);
                let size = OrderSize::Quote(self.order_amount);
                Verdict::order(Action::OpenLong, size, self.leverage, assessment, reasoning)
            }
            (Some(Signal::Sell), true) => {
                let reasoning = format!("{moved}, up to the overbought line of {}.", self.overbought);
                let size = OrderSize::Base(state.quantity);
                Verdict::order(Action::CloseLong, size, self.leverage, assessment, reasoning)
            }
            (Some(Signal::Buy), true) => {
                Verdict::idle(holds, assessment, format!("{moved}: a signal to buy, but a position is held already."))
            }
            (Some(Signal::Sell), false) => {
                Verdict::idle(holds, assessment, format!("{moved}: a signal to sell, but nothing is held."))
            }
            (None, _) => Verdict::idle(holds, assessment, format!("{moved}: no line crossed.")),
        }
    }

    /// The line that the index crossed with the last candle.
    pub(crate) fn signal(&self, market: &MarketSnapshot) -> Option<Signal> {
        let (last, before) = market.rsi?;
        let (oversold, overbought) = (Decimal::from(self.oversold), Decimal::from(self.overbought));
        if before > oversold && last <= oversold {
            Some(Signal::Buy)
        } else if before < overbought && last >= overbought {
            Some(Signal::Sell)
        } else {
            None
        }
    }

    fn assess(&self, rsi: Decimal) -> String {
        if rsi <= Decimal::from(self.oversold) {
            format!("oversold (RSI {rsi:.2})")
        } else if rsi >= Decimal::from(self.overbought) {
            format!("overbought (RSI {rsi:.2})")
        } else {
            format!("neutral (RSI {rsi:.2})")
        }
    }
}

impl RsiState {
    /// The state after a cycle that led to `fill`, or to none.
    pub(crate) fn after(&self, config: &RsiConfig, market: &MarketSnapshot, fill: Option<&Fill>) -> Self {
        let last_rsi = market.rsi.map(|(last, _)| last).or(self.last_rsi);
        let last_signal = config.signal(market).or(self.last_signal);
        let seen = Self { last_rsi, last_signal, ..self.clone() };
        match fill {
            None => seen,
            Some(fill) if fill.side == Side::Buy => {
                Self { quantity: fill.quantity, entry_price: Some(fill.price), position_size: fill.notional, ..seen }
            }
            Some(_) => Self { quantity: Decimal::ZERO, entry_price: None, position_size: Decimal::ZERO, ..seen },
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::*;

    fn read(config: &Value) -> Result<RsiConfig, String> {
        RsiConfig::read(&Fields(config.as_object().unwrap()))
    }
    fn config() -> RsiConfig {
        read(&json!({"order_amount": 500})).unwrap()
    }
    fn market(rsi: Option<(i64, i64)>) -> MarketSnapshot {
        MarketSnapshot {
            symbol: "BTC/USDT:USDT".parse().unwrap(),
            timeframe: Timeframe::OneHour,
            price: 100.into(),
            closed_at: DateTime::UNIX_EPOCH,
            candles: 20,
            rsi: rsi.map(|(last, before)| (last.into(), before.into())),
        }
    }
    fn action(state: &RsiState, last: i64, before: i64) -> Action {
        config().judge(state, &market(Some((last, before)))).action
    }
    fn holding() -> RsiState {
        RsiState { quantity: 5.into(), entry_price: Some(100.into()), position_size: 500.into(), ..RsiState::default() }
    }

    #[test]
    fn only_a_crossing_is_a_signal() {
        let flat = RsiState::default();
        assert_eq!(action(&flat, 29, 31), Action::OpenLong);
        assert_eq!(action(&flat, 30, 31), Action::OpenLong);
        assert_eq!(action(&flat, 20, 29), Action::Wait, "beyond the line is no crossing");
        assert_eq!(action(&flat, 31, 29), Action::Wait, "nor is the way back");
        assert_eq!(action(&flat, 71, 69), Action::Wait, "nothing to sell");
        assert_eq!(action(&holding(), 71, 69), Action::CloseLong);
        assert_eq!(action(&holding(), 80, 71), Action::Hold);
        assert_eq!(action(&holding(), 29, 31), Action::Hold, "one position at a time");
    }

    #[test]
    fn too_few_candles_are_no_signal() {
        let verdict = config().judge(&RsiState::default(), &market(None));
        assert_eq!(verdict.action, Action::Wait);
        assert_eq!(verdict.reasoning, "RSI(14) needs more candles than the 20 there are.");
    }

    #[test]
    fn fills_open_and_close_the_position() {
        let market = market(Some((29, 31)));
        let bought = Fill {
            side: Side::Buy,
            quantity: 5.into(),
            price: 100.into(),
            notional: 500.into(),
            fee: Decimal::ONE,
            realized_pnl: None,
        };
        let held = RsiState::default().after(&config(), &market, Some(&bought));
        assert_eq!(held, RsiState { last_rsi: Some(29.into()), last_signal: Some(Signal::Buy), ..holding() });
        let sold = held.after(&config(), &market, Some(&Fill { side: Side::Sell, ..bought }));
        assert_eq!((sold.quantity, sold.entry_price), (Decimal::ZERO, None));
    }

    #[test]
    fn settings_have_ranges_and_defaults() {
        let usual = config();
        assert_eq!((usual.rsi_period, usual.overbought, usual.oversold), (14, 70, 30));
        assert_eq!(usual.timeframe, Timeframe::OneHour);
        let wrong = |config: Value| read(&config).unwrap_err();
        assert_eq!(wrong(json!({})), "order_amount is required");
        assert_eq!(wrong(json!({"order_amount": 1, "rsi_period": 1})), "rsi_period must be between 2 and 100");
        assert_eq!(wrong(json!({"order_amount": 1, "overbought": 96})), "overbought must be between 50 and 95");
        let equal = wrong(json!({"order_amount": 1, "overbought": 50, "oversold": 50}));
        assert_eq!(equal, "overbought must be greater than oversold");
        let timeframe = wrong(json!({"order_amount": 1, "timeframe": "2h"}));
        assert_eq!(timeframe, "timeframe must be one of 1m, 5m, 15m, 1h, 4h, 1d");
    }
}
