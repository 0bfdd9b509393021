//! Miners that exist only on loopback addresses, for tests of the real gateway.
//!
//! A miner is an address, not a port: the ports are fixed by the makers. Linux answers on the whole of `127.0.0.0/8`,
//! so each simulated miner gets an address of its own. An [`Antminer`] answers on port 80 too, which needs root,
//! `CAP_NET_BIND_SERVICE` or `net.ipv4.ip_unprivileged_port_start=0`; a [`WhatsMiner`] needs none of these.

mod antminer;
mod calls;
pub mod smtp;
mod whatsminer;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub use antminer::{Antminer, AntminerFirmware};
pub use whatsminer::WhatsMiner;

/// How often a free address is looked for.
const ADDRESS_ATTEMPTS: usize = 64;

/// What a simulated miner does with what it is told. One that is unreachable is one that was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// Acknowledges and obeys.
    Obedient,
    /// Acknowledges and does nothing.
    Deaf,
}

/// The state of a simulated miner, as it really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinerState {
    pub is_mining: bool,
    /// `None` is automatic.
    pub fan_percent: Option<u8>,
    pub pools: Vec<SimulatedPool>,
    pub reboots: u32,
    uptime_seconds_then: u64,
    then: Instant,
}

/// One pool that a simulated miner is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedPool {
    pub url: String,
    pub worker: String,
}

impl MinerState {
    /// A miner that mines since a while, with the pools of its captured reply.
    fn captured(uptime_seconds: u64, pools: &Value) -> Self {
        let text = |pool: &Value, key: &str| pool[key].as_str().unwrap_or_default().to_owned();
        let listed = pools["POOLS"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            is_mining: true,
            fan_percent: None,
            pools: listed
                .iter()
                .map(|pool| SimulatedPool { url: text(pool, "URL"), worker: text(pool, "User") })
                .collect(),
            reboots: 0,
            uptime_seconds_then: uptime_seconds,
            then: Instant::now(),
        }
    }

    fn uptime_seconds(&self) -> u64 {
        self.uptime_seconds_then + self.then.elapsed().as_secs()
    }

    fn reboot(&mut self) {
        self.reboots += 1;
        self.uptime_seconds_then = 0;
        self.then = Instant::now();
    }

    /// The captured answer to `pools` with the pools of now.
    fn pools_answer(&self, captured: &Value) -> Value {
        let mut answer = captured.clone();
        let template = &captured["POOLS"][0];
        let listed = self.pools.iter().enumerate().map(|(index, pool)| {
            let mut listed = template.clone();
            listed["POOL"] = index.into();
            listed["Priority"] = index.into();
            listed["Stratum Active"] = (index == 0 && self.is_mining).into();
            listed["URL"] = pool.url.as_str().into();
            listed["User"] = pool.worker.as_str().into();
            listed
        });
        answer["POOLS"] = listed.collect();
        answer
    }
}

/// A state that the servers of a miner and its handle share.
type Shared = Arc<Mutex<MinerState>>;

fn with_state<T>(shared: &Shared, change: impl FnOnce(&mut MinerState) -> T) -> T {
    change(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A running miner; it stops when this is dropped.
#[derive(Debug)]
pub struct SimulatedMiner {
    address: IpAddr,
    state: Shared,
    writes: Arc<Semaphore>,
    servers: Vec<JoinHandle<()>>,
}

impl SimulatedMiner {
    /// Where it answers.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Its state as it really is, whatever it says.
    pub fn state(&self) -> MinerState {
        with_state(&self.state, |state| state.clone())
    }

    /// Lets the writes go on that the miner was started to hold back.
    pub fn release_writes(&self) {
        self.writes.close();
    }

    /// Stops it and waits until its ports are closed.
    pub async fn stop(mut self) {
        for server in std::mem::take(&mut self.servers) {
            server.abort();
            drop(server.await);
        }
    }
}

impl Drop for SimulatedMiner {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

/// Tries loopback addresses until one is free, so that several runs of the tests do not meet.
async fn anywhere<F>(listen: impl Fn(IpAddr) -> F) -> io::Result<SimulatedMiner>
where
    F: Future<Output = io::Result<SimulatedMiner>>,
{
    for _ in 0..ADDRESS_ATTEMPTS {
        let [second, third, fourth] = rand::random::<[u8; 3]>();
        match listen(Ipv4Addr::new(127, second | 0b1000_0000, third, fourth).into()).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
    Err(io::Error::from(io::ErrorKind::AddrInUse))
}

fn loopback(address: &str) -> io::Result<IpAddr> {
    let parsed: Option<IpAddr> = address.parse().ok();
    parsed
        .filter(IpAddr::is_loopback)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is no loopback address")))
}

/// A captured answer. They are compiled in, so a broken one is a fault of the tests themselves.
fn captured(json: &str) -> Value {
    serde_json::from_str(json).expect("a captured answer is JSON")
}
