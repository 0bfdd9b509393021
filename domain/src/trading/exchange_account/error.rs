//! Why an account says no.

use crate::refusal::{Refusal, RefusalKind};
use crate::trading::exchange_account::NAME_LENGTH_MAX;
use crate::trading::order::{MONEY_MAX, SCALE};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeAccountError {
    #[error("Account not found")]
    NotFound,
    #[error("This account has been opened before")]
    AlreadyOpened,
    #[error("name must be 1 to {NAME_LENGTH_MAX} characters, none of them a control character")]
    NameLength,
    #[error("initial_balance must be above 0, at most {MONEY_MAX}, with at most {SCALE} decimals")]
    BalanceOutOfRange,
    #[error("initial_balance can be given for the paper exchange only")]
    BalanceElsewhere,
    #[error("The paper exchange takes no credentials")]
    CredentialsOnPaper,
    #[error("The credentials are too long")]
    CredentialsTooLong,
}

impl Refusal for ExchangeAccountError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyOpened => RefusalKind::AlreadyExists,
            Self::NameLength
            | Self::BalanceOutOfRange
            | Self::BalanceElsewhere
            | Self::CredentialsOnPaper
            | Self::CredentialsTooLong => RefusalKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "exchange_account.not_found",
            Self::AlreadyOpened => "exchange_account.already_opened",
            Self::NameLength => "exchange_account.name_length",
            Self::BalanceOutOfRange => "exchange_account.balance_out_of_range",
            Self::BalanceElsewhere => "exchange_account.balance_elsewhere",
            Self::CredentialsOnPaper => "exchange_account.credentials_on_paper",
            Self::CredentialsTooLong => "exchange_account.credentials_too_long",
        }
    }
}
