//! Lists about money that users hold.

pub mod balances;
pub mod ledger_entries;
pub mod recharge_codes;
pub mod recharge_records;
pub mod revenues;
