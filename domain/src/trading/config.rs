//! The settings of a strategy: read from the JSON object a client sends, checked against their ranges, kept typed.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::trading::candle::{PRICE_MAX, SCALE_MAX};
use crate::trading::dca::DcaConfig;
use crate::trading::grid::GridConfig;
use crate::trading::order::{LEVERAGE_MAX, MONEY_MAX};
use crate::trading::rsi::RsiConfig;

/// The sort of rules a strategy follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategyType {
    /// Buys at falling and sells at rising levels of a price range.
    Grid,
    /// Buys a fixed amount at fixed times.
    Dca,
    /// Buys what is oversold and sells what is overbought.
    Rsi,
}

impl StrategyType {
    /// The word clients use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Dca => "dca",
            Self::Rsi => "rsi",
        }
    }
}

/// Checked settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategyConfig {
    Grid(GridConfig),
    Dca(DcaConfig),
    Rsi(RsiConfig),
}

impl StrategyConfig {
    /// Reads and checks settings; absent ones get their defaults, unknown ones are ignored.
    ///
    /// # Errors
    /// The first setting that is missing or out of range, in a sentence.
    pub fn read(kind: StrategyType, config: &Map<String, Value>) -> Result<Self, String> {
        let fields = Fields(config);
        match kind {
            StrategyType::Grid => GridConfig::read(&fields).map(Self::Grid),
            StrategyType::Dca => DcaConfig::read(&fields).map(Self::Dca),
            StrategyType::Rsi => RsiConfig::read(&fields).map(Self::Rsi),
        }
    }

    /// How many times the own money a position is worth.
    pub fn leverage(&self) -> Decimal {
        match self {
            Self::Grid(config) => config.leverage,
            Self::Dca(_) => Decimal::ONE,
            Self::Rsi(config) => config.leverage,
        }
    }

    /// Which sort of rules they are for.
    pub fn kind(&self) -> StrategyType {
        match self {
            Self::Grid(_) => StrategyType::Grid,
            Self::Dca(_) => StrategyType::Dca,
            Self::Rsi(_) => StrategyType::Rsi,
        }
    }
}

/// The fields of a JSON object, read with a sentence for each that is wrong.
pub(crate) struct Fields<'a>(pub(crate) &'a Map<String, Value>);

impl Fields<'_> {
    /// A price above 0.
    pub(crate) fn price(&self, name: &str) -> Result<Decimal, String> {
        self.positive(name, PRICE_MAX)
    }

    /// An amount of money above 0.
    pub(crate) fn money(&self, name: &str) -> Result<Decimal, String> {
        self.positive(name, MONEY_MAX)
    }

    /// 1 to 50, by default 1.
    pub(crate) fn leverage(&self) -> Result<Decimal, String> {
        self.within("leverage", Some(Decimal::ONE), Decimal::ONE, LEVERAGE_MAX)
    }

    /// A number from `least` to `most`.
    pub(crate) fn within(
        &self,
        name: &str,
        default: Option<Decimal>,
        least: Decimal,
        most: Decimal,
    ) -> Result<Decimal, String> {
        let number = self.number(name)?.or(default).ok_or_else(|| format!("{name} is required"))?;
        if (least..=most).contains(&number) {
            Ok(number)
        } else {
            Err(format!("{name} must be between {least} and {most}"))
        }
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn whole(&self, name: &str, default: Option<u32>, least: u32, most: u32) -> Result<u32, String> {
        let number = self.within(name, default.map(Decimal::from), least.into(), most.into())?;
        if number.normalize().scale() > 0 {
            return Err(format!("{name} must be a whole number"));
        }
        u32::try_from(number).map_err(|_| format!("{name} must be a whole number"))
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(format!("{name} must be a text"))
            }
        }
    }

    fn positive(&self, name: &str, most: Decimal) -> Result<Decimal, String> {
        let number = self.number(name)?.ok_or_else(|| format!("{name} is required"))?;
        if number > Decimal::ZERO && number <= most {
            Ok(number)
        } else {
            Err(format!("{name} must be above 0 and at most {most}"))
        }
    }

    fn number(&self, name: &str) -> Result<Option<Decimal>, String> {
        let text = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(format!("{name} must be a number"));
            }
        };
        let number = text.parse().or_else(|_| Decimal::from_scientific(&text));
        // The parser takes underscores between digits.
        let number = number.ok().filter(|_| !text.contains('_'));
        let number = number.ok_or_else(|| format!("{name} must be a number in range"))?.normalize();
        if number.scale() > SCALE_MAX {
            return Err(format!("{name} must have at most {SCALE_MAX} decimals"));
        }
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: StrategyType, config: &Value) -> Result<StrategyConfig, String> {
        StrategyConfig::read(kind, config.as_object().unwrap())
    }

    #[test]
    fn numbers_may_be_written_in_several_ways() {
        let way = |amount: Value| read(StrategyType::Dca, &json!({"order_amount": amount, "interval_minutes": 60}));
        let hundred = way(json!(100)).unwrap();
        for same in [json!(100.0), json!("100"), json!(1e2)] {
            assert_eq!(way(same), Ok(hundred.clone()));
        }
        assert_eq!(way(json!(true)), Err("order_amount must be a number".into()));
        assert_eq!(way(json!("NaN")), Err("order_amount must be a number in range".into()));
        assert_eq!(way(json!(1e300)), Err("order_amount must be a number in range".into()));
        assert_eq!(way(json!(1e-20)), Err("order_amount must have at most 12 decimals".into()));
        assert_eq!(way(json!(null)), Err("order_amount is required".into()));
    }

    #[test]
    fn stored_settings_read_back_as_they_were() {
        let config = read(StrategyType::Rsi, &json!({"order_amount": 0.1})).unwrap();
        let stored = serde_json::to_string(&config).unwrap();
        assert!(stored.contains(r#""order_amount":"0.1""#), "{stored}");
        assert_eq!(serde_json::from_str::<StrategyConfig>(&stored).unwrap(), config);
    }
}
