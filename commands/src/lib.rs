//! The write side: everything that appends to the log.
//!
//! - [`log`]: the engines that keep the log.

pub mod log;
