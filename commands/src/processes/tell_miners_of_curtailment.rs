//! Tell miners to stop when a curtailment run starts, and to start when it restores.

use async_trait::async_trait;
use domain::event::Recorded;
use domain::hosting::curtailment_run::target::{TargetOutcome, TargetState};
use domain::hosting::curtailment_run::{CurtailmentRun, CurtailmentRunCommand, CurtailmentRunEvent};
use domain::hosting::miner::Miner;
use domain::hosting::miner_command::request::MinerFacts;
use domain::hosting::miner_command::{MinerCommand, MinerCommandCommand, RunPart, RunStep};
use domain::hosting::miner_order::MinerOrder;
use domain::hosting::model_catalogue;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Process, ProcessError};
use crate::bus::{CommandBus, CommandError};

/// Miners told at the same time: they share the flushes of the log.
const AT_ONCE: usize = 64;

/// The process manager.
pub struct TellMinersOfCurtailment;

#[async_trait]
impl Process for TellMinersOfCurtailment {
    fn name(&self) -> &'static str {
        "tell_miners_of_curtailment"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["curtailment_run"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Some((step, miner_ids)) = event.decode::<CurtailmentRun>()?.and_then(to_tell) else { return Ok(None) };
        let Ok(plan_id) = event.aggregate_id.parse() else { return Ok(None) };
        let part = RunPart { plan_id, step };
        let telling = miner_ids.into_iter().map(|miner_id| self.tell(bus, event, part, miner_id));
        let positions: Vec<u64> = stream::iter(telling).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(positions.into_iter().max())
    }
}

/// The miners that an event calls for telling.
fn to_tell(event: CurtailmentRunEvent) -> Option<(RunStep, Vec<i64>)> {
    match event {
        CurtailmentRunEvent::Started { miner_ids } => Some((RunStep::Curtail, miner_ids)),
        CurtailmentRunEvent::RestoreStarted { miner_ids, .. } => Some((RunStep::Restore, miner_ids)),
        // It drifted and is told again.
        CurtailmentRunEvent::TargetMoved { miner_id, step, state: TargetState::Pending, .. } => {
            Some((step, vec![miner_id]))
        }
        CurtailmentRunEvent::TargetMoved { .. }
        | CurtailmentRunEvent::Planned { .. }
        | CurtailmentRunEvent::Activated { .. }
        | CurtailmentRunEvent::Completed
        | CurtailmentRunEvent::CompletedWithFailures { .. }
        | CurtailmentRunEvent::Cancelled { .. } => None,
    }
}

impl TellMinersOfCurtailment {
    async fn tell(
        &self,
        bus: &CommandBus,
        event: &Recorded,
        part: RunPart,
        miner_id: i64,
    ) -> Result<u64, ProcessError> {
        let order = match part.step {
            RunStep::Curtail => MinerOrder::Shutdown,
            RunStep::Restore => MinerOrder::Start,
        };
        let miner = match facts(bus, miner_id, &order).await {
            Ok(miner) => miner,
            Err(CommandError::Refused(unknown)) => {
                return self.give_up(bus, event, part, miner_id, unknown.to_string()).await;
            }
            Err(error) => return Err(error.into()),
        };
        // Whether it was told to stop is known to the run, so it is told to start in any case.
        let force = part.step == RunStep::Restore;
        let request = MinerCommandCommand::Request { miner, order, requested_by: None, run: Some(part), force };
        let context = self.context(bus, event, &format!("tell/{miner_id}"))?;
        match bus.execute::<MinerCommand>(&bus.clock().new_id().to_string(), request, &context).await {
            Ok(receipt) => Ok(receipt.position),
            Err(CommandError::Refused(refusal)) => self.give_up(bus, event, part, miner_id, refusal.to_string()).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The run learns that this miner cannot be told.
    async fn give_up(
        &self,
        bus: &CommandBus,
        event: &Recorded,
        part: RunPart,
        miner_id: i64,
        why: String,
    ) -> Result<u64, ProcessError> {
        let outcome = TargetOutcome::Failed { why };
        let record = CurtailmentRunCommand::RecordOutcome { miner_id, step: part.step, outcome };
        let context = self.context(bus, event, &format!("give_up/{miner_id}"))?;
        let receipt = bus.execute::<CurtailmentRun>(&event.aggregate_id, record, &context).await?;
        Ok(receipt.position)
    }
}

async fn facts(
    bus: &CommandBus,
    miner_id: i64,
    order: &MinerOrder,
) -> Result<MinerFacts, CommandError<domain::hosting::miner::MinerError>> {
    let (miner, _) = bus.load::<Miner>(&miner_id.to_string()).await?;
    let machine = miner.registered().map_err(CommandError::Refused)?;
    let supported = model_catalogue::by_id(machine.model_id).is_some_and(|model| model.maker.takes(order));
    let (address, hashing) = (machine.ip_address, machine.hashing);
    Ok(MinerFacts { miner_id, address, supported, hashing, held_by_run: None })
}
