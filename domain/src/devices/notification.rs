//! The delivery of one alert to the owner of its device: requested once, tried on each channel, every outcome recorded.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;
use crate::refusal::{Refusal, RefusalKind};

use super::alert_type::{AlertLevel, AlertType};

/// A way to tell somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Webhook,
    WebPush,
}

/// Where to: a channel, and which browser of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Recipient {
    pub channel: Channel,
    /// The browser, for web push.
    pub subscription_id: Option<Uuid>,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub alert_id: Uuid,
    pub device_id: Uuid,
    pub rule_id: Uuid,
    pub user_id: UserId,
    pub alert_type: AlertType,
    pub level: AlertLevel,
    pub value: f64,
    pub threshold: f64,
    pub triggered_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationEvent {
    Requested(Message),
    Delivered { recipient: Recipient, attempts: u32 },
    Failed { recipient: Recipient, attempts: u32, reason: String },
    Suppressed { reason: String },
    Completed,
}

event_names!(NotificationEvent {
    Requested => "notification.requested" 1,
    Delivered => "notification.delivered" 1,
    Failed => "notification.failed" 1,
    Suppressed => "notification.suppressed" 1,
    Completed => "notification.completed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    #[error("there is no such notification")]
    NotFound,
}

impl Refusal for NotificationError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "notification.not_found",
        }
    }
}

#[derive(Debug, Clone)]
pub enum NotificationCommand {
    /// Asks for it, once.
    Request(Message),
    /// It went out.
    Deliver { recipient: Recipient, attempts: u32 },
    /// It did not go out and will not.
    Fail { recipient: Recipient, attempts: u32, reason: String },
    /// It is not wanted.
    Suppress { reason: String },
    /// Every way was tried.
    Complete,
}

/// How far it is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Notification {
    #[default]
    Unknown,
    Requested {
        message: Message,
        tried: BTreeSet<Recipient>,
    },
    Over,
}

impl Notification {
    /// The events of an outcome, unless it was recorded before.
    fn outcome(
        &self,
        recipient: Recipient,
        event: NotificationEvent,
    ) -> Result<Vec<NotificationEvent>, NotificationError> {
        match self {
            Self::Unknown => Err(NotificationError::NotFound),
            Self::Requested { tried, .. } if !tried.contains(&recipient) => Ok(vec![event]),
            Self::Requested { .. } | Self::Over => Ok(vec![]),
        }
    }
}

impl Decider for Notification {
    fn decide(
        &self,
        command: NotificationCommand,
        _: DateTime<Utc>,
    ) -> Result<Vec<NotificationEvent>, NotificationError> {
        match (self, command) {
            (Self::Unknown, NotificationCommand::Request(message)) => Ok(vec![NotificationEvent::Requested(message)]),
            (_, NotificationCommand::Request(_))
            | (Self::Over, NotificationCommand::Suppress { .. } | NotificationCommand::Complete) => Ok(vec![]),
            (_, NotificationCommand::Deliver { recipient, attempts }) => {
                self.outcome(recipient, NotificationEvent::Delivered { recipient, attempts })
            }
            (_, NotificationCommand::Fail { recipient, attempts, reason }) => {
                self.outcome(recipient, NotificationEvent::Failed { recipient, attempts, reason })
            }
            (Self::Unknown, NotificationCommand::Suppress { .. } | NotificationCommand::Complete) => {
                Err(NotificationError::NotFound)
            }
            (Self::Requested { .. }, NotificationCommand::Suppress { reason }) => {
                Ok(vec![NotificationEvent::Suppressed { reason }])
            }
            (Self::Requested { .. }, NotificationCommand::Complete) => Ok(vec![NotificationEvent::Completed]),
        }
    }
}

impl cqrs_es::Aggregate for Notification {
    const TYPE: &'static str = "notification";
    type Command = NotificationCommand;
    type Event = NotificationEvent;
    type Error = NotificationError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: NotificationEvent) {
        match event {
            NotificationEvent::Requested(message) => *self = Self::Requested { message, tried: BTreeSet::new() },
            NotificationEvent::Delivered { recipient, .. } | NotificationEvent::Failed { recipient, .. } => {
                if let Self::Requested { tried, .. } = self {
                    tried.insert(recipient);
                }
            }
            NotificationEvent::Suppressed { .. } | NotificationEvent::Completed => *self = Self::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    const MAIL: Recipient = Recipient { channel: Channel::Email, subscription_id: None };

    fn message() -> Message {
        Message {
            alert_id: Uuid::from_u128(1),
            device_id: Uuid::from_u128(2),
            rule_id: Uuid::from_u128(3),
            user_id: UserId(Uuid::from_u128(4)),
            alert_type: AlertType::LowBattery,
            level: AlertLevel::Warning,
            value: 15.0,
            threshold: 20.0,
            triggered_at: DateTime::UNIX_EPOCH,
        }
    }
    fn given(events: Vec<NotificationEvent>) -> cqrs_es::test::AggregateTestExecutor<Notification> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }
    fn requested() -> NotificationEvent {
        NotificationEvent::Requested(message())
    }
    fn delivered() -> NotificationEvent {
        NotificationEvent::Delivered { recipient: MAIL, attempts: 1 }
    }

    #[test]
    fn it_is_asked_for_once() {
        given(vec![]).when(NotificationCommand::Request(message())).then_expect_events(vec![requested()]);
        given(vec![requested()]).when(NotificationCommand::Request(message())).then_expect_events(vec![]);
    }

    #[test]
    fn an_outcome_is_recorded_once() {
        let deliver = NotificationCommand::Deliver { recipient: MAIL, attempts: 1 };
        let fail = NotificationCommand::Fail { recipient: MAIL, attempts: 4, reason: "gone".into() };
        let failed = NotificationEvent::Failed { recipient: MAIL, attempts: 4, reason: "gone".into() };
        given(vec![requested()]).when(deliver.clone()).then_expect_events(vec![delivered()]);
        given(vec![requested()]).when(fail.clone()).then_expect_events(vec![failed]);
        given(vec![requested(), delivered()]).when(fail).then_expect_events(vec![]);
        given(vec![]).when(deliver).then_expect_error(NotificationError::NotFound);
    }

    #[test]
    fn it_ends_once() {
        let complete = NotificationCommand::Complete;
        given(vec![requested()]).when(complete.clone()).then_expect_events(vec![NotificationEvent::Completed]);
        given(vec![requested(), NotificationEvent::Completed]).when(complete.clone()).then_expect_events(vec![]);
        given(vec![]).when(complete).then_expect_error(NotificationError::NotFound);
        let suppress = NotificationCommand::Suppress { reason: "quiet hours".into() };
        let suppressed = NotificationEvent::Suppressed { reason: "quiet hours".into() };
        given(vec![requested()]).when(suppress.clone()).then_expect_events(vec![suppressed.clone()]);
        given(vec![requested(), suppressed]).when(suppress).then_expect_events(vec![]);
    }
}
