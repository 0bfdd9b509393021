//! What a task costs, in all its runs: what the ledger took for it and did not give back.
//!
//! A run that has just ended is settled a moment later. Until then its bill stands in for what the ledger will say, so
//! that nobody who waited for the end is shown too little.

use domain::billing::balance::{Balance, BalanceEvent, Run};
use domain::compute::task::TaskStatus;
use domain::event::{DecodeError, Recorded};
use rust_decimal::Decimal;

use super::Model;
use crate::decimal_text::DecimalText;

/// What the ledger says of a run.
#[derive(Debug)]
pub struct Booking {
    pub(super) run: Run,
    what: Booked,
}

#[derive(Debug)]
enum Booked {
    /// Taken; below zero when it was given back.
    Paid(Decimal),
    /// Nothing more will be taken.
    Settled,
}

/// The entries that change a cost. There are far more of others, which need not be read.
const BOOKINGS: [&str; 3] = ["balance.captured", "balance.refunded", "balance.released"];

impl Booking {
    /// `None` for what changes no cost.
    ///
    /// # Errors
    /// When the stored event cannot be read.
    pub(super) fn read(recorded: &Recorded) -> Result<Option<Self>, DecodeError> {
        if !BOOKINGS.contains(&&*recorded.event_type) {
            return Ok(None);
        }
        Ok(recorded.decode::<Balance>()?.and_then(Self::of))
    }

    fn of(event: BalanceEvent) -> Option<Self> {
        let (run, what) = match event {
            BalanceEvent::Captured(entry) => (entry.run, Booked::Paid(entry.amount)),
            BalanceEvent::Refunded(entry) => (entry.run, Booked::Paid(-entry.amount)),
            BalanceEvent::Released(entry) => (entry.run, Booked::Settled),
            BalanceEvent::Held(_) | BalanceEvent::Credited { .. } | BalanceEvent::Adjusted { .. } => return None,
        };
        Some(Self { run, what })
    }
}

/// The row when a run begins: what was paid until now was for earlier ones.
pub(super) fn begun(row: Model) -> Model {
    let earlier = row.earlier_cost.0 + row.paid.0;
    Model { earlier_cost: earlier.into(), paid: DecimalText::default(), cost: earlier.into(), ..row }
}

/// The row when its run ended and is to cost so much.
pub(super) fn billed(row: Model, cost: Decimal) -> Model {
    Model { cost: (row.earlier_cost.0 + cost).into(), ..row }
}

/// The row with what the ledger says.
pub(super) fn booked(row: Model, booking: &Booking) -> Model {
    if row.lease != i64::from(booking.run.lease) {
        return of_an_earlier_run(row, booking);
    }
    let paid = match booking.what {
        Booked::Paid(amount) => row.paid.0 + amount,
        Booked::Settled => row.paid.0,
    };
    let awaited = row.status != TaskStatus::Running.as_str() && matches!(booking.what, Booked::Paid(_));
    let cost = if awaited { row.cost } else { (row.earlier_cost.0 + paid).into() };
    Model { paid: paid.into(), cost, ..row }
}

/// A run can begin before the one before it is settled.
fn of_an_earlier_run(row: Model, booking: &Booking) -> Model {
    let Booked::Paid(amount) = booking.what else { return row };
    let add = |before: DecimalText| DecimalText(before.0 + amount);
    Model { earlier_cost: add(row.earlier_cost), cost: add(row.cost), ..row }
}
