//! placeholder

pub mod gateways;
