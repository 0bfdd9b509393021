//! Battery devices, what they report, and the alerts that this raises.

pub mod drain;
pub mod reading;
