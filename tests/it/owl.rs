//! Scenarios of Owl Factory.

mod accounts;
mod admin;
mod auth;
mod logs;
mod recharge;
