//! Scenarios of HashInsight.

mod auth;
mod customers;
mod deals;
mod leads;
