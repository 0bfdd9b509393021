//! Why a balance is not changed.

use super::{BALANCE_MAX, REASON_CHARS_MAX};
use crate::refusal::{Refusal, RefusalKind};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BalanceError {
    #[error("the amount has at most two decimals and is above 0; an adjustment is at most {BALANCE_MAX}, up or down")]
    AmountOutOfRange,
    #[error("a balance may not be adjusted above {BALANCE_MAX}")]
    TooMuch,
    #[error("an adjustment needs a reason of at most {REASON_CHARS_MAX} characters, none of them a control character")]
    ReasonOutOfRange,
    #[error("the balance may not be taken below what is held for running tasks, nor below 0")]
    BelowHeld,
    #[error("the available balance does not suffice")]
    Insufficient,
}

impl Refusal for BalanceError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::AmountOutOfRange | Self::ReasonOutOfRange => RefusalKind::Invalid,
            Self::TooMuch => RefusalKind::LimitExceeded,
            Self::BelowHeld | Self::Insufficient => RefusalKind::InsufficientFunds,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::AmountOutOfRange => "balance.amount_out_of_range",
            Self::TooMuch => "balance.too_much",
            Self::ReasonOutOfRange => "balance.reason_out_of_range",
            Self::BelowHeld => "balance.below_held",
            Self::Insufficient => "balance.insufficient",
        }
    }
}
