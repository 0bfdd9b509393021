//! Which orders may be requested of which miners.

use std::net::IpAddr;

use super::MinerCommandError;
use crate::hosting::miner_order::{MinerOrder, POOLS_MAX, Pool};

/// Longest address of a pool, in characters.
pub const POOL_URL_CHARS_MAX: usize = 256;
/// Longest name of a worker, in characters.
pub const WORKER_CHARS_MAX: usize = 128;

/// What is known of the miner when an order is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinerFacts {
    pub miner_id: i64,
    pub address: Option<IpAddr>,
    /// Whether its maker's firmware takes the order.
    pub supported: bool,
    pub hashing: bool,
    /// The curtailment run that wants it stopped.
    pub held_by_run: Option<i64>,
}

/// The address of a miner that can be given this order.
pub(super) fn can_be_told(miner: &MinerFacts, order: &MinerOrder, force: bool) -> Result<IpAddr, MinerCommandError> {
    check(order)?;
    if !miner.supported {
        return Err(MinerCommandError::Unsupported { order: order.name() });
    }
    let address = miner.address.ok_or(MinerCommandError::NoAddress)?;
    if let (MinerOrder::Start | MinerOrder::Restart, Some(plan_id), false) = (order, miner.held_by_run, force) {
        return Err(MinerCommandError::Held { plan_id });
    }
    match order {
        MinerOrder::Shutdown if !miner.hashing && !force => Err(MinerCommandError::AlreadyThere { state: "shut down" }),
        MinerOrder::Start if miner.hashing && !force => Err(MinerCommandError::AlreadyThere { state: "running" }),
        MinerOrder::Shutdown
        | MinerOrder::Start
        | MinerOrder::Restart
        | MinerOrder::SetPool { .. }
        | MinerOrder::SetFan { .. } => Ok(address),
    }
}

fn check(order: &MinerOrder) -> Result<(), MinerCommandError> {
    match order {
        MinerOrder::SetPool { pools } if !(1..=POOLS_MAX).contains(&pools.len()) => {
            Err(MinerCommandError::PoolsOutOfRange)
        }
        MinerOrder::SetPool { pools } if !pools.iter().all(is_pool) => Err(MinerCommandError::PoolOutOfRange),
        MinerOrder::SetFan { speed_percent: Some(101..) } => Err(MinerCommandError::FanSpeedOutOfRange),
        MinerOrder::SetPool { .. }
        | MinerOrder::SetFan { .. }
        | MinerOrder::Restart
        | MinerOrder::Shutdown
        | MinerOrder::Start => Ok(()),
    }
}

fn is_pool(pool: &Pool) -> bool {
    let authority = ["stratum+tcp://", "stratum+ssl://"].iter().find_map(|scheme| pool.url.strip_prefix(scheme));
    let address = authority.and_then(|rest| rest.rsplit_once(':'));
    let address_fits = address.is_some_and(|(host, port)| {
        !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let worker_fits =
        (1..=WORKER_CHARS_MAX).contains(&pool.worker.len()) && pool.worker.bytes().all(|byte| byte.is_ascii_graphic());
    address_fits && pool.url.len() <= POOL_URL_CHARS_MAX && worker_fits
}
