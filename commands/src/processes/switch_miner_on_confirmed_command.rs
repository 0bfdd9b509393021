//! Switch a miner to running or stopped when an order to start or stop is confirmed.

use async_trait::async_trait;
use domain::event::Recorded;
use domain::hosting::miner::{Miner, MinerCommand as SwitchCommand};
use domain::hosting::miner_command::{MinerCommand, MinerCommandEvent};
use domain::hosting::miner_order::MinerOrder;

use super::{Process, ProcessError};
use crate::bus::CommandBus;

/// The process manager.
pub struct SwitchMinerOnConfirmedCommand;

#[async_trait]
impl Process for SwitchMinerOnConfirmedCommand {
    fn name(&self) -> &'static str {
        "switch_miner_on_confirmed_command"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["miner_command"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Some((miner_id, hashing)) = event.decode::<MinerCommand>()?.and_then(switched) else { return Ok(None) };
        let Ok(command_id) = event.aggregate_id.parse() else { return Ok(None) };
        let context = self.context(bus, event, "switch")?;
        let record = SwitchCommand::RecordPower { hashing, command_id };
        let receipt = bus.execute::<Miner>(&miner_id.to_string(), record, &context).await?;
        Ok(Some(receipt.position))
    }
}

/// The miner and whether it hashes now; none when the event does not tell.
fn switched(event: MinerCommandEvent) -> Option<(i64, bool)> {
    match event {
        MinerCommandEvent::Confirmed { miner_id, order, .. } => match order {
            MinerOrder::Start => Some((miner_id, true)),
            MinerOrder::Shutdown => Some((miner_id, false)),
            // A miner that boots or changes its pools is between two states when it is read.
            MinerOrder::Restart | MinerOrder::SetPool { .. } | MinerOrder::SetFan { .. } => None,
        },
        MinerCommandEvent::Requested { .. }
        | MinerCommandEvent::Dispatched { .. }
        | MinerCommandEvent::Drifted { .. }
        | MinerCommandEvent::Failed { .. } => None,
    }
}
