//! Scenarios of BITRUN.

mod accounts;
mod auth;
mod candles;
mod decisions;
mod quant_strategies;
mod walk;
