//! The settings of a strategy as a client sends them, and their checks.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::metadata::UserId;
use crate::plain_text;
use crate::trading::config::{StrategyConfig, StrategyType};
use crate::trading::order::{MONEY_MAX, floor};
use crate::trading::quant_strategy::{QuantStrategyError, QuantStrategyEvent};

/// Longest name of a strategy.
pub(super) const NAME_LENGTH_MAX: usize = 100;
/// Longest description of a strategy.
pub(super) const DESCRIPTION_LENGTH_MAX: usize = 2_000;

/// How much of the account a strategy may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capital {
    /// So much money.
    Amount(Decimal),
    /// This part of the equity, above 0 and at most 1.
    Percent(Decimal),
}

impl Capital {
    /// Most own money that may be invested at this equity.
    pub fn limit(self, equity: Decimal) -> Option<Decimal> {
        match self {
            Self::Amount(amount) => Some(amount),
            Self::Percent(part) => equity.checked_mul(part).map(floor),
        }
    }

    fn check(self) -> Result<(), QuantStrategyError> {
        match self {
            Self::Amount(amount) if amount <= Decimal::ZERO || amount > MONEY_MAX => {
                Err(QuantStrategyError::CapitalOutOfRange)
            }
            Self::Percent(part) if part <= Decimal::ZERO || part > Decimal::ONE => {
                Err(QuantStrategyError::CapitalPercentOutOfRange)
            }
            Self::Amount(_) | Self::Percent(_) => Ok(()),
        }
    }
}

/// Settings before they are checked.
#[derive(Debug, Clone)]
pub struct StrategyDraft {
    pub name: String,
    pub description: String,
    pub config: Map<String, Value>,
    pub account_id: Option<Uuid>,
    pub capital: Option<Capital>,
}

impl StrategyDraft {
    pub(super) fn create(
        self,
        user_id: UserId,
        symbol: &str,
        kind: StrategyType,
    ) -> Result<QuantStrategyEvent, QuantStrategyError> {
        let (name, config) = self.check(kind)?;
        Ok(QuantStrategyEvent::Created {
            user_id,
            name,
            description: self.description,
            symbol: symbol.parse()?,
            config,
            account_id: self.account_id,
            capital: self.capital,
        })
    }

    pub(super) fn change(self, kind: StrategyType) -> Result<QuantStrategyEvent, QuantStrategyError> {
        let (name, config) = self.check(kind)?;
        Ok(QuantStrategyEvent::Changed {
            name,
            description: self.description,
            config,
            account_id: self.account_id,
            capital: self.capital,
        })
    }

    fn check(&self, kind: StrategyType) -> Result<(String, StrategyConfig), QuantStrategyError> {
        let name = self.name.trim();
        if !(1..=NAME_LENGTH_MAX).contains(&name.chars().count()) || !plain_text::is_line(name) {
            return Err(QuantStrategyError::NameLength);
        }
        if self.description.chars().count() > DESCRIPTION_LENGTH_MAX || !plain_text::are_lines(&self.description) {
            return Err(QuantStrategyError::DescriptionLength);
        }
        self.capital.map_or(Ok(()), Capital::check)?;
        let config = StrategyConfig::read(kind, &self.config);
        let config = config.map_err(|reason| QuantStrategyError::Config { kind, reason })?;
        Ok((name.to_owned(), config))
    }
}
