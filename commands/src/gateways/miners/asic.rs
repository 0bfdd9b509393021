//! Miners through the crate asic-rs: stock Antminer and `WhatsMiner` firmware.
//!
//! The crate decides what a firmware can do and how it is told. This adapter adds what a platform needs around it: time
//! limits, one order at a time a miner, reasons, and a wall against panics in the parsers of answers.

mod identification;
mod translation;

use std::collections::HashMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asic_rs::core::traits::miner::Miner;
use async_trait::async_trait;
use domain::hosting::miner_order::MinerOrder;
use lru::LruCache;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{Acknowledgement, Dispatched, MinerFault, MinerGateway, MinerReading, MinerTarget};

/// Most miners that are remembered at a time.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

/// The time limits of [`AsicMiners`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsicLimits {
    /// For one TCP connection that tells whether anything is there.
    pub connect: Duration,
    /// For finding out what a miner is; the crate allows 5 s a question and asks up to four in a row.
    pub identify: Duration,
    /// For the acknowledgement of an order; afterwards the call goes on in the background, for up to 120 s twice over.
    pub dispatch: Duration,
    /// For one reading; the crate allows 5 s a question and asks most of them at once.
    pub read: Duration,
    /// How long an identified miner needs no new identification.
    pub known_for: Duration,
}

impl Default for AsicLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            identify: Duration::from_secs(10),
            dispatch: Duration::from_secs(5),
            read: Duration::from_secs(10),
            known_for: Duration::from_secs(60),
        }
    }
}

/// The adapter. Cheap to share behind an `Arc`; it must live inside a tokio runtime.
#[derive(Debug)]
pub struct AsicMiners {
    limits: AsicLimits,
    known: Mutex<LruCache<IpAddr, Known>>,
    turns: Mutex<HashMap<IpAddr, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug)]
struct Known {
    target: MinerTarget,
    miner: Arc<dyn Miner>,
    since: Instant,
}

/// What the crate says to an order: taken, or why not.
type Answer = Result<(), String>;

impl AsicMiners {
    /// An adapter that knows no miner yet.
    pub fn new(limits: AsicLimits) -> Self {
        Self { limits, known: Mutex::new(LruCache::new(KNOWN_MAX)), turns: Mutex::default() }
    }

    /// The miner, identified now or a short while ago. What is remembered may be gone by now.
    async fn identified(&self, target: &MinerTarget) -> Result<Arc<dyn Miner>, MinerFault> {
        if let Some(miner) = self.remembered(target) {
            return Ok(miner);
        }
        identification::probe(target.address, self.limits.connect).await?;
        let miner: Arc<dyn Miner> = identification::identify(target, self.limits.identify).await?.into();
        let known = Known { target: target.clone(), miner: Arc::clone(&miner), since: Instant::now() };
        locked(&self.known).put(target.address, known);
        Ok(miner)
    }

    fn remembered(&self, target: &MinerTarget) -> Option<Arc<dyn Miner>> {
        let mut known = locked(&self.known);
        let entry = known.get(&target.address)?;
        let is_fresh = entry.since.elapsed() < self.limits.known_for && entry.target == *target;
        is_fresh.then(|| Arc::clone(&entry.miner))
    }

    fn forget(&self, address: IpAddr) {
        locked(&self.known).pop(&address);
    }

    /// Waits until no earlier order is under way: the crate reads a configuration, changes it and writes it back.
    async fn turn(&self, address: IpAddr) -> Result<OwnedMutexGuard<()>, MinerFault> {
        let turn = {
            let mut turns = locked(&self.turns);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(address).or_default())
        };
        timeout(self.limits.dispatch, turn.lock_owned()).await.map_err(|_| MinerFault::TimedOut)
    }

    /// Tells a miner that refused from one that is gone; the crate reports both with the same kind of error.
    async fn refusal(&self, address: IpAddr, reason: String) -> MinerFault {
        self.forget(address);
        match identification::probe(address, self.limits.connect).await {
            Err(unreachable) => unreachable,
            Ok(()) => MinerFault::Refused { reason },
        }
    }
}

#[async_trait]
impl MinerGateway for AsicMiners {
    async fn dispatch(&self, target: &MinerTarget, order: &MinerOrder) -> Result<Dispatched, MinerFault> {
        let miner = self.identified(target).await?;
        translation::supported(miner.as_ref(), order)?;
        let turn = self.turn(target.address).await?;
        // A WhatsMiner that is gone would "accept": the crate drops the errors of its power_off and reboot.
        identification::probe(target.address, self.limits.connect)
            .await
            .inspect_err(|_| self.forget(target.address))?;
        let mut call = tokio::spawn(given(miner, order.clone(), turn));
        match timeout(self.limits.dispatch, &mut call).await {
            Err(_) => {
                tokio::spawn(reported_late(call, target.address, order.name()));
                Ok(Dispatched { acknowledgement: Acknowledgement::Awaited })
            }
            Ok(Err(panicked)) => Err(bad_answer(&panicked)),
            Ok(Ok(Err(reason))) => Err(self.refusal(target.address, reason).await),
            Ok(Ok(Ok(()))) => Ok(Dispatched { acknowledgement: Acknowledgement::Given }),
        }
    }

    async fn read(&self, target: &MinerTarget) -> Result<MinerReading, MinerFault> {
        let miner = self.identified(target).await?;
        let mut call = tokio::spawn(async move { translation::read(miner.as_ref()).await });
        let fault = match timeout(self.limits.read, &mut call).await {
            Ok(Ok(Ok(reading))) => return Ok(reading),
            Ok(Ok(Err(reason))) => MinerFault::BadAnswer { reason },
            Ok(Err(panicked)) => bad_answer(&panicked),
            Err(_) => {
                call.abort();
                MinerFault::TimedOut
            }
        };
        self.forget(target.address);
        identification::probe(target.address, self.limits.connect).await.and(Err(fault))
    }
}

/// Gives the order in a task of its own, so that neither a panic nor a caller that gives up breaks it off half-way.
async fn given(miner: Arc<dyn Miner>, order: MinerOrder, turn: OwnedMutexGuard<()>) -> Answer {
    let answer = translation::give(miner.as_ref(), &order).await;
    drop(turn);
    answer
}

async fn reported_late(call: JoinHandle<Answer>, address: IpAddr, order: &'static str) {
    match call.await {
        Ok(Ok(())) => tracing::debug!(%address, order, "the miner acknowledged an order late"),
        Ok(Err(reason)) => tracing::warn!(%address, order, reason, "the miner refused an order late"),
        Err(panicked) => tracing::error!(%address, order, %panicked, "the answer to an order broke its reader"),
    }
}

fn bad_answer(panicked: &impl Display) -> MinerFault {
    MinerFault::BadAnswer { reason: format!("its reader broke: {panicked}") }
}

/// Nothing that holds these locks can panic half-way through a change.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
