//! What a strategy that exists decides, and how it changes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metadata::UserId;
use crate::trading::candle::Symbol;
use crate::trading::config::StrategyConfig;
use crate::trading::order::OrderOutcome;
use crate::trading::quant_strategy::{Capital, CycleInput, QuantStrategyError, QuantStrategyEvent, StrategyDraft};
use crate::trading::runtime::RuntimeState;
use crate::trading::strategy_status::StrategyStatus;
use crate::trading::verdict::{AccountSnapshot, Deliberation, MarketSnapshot, Verdict};

/// A cycle whose order is not answered yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PendingCycle {
    decision_id: Uuid,
    verdict: Verdict,
    market: MarketSnapshot,
}

/// A strategy that exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveStrategy {
    user_id: UserId,
    name: String,
    description: String,
    symbol: Symbol,
    config: StrategyConfig,
    account_id: Option<Uuid>,
    capital: Option<Capital>,
    status: StrategyStatus,
    runtime: RuntimeState,
    cycles: u64,
    pending: Option<PendingCycle>,
}

impl LiveStrategy {
    /// The draft that `event` makes, when it is the first event of a strategy.
    pub(super) fn created(event: &QuantStrategyEvent) -> Option<Self> {
        let QuantStrategyEvent::Created { user_id, name, description, symbol, config, account_id, capital } = event
        else {
            return None;
        };
        Some(Self {
            user_id: *user_id,
            name: name.clone(),
            description: description.clone(),
            symbol: symbol.clone(),
            config: config.clone(),
            account_id: *account_id,
            capital: *capital,
            status: StrategyStatus::Draft,
            runtime: RuntimeState::fresh(config),
            cycles: 0,
            pending: None,
        })
    }

    /// Other rules or another account would leave what is held without an owner.
    pub(super) fn change(&self, draft: StrategyDraft) -> Result<Vec<QuantStrategyEvent>, QuantStrategyError> {
        let change = draft.change(self.config.kind())?;
        let QuantStrategyEvent::Changed { name, description, config, account_id, capital } = &change else {
            return Ok(vec![]);
        };
        let other_rules = *config != self.config || *account_id != self.account_id;
        if other_rules && (self.runtime.holds() || self.pending.is_some()) {
            return Err(QuantStrategyError::ChangeWhileHolding);
        }
        let same = !other_rules && *name == self.name && *description == self.description && *capital == self.capital;
        Ok(if same { vec![] } else { vec![change] })
    }

    pub(super) fn change_status(
        &self,
        to: StrategyStatus,
        connection_error: Option<String>,
    ) -> Result<Vec<QuantStrategyEvent>, QuantStrategyError> {
        if !self.status.may_become(to) {
            return Err(QuantStrategyError::InvalidTransition { from: self.status, to });
        }
        if to == StrategyStatus::Active {
            if self.account_id.is_none() {
                return Err(QuantStrategyError::NoAccount);
            }
            if let Some(reason) = connection_error {
                return Err(QuantStrategyError::AccountNotConnected { reason });
            }
        }
        Ok(vec![QuantStrategyEvent::StatusChanged { from: self.status, to, message: None }])
    }

    pub(super) fn delete(&self) -> Result<Vec<QuantStrategyEvent>, QuantStrategyError> {
        if !matches!(self.status, StrategyStatus::Draft | StrategyStatus::Stopped) {
            return Err(QuantStrategyError::DeleteWhile { status: self.status });
        }
        if self.runtime.holds() || self.pending.is_some() {
            return Err(QuantStrategyError::DeleteWhileHolding);
        }
        Ok(vec![QuantStrategyEvent::Deleted])
    }

    pub(super) fn start_cycle(
        &self,
        input: CycleInput,
        now: DateTime<Utc>,
    ) -> Result<Vec<QuantStrategyEvent>, QuantStrategyError> {
        if !self.status.may_trade() {
            return Err(QuantStrategyError::NotActive { status: self.status });
        }
        if self.pending.is_some() {
            return Err(QuantStrategyError::CycleRunning);
        }
        let account_id = self.account_id.ok_or(QuantStrategyError::NoAccount)?;
        let market = self.config.look(&self.symbol, input.timeframe, &input.candles, now);
        let market = market.ok_or_else(|| QuantStrategyError::NoCandles { symbol: self.symbol.clone() })?;
        let verdict = self.within_capital(self.runtime.judge(&self.config, &market), &input.account);
        let (cycle, decision_id) = (self.cycles.saturating_add(1), input.decision_id);
        let completed = verdict.size.is_none().then(|| QuantStrategyEvent::CycleCompleted {
            cycle,
            decision_id,
            outcome: None,
            runtime_state: self.runtime.after(&self.config, &market, &verdict, None),
        });
        let started = QuantStrategyEvent::CycleStarted {
            cycle,
            decision_id,
            user_id: self.user_id,
            account_id,
            deliberation: Box::new(Deliberation {
                verdict,
                market,
                account: input.account,
                ai_model: format!("quant:{}", self.config.kind().as_str()),
                tokens_used: 0,
                latency_ms: input.latency_ms,
            }),
        };
        Ok([started].into_iter().chain(completed).collect())
    }

    /// A purchase beyond the capital allotted to the strategy is not made.
    fn within_capital(&self, verdict: Verdict, account: &AccountSnapshot) -> Verdict {
        let limit = self.capital.and_then(|capital| capital.limit(account.equity));
        let (Some(limit), Some(wanted)) = (limit, verdict.own_money()) else { return verdict };
        let invested = self.runtime.invested(&self.config);
        if invested.saturating_add(wanted) <= limit {
            return verdict;
        }
        let reasoning = format!(
            "{} Not done: with {invested} invested, {wanted} more is over the allotted {limit}.",
            verdict.reasoning
        );
        Verdict::idle(self.runtime.holds(), verdict.assessment, reasoning)
    }

    pub(super) fn complete_cycle(&self, decision_id: Uuid, outcome: OrderOutcome) -> Vec<QuantStrategyEvent> {
        let Some(pending) = self.pending.as_ref().filter(|pending| pending.decision_id == decision_id) else {
            return vec![];
        };
        let (fill, trouble) = match &outcome {
            OrderOutcome::Filled(fill) => (Some(fill), None),
            OrderOutcome::Refused { reason, lasting } => (None, Some((reason.clone(), *lasting))),
        };
        let runtime_state = self.runtime.after(&self.config, &pending.market, &pending.verdict, fill);
        let status_changed = self.status.after_order(trouble.as_ref().map(|(_, lasting)| *lasting)).map(|to| {
            let message = trouble.map(|(reason, _)| reason);
            QuantStrategyEvent::StatusChanged { from: self.status, to, message }
        });
        let outcome = Some(outcome);
        let completed = QuantStrategyEvent::CycleCompleted { cycle: self.cycles, decision_id, outcome, runtime_state };
        [completed].into_iter().chain(status_changed).collect()
    }

    pub(super) fn apply(&mut self, event: QuantStrategyEvent) {
        match event {
            QuantStrategyEvent::Created { .. } | QuantStrategyEvent::Deleted => {}
            QuantStrategyEvent::Changed { name, description, config, account_id, capital } => {
                if config != self.config {
                    self.runtime = RuntimeState::fresh(&config);
                }
                (self.name, self.description, self.config) = (name, description, config);
                (self.account_id, self.capital) = (account_id, capital);
            }
            QuantStrategyEvent::StatusChanged { to, .. } => self.status = to,
            QuantStrategyEvent::CycleStarted { cycle, decision_id, deliberation, .. } => {
                self.cycles = cycle;
                let Deliberation { verdict, market, .. } = *deliberation;
                self.pending = Some(PendingCycle { decision_id, verdict, market });
            }
            QuantStrategyEvent::CycleCompleted { runtime_state, .. } => {
                self.runtime = runtime_state;
                self.pending = None;
            }
        }
    }
}
