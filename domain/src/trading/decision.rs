//! What a strategy decided in one cycle, why, on what it was based, and what came of it. One stream a decision.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;
use crate::refusal::{Refusal, RefusalKind};
use crate::trading::order::OrderOutcome;
use crate::trading::verdict::Deliberation;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionEvent {
    Recorded {
        strategy_id: Uuid,
        user_id: UserId,
        account_id: Uuid,
        /// Which cycle of the strategy, from 1.
        cycle: u64,
        deliberation: Box<Deliberation>,
    },
    /// The order it asked for was carried out or refused.
    Executed { strategy_id: Uuid, outcome: OrderOutcome },
}

event_names!(DecisionEvent {
    Recorded => "decision.recorded" 1,
    Executed => "decision.executed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    #[error("Decision not found")]
    NotFound,
    #[error("The decision asks for no order")]
    NoOrder,
}

impl Refusal for DecisionError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::NoOrder => RefusalKind::IllegalState,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "decision.not_found",
            Self::NoOrder => "decision.no_order",
        }
    }
}

#[derive(Debug, Clone)]
pub enum DecisionCommand {
    /// Keeps a decision; a second time changes nothing.
    Record { strategy_id: Uuid, user_id: UserId, account_id: Uuid, cycle: u64, deliberation: Box<Deliberation> },
    /// Keeps what came of its order; a second time changes nothing.
    Report { outcome: OrderOutcome },
}

/// How far a decision has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Decision {
    #[default]
    Unknown,
    Recorded {
        strategy_id: Uuid,
        asks_for_order: bool,
    },
    Executed,
}

impl Decider for Decision {
    fn decide(&self, command: DecisionCommand, _now: DateTime<Utc>) -> Result<Vec<DecisionEvent>, DecisionError> {
        match command {
            DecisionCommand::Record { strategy_id, user_id, account_id, cycle, deliberation } => match self {
                Self::Unknown => {
                    Ok(vec![DecisionEvent::Recorded { strategy_id, user_id, account_id, cycle, deliberation }])
                }
                Self::Recorded { .. } | Self::Executed => Ok(vec![]),
            },
            DecisionCommand::Report { outcome } => match self {
                Self::Unknown => Err(DecisionError::NotFound),
                Self::Recorded { asks_for_order: false, .. } => Err(DecisionError::NoOrder),
                Self::Recorded { strategy_id, .. } => {
                    Ok(vec![DecisionEvent::Executed { strategy_id: *strategy_id, outcome }])
                }
                Self::Executed => Ok(vec![]),
            },
        }
    }
}

impl cqrs_es::Aggregate for Decision {
    const TYPE: &'static str = "decision";
    type Command = DecisionCommand;
    type Event = DecisionEvent;
    type Error = DecisionError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: DecisionEvent) {
        match event {
            DecisionEvent::Recorded { strategy_id, deliberation, .. } => {
                *self = Self::Recorded { strategy_id, asks_for_order: deliberation.verdict.size.is_some() };
            }
            DecisionEvent::Executed { .. } => *self = Self::Executed,
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use rust_decimal::Decimal;

    use super::*;
    use crate::trading::candle::Timeframe;
    use crate::trading::order::OrderSize;
    use crate::trading::verdict::{AccountSnapshot, Action, MarketSnapshot, Verdict};

    fn given(events: Vec<DecisionEvent>) -> cqrs_es::test::AggregateTestExecutor<Decision> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }
    fn deliberation(verdict: Verdict) -> Deliberation {
        Deliberation {
            verdict,
            market: MarketSnapshot {
                symbol: "BTC/USDT:USDT".parse().unwrap(),
                timeframe: Timeframe::OneHour,
                price: 100.into(),
                closed_at: DateTime::UNIX_EPOCH,
                candles: 16,
                rsi: Some((Decimal::new(295, 1), Decimal::new(305, 1))),
            },
            account: AccountSnapshot {
                equity: 10_000.into(),
                available_balance: 10_000.into(),
                margin_used: Decimal::ZERO,
                unrealized_pnl: Decimal::ZERO,
                positions: vec![],
            },
            ai_model: "quant:rsi".into(),
            tokens_used: 0,
            latency_ms: 3,
        }
    }
    fn purchase() -> Deliberation {
        let size = OrderSize::Quote(500.into());
        deliberation(Verdict::order(Action::OpenLong, size, Decimal::ONE, "oversold", "crossed"))
    }
    fn record(deliberation: Deliberation) -> DecisionCommand {
        DecisionCommand::Record {
            strategy_id: Uuid::from_u128(1),
            user_id: UserId(Uuid::from_u128(9)),
            account_id: Uuid::from_u128(2),
            cycle: 1,
            deliberation: Box::new(deliberation),
        }
    }
    fn recorded(deliberation: Deliberation) -> DecisionEvent {
        DecisionEvent::Recorded {
            strategy_id: Uuid::from_u128(1),
            user_id: UserId(Uuid::from_u128(9)),
            account_id: Uuid::from_u128(2),
            cycle: 1,
            deliberation: Box::new(deliberation),
        }
    }
    fn refused() -> OrderOutcome {
        OrderOutcome::Refused { reason: "no money".into(), lasting: false }
    }
    fn executed() -> DecisionEvent {
        DecisionEvent::Executed { strategy_id: Uuid::from_u128(1), outcome: refused() }
    }

    #[test]
    fn a_decision_is_recorded_once() {
        given(vec![]).when(record(purchase())).then_expect_events(vec![recorded(purchase())]);
        given(vec![recorded(purchase())]).when(record(purchase())).then_expect_events(vec![]);
    }

    #[test]
    fn its_outcome_is_reported_once() {
        let report = DecisionCommand::Report { outcome: refused() };
        given(vec![recorded(purchase())]).when(report.clone()).then_expect_events(vec![executed()]);
        given(vec![recorded(purchase()), executed()]).when(report.clone()).then_expect_events(vec![]);
        given(vec![]).when(report.clone()).then_expect_error(DecisionError::NotFound);
        let idle = recorded(deliberation(Verdict::idle(false, "neutral", "no line crossed")));
        given(vec![idle]).when(report).then_expect_error(DecisionError::NoOrder);
    }

    #[test]
    fn the_stored_form_reads_back_as_it_was() {
        for event in [recorded(purchase()), executed()] {
            let stored = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<DecisionEvent>(&stored).unwrap(), event);
        }
    }
}
