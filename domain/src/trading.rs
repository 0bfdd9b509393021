//! Exchange accounts, rule-based strategies and what they decided.
//!
//! One cycle of a strategy: `quant_strategy` weighs the market ([`verdict`], [`grid`], [`dca`], [`rsi`]), `decision`
//! keeps what was decided, `exchange_account` fills it on its paper book, and the strategy books the outcome.

pub mod candle;
pub mod config;
pub mod dca;
pub mod decision;
pub mod exchange_account;
pub mod grid;
pub mod indicator;
pub mod order;
pub mod paper;
pub mod quant_strategy;
pub mod rsi;
pub mod runtime;
pub mod strategy_status;
pub mod verdict;
