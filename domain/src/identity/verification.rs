//! A code that was mailed to an address, to prove that whoever shows it reads mail there.
//!
//! The stream is named after the purpose and the user of the address. Codes are short, so they are kept as keyed
//! hashes, live for minutes, and allow few tries. Verifying a code shows that it is right and may be done once; using it
//! is what the code was asked for, and may be done once as well.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::identity::user::user_id;
use crate::refusal::{Refusal, RefusalKind};

/// How long a code is good, in minutes.
pub const LIFE_MINUTES: i64 = 10;
/// Wrong codes that end the right one.
pub const TRIES_MAX: u32 = 5;
/// Pause between two codes for one address, in seconds.
pub const COOLDOWN_SECONDS: i64 = 60;

/// What a code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Becoming a user.
    Registration,
    /// Setting another password.
    PasswordReset,
}

impl Purpose {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::PasswordReset => "password_reset",
        }
    }
}

/// The stream of the codes for an address.
pub fn verification_id(purpose: Purpose, email: &str) -> String {
    format!("{}/{}", purpose.name(), user_id(email))
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerificationEvent {
    /// A mail with a code was asked for. The code before it is worth nothing.
    Issued {
        purpose: Purpose,
        code_hash: String,
        expires_at: DateTime<Utc>,
    },
    Failed {
        /// Wrong codes since the right one was issued, this one included.
        failures: u32,
    },
    Verified,
    Used,
}

event_names!(VerificationEvent {
    Issued => "verification.issued" 1,
    Failed => "verification.failed" 1,
    Verified => "verification.verified" 1,
    Used => "verification.used" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerificationError {
    #[error("the next code may be sent in {seconds} seconds")]
    TooSoon { seconds: i64 },
    #[error("there is no such code, or no longer")]
    Invalid,
}

impl Refusal for VerificationError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::TooSoon { .. } => RefusalKind::LimitExceeded,
            Self::Invalid => RefusalKind::Expired,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooSoon { .. } => "verification.too_soon",
            Self::Invalid => "verification.invalid",
        }
    }
}

#[derive(Debug, Clone)]
pub enum VerificationCommand {
    /// Makes this the code from now on.
    Issue { purpose: Purpose, code_hash: String },
    /// Shows a code to have it verified. A wrong one is an event, not a refusal: it counts.
    Verify { presented_hash: String },
    /// The same without an effect of a right one.
    Check { presented_hash: String },
    /// Does what the code was asked for.
    Use { presented_hash: String },
}

/// The last code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    #[default]
    Never,
    Issued {
        code_hash: String,
        expires_at: DateTime<Utc>,
        failures: u32,
        verified: bool,
        used: bool,
    },
}

impl Verification {
    fn issue(
        &self,
        purpose: Purpose,
        code_hash: String,
        now: DateTime<Utc>,
    ) -> Result<Vec<VerificationEvent>, VerificationError> {
        if let Self::Issued { expires_at, .. } = self {
            let next = *expires_at - TimeDelta::minutes(LIFE_MINUTES) + TimeDelta::seconds(COOLDOWN_SECONDS);
            if next > now {
                let seconds = (next - now + TimeDelta::milliseconds(999)).num_seconds().max(1);
                return Err(VerificationError::TooSoon { seconds });
            }
        }
        let expires_at = now + TimeDelta::minutes(LIFE_MINUTES);
        Ok(vec![VerificationEvent::Issued { purpose, code_hash, expires_at }])
    }

    /// Judges a code; `right` is what a right one causes.
    fn judge(
        &self,
        presented_hash: &str,
        now: DateTime<Utc>,
        right: Vec<VerificationEvent>,
    ) -> Result<Vec<VerificationEvent>, VerificationError> {
        match self {
            Self::Issued { code_hash, expires_at, failures, used: false, .. }
                if *expires_at > now && *failures < TRIES_MAX =>
            {
                // Keyed hashes: how long it takes to compare them says nothing about the code.
                let wrong = || vec![VerificationEvent::Failed { failures: failures + 1 }];
                Ok(if code_hash == presented_hash { right } else { wrong() })
            }
            Self::Never | Self::Issued { .. } => Err(VerificationError::Invalid),
        }
    }
}

impl Decider for Verification {
    const SECRET_FIELDS: &'static [&'static str] = &["code_hash"];

    fn decide(
        &self,
        command: VerificationCommand,
        now: DateTime<Utc>,
    ) -> Result<Vec<VerificationEvent>, VerificationError> {
        match command {
            VerificationCommand::Issue { purpose, code_hash } => self.issue(purpose, code_hash, now),
            VerificationCommand::Verify { .. } if matches!(self, Self::Issued { verified: true, .. }) => {
                Err(VerificationError::Invalid)
            }
            VerificationCommand::Verify { presented_hash } => {
                self.judge(&presented_hash, now, vec![VerificationEvent::Verified])
            }
            VerificationCommand::Check { presented_hash } => self.judge(&presented_hash, now, vec![]),
            VerificationCommand::Use { presented_hash } => {
                self.judge(&presented_hash, now, vec![VerificationEvent::Used])
            }
        }
    }
}

impl cqrs_es::Aggregate for Verification {
    const TYPE: &'static str = "verification";
    type Command = VerificationCommand;
    type Event = VerificationEvent;
    type Error = VerificationError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: VerificationEvent) {
        match (self, event) {
            (verification, VerificationEvent::Issued { code_hash, expires_at, .. }) => {
                *verification = Self::Issued { code_hash, expires_at, failures: 0, verified: false, used: false };
            }
            (Self::Issued { failures, .. }, VerificationEvent::Failed { failures: counted }) => *failures = counted,
            (Self::Issued { verified, .. }, VerificationEvent::Verified) => *verified = true,
            (Self::Issued { used, .. }, VerificationEvent::Used) => *used = true,
            (Self::Never, VerificationEvent::Failed { .. } | VerificationEvent::Verified | VerificationEvent::Used) => {
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::{AggregateTestExecutor, TestFramework};

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }
    /// Issued so many seconds before noon.
    fn issued(seconds: i64) -> VerificationEvent {
        let expires_at = noon() + TimeDelta::minutes(LIFE_MINUTES) - TimeDelta::seconds(seconds);
        VerificationEvent::Issued { purpose: Purpose::Registration, code_hash: "right".into(), expires_at }
    }
    fn given(events: Vec<VerificationEvent>) -> AggregateTestExecutor<Verification> {
        TestFramework::with(Now(noon())).given(events)
    }
    fn issue() -> VerificationCommand {
        VerificationCommand::Issue { purpose: Purpose::Registration, code_hash: "right".into() }
    }
    fn verify(hash: &str) -> VerificationCommand {
        VerificationCommand::Verify { presented_hash: hash.into() }
    }
    fn check(hash: &str) -> VerificationCommand {
        VerificationCommand::Check { presented_hash: hash.into() }
    }
    fn use_of(hash: &str) -> VerificationCommand {
        VerificationCommand::Use { presented_hash: hash.into() }
    }
    fn failed(failures: u32) -> VerificationEvent {
        VerificationEvent::Failed { failures }
    }

    #[test]
    fn codes_come_a_minute_apart() {
        given(vec![]).when(issue()).then_expect_events(vec![issued(0)]);
        given(vec![issued(18)]).when(issue()).then_expect_error(VerificationError::TooSoon { seconds: 42 });
        given(vec![issued(60)]).when(issue()).then_expect_events(vec![issued(0)]);
    }

    #[test]
    fn a_code_is_verified_once_and_used_once() {
        let (verified, used) = (VerificationEvent::Verified, VerificationEvent::Used);
        given(vec![issued(9)]).when(verify("right")).then_expect_events(vec![verified.clone()]);
        given(vec![issued(9), verified.clone()]).when(verify("right")).then_expect_error(VerificationError::Invalid);
        given(vec![issued(9), verified]).when(use_of("right")).then_expect_events(vec![used.clone()]);
        for again in [use_of("right"), verify("right"), check("right")] {
            given(vec![issued(9), used.clone()]).when(again).then_expect_error(VerificationError::Invalid);
        }
        given(vec![issued(9)]).when(check("right")).then_expect_events(vec![]);
    }

    #[test]
    fn five_wrong_codes_end_the_right_one() {
        for wrong in [verify("wrong"), check("wrong"), use_of("wrong")] {
            given(vec![issued(9), failed(1)]).when(wrong).then_expect_events(vec![failed(2)]);
        }
        given(vec![issued(9), failed(5)]).when(use_of("right")).then_expect_error(VerificationError::Invalid);
        // The next code starts anew.
        given(vec![issued(90), failed(5), issued(9)])
            .when(use_of("right"))
            .then_expect_events(vec![VerificationEvent::Used]);
    }

    #[test]
    fn a_code_is_good_for_ten_minutes() {
        given(vec![issued(599)]).when(use_of("right")).then_expect_events(vec![VerificationEvent::Used]);
        given(vec![issued(600)]).when(use_of("right")).then_expect_error(VerificationError::Invalid);
        given(vec![]).when(use_of("right")).then_expect_error(VerificationError::Invalid);
    }
}
