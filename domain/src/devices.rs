//! Battery devices: what they are, who may use them, and what they are called by.

pub mod device;
