//! Report to a curtailment run what became of the orders to its miners.

use async_trait::async_trait;
use domain::event::Recorded;
use domain::hosting::curtailment_run::target::TargetOutcome;
use domain::hosting::curtailment_run::{CurtailmentRun, CurtailmentRunCommand};
use domain::hosting::miner_command::{MinerCommand, MinerCommandEvent, RunPart};

use super::{Process, ProcessError};
use crate::bus::CommandBus;

/// The process manager.
pub struct ReportMinerCommandsToCurtailment;

#[async_trait]
impl Process for ReportMinerCommandsToCurtailment {
    fn name(&self) -> &'static str {
        "report_miner_commands_to_curtailment"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["miner_command"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Some((part, miner_id, outcome)) = event.decode::<MinerCommand>()?.and_then(outcome) else {
            return Ok(None);
        };
        let context = self.context(bus, event, "report")?;
        let record = CurtailmentRunCommand::RecordOutcome { miner_id, step: part.step, outcome };
        let receipt = bus.execute::<CurtailmentRun>(&part.plan_id.to_string(), record, &context).await?;
        Ok(Some(receipt.position))
    }
}

/// What an event says about a target of a run; none for orders that belong to no run.
fn outcome(event: MinerCommandEvent) -> Option<(RunPart, i64, TargetOutcome)> {
    let (run, miner_id, outcome) = match event {
        MinerCommandEvent::Requested { .. } => return None,
        MinerCommandEvent::Dispatched { miner_id, run, .. } => (run, miner_id, TargetOutcome::Dispatched),
        MinerCommandEvent::Confirmed { miner_id, run, .. } => (run, miner_id, TargetOutcome::Confirmed),
        MinerCommandEvent::Drifted { miner_id, run, why, .. } => (run, miner_id, TargetOutcome::Drifted { why }),
        MinerCommandEvent::Failed { miner_id, run, why, .. } => (run, miner_id, TargetOutcome::Failed { why }),
    };
    run.map(|part| (part, miner_id, outcome))
}
