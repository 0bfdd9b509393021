//! The claim on a username: one stream a name in lower case, so a name has at most one owner in the whole
//! installation. Usernames are not a tenant's, because a sign-in by username names no tenant; the streams belong to
//! the default tenant.
//!
//! A name is taken before the user is registered or renamed, and confirmed by the event that did it. A claim that is
//! never confirmed (the registration was refused, or the server went down in between) lapses.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;
use crate::refusal::{Refusal, RefusalKind};

/// Shortest username, in characters.
pub const CHARS_MIN: usize = 3;
/// Longest username, in characters.
pub const CHARS_MAX: usize = 50;
/// How long a claim waits for its confirmation, in minutes.
pub const LAPSE_MINUTES: i64 = 10;

/// The stream of a username: names that differ in case only are one name.
pub fn claim_id(username: &str) -> String {
    username.to_lowercase()
}

/// Whether `username` can be one: [`CHARS_MIN`] to [`CHARS_MAX`] letters, digits, `_`, `.` or `-`. An `@` is never
/// allowed, so a username cannot be mistaken for an e-mail address.
pub fn is_valid(username: &str) -> bool {
    (CHARS_MIN..=CHARS_MAX).contains(&username.chars().count())
        && username.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsernameEvent {
    Taken { owner: UserId, lapses_at: DateTime<Utc> },
    Confirmed { owner: UserId },
    Released { owner: UserId },
}

event_names!(UsernameEvent {
    Taken => "username.taken" 1,
    Confirmed => "username.confirmed" 1,
    Released => "username.released" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    #[error("the username is taken")]
    Taken,
    #[error("the username does not belong to this user")]
    NotTheirs,
}

impl Refusal for UsernameError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Taken => RefusalKind::AlreadyExists,
            Self::NotTheirs => RefusalKind::IllegalState,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Taken => "username.taken",
            Self::NotTheirs => "username.not_theirs",
        }
    }
}

#[derive(Debug, Clone)]
pub enum UsernameCommand {
    /// Claims the name. Whoever holds it already is refused as well: only the one call that took a name may go on.
    Take { owner: UserId },
    /// Keeps the name for good.
    Confirm { owner: UserId },
    /// Gives the name up.
    Release { owner: UserId },
}

/// Who has the name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Username {
    #[default]
    Free,
    Taken {
        owner: UserId,
        lapses_at: DateTime<Utc>,
    },
    Confirmed {
        owner: UserId,
    },
}

impl Username {
    /// The owner, if the claim was confirmed or still may be.
    pub fn owner(&self) -> Option<UserId> {
        match self {
            Self::Free => None,
            Self::Taken { owner, .. } | Self::Confirmed { owner } => Some(*owner),
        }
    }
}

impl Decider for Username {
    fn decide(&self, command: UsernameCommand, now: DateTime<Utc>) -> Result<Vec<UsernameEvent>, UsernameError> {
        match command {
            UsernameCommand::Take { owner } => match self {
                Self::Taken { lapses_at, .. } if *lapses_at > now => Err(UsernameError::Taken),
                Self::Confirmed { .. } => Err(UsernameError::Taken),
                Self::Free | Self::Taken { .. } => {
                    Ok(vec![UsernameEvent::Taken { owner, lapses_at: now + TimeDelta::minutes(LAPSE_MINUTES) }])
                }
            },
            UsernameCommand::Confirm { owner } => match self {
                Self::Taken { owner: holder, .. } if *holder == owner => Ok(vec![UsernameEvent::Confirmed { owner }]),
                Self::Confirmed { owner: holder } if *holder == owner => Ok(vec![]),
                Self::Free | Self::Taken { .. } | Self::Confirmed { .. } => Err(UsernameError::NotTheirs),
            },
            UsernameCommand::Release { owner } => match self.owner() {
                None => Ok(vec![]),
                Some(holder) if holder == owner => Ok(vec![UsernameEvent::Released { owner }]),
                Some(_) => Err(UsernameError::NotTheirs),
            },
        }
    }
}

impl cqrs_es::Aggregate for Username {
    const TYPE: &'static str = "username";
    type Command = UsernameCommand;
    type Event = UsernameEvent;
    type Error = UsernameError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: UsernameEvent) {
        *self = match event {
            UsernameEvent::Taken { owner, lapses_at } => Self::Taken { owner, lapses_at },
            UsernameEvent::Confirmed { owner } => Self::Confirmed { owner },
            UsernameEvent::Released { .. } => Self::Free,
        };
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }
    fn user(n: u128) -> UserId {
        UserId(Uuid::from_u128(n))
    }
    fn take(n: u128) -> UsernameCommand {
        UsernameCommand::Take { owner: user(n) }
    }
    fn confirm(n: u128) -> UsernameCommand {
        UsernameCommand::Confirm { owner: user(n) }
    }
    fn release(n: u128) -> UsernameCommand {
        UsernameCommand::Release { owner: user(n) }
    }
    fn taken(n: u128) -> UsernameEvent {
        UsernameEvent::Taken { owner: user(n), lapses_at: noon() + TimeDelta::minutes(LAPSE_MINUTES) }
    }
    fn lapsed(n: u128) -> UsernameEvent {
        UsernameEvent::Taken { owner: user(n), lapses_at: noon() }
    }
    fn confirmed(n: u128) -> UsernameEvent {
        UsernameEvent::Confirmed { owner: user(n) }
    }
    fn released(n: u128) -> UsernameEvent {
        UsernameEvent::Released { owner: user(n) }
    }
    fn given(events: Vec<UsernameEvent>) -> cqrs_es::test::AggregateTestExecutor<Username> {
        TestFramework::with(Now(noon())).given(events)
    }

    #[test]
    fn a_free_name_is_taken_by_the_first() {
        given(vec![]).when(take(1)).then_expect_events(vec![taken(1)]);
        given(vec![taken(1)]).when(take(2)).then_expect_error(UsernameError::Taken);
        given(vec![taken(1)]).when(take(1)).then_expect_error(UsernameError::Taken);
        given(vec![taken(1), confirmed(1)]).when(take(2)).then_expect_error(UsernameError::Taken);
    }

    #[test]
    fn a_claim_without_confirmation_lapses() {
        given(vec![lapsed(1)]).when(take(2)).then_expect_events(vec![taken(2)]);
        given(vec![lapsed(1)]).when(confirm(1)).then_expect_events(vec![confirmed(1)]);
        given(vec![lapsed(1), taken(2)]).when(confirm(1)).then_expect_error(UsernameError::NotTheirs);
        given(vec![lapsed(1), confirmed(1)]).when(take(2)).then_expect_error(UsernameError::Taken);
    }

    #[test]
    fn a_claim_is_confirmed_once_and_by_its_owner() {
        given(vec![taken(1)]).when(confirm(1)).then_expect_events(vec![confirmed(1)]);
        given(vec![taken(1), confirmed(1)]).when(confirm(1)).then_expect_events(vec![]);
        given(vec![taken(1)]).when(confirm(2)).then_expect_error(UsernameError::NotTheirs);
        given(vec![]).when(confirm(1)).then_expect_error(UsernameError::NotTheirs);
    }

    #[test]
    fn a_released_name_is_free_again() {
        given(vec![taken(1), confirmed(1)]).when(release(1)).then_expect_events(vec![released(1)]);
        given(vec![taken(1), released(1)]).when(take(2)).then_expect_events(vec![taken(2)]);
        given(vec![taken(1)]).when(release(2)).then_expect_error(UsernameError::NotTheirs);
        given(vec![]).when(release(1)).then_expect_events(vec![]);
    }

    #[test]
    fn names_have_a_shape_and_no_case() {
        assert!(is_valid("bob") && is_valid("john_doe.2-x") && is_valid("猫头鹰"));
        assert!(!is_valid("ab") && !is_valid("a@b.c") && !is_valid("a b c") && !is_valid(&"x".repeat(51)));
        assert_eq!(claim_id("JohnDoe"), claim_id("johndoe"));
    }
}
