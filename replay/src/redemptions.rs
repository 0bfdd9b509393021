//! Whether the money of redemptions is credited as it should be: once each, and as much as was redeemed.
//!
//! An audit asks this and an import does not: what was credited has been spent, and a history that tells of a mistake
//! must be restorable all the same.

use std::collections::HashMap;

use domain::billing::balance::{Balance, BalanceEvent};
use domain::billing::recharge_code::{RechargeCode, RechargeCodeEvent};
use domain::event::Recorded;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::continuity::{Check, Finding};

/// What was redeemed so far.
#[derive(Default)]
pub(crate) struct Redemptions {
    redeemed: HashMap<Uuid, Redemption>,
}

struct Redemption {
    amount: Decimal,
    /// Position of its credit.
    credited_at: Option<u64>,
}

impl Redemptions {
    /// What is wrong with the next event.
    pub(crate) fn check(&mut self, event: &Recorded) -> Option<Finding> {
        // What cannot be read is found elsewhere.
        if let Ok(Some(RechargeCodeEvent::Redeemed { redemption_id, amount, .. })) = event.decode::<RechargeCode>() {
            self.redeemed.insert(redemption_id, Redemption { amount, credited_at: None });
        }
        let Ok(Some(BalanceEvent::Credited { redemption_id, amount, .. })) = event.decode::<Balance>() else {
            return None;
        };
        let what = self.credit(redemption_id, amount, event.position)?;
        Some(Finding { check: Check::Redemptions, position: Some(event.position), what })
    }

    fn credit(&mut self, id: Uuid, amount: Decimal, position: u64) -> Option<String> {
        let Some(redemption) = self.redeemed.get_mut(&id) else {
            return Some(format!("{amount} are credited for the redemption {id}, which is not in the log before"));
        };
        if let Some(before) = redemption.credited_at.replace(position) {
            return Some(format!("the redemption {id} is credited again, after position {before}"));
        }
        let redeemed = redemption.amount;
        (amount != redeemed).then(|| format!("{amount} are credited for the redemption {id}, which is of {redeemed}"))
    }
}
