//! Carry out the decisions of strategies: from the start of a cycle to its end, one step an event.
//!
//! ```text
//! quant_strategy.cycle_started        → the decision is recorded
//! decision.recorded                   → its order, if it asks for one, goes to the account
//! exchange_account.filled or refused  → the decision learns what came of it
//! decision.executed                   → the strategy completes its cycle
//! ```
//! A server that dies in between goes on where it was. No order is given twice: its number is the decision's id, and
//! each command has its cause as its key.

use async_trait::async_trait;
use domain::aggregate::Decider;
use domain::event::Recorded;
use domain::trading::decision::{Decision, DecisionCommand, DecisionEvent};
use domain::trading::exchange_account::{ExchangeAccount, ExchangeAccountCommand, outcome_of};
use domain::trading::quant_strategy::{QuantStrategy, QuantStrategyCommand, QuantStrategyEvent};
use uuid::Uuid;

use super::{Process, ProcessError};
use crate::bus::CommandBus;
use crate::context::CommandContext;

/// The process manager.
pub struct CarryOutDecisionsOfStrategies;

#[async_trait]
impl Process for CarryOutDecisionsOfStrategies {
    fn name(&self) -> &'static str {
        "carry_out_decisions_of_strategies"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["quant_strategy", "decision", "exchange_account"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        if let Some(started) = event.decode::<QuantStrategy>()? {
            self.record(bus, event, started).await
        } else if let Some(decided) = event.decode::<Decision>()? {
            self.order_or_complete(bus, event, decided).await
        } else if let Some(answered) = event.decode::<ExchangeAccount>()? {
            let Some((decision_id, outcome)) = outcome_of(&answered) else { return Ok(None) };
            self.give::<Decision>(bus, event, decision_id, "report", DecisionCommand::Report { outcome }).await
        } else {
            Ok(None)
        }
    }
}

impl CarryOutDecisionsOfStrategies {
    async fn record(
        &self,
        bus: &CommandBus,
        event: &Recorded,
        started: QuantStrategyEvent,
    ) -> Result<Option<u64>, ProcessError> {
        let QuantStrategyEvent::CycleStarted { cycle, decision_id, user_id, account_id, deliberation } = started else {
            return Ok(None);
        };
        let strategy_id = id_of(event)?;
        let record = DecisionCommand::Record { strategy_id, user_id, account_id, cycle, deliberation };
        self.give::<Decision>(bus, event, decision_id, "record", record).await
    }

    async fn order_or_complete(
        &self,
        bus: &CommandBus,
        event: &Recorded,
        decided: DecisionEvent,
    ) -> Result<Option<u64>, ProcessError> {
        let decision_id = id_of(event)?;
        match decided {
            DecisionEvent::Recorded { account_id, deliberation, .. } => {
                let Some(order) = deliberation.order(decision_id) else { return Ok(None) };
                let place = ExchangeAccountCommand::Place(order);
                self.give::<ExchangeAccount>(bus, event, account_id, "place", place).await
            }
            DecisionEvent::Executed { strategy_id, outcome } => {
                let complete = QuantStrategyCommand::CompleteCycle { decision_id, outcome };
                self.give::<QuantStrategy>(bus, event, strategy_id, "complete", complete).await
            }
        }
    }

    async fn give<A: Decider>(
        &self,
        bus: &CommandBus,
        event: &Recorded,
        id: Uuid,
        purpose: &str,
        command: A::Command,
    ) -> Result<Option<u64>, ProcessError> {
        let actor = format!("process:{}", self.name());
        let context = CommandContext::caused_by(event, actor, purpose, bus.clock().new_id())?;
        let receipt = bus.execute::<A>(&id.to_string(), command, &context).await?;
        Ok(Some(receipt.position))
    }
}

fn id_of(event: &Recorded) -> Result<Uuid, ProcessError> {
    event.aggregate_id.parse().map_err(|_| ProcessError::Refused(format!("{} is no id", event.aggregate_id)))
}
