//! A strategy that follows fixed rules. One cycle: it weighs the market and says what to do (`CycleStarted`); once
//! the order, if there was one, is answered, the cycle is over (`CycleCompleted`). There is one cycle at a time, and
//! only in a state that allows it, so a stopped strategy decides nothing and no decision is made twice.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;
use crate::trading::candle::{Candle, Symbol, Timeframe};
use crate::trading::config::{StrategyConfig, StrategyType};
use crate::trading::order::OrderOutcome;
use crate::trading::runtime::RuntimeState;
use crate::trading::strategy_status::StrategyStatus;
use crate::trading::verdict::{AccountSnapshot, Deliberation};

mod draft;
mod error;
mod live;

pub use draft::{Capital, StrategyDraft};
pub use error::QuantStrategyError;
pub use live::LiveStrategy;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuantStrategyEvent {
    Created {
        user_id: UserId,
        name: String,
        description: String,
        symbol: Symbol,
        config: StrategyConfig,
        account_id: Option<Uuid>,
        capital: Option<Capital>,
    },
    /// The settings as they are from now on.
    Changed {
        name: String,
        description: String,
        config: StrategyConfig,
        account_id: Option<Uuid>,
        capital: Option<Capital>,
    },
    StatusChanged {
        from: StrategyStatus,
        to: StrategyStatus,
        /// Why, when it is a warning or an error.
        message: Option<String>,
    },
    Deleted,
    CycleStarted {
        /// From 1.
        cycle: u64,
        decision_id: Uuid,
        user_id: UserId,
        account_id: Uuid,
        deliberation: Box<Deliberation>,
    },
    CycleCompleted {
        cycle: u64,
        decision_id: Uuid,
        /// `None` when there was nothing to order.
        outcome: Option<OrderOutcome>,
        runtime_state: RuntimeState,
    },
}

event_names!(QuantStrategyEvent {
    Created => "quant_strategy.created" 1,
    Changed => "quant_strategy.changed" 1,
    StatusChanged => "quant_strategy.status_changed" 1,
    Deleted => "quant_strategy.deleted" 1,
    CycleStarted => "quant_strategy.cycle_started" 1,
    CycleCompleted => "quant_strategy.cycle_completed" 1,
});

/// What a strategy sees in one cycle.
#[derive(Debug, Clone)]
pub struct CycleInput {
    pub decision_id: Uuid,
    pub timeframe: Timeframe,
    /// In order of time; those that are not closed yet are left out of account.
    pub candles: Arc<[Candle]>,
    pub account: AccountSnapshot,
    /// From the trigger until now.
    pub latency_ms: u64,
}

#[derive(Debug, Clone)]
pub enum QuantStrategyCommand {
    /// Keeps a new strategy as a draft.
    Create { user_id: UserId, symbol: String, kind: StrategyType, draft: StrategyDraft },
    /// Replaces its settings.
    Change { draft: StrategyDraft },
    /// Activates, pauses or stops it; `connection_error` says why its account cannot trade.
    ChangeStatus { to: StrategyStatus, connection_error: Option<String> },
    /// Ends it. Its history stays.
    Delete,
    /// Weighs the market and decides.
    StartCycle(CycleInput),
    /// Ends the cycle of this decision with what its order came to; a second time changes nothing.
    CompleteCycle { decision_id: Uuid, outcome: OrderOutcome },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum QuantStrategy {
    #[default]
    Unknown,
    Live(Box<LiveStrategy>),
    Deleted,
}

impl Decider for QuantStrategy {
    fn decide(
        &self,
        command: QuantStrategyCommand,
        now: DateTime<Utc>,
    ) -> Result<Vec<QuantStrategyEvent>, QuantStrategyError> {
        match command {
            QuantStrategyCommand::Create { user_id, symbol, kind, draft } => match self {
                Self::Unknown => Ok(vec![draft.create(user_id, &symbol, kind)?]),
                Self::Live(_) | Self::Deleted => Err(QuantStrategyError::AlreadyCreated),
            },
            QuantStrategyCommand::Change { draft } => self.live()?.change(draft),
            QuantStrategyCommand::ChangeStatus { to, connection_error } => {
                self.live()?.change_status(to, connection_error)
            }
            QuantStrategyCommand::Delete => match self {
                Self::Deleted => Ok(vec![]),
                Self::Unknown | Self::Live(_) => self.live()?.delete(),
            },
            QuantStrategyCommand::StartCycle(input) => self.live()?.start_cycle(input, now),
            QuantStrategyCommand::CompleteCycle { decision_id, outcome } => {
                Ok(self.live()?.complete_cycle(decision_id, outcome))
            }
        }
    }
}

impl QuantStrategy {
    fn live(&self) -> Result<&LiveStrategy, QuantStrategyError> {
        match self {
            Self::Live(live) => Ok(live),
            Self::Unknown | Self::Deleted => Err(QuantStrategyError::NotFound),
        }
    }
}

impl cqrs_es::Aggregate for QuantStrategy {
    const TYPE: &'static str = "quant_strategy";
    type Command = QuantStrategyCommand;
    type Event = QuantStrategyEvent;
    type Error = QuantStrategyError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: QuantStrategyEvent) {
        if let Some(draft) = LiveStrategy::created(&event) {
            *self = Self::Live(Box::new(draft));
        } else if event == QuantStrategyEvent::Deleted {
            *self = Self::Deleted;
        } else if let Self::Live(live) = self {
            live.apply(event);
        }
    }
}

#[cfg(test)]
mod tests;
