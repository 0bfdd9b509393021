//! Sites, miners, what they are told to do, and curtailment.

pub mod miner_order;
