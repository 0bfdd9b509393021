//! Scenarios of BITRUN.

mod accounts;
mod candles;
mod decisions;
mod quant_strategies;
mod walk;
