//! Sites, miners, what they are told to do, and curtailment, as lists.

pub mod curtailment_runs;
pub mod curtailment_targets;
pub mod miner_commands;
pub mod miners;
pub mod sites;
