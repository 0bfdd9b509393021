//! What a user may spend. One stream a user; every entry carries the balance after it, so the entries can be summed
//! and checked at any position.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::refusal::{Refusal, RefusalKind};

/// Most a user may hold.
pub const BALANCE_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceEvent {
    Credited {
        amount: Decimal,
        balance_after: Decimal,
        /// The redemption that the money comes from.
        redemption_id: Uuid,
        code_id: Uuid,
    },
}

event_names!(BalanceEvent {
    Credited => "balance.credited" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BalanceError {
    #[error("the amount must be above 0")]
    AmountOutOfRange,
    #[error("a balance may not pass {BALANCE_MAX}")]
    TooMuch,
}

impl Refusal for BalanceError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::AmountOutOfRange => RefusalKind::Invalid,
            Self::TooMuch => RefusalKind::LimitExceeded,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::AmountOutOfRange => "balance.amount_out_of_range",
            Self::TooMuch => "balance.too_much",
        }
    }
}

#[derive(Debug, Clone)]
pub enum BalanceCommand {
    /// Adds what a redeemed code is worth.
    Credit { amount: Decimal, redemption_id: Uuid, code_id: Uuid },
}

/// Starts at zero; a user who never received anything has no stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    pub amount: Decimal,
}

impl Decider for Balance {
    fn decide(&self, command: BalanceCommand, _now: DateTime<Utc>) -> Result<Vec<BalanceEvent>, BalanceError> {
        match command {
            BalanceCommand::Credit { amount, redemption_id, code_id } => {
                if amount <= Decimal::ZERO {
                    return Err(BalanceError::AmountOutOfRange);
                }
                let balance_after =
                    self.amount.checked_add(amount).filter(|sum| *sum <= BALANCE_MAX).ok_or(BalanceError::TooMuch)?;
                Ok(vec![BalanceEvent::Credited { amount, balance_after, redemption_id, code_id }])
            }
        }
    }
}

impl cqrs_es::Aggregate for Balance {
    const TYPE: &'static str = "balance";
    type Command = BalanceCommand;
    type Event = BalanceEvent;
    type Error = BalanceError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: BalanceEvent) {
        match event {
            BalanceEvent::Credited { balance_after, .. } => self.amount = balance_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn credit(amount: i64) -> BalanceCommand {
        BalanceCommand::Credit { amount: Decimal::from(amount), redemption_id: Uuid::nil(), code_id: Uuid::nil() }
    }
    fn credited(amount: i64, balance_after: i64) -> BalanceEvent {
        BalanceEvent::Credited {
            amount: Decimal::from(amount),
            balance_after: Decimal::from(balance_after),
            redemption_id: Uuid::nil(),
            code_id: Uuid::nil(),
        }
    }
    fn given(events: Vec<BalanceEvent>) -> cqrs_es::test::AggregateTestExecutor<Balance> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }

    #[test]
    fn credits_add_up() {
        given(vec![]).when(credit(100)).then_expect_events(vec![credited(100, 100)]);
        given(vec![credited(100, 100)]).when(credit(50)).then_expect_events(vec![credited(50, 150)]);
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        given(vec![]).when(credit(0)).then_expect_error(BalanceError::AmountOutOfRange);
        given(vec![credited(1, 1_000_000_000)]).when(credit(1)).then_expect_error(BalanceError::TooMuch);
    }
}
