//! The port to the miners of a site.
//!
//! An order goes from requested to dispatched by [`MinerGateway::dispatch`], and from there to confirmed or drifted by
//! a later [`MinerGateway::read`] that [`obeyed`] judges. A miner's own acknowledgement never confirms an order.

mod asic;

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use domain::hosting::miner_order::MinerOrder;
pub use domain::hosting::miner_order::obedience::{Obedience, Wait, obeyed};
pub use domain::hosting::miner_order::reading::{
    FanControl, MinerCapabilities, MinerReading, PoolReading, PowerReading, PowerSource,
};

pub use asic::{AsicLimits, AsicMiners};

/// Gives orders to miners and reads them.
#[async_trait]
pub trait MinerGateway: Send + Sync {
    /// Gives one order to one miner.
    ///
    /// # Errors
    /// [`MinerFault`]; the miner then did not take the order, as far as anybody can know.
    async fn dispatch(&self, target: &MinerTarget, order: &MinerOrder) -> Result<Dispatched, MinerFault>;

    /// Reads one miner.
    ///
    /// # Errors
    /// [`MinerFault`]; never [`MinerFault::Unsupported`] or [`MinerFault::Refused`].
    async fn read(&self, target: &MinerTarget) -> Result<MinerReading, MinerFault>;
}

/// The miner that is meant, and how to sign in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinerTarget {
    pub address: IpAddr,
    /// `None` means the defaults of the firmware's maker.
    pub credentials: Option<MinerCredentials>,
}

/// How to sign in at a miner.
#[derive(Clone, PartialEq, Eq)]
pub struct MinerCredentials {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for MinerCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MinerCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// An order that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispatched {
    pub acknowledgement: Acknowledgement,
}

/// What the miner said to an order. Neither is a proof of obedience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// It accepted the order.
    Given,
    /// It was still at work on the order when the time limit ended; the call goes on in the background.
    ///
    /// Stock Antminers answer a change of their configuration only after they restarted mining, about a minute later.
    Awaited,
}

/// Why a miner could not be told or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MinerFault {
    /// Nothing there answers, or nothing that is known as a miner.
    #[error("the miner cannot be reached: {reason}")]
    Unreachable { reason: String },
    /// The firmware does not know such an order; nothing was sent.
    #[error("{make} {model} does not support {order}")]
    Unsupported {
        /// [`MinerOrder::name`].
        order: &'static str,
        make: String,
        model: String,
    },
    /// The miner answered and did not take the order.
    #[error("the miner refused the order: {reason}")]
    Refused { reason: String },
    /// The miner did not answer a reading in time, or was too busy with an earlier order to be given another one.
    #[error("the miner did not answer in time")]
    TimedOut,
    /// The miner answered something that makes no sense.
    #[error("the answer of the miner cannot be understood: {reason}")]
    BadAnswer { reason: String },
}

impl MinerFault {
    /// A short stable name for answers and figures.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Unsupported { .. } => "unsupported_command",
            Self::Refused { .. } => "refused",
            Self::TimedOut => "timed_out",
            Self::BadAnswer { .. } => "bad_answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_show() {
        let credentials = MinerCredentials { username: "root".into(), password: "secret".into() };
        let target = MinerTarget { address: IpAddr::from([127, 0, 0, 1]), credentials: Some(credentials) };
        let shown = format!("{target:?}");
        assert!(shown.contains("root") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_fault_says_what_it_is() {
        let fault = MinerFault::Unsupported { order: "set_fan", make: "Whatsminer".into(), model: "M50S".into() };
        assert_eq!(fault.to_string(), "Whatsminer M50S does not support set_fan");
        assert_eq!(fault.code(), "unsupported_command");
    }
}
