//! Settle the hold when the run of a task ends: use is paid for, a run that came to nothing is refunded.

use async_trait::async_trait;
use domain::billing::balance::{Balance, BalanceCommand, Run};
use domain::compute::task::{Moved, Task, TaskEvent};
use domain::event::Recorded;
use uuid::Uuid;

use super::{Process, ProcessError};
use crate::bus::CommandBus;

/// The process manager.
pub struct SettleHoldWhenRunOfTaskEnds;

#[async_trait]
impl Process for SettleHoldWhenRunOfTaskEnds {
    fn name(&self) -> &'static str {
        "settle_hold_when_run_of_task_ends"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["task"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Ok(task_id) = event.aggregate_id.parse() else { return Ok(None) };
        let Some((moved, command)) = event.decode::<Task>()?.and_then(|event| ended(task_id, event)) else {
            return Ok(None);
        };
        let context = self.context(bus, event, "settle")?;
        let receipt = bus.execute::<Balance>(&moved.owner.to_string(), command, &context).await?;
        Ok(Some(receipt.position))
    }
}

/// What the end of a run means for the money that is held for it; none when no run ends.
fn ended(task_id: Uuid, event: TaskEvent) -> Option<(Moved, BalanceCommand)> {
    let settle = |lease, cost| BalanceCommand::Settle { run: Run { task_id, lease }, cost };
    let refund = |lease| BalanceCommand::Refund { run: Run { task_id, lease } };
    match event {
        TaskEvent::Completed { lease, cost, moved, .. } | TaskEvent::Stopped { lease, cost, moved } => {
            Some((moved, settle(lease, cost)))
        }
        TaskEvent::TimedOut { lease, cost, moved } | TaskEvent::Cancelled { lease, cost, moved, .. } => {
            lease.map(|lease| (moved, settle(lease, cost)))
        }
        TaskEvent::Failed { lease, moved, .. } | TaskEvent::Requeued { lease, moved, .. } => {
            Some((moved, refund(lease)))
        }
        TaskEvent::Submitted { .. }
        | TaskEvent::Leased { .. }
        | TaskEvent::Started { .. }
        | TaskEvent::Progressed { .. }
        | TaskEvent::Retried { .. }
        | TaskEvent::Deleted { .. } => None,
    }
}

#[cfg(test)]
mod tests;
