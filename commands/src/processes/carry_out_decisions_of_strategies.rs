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
        let context = self.context(bus, event, purpose)?;
        let receipt = bus.execute::<A>(&id.to_string(), command, &context).await?;
        Ok(Some(receipt.position))
    }
}

fn id_of(event: &Recorded) -> Result<Uuid, ProcessError> {
    event.aggregate_id.parse().map_err(|_| ProcessError::Refused(format!("{} is no id", event.aggregate_id)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::{DateTime, TimeDelta, Utc};
    use domain::aggregate::Decider;
    use domain::metadata::{Metadata, TenantId, UserId};
    use domain::trading::candle::{Candle, Timeframe};
    use domain::trading::config::StrategyType;
    use domain::trading::exchange_account::{Credentials, Exchange};
    use domain::trading::quant_strategy::{CycleInput, StrategyDraft};
    use domain::trading::strategy_status::StrategyStatus;
    use domain::trading::verdict::AccountSnapshot;
    use rust_decimal::Decimal;
    use serde_json::{Map, json};

    use super::*;
    use crate::clock::Clock;
    use crate::context::CommandContext;
    use crate::log::MemoryLog;

    const ACCOUNT: Uuid = Uuid::from_u128(1);
    const STRATEGY: Uuid = Uuid::from_u128(2);
    const DECISION: Uuid = Uuid::from_u128(3);

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_735_732_800, 0).unwrap()
    }

    async fn give<A: Decider>(bus: &CommandBus, id: Uuid, command: A::Command) {
        let metadata = Metadata::of(TenantId::DEFAULT, "user:1", "bitrun", Uuid::nil());
        bus.execute::<A>(&id.to_string(), command, &CommandContext::new(metadata)).await.unwrap();
    }

    fn settings() -> Map<String, serde_json::Value> {
        json!({ "order_amount": 100, "interval_minutes": 60 }).as_object().unwrap().clone()
    }

    /// A bus with an account of this balance and a strategy that has just decided to buy.
    async fn decided(initial_balance: i64) -> CommandBus {
        let bus = CommandBus::new(Arc::new(MemoryLog::new()), Clock::reading(noon));
        let user_id = UserId(Uuid::from_u128(9));
        let open = ExchangeAccountCommand::Open {
            user_id,
            name: "Paper".into(),
            exchange: Exchange::Paper,
            is_testnet: false,
            credentials: Credentials::default(),
            initial_balance: Some(initial_balance.into()),
        };
        give::<ExchangeAccount>(&bus, ACCOUNT, open).await;
        let draft = StrategyDraft {
            name: "BTC".into(),
            description: String::new(),
            config: settings(),
            account_id: Some(ACCOUNT),
            capital: None,
        };
        let (kind, symbol) = (StrategyType::Dca, "BTC/USDT".to_owned());
        give::<QuantStrategy>(&bus, STRATEGY, QuantStrategyCommand::Create { user_id, symbol, kind, draft }).await;
        let activate = QuantStrategyCommand::ChangeStatus { to: StrategyStatus::Active, connection_error: None };
        give::<QuantStrategy>(&bus, STRATEGY, activate).await;
        give::<QuantStrategy>(&bus, STRATEGY, QuantStrategyCommand::StartCycle(input())).await;
        bus
    }

    fn input() -> CycleInput {
        let price = Decimal::from(100_000);
        let open_time = noon() - TimeDelta::hours(1);
        let candle = Candle { open_time, open: price, high: price, low: price, close: price, volume: Decimal::ONE };
        CycleInput {
            decision_id: DECISION,
            timeframe: Timeframe::OneHour,
            candles: Arc::new([candle]),
            account: AccountSnapshot::default(),
            latency_ms: 0,
        }
    }

    /// Lets the process react to at most `events` events from the beginning of the log on, as after a restart.
    async fn react(bus: &CommandBus, events: usize) {
        for position in 0..events as u64 {
            let page = bus.log().read_all(position, &[], 1).await.unwrap();
            let Some(event) = page.events.first() else { return };
            CarryOutDecisionsOfStrategies.react(bus, event).await.unwrap();
        }
    }

    async fn names(bus: &CommandBus) -> Vec<String> {
        let events = bus.log().read_all(0, &[], 100).await.unwrap().events;
        events.iter().map(|event| event.event_type.to_string()).collect()
    }

    const BEFORE: [&str; 4] = [
        "exchange_account.opened",
        "quant_strategy.created",
        "quant_strategy.status_changed",
        "quant_strategy.cycle_started",
    ];

    #[tokio::test]
    async fn a_cycle_ends_once_wherever_it_was_interrupted() {
        for interrupted_after in 0..10 {
            let bus = decided(10_000).await;
            react(&bus, interrupted_after).await;
            react(&bus, 100).await;
            react(&bus, 100).await;
            let rest =
                ["decision.recorded", "exchange_account.filled", "decision.executed", "quant_strategy.cycle_completed"];
            assert_eq!(names(&bus).await, [&BEFORE[..], &rest[..]].concat(), "interrupted after {interrupted_after}");
        }
    }

    #[tokio::test]
    async fn a_refusal_ends_the_cycle_too() {
        let bus = decided(50).await;
        react(&bus, 100).await;
        let rest = [
            "decision.recorded",
            "exchange_account.order_refused",
            "decision.executed",
            "quant_strategy.cycle_completed",
            "quant_strategy.status_changed",
        ];
        assert_eq!(names(&bus).await, [&BEFORE[..], &rest[..]].concat());
    }

    #[tokio::test]
    async fn an_account_deleted_in_between_ends_the_cycle_and_stops_the_strategy() {
        let bus = decided(10_000).await;
        give::<ExchangeAccount>(&bus, ACCOUNT, ExchangeAccountCommand::Delete).await;
        react(&bus, 100).await;
        assert_eq!(
            names(&bus).await[5..][1..],
            [
                "exchange_account.order_refused",
                "decision.executed",
                "quant_strategy.cycle_completed",
                "quant_strategy.status_changed",
            ]
        );
        let (strategy, _) = bus.load::<QuantStrategy>(&STRATEGY.to_string()).await.unwrap();
        assert!(strategy.decide(QuantStrategyCommand::StartCycle(input()), noon()).is_err());
    }
}
