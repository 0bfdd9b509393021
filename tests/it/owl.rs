//! Scenarios of Owl Factory.

mod auth;
mod recharge;
