//! Notifications: tells the owner of a device of an alert, on every way that the owner wants.
//!
//! Each way is tried a few times and its outcome recorded. What was recorded is not tried again after a restart; what
//! was under way is, so a receiver may be told twice and can tell by the id of the alert.

mod email;
mod outside;
mod web_push;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use domain::devices::alert::DeviceAlerts;
use domain::devices::alert_type::{AlertLevel, AlertType};
use domain::devices::device::{Device, Known};
use domain::devices::notification::{
    Channel, Message, Notification, NotificationCommand, NotificationEvent, Recipient,
};
use domain::devices::notification_preferences::{NotificationPreferences, NotificationPreferencesCommand};
use domain::event::{DecodeError, Recorded};
use domain::identity::user::{Account, User};
use domain::log::LogError;
use domain::metadata::UserId;
use futures::future::join_all;
use uuid::Uuid;

pub use self::outside::{BadTarget, Outside, PrivateTargets};
pub use self::web_push::{PushTarget, VapidKey};
pub use self::webhook::WebhookTarget;
use super::mail::Seal;
use super::{Gateway, Notice};
use crate::bus::{CommandBus, CommandError};
use crate::context::CommandContext;

/// Longest reason that is recorded, in characters.
const REASON_CHARS_MAX: usize = 200;

/// Whoever can open what users gave sealed.
pub trait Vault: Send + Sync {
    /// The text that was sealed for `context`.
    fn open(&self, context: &str, sealed: &str) -> Option<Vec<u8>>;
}

/// What `Vault` knows the webhook of a user by.
pub fn webhook_context(user: UserId) -> String {
    format!("webhook/{user}")
}

/// What `Vault` knows a browser of a user by.
pub fn push_context(user: UserId, subscription: Uuid) -> String {
    format!("push/{user}/{subscription}")
}

/// The words for what is told.
#[derive(Clone, Copy)]
pub struct Words {
    pub sentence: fn(AlertType, f64) -> String,
    pub level: fn(AlertLevel) -> &'static str,
    /// Subject and text of a mail, from the device's name, the sentence, the level and the time.
    pub mail: fn(&str, &str, &str, DateTime<Utc>) -> (String, String),
}

/// Why something was not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// May pass.
    #[error("{0}")]
    Passing(String),
    /// Another try would not help.
    #[error("{0}")]
    Lasting(String),
    /// The receiver says that it is gone for good.
    #[error("the receiver is gone")]
    Gone,
}

/// Everything that a message is written from.
pub(crate) struct Letter<'a> {
    pub(crate) message: &'a Message,
    pub(crate) device: &'a Known,
    pub(crate) account: &'a Account,
    pub(crate) sentence: String,
    pub(crate) level: &'static str,
    pub(crate) now: DateTime<Utc>,
}

/// The gateway.
pub struct Notifications {
    outside: Outside,
    vault: Arc<dyn Vault>,
    seal: Arc<dyn Seal>,
    words: Words,
    vapid: VapidKey,
    pauses: [Duration; 3],
}

impl Notifications {
    /// Notifications that go out through `outside`; `pauses` are those before the second and every further try.
    pub fn new(
        outside: Outside,
        secrets: &Arc<impl Vault + Seal + 'static>,
        words: Words,
        vapid: VapidKey,
        pauses: [Duration; 3],
    ) -> Self {
        Self { outside, vault: Arc::clone(secrets) as _, seal: Arc::clone(secrets) as _, words, vapid, pauses }
    }

    async fn tell(&self, bus: &CommandBus, cause: &Recorded, message: &Message) -> Result<(), String> {
        let (wants, _) = bus.load::<NotificationPreferences>(&message.user_id.to_string()).await.map_err(text)?;
        let (device, _) = bus.load::<Device>(&message.device_id.to_string()).await.map_err(text)?;
        let (user, _) = bus.load::<User>(&message.user_id.to_string()).await.map_err(text)?;
        let (alerts, _) = bus.load::<DeviceAlerts>(&message.device_id.to_string()).await.map_err(text)?;
        let now = bus.clock().now();
        let is_over = alerts.active(message.alert_type).is_none_or(|active| active.alert_id != message.alert_id);
        let silence = wants.preferences.silence(message.level, now);
        let (Ok(device), User::Registered(account)) = (device.known(), &user) else {
            return self.suppress(bus, cause, "the device or its owner is gone").await;
        };
        if let Some(reason) = silence.or(is_over.then_some("the alert is over")) {
            return self.suppress(bus, cause, reason).await;
        }
        let (sentence, level) =
            ((self.words.sentence)(message.alert_type, message.value), (self.words.level)(message.level));
        let letter = Letter { message, device, account, sentence, level, now };
        let recipients = recipients(&wants, account).into_iter();
        let outcomes = join_all(recipients.map(|to| self.try_recipient(bus, cause, &wants, &letter, to))).await;
        outcomes.into_iter().collect::<Result<(), String>>()?;
        self.record(bus, cause, "complete", NotificationCommand::Complete).await
    }

    async fn suppress(&self, bus: &CommandBus, cause: &Recorded, reason: &str) -> Result<(), String> {
        let suppress = NotificationCommand::Suppress { reason: reason.to_owned() };
        self.record(bus, cause, "suppress", suppress).await
    }

    /// Tells one recipient, unless that was tried before, and records the outcome.
    async fn try_recipient(
        &self,
        bus: &CommandBus,
        cause: &Recorded,
        wants: &NotificationPreferences,
        letter: &Letter<'_>,
        recipient: Recipient,
    ) -> Result<(), String> {
        let (state, _) = bus.load::<Notification>(&cause.aggregate_id).await.map_err(text)?;
        if matches!(&state, Notification::Requested { tried, .. } if tried.contains(&recipient)) {
            return Ok(());
        }
        let (attempts, outcome) = match recipient.channel {
            Channel::Email => (1, email::ask_for(self, bus, cause, letter).await?),
            Channel::Webhook | Channel::WebPush => self.insist(wants, letter, recipient).await,
        };
        let purpose = format!("{:?}/{}", recipient.channel, recipient.subscription_id.unwrap_or_default());
        let command = match outcome {
            Ok(()) => NotificationCommand::Deliver { recipient, attempts },
            Err(fault) => {
                if let (Fault::Gone, Some(subscription_id)) = (&fault, recipient.subscription_id) {
                    self.expire(bus, cause, letter.message.user_id, subscription_id).await?;
                }
                let reason = fault.to_string().chars().take(REASON_CHARS_MAX).collect();
                NotificationCommand::Fail { recipient, attempts, reason }
            }
        };
        self.record(bus, cause, &purpose, command).await
    }

    /// Tries until it works, cannot work, or has been tried often enough.
    async fn insist(
        &self,
        wants: &NotificationPreferences,
        letter: &Letter<'_>,
        recipient: Recipient,
    ) -> (u32, Result<(), Fault>) {
        let mut attempts = 1;
        let mut outcome = self.send(wants, letter, recipient).await;
        for pause in self.pauses {
            if !matches!(outcome, Err(Fault::Passing(_))) {
                break;
            }
            tokio::time::sleep(pause).await;
            attempts += 1;
            outcome = self.send(wants, letter, recipient).await;
        }
        (attempts, outcome)
    }

    async fn send(
        &self,
        wants: &NotificationPreferences,
        letter: &Letter<'_>,
        recipient: Recipient,
    ) -> Result<(), Fault> {
        let user = letter.message.user_id;
        let sealed_by_another =
            || Fault::Lasting("what was sealed cannot be opened with this server's secret".to_owned());
        match (recipient.channel, recipient.subscription_id) {
            (Channel::Webhook, _) => {
                let address = wants.preferences.webhook_address.as_ref().map(|address| &*address.sealed_webhook);
                let sealed = address.ok_or_else(|| Fault::Lasting("there is no webhook any more".to_owned()))?;
                let opened = self.vault.open(&webhook_context(user), sealed).ok_or_else(sealed_by_another)?;
                webhook::send(&self.outside, &opened, letter).await
            }
            (Channel::WebPush, Some(subscription)) => {
                let sealed = wants.subscriptions.get(&subscription).ok_or(Fault::Gone)?;
                let opened = self.vault.open(&push_context(user, subscription), sealed);
                web_push::send(&self.outside, &self.vapid, &opened.ok_or_else(sealed_by_another)?, letter).await
            }
            (Channel::WebPush | Channel::Email, _) => Err(Fault::Lasting("there is no such way".to_owned())),
        }
    }

    async fn expire(
        &self,
        bus: &CommandBus,
        cause: &Recorded,
        user: UserId,
        subscription_id: Uuid,
    ) -> Result<(), String> {
        let context = context(bus, cause, &format!("expire/{subscription_id}"))?;
        let expire = NotificationPreferencesCommand::Expire { subscription_id };
        let expired = bus.execute::<NotificationPreferences>(&user.to_string(), expire, &context).await;
        expired.map(|_| ()).map_err(text)
    }

    async fn record(
        &self,
        bus: &CommandBus,
        cause: &Recorded,
        purpose: &str,
        command: NotificationCommand,
    ) -> Result<(), String> {
        let context = context(bus, cause, purpose)?;
        match bus.execute::<Notification>(&cause.aggregate_id, command, &context).await {
            Ok(_) | Err(CommandError::Refused(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn context(bus: &CommandBus, cause: &Recorded, purpose: &str) -> Result<CommandContext, String> {
    CommandContext::caused_by(cause, "gateway:notifications".to_owned(), purpose, bus.clock().new_id()).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Every way that a user wants.
fn recipients(wants: &NotificationPreferences, account: &Account) -> Vec<Recipient> {
    let preferences = &wants.preferences;
    let on = |wanted: bool, channel| wanted.then_some(Recipient { channel, subscription_id: None });
    let browsers = wants.subscriptions.keys().filter(|_| preferences.web_push);
    let browsers = browsers.map(|id| Recipient { channel: Channel::WebPush, subscription_id: Some(*id) });
    // Nobody is mailed to who has not shown that the address is theirs.
    let mail = on(preferences.email && account.email_verified, Channel::Email);
    on(preferences.webhook, Channel::Webhook).into_iter().chain(mail).chain(browsers).collect()
}

#[async_trait]
impl Gateway for Notifications {
    fn name(&self) -> &'static str {
        "notifications"
    }

    fn consumes(&self) -> &'static str {
        Notification::TYPE
    }

    fn notice(&self, event: &Recorded) -> Result<Notice, DecodeError> {
        Ok(event.decode::<Notification>()?.map_or(Notice::Continues, |event| match event {
            NotificationEvent::Requested(_) => Notice::Begins,
            NotificationEvent::Delivered { .. } | NotificationEvent::Failed { .. } => Notice::Continues,
            NotificationEvent::Suppressed { .. } | NotificationEvent::Completed => Notice::Ends,
        }))
    }

    async fn perform(&self, bus: &CommandBus, id: &str) -> Result<(), String> {
        let stream = bus.log().read_stream(Notification::TYPE, id, 0).await.map_err(|error: LogError| text(error))?;
        let Some(cause) = stream.first() else { return Ok(()) };
        match bus.load::<Notification>(id).await.map_err(text)?.0 {
            Notification::Requested { message, .. } => self.tell(bus, cause, &message).await,
            Notification::Unknown | Notification::Over => Ok(()),
        }
    }
}
