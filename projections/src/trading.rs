//! Exchange accounts, strategies and their decisions.

pub mod decisions;
pub mod exchange_accounts;
pub mod quant_strategies;

use sea_orm::DbErr;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value of the domain as text of a column.
fn written(value: &impl Serialize) -> String {
    // The values that rows hold are made of texts, numbers and lists only: writing them cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// The value in a column.
fn read<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, DbErr> {
    serde_json::from_str(text).map_err(|error| DbErr::Type(format!("{column}: {error}")))
}
