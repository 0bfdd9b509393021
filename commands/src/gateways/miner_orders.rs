//! Gives the orders that were requested to real miners, and looks whether they are obeyed.

mod queues;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use domain::event::{DecodeError, Recorded};
use domain::hosting::miner_command::{
    FailureReason, MinerCommand, MinerCommandCommand, MinerCommandEvent, Observation, Underway,
};
use tokio::sync::Semaphore;

use self::queues::Queues;
use super::miners::{
    Acknowledgement, MinerCredentials, MinerFault, MinerGateway, MinerReading, MinerTarget, Obedience, Wait, obeyed,
};
use super::{Gateway, Notice};
use crate::bus::{CommandBus, CommandError};
use crate::context::CommandContext;

/// Orders that are under way at the same time; most of them wait for a miner to boot or to settle.
const ORDERS_AT_ONCE: usize = 10_000;

/// How long and how often miners are told and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLimits {
    /// Tries to dispatch an order to a miner that does not answer.
    pub tries_max: u32,
    /// Pause between them.
    pub try_again_after: Duration,
    /// Pause between the readings that look whether an order is obeyed.
    pub read_every: Duration,
    /// How long an order may stay without effect; without it each sort of order has its own time.
    pub patience: Option<Duration>,
    /// Miners that are spoken to at the same time.
    pub conversations: usize,
}

impl Default for OrderLimits {
    fn default() -> Self {
        Self {
            tries_max: 3,
            try_again_after: Duration::from_secs(10),
            read_every: Duration::from_secs(15),
            patience: None,
            conversations: 64,
        }
    }
}

/// The gateway. Orders to one miner are carried out one after the other, in the order of the log.
pub struct MinerOrders {
    miners: Arc<dyn MinerGateway>,
    credentials: Option<MinerCredentials>,
    limits: OrderLimits,
    conversations: Semaphore,
    queues: Queues,
}

impl MinerOrders {
    /// Orders go to `miners`, which are signed in to with `credentials`.
    pub fn new(miners: Arc<dyn MinerGateway>, credentials: Option<MinerCredentials>, limits: OrderLimits) -> Self {
        let conversations = Semaphore::new(limits.conversations.max(1));
        Self { miners, credentials, limits, conversations, queues: Queues::default() }
    }
}

#[async_trait]
impl Gateway for MinerOrders {
    fn name(&self) -> &'static str {
        "miners"
    }

    fn consumes(&self) -> &'static str {
        MinerCommand::TYPE
    }

    fn at_once(&self) -> usize {
        ORDERS_AT_ONCE
    }

    fn begin(&self) {
        self.queues.clear();
    }

    fn notice(&self, event: &Recorded) -> Result<Notice, DecodeError> {
        let Some(decoded) = event.decode::<MinerCommand>()? else { return Ok(Notice::Continues) };
        Ok(match decoded {
            MinerCommandEvent::Requested { miner_id, .. } => {
                self.queues.join(miner_id, &event.aggregate_id);
                Notice::Begins
            }
            MinerCommandEvent::Dispatched { .. } => Notice::Continues,
            MinerCommandEvent::Confirmed { miner_id, .. }
            | MinerCommandEvent::Drifted { miner_id, .. }
            | MinerCommandEvent::Failed { miner_id, .. } => {
                self.queues.leave(miner_id, &event.aggregate_id);
                Notice::Ends
            }
        })
    }

    async fn perform(&self, bus: &CommandBus, id: &str) -> Result<(), String> {
        let Some(work) = Work::of(bus, id).await? else { return Ok(()) };
        self.queues.turn(work.order.miner_id, id).await;
        let (dispatched_at, before) = match work.dispatched_at {
            Some(at) => (at, None),
            None => match self.dispatch(bus, &work).await? {
                Some(before) => (bus.clock().now(), before),
                None => return Ok(()),
            },
        };
        let outcome = self.watch(bus, &work, dispatched_at, before.as_ref()).await;
        work.record(bus, "settled", outcome).await
    }
}

impl MinerOrders {
    /// Gives the order to the miner. Answers what the miner said before (if it did), or nothing when the order failed.
    async fn dispatch(&self, bus: &CommandBus, work: &Work) -> Result<Option<Option<MinerReading>>, String> {
        let before = self.read(work).await.ok();
        let mut tries = 1;
        let given = loop {
            match self.give(work).await {
                Err(fault) if tries < self.limits.tries_max && may_pass(&fault) => tries += 1,
                given => break given,
            }
            tokio::time::sleep(self.limits.try_again_after).await;
        };
        match given {
            Ok(acknowledged) => {
                let seen = before.as_ref().map(|reading| observation(reading, bus.clock().now()));
                let record = MinerCommandCommand::RecordDispatch { acknowledged, tries, before: seen };
                work.record(bus, "dispatched", record).await?;
                Ok(Some(before))
            }
            Err(fault) => {
                work.record(bus, "settled", failure(&fault)).await?;
                Ok(None)
            }
        }
    }

    /// Reads the miner until it obeys or its time is over.
    async fn watch(
        &self,
        bus: &CommandBus,
        work: &Work,
        dispatched_at: DateTime<Utc>,
        before: Option<&MinerReading>,
    ) -> MinerCommandCommand {
        let order = &work.order.order;
        let patience = self.limits.patience.unwrap_or_else(|| order.patience());
        loop {
            let read = self.read(work).await;
            let now = bus.clock().now();
            let wait = Wait { since_dispatch: (now - dispatched_at).to_std().unwrap_or_default(), patience };
            match read {
                Ok(reading) => match obeyed(order, before, &reading, wait) {
                    Obedience::Confirmed => {
                        return MinerCommandCommand::Confirm { observation: observation(&reading, now) };
                    }
                    Obedience::Drifted { why } => {
                        return MinerCommandCommand::RecordDrift { why, observation: observation(&reading, now) };
                    }
                    Obedience::NotYet { .. } => {}
                },
                Err(fault) if wait.since_dispatch >= patience => return failure(&fault),
                // It may be booting.
                Err(_) => {}
            }
            tokio::time::sleep(self.limits.read_every).await;
        }
    }

    async fn give(&self, work: &Work) -> Result<bool, MinerFault> {
        let _conversation = self.conversations.acquire().await;
        let dispatched = self.miners.dispatch(&self.target(work), &work.order.order).await?;
        Ok(dispatched.acknowledgement == Acknowledgement::Given)
    }

    async fn read(&self, work: &Work) -> Result<MinerReading, MinerFault> {
        let _conversation = self.conversations.acquire().await;
        self.miners.read(&self.target(work)).await
    }

    fn target(&self, work: &Work) -> MinerTarget {
        MinerTarget { address: work.order.address, credentials: self.credentials.clone() }
    }
}

/// An order that has not come to an end.
struct Work {
    id: String,
    requested: Recorded,
    order: Underway,
    /// When it went out, in an earlier life of this server.
    dispatched_at: Option<DateTime<Utc>>,
}

impl Work {
    async fn of(bus: &CommandBus, id: &str) -> Result<Option<Self>, String> {
        let stream = bus.log().read_stream(MinerCommand::TYPE, id, 0).await.map_err(|error| error.to_string())?;
        let (state, _) = bus.load::<MinerCommand>(id).await.map_err(|error| error.to_string())?;
        let MinerCommand::Underway(order) = state else { return Ok(None) };
        let Some(requested) = stream.first().cloned() else { return Ok(None) };
        let dispatched_at = stream.get(1).map(|event| event.recorded_at);
        Ok(Some(Self { id: id.to_owned(), requested, order, dispatched_at }))
    }

    async fn record(&self, bus: &CommandBus, purpose: &str, command: MinerCommandCommand) -> Result<(), String> {
        let actor = "gateway:miners".to_owned();
        let context = CommandContext::caused_by(&self.requested, actor, purpose, bus.clock().new_id());
        match bus.execute::<MinerCommand>(&self.id, command, &context.map_err(|error| error.to_string())?).await {
            Ok(_) => Ok(()),
            // Another server has settled it meanwhile.
            Err(CommandError::Refused(refusal)) => {
                tracing::warn!(command = self.id, %refusal, "an outcome came too late");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether another try may find the miner in a better state.
fn may_pass(fault: &MinerFault) -> bool {
    match fault {
        MinerFault::Unreachable { .. } | MinerFault::TimedOut | MinerFault::BadAnswer { .. } => true,
        MinerFault::Unsupported { .. } | MinerFault::Refused { .. } => false,
    }
}

fn failure(fault: &MinerFault) -> MinerCommandCommand {
    let reason = match fault {
        MinerFault::Unreachable { .. } => FailureReason::Unreachable,
        MinerFault::Unsupported { .. } => FailureReason::Unsupported,
        MinerFault::Refused { .. } => FailureReason::Refused,
        MinerFault::TimedOut => FailureReason::TimedOut,
        MinerFault::BadAnswer { .. } => FailureReason::BadAnswer,
    };
    MinerCommandCommand::Fail { reason, why: fault.to_string() }
}

fn observation(reading: &MinerReading, read_at: DateTime<Utc>) -> Observation {
    Observation {
        read_at,
        is_mining: reading.is_mining,
        hashrate_ths: reading.hashrate_ths,
        power_w: reading.power.map(|power| power.power_watts),
        temperature_max_c: reading.temperature_max_celsius,
    }
}

#[cfg(test)]
mod tests;
