//! Customer relations: leads, the customers they become, and the deals made with them.

pub mod change;
pub mod customer;
pub mod deal;
pub mod field;
pub mod lead;
