//! Exchanges, and what they ask for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Where an account is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// Built in; trades with play money.
    Paper,
    Binance,
    Bybit,
    Okx,
    Hyperliquid,
}

impl Exchange {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Paper, Self::Binance, Self::Bybit, Self::Okx, Self::Hyperliquid];

    /// The word clients use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Binance => "binance",
            Self::Bybit => "bybit",
            Self::Okx => "okx",
            Self::Hyperliquid => "hyperliquid",
        }
    }

    /// Why an account there cannot trade; `None` when it can.
    pub fn connection_error(self) -> Option<String> {
        match self {
            Self::Paper => None,
            Self::Binance | Self::Bybit | Self::Okx | Self::Hyperliquid => Some(format!(
                "There is no adapter for {} on this server; only accounts on the paper exchange can trade",
                self.as_str()
            )),
        }
    }
}

/// One sort of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    ApiKey,
    ApiSecret,
    PrivateKey,
    Passphrase,
}

/// Which credentials an account has, and their text, sealed before it reaches the domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_credentials: Option<String>,
    pub kinds: BTreeSet<CredentialKind>,
}
