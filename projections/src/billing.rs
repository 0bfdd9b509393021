//! Lists about money that users hold.

pub mod balances;
pub mod recharge_codes;
pub mod recharge_records;
pub mod revenues;
