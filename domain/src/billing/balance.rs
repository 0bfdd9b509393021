//! What a user may spend. One stream a user; every entry carries the figures before and after it, so the entries can be
//! summed and checked at any position.
//!
//! Money is credited, held for a run of a task, captured from what is held, released, refunded and adjusted. What is held
//! is still the user's, but cannot be held twice.

mod refusal;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;
use crate::plain_text;

pub use refusal::BalanceError;

/// Most that an adjustment may lead to.
pub const BALANCE_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// Longest reason of an adjustment, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// What an account comes to at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// All of the user's money, held or not.
    pub balance: Decimal,
    /// The part of it that is set aside for runs of tasks.
    pub held: Decimal,
    /// All that was captured and not refunded.
    pub spent: Decimal,
}

impl Figures {
    /// What can still be held.
    pub fn available(&self) -> Decimal {
        self.balance - self.held
    }
}

/// One run of a task, for which money is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub task_id: Uuid,
    /// The number of the lease: a task that is run again holds again.
    pub lease: u32,
}

/// What happened to money held for a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(flatten)]
    pub run: Run,
    pub amount: Decimal,
    pub before: Figures,
    pub after: Figures,
}

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
    /// Set aside for a run.
    Held(Entry),
    /// Taken for use.
    Captured(Entry),
    /// Set free again.
    Released(Entry),
    /// Captured before, given back.
    Refunded(Entry),
    /// Changed by an administrator.
    Adjusted {
        /// Below zero when money was taken.
        amount: Decimal,
        reason: String,
        by: UserId,
        before: Figures,
        after: Figures,
    },
}

event_names!(BalanceEvent {
    Credited => "balance.credited" 1,
    Held => "balance.held" 1,
    Captured => "balance.captured" 1,
    Released => "balance.released" 1,
    Refunded => "balance.refunded" 1,
    Adjusted => "balance.adjusted" 1,
});

/// How far an adjustment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// So much more, or less.
    By(Decimal),
    /// To this balance.
    To(Decimal),
}

#[derive(Debug, Clone)]
pub enum BalanceCommand {
    /// Adds what a redeemed code is worth.
    Credit { amount: Decimal, redemption_id: Uuid, code_id: Uuid },
    /// Corrects the balance, saying why.
    Adjust { adjustment: Adjustment, reason: String, by: UserId },
    /// Sets the estimate of a run aside.
    Hold { run: Run, amount: Decimal },
    /// Takes what the run has cost so far, `cost` in all, and holds on until `cover` is covered in all.
    Meter { run: Run, cost: Decimal, cover: Decimal },
    /// The run is over and costs `cost` in all: takes the rest of that, sets the remainder free.
    Settle { run: Run, cost: Decimal },
    /// The run came to nothing: gives back what was taken and sets the remainder free.
    Refund { run: Run },
}

/// Money held for a run that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenHold {
    #[serde(flatten)]
    pub run: Run,
    pub held: Decimal,
    pub captured: Decimal,
}

/// Starts at zero; a user who never received anything has no stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    #[serde(flatten)]
    pub figures: Figures,
    pub holds: Vec<OpenHold>,
}

impl Decider for Balance {
    fn decide(&self, command: BalanceCommand, _now: DateTime<Utc>) -> Result<Vec<BalanceEvent>, BalanceError> {
        match command {
            BalanceCommand::Credit { amount, redemption_id, code_id } => {
                if amount <= Decimal::ZERO {
                    return Err(BalanceError::AmountOutOfRange);
                }
                // A code that was redeemed is spent: what it is worth is credited, whatever there is already.
                let balance_after = self.figures.balance.checked_add(amount).ok_or(BalanceError::TooMuch)?;
                Ok(vec![BalanceEvent::Credited { amount, balance_after, redemption_id, code_id }])
            }
            BalanceCommand::Adjust { adjustment, reason, by } => self.adjust(adjustment, reason, by),
            BalanceCommand::Hold { run, amount } => self.hold(run, amount),
            BalanceCommand::Meter { run, cost, cover } => self.meter(run, cost, cover),
            BalanceCommand::Settle { run, cost } => Ok(self.settle(run, cost)),
            BalanceCommand::Refund { run } => Ok(self.refund(run)),
        }
    }
}

impl Balance {
    /// What can still be held.
    pub fn available(&self) -> Decimal {
        self.figures.available()
    }

    /// The money held for `run`, while it is not over.
    pub fn hold_of(&self, run: Run) -> Option<&OpenHold> {
        self.holds.iter().find(|hold| hold.run == run)
    }

    fn adjust(&self, adjustment: Adjustment, reason: String, by: UserId) -> Result<Vec<BalanceEvent>, BalanceError> {
        let given = match adjustment {
            Adjustment::By(amount) | Adjustment::To(amount) => amount,
        };
        if given.abs() > BALANCE_MAX || given.normalize().scale() > 2 {
            return Err(BalanceError::AmountOutOfRange);
        }
        if reason.trim().is_empty() || reason.chars().count() > REASON_CHARS_MAX || !plain_text::are_lines(&reason) {
            return Err(BalanceError::ReasonOutOfRange);
        }
        let amount = match adjustment {
            Adjustment::By(amount) => amount,
            Adjustment::To(balance) => balance - self.figures.balance,
        };
        if amount.is_zero() {
            return Ok(vec![]);
        }
        let balance = self.figures.balance.checked_add(amount).ok_or(BalanceError::TooMuch)?;
        if balance > BALANCE_MAX && amount > Decimal::ZERO {
            return Err(BalanceError::TooMuch);
        }
        let after = Figures { balance, ..self.figures };
        if after.available() < Decimal::ZERO {
            return Err(BalanceError::BelowHeld);
        }
        Ok(vec![BalanceEvent::Adjusted { amount, reason, by, before: self.figures, after }])
    }

    fn hold(&self, run: Run, amount: Decimal) -> Result<Vec<BalanceEvent>, BalanceError> {
        if amount <= Decimal::ZERO {
            return Err(BalanceError::AmountOutOfRange);
        }
        if self.hold_of(run).is_some() {
            return Ok(vec![]);
        }
        if self.available() < amount {
            return Err(BalanceError::Insufficient);
        }
        Ok(vec![BalanceEvent::Held(held(run, amount, self.figures))])
    }

    fn meter(&self, run: Run, cost: Decimal, cover: Decimal) -> Result<Vec<BalanceEvent>, BalanceError> {
        // A run that is over holds nothing any more.
        let Some(hold) = self.hold_of(run) else { return Ok(vec![]) };
        let (mut events, mut figures, mut held_for_run) = (Vec::new(), self.figures, hold.held);
        let missing = cover - hold.captured - held_for_run;
        if missing > Decimal::ZERO {
            if figures.available() < missing {
                return Err(BalanceError::Insufficient);
            }
            let entry = held(run, missing, figures);
            (figures, held_for_run) = (entry.after, held_for_run + missing);
            events.push(BalanceEvent::Held(entry));
        }
        let due = (cost - hold.captured).min(held_for_run);
        if due > Decimal::ZERO {
            events.push(BalanceEvent::Captured(captured(run, due, figures)));
        }
        Ok(events)
    }

    fn settle(&self, run: Run, cost: Decimal) -> Vec<BalanceEvent> {
        let Some(hold) = self.hold_of(run) else { return vec![] };
        let (mut events, mut figures) = (Vec::new(), self.figures);
        // A run is stopped before it costs more than is held; what a late clock adds is not charged.
        let due = (cost - hold.captured).clamp(Decimal::ZERO, hold.held);
        if due > Decimal::ZERO {
            let entry = captured(run, due, figures);
            figures = entry.after;
            events.push(BalanceEvent::Captured(entry));
        }
        events.push(BalanceEvent::Released(released(run, hold.held - due, figures)));
        events
    }

    fn refund(&self, run: Run) -> Vec<BalanceEvent> {
        let Some(hold) = self.hold_of(run) else { return vec![] };
        let (mut events, mut figures) = (Vec::new(), self.figures);
        if hold.captured > Decimal::ZERO {
            let after =
                Figures { balance: figures.balance + hold.captured, spent: figures.spent - hold.captured, ..figures };
            events.push(BalanceEvent::Refunded(Entry { run, amount: hold.captured, before: figures, after }));
            figures = after;
        }
        events.push(BalanceEvent::Released(released(run, hold.held, figures)));
        events
    }
}

fn held(run: Run, amount: Decimal, before: Figures) -> Entry {
    Entry { run, amount, before, after: Figures { held: before.held + amount, ..before } }
}

fn captured(run: Run, amount: Decimal, before: Figures) -> Entry {
    let after = Figures { balance: before.balance - amount, held: before.held - amount, spent: before.spent + amount };
    Entry { run, amount, before, after }
}

/// Ends a hold, with whatever is left of it.
fn released(run: Run, amount: Decimal, before: Figures) -> Entry {
    Entry { run, amount, before, after: Figures { held: before.held - amount, ..before } }
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
            BalanceEvent::Credited { balance_after, .. } => self.figures.balance = balance_after,
            BalanceEvent::Adjusted { after, .. } => self.figures = after,
            BalanceEvent::Held(entry) => {
                match self.holds.iter_mut().find(|hold| hold.run == entry.run) {
                    Some(hold) => hold.held += entry.amount,
                    None => self.holds.push(OpenHold { run: entry.run, held: entry.amount, captured: Decimal::ZERO }),
                }
                self.figures = entry.after;
            }
            BalanceEvent::Captured(entry) => {
                if let Some(hold) = self.holds.iter_mut().find(|hold| hold.run == entry.run) {
                    hold.held -= entry.amount;
                    hold.captured += entry.amount;
                }
                self.figures = entry.after;
            }
            BalanceEvent::Refunded(entry) => {
                if let Some(hold) = self.holds.iter_mut().find(|hold| hold.run == entry.run) {
                    hold.captured -= entry.amount;
                }
                self.figures = entry.after;
            }
            BalanceEvent::Released(entry) => {
                self.holds.retain(|hold| hold.run != entry.run);
                self.figures = entry.after;
            }
        }
    }
}

#[cfg(test)]
mod tests;
