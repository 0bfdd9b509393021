//! Scenarios of HashInsight.

mod customers;
mod deals;
mod leads;
