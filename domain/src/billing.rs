//! Money that users hold: recharge codes and the balance they credit.

pub mod balance;
pub mod recharge_code;
