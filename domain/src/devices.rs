//! Battery devices: what they are, who may use them, what they are called by, and what they report.

pub mod device;
pub mod drain;
pub mod reading;
