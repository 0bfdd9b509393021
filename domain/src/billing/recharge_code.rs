//! A recharge code: a secret that is worth money to whoever redeems it first.
//!
//! The stream is named after a keyed hash of the code, so the log keeps codes unique, a redemption needs no look-up,
//! and the code itself is stored nowhere.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;
use crate::plain_text;
use crate::refusal::{Refusal, RefusalKind};

/// Most uses one code may have; it bounds the set of users that the aggregate remembers.
pub const USES_MAX: u32 = 10_000;
/// Longest description, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// Largest worth of one code.
pub const AMOUNT_MAX: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RechargeCodeEvent {
    Issued {
        code_id: Uuid,
        /// The first characters, for display.
        prefix: String,
        amount: Decimal,
        description: Option<String>,
        expires_at: Option<DateTime<Utc>>,
        max_uses: u32,
        issued_by: UserId,
    },
    Redeemed {
        code_id: Uuid,
        redemption_id: Uuid,
        by: UserId,
        amount: Decimal,
        /// Which use of the code this was, from 1.
        use_number: u32,
    },
    Deactivated {
        by: UserId,
    },
}

event_names!(RechargeCodeEvent {
    Issued => "recharge_code.issued" 1,
    Redeemed => "recharge_code.redeemed" 1,
    Deactivated => "recharge_code.deactivated" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RechargeCodeError {
    #[error("there is no such recharge code")]
    NotFound,
    #[error("this recharge code has been issued before")]
    AlreadyIssued,
    #[error("the amount must be above 0, at most {AMOUNT_MAX}, with at most two decimals")]
    AmountOutOfRange,
    #[error("max_uses must be between 1 and {USES_MAX}")]
    UsesOutOfRange,
    #[error("the description must have at most {DESCRIPTION_CHARS_MAX} characters, none of them a control character")]
    DescriptionOutOfRange,
    #[error("the time of expiry has already passed")]
    ExpiryInThePast,
    #[error("the recharge code is used up")]
    UsedUp,
    #[error("the recharge code was redeemed by this user before")]
    RedeemedBefore,
    #[error("the recharge code has expired")]
    Expired,
    #[error("the recharge code is deactivated")]
    Deactivated,
}

impl Refusal for RechargeCodeError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyIssued => RefusalKind::AlreadyExists,
            Self::AmountOutOfRange | Self::UsesOutOfRange | Self::DescriptionOutOfRange | Self::ExpiryInThePast => {
                RefusalKind::Invalid
            }
            Self::UsedUp | Self::RedeemedBefore | Self::Deactivated => RefusalKind::IllegalState,
            Self::Expired => RefusalKind::Expired,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "recharge_code.not_found",
            Self::AlreadyIssued => "recharge_code.already_issued",
            Self::AmountOutOfRange => "recharge_code.amount_out_of_range",
            Self::UsesOutOfRange => "recharge_code.uses_out_of_range",
            Self::DescriptionOutOfRange => "recharge_code.description_out_of_range",
            Self::ExpiryInThePast => "recharge_code.expiry_in_the_past",
            Self::UsedUp => "recharge_code.used_up",
            Self::RedeemedBefore => "recharge_code.redeemed_before",
            Self::Expired => "recharge_code.expired",
            Self::Deactivated => "recharge_code.deactivated",
        }
    }
}

/// What a code is issued for.
#[derive(Debug, Clone)]
pub struct CodeTerms {
    pub amount: Decimal,
    pub description: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub max_uses: u32,
}

impl CodeTerms {
    /// Everything that is wrong with them at `now`.
    pub fn objections(&self, now: DateTime<Utc>) -> Vec<RechargeCodeError> {
        let is_amount =
            self.amount > Decimal::ZERO && self.amount <= AMOUNT_MAX && self.amount.normalize().scale() <= 2;
        let is_description = |text: &str| text.chars().count() <= DESCRIPTION_CHARS_MAX && plain_text::is_line(text);
        let checks = [
            (is_amount, RechargeCodeError::AmountOutOfRange),
            ((1..=USES_MAX).contains(&self.max_uses), RechargeCodeError::UsesOutOfRange),
            (self.expires_at.is_none_or(|at| at > now), RechargeCodeError::ExpiryInThePast),
            (self.description.as_deref().is_none_or(is_description), RechargeCodeError::DescriptionOutOfRange),
        ];
        checks.into_iter().filter_map(|(holds, objection)| (!holds).then_some(objection)).collect()
    }
}

#[derive(Debug, Clone)]
pub enum RechargeCodeCommand {
    /// Brings a fresh code into being.
    Issue { code_id: Uuid, prefix: String, terms: CodeTerms, issued_by: UserId },
    /// Uses the code once for `by`.
    Redeem { redemption_id: Uuid, by: UserId },
    /// Ends the code before its time.
    Deactivate { by: UserId },
}

/// Whether a code exists and what it is still worth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum RechargeCode {
    #[default]
    Unknown,
    Issued {
        code_id: Uuid,
        amount: Decimal,
        expires_at: Option<DateTime<Utc>>,
        max_uses: u32,
        redeemed_by: BTreeSet<UserId>,
        active: bool,
    },
}

impl Decider for RechargeCode {
    fn decide(
        &self,
        command: RechargeCodeCommand,
        now: DateTime<Utc>,
    ) -> Result<Vec<RechargeCodeEvent>, RechargeCodeError> {
        match command {
            RechargeCodeCommand::Issue { code_id, prefix, terms, issued_by } => {
                if *self != Self::Unknown {
                    return Err(RechargeCodeError::AlreadyIssued);
                }
                if let Some(objection) = terms.objections(now).into_iter().next() {
                    return Err(objection);
                }
                let CodeTerms { amount, description, expires_at, max_uses } = terms;
                Ok(vec![RechargeCodeEvent::Issued {
                    code_id,
                    prefix,
                    amount,
                    description,
                    expires_at,
                    max_uses,
                    issued_by,
                }])
            }
            RechargeCodeCommand::Redeem { redemption_id, by } => Ok(vec![self.redeem(redemption_id, by, now)?]),
            RechargeCodeCommand::Deactivate { by } => match self {
                Self::Unknown => Err(RechargeCodeError::NotFound),
                Self::Issued { active: false, .. } => Ok(vec![]),
                Self::Issued { .. } => Ok(vec![RechargeCodeEvent::Deactivated { by }]),
            },
        }
    }
}

impl RechargeCode {
    fn redeem(
        &self,
        redemption_id: Uuid,
        by: UserId,
        now: DateTime<Utc>,
    ) -> Result<RechargeCodeEvent, RechargeCodeError> {
        let Self::Issued { code_id, amount, expires_at, max_uses, redeemed_by, active } = self else {
            return Err(RechargeCodeError::NotFound);
        };
        let use_number = u32::try_from(redeemed_by.len()).unwrap_or(u32::MAX).saturating_add(1);
        if !active {
            Err(RechargeCodeError::Deactivated)
        } else if expires_at.is_some_and(|at| at <= now) {
            Err(RechargeCodeError::Expired)
        } else if redeemed_by.contains(&by) {
            Err(RechargeCodeError::RedeemedBefore)
        } else if use_number > *max_uses {
            Err(RechargeCodeError::UsedUp)
        } else {
            Ok(RechargeCodeEvent::Redeemed { code_id: *code_id, redemption_id, by, amount: *amount, use_number })
        }
    }
}

impl cqrs_es::Aggregate for RechargeCode {
    const TYPE: &'static str = "recharge_code";
    type Command = RechargeCodeCommand;
    type Event = RechargeCodeEvent;
    type Error = RechargeCodeError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: RechargeCodeEvent) {
        match event {
            RechargeCodeEvent::Issued { code_id, amount, expires_at, max_uses, .. } => {
                *self =
                    Self::Issued { code_id, amount, expires_at, max_uses, redeemed_by: BTreeSet::new(), active: true };
            }
            RechargeCodeEvent::Redeemed { by, .. } => {
                if let Self::Issued { redeemed_by, .. } = self {
                    redeemed_by.insert(by);
                }
            }
            RechargeCodeEvent::Deactivated { .. } => {
                if let Self::Issued { active, .. } = self {
                    *active = false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use cqrs_es::test::TestFramework;

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }
    fn user(n: u128) -> UserId {
        UserId(Uuid::from_u128(n))
    }
    fn issue(amount: Decimal, max_uses: u32, expires_at: Option<DateTime<Utc>>) -> RechargeCodeCommand {
        RechargeCodeCommand::Issue {
            code_id: Uuid::from_u128(1),
            prefix: "OWL-ABCD".into(),
            terms: CodeTerms { amount, description: None, expires_at, max_uses },
            issued_by: user(9),
        }
    }
    fn issued(max_uses: u32, expires_at: Option<DateTime<Utc>>) -> RechargeCodeEvent {
        RechargeCodeEvent::Issued {
            code_id: Uuid::from_u128(1),
            prefix: "OWL-ABCD".into(),
            amount: Decimal::from(100),
            description: None,
            expires_at,
            max_uses,
            issued_by: user(9),
        }
    }
    fn redeem(by: u128) -> RechargeCodeCommand {
        RechargeCodeCommand::Redeem { redemption_id: Uuid::from_u128(7), by: user(by) }
    }
    fn redeemed(by: u128, use_number: u32) -> RechargeCodeEvent {
        RechargeCodeEvent::Redeemed {
            code_id: Uuid::from_u128(1),
            redemption_id: Uuid::from_u128(7),
            by: user(by),
            amount: Decimal::from(100),
            use_number,
        }
    }
    fn given(events: Vec<RechargeCodeEvent>) -> cqrs_es::test::AggregateTestExecutor<RechargeCode> {
        TestFramework::with(Now(noon())).given(events)
    }

    #[test]
    fn a_code_is_issued_once() {
        given(vec![]).when(issue(Decimal::from(100), 1, None)).then_expect_events(vec![issued(1, None)]);
        given(vec![issued(1, None)])
            .when(issue(Decimal::from(100), 1, None))
            .then_expect_error(RechargeCodeError::AlreadyIssued);
    }

    #[test]
    fn impossible_codes_are_not_issued() {
        given(vec![]).when(issue(Decimal::ZERO, 1, None)).then_expect_error(RechargeCodeError::AmountOutOfRange);
        given(vec![])
            .when(issue(Decimal::new(1_001, 3), 1, None))
            .then_expect_error(RechargeCodeError::AmountOutOfRange);
        given(vec![]).when(issue(Decimal::ONE, 0, None)).then_expect_error(RechargeCodeError::UsesOutOfRange);
        given(vec![]).when(issue(Decimal::ONE, 1, Some(noon()))).then_expect_error(RechargeCodeError::ExpiryInThePast);
    }

    #[test]
    fn the_first_redemption_wins() {
        given(vec![issued(1, None)]).when(redeem(1)).then_expect_events(vec![redeemed(1, 1)]);
        given(vec![issued(1, None), redeemed(1, 1)]).when(redeem(2)).then_expect_error(RechargeCodeError::UsedUp);
    }

    #[test]
    fn a_user_redeems_a_code_of_many_uses_once() {
        given(vec![issued(2, None), redeemed(1, 1)]).when(redeem(2)).then_expect_events(vec![redeemed(2, 2)]);
        given(vec![issued(2, None), redeemed(1, 1)])
            .when(redeem(1))
            .then_expect_error(RechargeCodeError::RedeemedBefore);
    }

    #[test]
    fn unknown_expired_and_deactivated_codes_are_worth_nothing() {
        given(vec![]).when(redeem(1)).then_expect_error(RechargeCodeError::NotFound);
        let passed = noon() - TimeDelta::seconds(1);
        given(vec![issued(1, Some(passed))]).when(redeem(1)).then_expect_error(RechargeCodeError::Expired);
        given(vec![issued(1, None), RechargeCodeEvent::Deactivated { by: user(9) }])
            .when(redeem(1))
            .then_expect_error(RechargeCodeError::Deactivated);
    }

    #[test]
    fn deactivating_twice_changes_nothing() {
        let deactivated = RechargeCodeEvent::Deactivated { by: user(9) };
        let deactivate = RechargeCodeCommand::Deactivate { by: user(9) };
        given(vec![issued(1, None)]).when(deactivate.clone()).then_expect_events(vec![deactivated.clone()]);
        given(vec![issued(1, None), deactivated]).when(deactivate.clone()).then_expect_events(vec![]);
        given(vec![]).when(deactivate).then_expect_error(RechargeCodeError::NotFound);
    }
}
