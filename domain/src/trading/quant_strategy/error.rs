//! Why a strategy says no; the sentences are those that clients of the product know.

use crate::refusal::{Refusal, RefusalKind};
use crate::trading::candle::{BadSymbol, Symbol};
use crate::trading::config::StrategyType;
use crate::trading::order::MONEY_MAX;
use crate::trading::quant_strategy::draft::{DESCRIPTION_LENGTH_MAX, NAME_LENGTH_MAX};
use crate::trading::strategy_status::StrategyStatus;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantStrategyError {
    #[error("Strategy not found")]
    NotFound,
    #[error("This strategy has been created before")]
    AlreadyCreated,
    #[error("name must be 1 to {NAME_LENGTH_MAX} characters, none of them a control character")]
    NameLength,
    #[error("description must be at most {DESCRIPTION_LENGTH_MAX} characters, none of them a control character")]
    DescriptionLength,
    #[error(transparent)]
    Symbol(#[from] BadSymbol),
    #[error("Invalid config for {} strategy: {reason}", kind.as_str())]
    Config { kind: StrategyType, reason: String },
    #[error("allocated_capital must be above 0 and at most {MONEY_MAX}")]
    CapitalOutOfRange,
    #[error("allocated_capital_percent must be above 0 and at most 1")]
    CapitalPercentOutOfRange,
    #[error("Invalid status transition from '{}' to '{}'", from.as_str(), to.as_str())]
    InvalidTransition { from: StrategyStatus, to: StrategyStatus },
    #[error("Cannot activate strategy without an exchange account")]
    NoAccount,
    #[error("Cannot activate strategy: {reason}")]
    AccountNotConnected { reason: String },
    #[error("Cannot delete a strategy in status '{}'; stop it first", status.as_str())]
    DeleteWhile { status: StrategyStatus },
    #[error("Cannot delete a strategy that holds a position")]
    DeleteWhileHolding,
    #[error("Cannot change config or account of a strategy that holds a position")]
    ChangeWhileHolding,
    #[error("Strategy is not active (status '{}')", status.as_str())]
    NotActive { status: StrategyStatus },
    #[error("A cycle of this strategy is still running")]
    CycleRunning,
    #[error("There are no closed candles of {symbol} to decide on")]
    NoCandles { symbol: Symbol },
}

impl Refusal for QuantStrategyError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyCreated => RefusalKind::AlreadyExists,
            Self::NameLength
            | Self::DescriptionLength
            | Self::Symbol(_)
            | Self::Config { .. }
            | Self::CapitalOutOfRange
            | Self::CapitalPercentOutOfRange => RefusalKind::Invalid,
            Self::InvalidTransition { .. }
            | Self::NoAccount
            | Self::AccountNotConnected { .. }
            | Self::DeleteWhile { .. }
            | Self::DeleteWhileHolding
            | Self::ChangeWhileHolding
            | Self::NotActive { .. }
            | Self::CycleRunning
            | Self::NoCandles { .. } => RefusalKind::IllegalState,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "quant_strategy.not_found",
            Self::AlreadyCreated => "quant_strategy.already_created",
            Self::NameLength => "quant_strategy.name_length",
            Self::DescriptionLength => "quant_strategy.description_length",
            Self::Symbol(_) => "quant_strategy.symbol",
            Self::Config { .. } => "quant_strategy.config",
            Self::CapitalOutOfRange => "quant_strategy.capital_out_of_range",
            Self::CapitalPercentOutOfRange => "quant_strategy.capital_percent_out_of_range",
            Self::InvalidTransition { .. } => "quant_strategy.invalid_transition",
            Self::NoAccount => "quant_strategy.no_account",
            Self::AccountNotConnected { .. } => "quant_strategy.account_not_connected",
            Self::DeleteWhile { .. } => "quant_strategy.delete_while",
            Self::DeleteWhileHolding => "quant_strategy.delete_while_holding",
            Self::ChangeWhileHolding => "quant_strategy.change_while_holding",
            Self::NotActive { .. } => "quant_strategy.not_active",
            Self::CycleRunning => "quant_strategy.cycle_running",
            Self::NoCandles { .. } => "quant_strategy.no_candles",
        }
    }
}
