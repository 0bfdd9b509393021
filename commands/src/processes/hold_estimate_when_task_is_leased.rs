//! Hold the estimate when a task is leased; then the task runs, or is declined for want of money.

use async_trait::async_trait;
use domain::billing::balance::{Balance, BalanceCommand, BalanceError, Run};
use domain::compute::task::{Task, TaskCommand, TaskEvent};
use domain::event::Recorded;

use super::{Process, ProcessError};
use crate::bus::{CommandBus, CommandError};

/// The process manager.
pub struct HoldEstimateWhenTaskIsLeased;

#[async_trait]
impl Process for HoldEstimateWhenTaskIsLeased {
    fn name(&self) -> &'static str {
        "hold_estimate_when_task_is_leased"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["task"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Some(TaskEvent::Leased { lease, estimate, moved, .. }) = event.decode::<Task>()? else { return Ok(None) };
        let Ok(task_id) = event.aggregate_id.parse() else { return Ok(None) };
        let hold = BalanceCommand::Hold { run: Run { task_id, lease }, amount: estimate };
        let next =
            match bus.execute::<Balance>(&moved.owner.to_string(), hold, &self.context(bus, event, "hold")?).await {
                Ok(_) => TaskCommand::Start { lease },
                Err(CommandError::Refused(BalanceError::Insufficient)) => TaskCommand::Decline { lease },
                Err(error) => return Err(error.into()),
            };
        match bus.execute::<Task>(&event.aggregate_id, next, &self.context(bus, event, "start")?).await {
            Ok(receipt) => Ok(Some(receipt.position)),
            // It was cancelled or taken back meanwhile: that event sets free what was held.
            Err(CommandError::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
