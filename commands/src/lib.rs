//! The write side: one executor for all aggregates, the engines of the log, process managers and gateways.

mod bus;
mod cache;
mod clock;
mod context;
pub mod gateways;
mod holdups;
pub mod log;
mod numbers;
pub mod processes;
mod readers;
mod turns;

pub use bus::{CommandBus, CommandError, Receipt};
pub use clock::Clock;
pub use context::CommandContext;
pub use holdups::{Holdups, Waiting, Waits};
pub use readers::{Handled, NotYet, Readers};
pub use turns::Turns;
