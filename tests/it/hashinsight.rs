//! Scenarios of HashInsight.

mod auth;
mod clients;
mod curtailment;
mod customers;
mod deals;
mod fleet;
mod leads;
mod miner_commands;
mod miners;
mod overlapping_curtailments;
mod sites;
