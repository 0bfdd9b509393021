//! A mail: asked for by somebody's command, sent by a gateway, or kept where no mail server is configured.
//!
//! The text is sealed before it comes here, because it may hold a code that lets somebody in.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::refusal::{Refusal, RefusalKind};

/// Longest subject, in characters.
pub const SUBJECT_CHARS_MAX: usize = 200;
/// Largest sealed text, in bytes.
pub const SEALED_BYTES_MAX: usize = 128 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailEvent {
    Requested {
        to: String,
        subject: String,
        /// The text, sealed by the installation's secret.
        sealed_text: String,
        /// After this moment the mail is of no use to anybody.
        send_before: Option<DateTime<Utc>>,
    },
    /// A mail server has taken it.
    Sent,
    /// No mail server is configured: it stays for administrators to read.
    Kept,
    Failed {
        why: String,
    },
}

event_names!(MailEvent {
    Requested => "mail.requested" 1,
    Sent => "mail.sent" 1,
    Kept => "mail.kept" 1,
    Failed => "mail.failed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    #[error("there is no such mail")]
    NotFound,
    #[error("this mail was requested before")]
    AlreadyRequested,
    #[error("a mail has an address, and a subject of 1 to {SUBJECT_CHARS_MAX} printable characters")]
    Unaddressed,
    #[error("the text of a mail is too long")]
    TooLong,
}

impl Refusal for MailError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyRequested => RefusalKind::AlreadyExists,
            Self::Unaddressed | Self::TooLong => RefusalKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "mail.not_found",
            Self::AlreadyRequested => "mail.already_requested",
            Self::Unaddressed => "mail.unaddressed",
            Self::TooLong => "mail.too_long",
        }
    }
}

#[derive(Debug, Clone)]
pub enum MailCommand {
    /// Asks for a mail.
    Request { letter: SealedLetter },
    /// A mail server has taken it.
    RecordSent,
    /// There is no mail server to take it.
    RecordKept,
    /// No mail server takes it.
    RecordFailure { why: String },
}

/// A mail whose text only this installation can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedLetter {
    pub to: String,
    pub subject: String,
    pub sealed_text: String,
    pub send_before: Option<DateTime<Utc>>,
}

/// What became of a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mail {
    #[default]
    Unknown,
    Waiting(SealedLetter),
    Kept(SealedLetter),
    Settled,
}

impl Mail {
    fn outcome(&self, event: MailEvent) -> Result<Vec<MailEvent>, MailError> {
        match self {
            Self::Unknown => Err(MailError::NotFound),
            Self::Waiting(_) => Ok(vec![event]),
            // Whoever was faster has said it.
            Self::Kept(_) | Self::Settled => Ok(vec![]),
        }
    }
}

impl Decider for Mail {
    const SECRET_FIELDS: &'static [&'static str] = &["sealed_text"];

    fn decide(&self, command: MailCommand, _: DateTime<Utc>) -> Result<Vec<MailEvent>, MailError> {
        match command {
            MailCommand::Request { letter } => {
                if *self != Self::Unknown {
                    return Err(MailError::AlreadyRequested);
                }
                check(&letter)?;
                let SealedLetter { to, subject, sealed_text, send_before } = letter;
                Ok(vec![MailEvent::Requested { to, subject, sealed_text, send_before }])
            }
            MailCommand::RecordSent => self.outcome(MailEvent::Sent),
            MailCommand::RecordKept => self.outcome(MailEvent::Kept),
            MailCommand::RecordFailure { why } => self.outcome(MailEvent::Failed { why }),
        }
    }
}

/// A line break in an address or a subject would be a header of its own.
fn check(letter: &SealedLetter) -> Result<(), MailError> {
    let is_line = |text: &str| !text.trim().is_empty() && !text.contains(char::is_control);
    let is_subject = is_line(&letter.subject) && letter.subject.chars().count() <= SUBJECT_CHARS_MAX;
    if !is_line(&letter.to) || !letter.to.contains('@') || !is_subject {
        Err(MailError::Unaddressed)
    } else if letter.sealed_text.len() > SEALED_BYTES_MAX {
        Err(MailError::TooLong)
    } else {
        Ok(())
    }
}

impl cqrs_es::Aggregate for Mail {
    const TYPE: &'static str = "mail";
    type Command = MailCommand;
    type Event = MailEvent;
    type Error = MailError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: MailEvent) {
        *self = match (std::mem::take(self), event) {
            (_, MailEvent::Requested { to, subject, sealed_text, send_before }) => {
                Self::Waiting(SealedLetter { to, subject, sealed_text, send_before })
            }
            (Self::Waiting(letter), MailEvent::Kept) => Self::Kept(letter),
            (mail, MailEvent::Kept) => mail,
            (_, MailEvent::Sent | MailEvent::Failed { .. }) => Self::Settled,
        };
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::{AggregateTestExecutor, TestFramework};

    use super::*;

    fn letter(to: &str, subject: &str) -> SealedLetter {
        SealedLetter { to: to.into(), subject: subject.into(), sealed_text: "c2VhbGVk".into(), send_before: None }
    }
    fn request(to: &str, subject: &str) -> MailCommand {
        MailCommand::Request { letter: letter(to, subject) }
    }
    fn requested() -> MailEvent {
        MailEvent::Requested {
            to: "ada@example.com".into(),
            subject: "Hello".into(),
            sealed_text: "c2VhbGVk".into(),
            send_before: None,
        }
    }
    fn given(events: Vec<MailEvent>) -> AggregateTestExecutor<Mail> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }

    #[test]
    fn a_mail_is_requested_once() {
        given(vec![]).when(request("ada@example.com", "Hello")).then_expect_events(vec![requested()]);
        given(vec![requested()])
            .when(request("ada@example.com", "Hello"))
            .then_expect_error(MailError::AlreadyRequested);
    }

    #[test]
    fn no_line_break_makes_a_header() {
        for (to, subject) in [
            ("ada@example.com\r\nBcc: eve@example.com", "Hello"),
            ("ada@example.com", "Hello\nBcc: eve@example.com"),
            ("nowhere", "Hello"),
            ("ada@example.com", " "),
            ("ada@example.com", &"x".repeat(201)),
        ] {
            given(vec![]).when(request(to, subject)).then_expect_error(MailError::Unaddressed);
        }
        let long = SealedLetter { sealed_text: "x".repeat(SEALED_BYTES_MAX + 1), ..letter("a@b.c", "x") };
        given(vec![]).when(MailCommand::Request { letter: long }).then_expect_error(MailError::TooLong);
    }

    #[test]
    fn the_first_outcome_counts() {
        given(vec![requested()]).when(MailCommand::RecordSent).then_expect_events(vec![MailEvent::Sent]);
        given(vec![requested()]).when(MailCommand::RecordKept).then_expect_events(vec![MailEvent::Kept]);
        given(vec![requested(), MailEvent::Sent]).when(MailCommand::RecordKept).then_expect_events(vec![]);
        let failure = MailCommand::RecordFailure { why: "550".into() };
        given(vec![requested(), MailEvent::Kept]).when(failure.clone()).then_expect_events(vec![]);
        given(vec![]).when(failure).then_expect_error(MailError::NotFound);
    }
}
