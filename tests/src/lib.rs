//! What the tests and the benchmarks share.

pub mod events;
pub mod postgres;
