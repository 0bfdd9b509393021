//! Scenarios of Owl Factory.

mod recharge;
