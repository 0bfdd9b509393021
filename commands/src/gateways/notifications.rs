//! Notifications: tells the owner of a device of an alert, on every way that the owner wants.
//!
//! Each way is tried a few times and its outcome recorded. What was recorded is not tried again after a restart; what
//! was under way is, so a receiver may be told twice and can tell by the id of the alert.

mod outside;
mod web_push;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use cqrs_es::Aggregate;
use data_encoding::BASE64;
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
use domain::platform::mail::{Mail, MailError};
use futures::future::join_all;
use uuid::Uuid;

pub use self::outside::{BadTarget, Outside, PrivateTargets};
pub use self::web_push::{PushTarget, VapidKey};
pub use self::webhook::WebhookTarget;
use super::mail::{self, Seal};
use super::{Gateway, Notice};
use crate::bus::{CommandBus, CommandError};
use crate::context::CommandContext;

/// Longest reason that is recorded, in characters.
const REASON_CHARS_MAX: usize = 200;

/// The context in which the webhook of a user is sealed.
pub fn webhook_context(user: UserId) -> String {
    format!("webhook/{user}")
}

/// The context in which a browser of a user is sealed.
pub fn push_context(user: UserId, subscription: Uuid) -> String {
    format!("push/{user}/{subscription}")
}

/// The words for what is told.
#[derive(Clone, Copy)]
pub struct Words {
    pub sentence: fn(AlertType, f64) -> String,
    pub level: fn(AlertLevel) -> &'static str,
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

/// What one notification is about, and what asked for it.
struct Work<'a> {
    bus: &'a CommandBus,
    cause: &'a Recorded,
    wants: &'a NotificationPreferences,
    letter: Letter<'a>,
}

/// The gateway.
pub struct Notifications {
    outside: Outside,
    seal: Arc<dyn Seal>,
    words: Words,
    vapid: VapidKey,
    pauses: [Duration; 3],
}

impl Notifications {
    /// Notifications that go out through `outside`; `pauses` are those before the second and every further try.
    pub fn new(outside: Outside, seal: Arc<dyn Seal>, words: Words, vapid: VapidKey, pauses: [Duration; 3]) -> Self {
        Self { outside, seal, words, vapid, pauses }
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
        let work = Work { bus, cause, wants: &wants, letter };
        let recipients = recipients(&wants).into_iter();
        let outcomes = join_all(recipients.map(|recipient| self.try_recipient(&work, recipient))).await;
        outcomes.into_iter().collect::<Result<(), String>>()?;
        self.record(bus, cause, "complete", NotificationCommand::Complete).await
    }

    async fn suppress(&self, bus: &CommandBus, cause: &Recorded, reason: &str) -> Result<(), String> {
        let suppress = NotificationCommand::Suppress { reason: reason.to_owned() };
        self.record(bus, cause, "suppress", suppress).await
    }

    /// Tells one recipient, unless that was tried before, and records the outcome.
    async fn try_recipient(&self, work: &Work<'_>, recipient: Recipient) -> Result<(), String> {
        let Work { bus, cause, letter, .. } = work;
        let (state, _) = bus.load::<Notification>(&cause.aggregate_id).await.map_err(text)?;
        if matches!(&state, Notification::Requested { tried, .. } if tried.contains(&recipient)) {
            return Ok(());
        }
        let (attempts, outcome) = self.insist(work, recipient).await;
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
    async fn insist(&self, work: &Work<'_>, recipient: Recipient) -> (u32, Result<(), Fault>) {
        let mut attempts = 1;
        let mut outcome = self.send(work, recipient).await;
        for pause in self.pauses {
            if !matches!(outcome, Err(Fault::Passing(_))) {
                break;
            }
            tokio::time::sleep(pause).await;
            attempts += 1;
            outcome = self.send(work, recipient).await;
        }
        (attempts, outcome)
    }

    async fn send(&self, work: &Work<'_>, recipient: Recipient) -> Result<(), Fault> {
        let Work { wants, letter, .. } = work;
        let user = letter.message.user_id;
        let sealed_by_another =
            || Fault::Lasting("what was sealed cannot be opened with this server's secret".to_owned());
        match (recipient.channel, recipient.subscription_id) {
            (Channel::Webhook, _) => {
                let address = wants.preferences.webhook_address.as_ref().map(|address| &*address.sealed_webhook);
                let sealed = address.ok_or_else(|| Fault::Lasting("there is no webhook any more".to_owned()))?;
                let opened = self.open(&webhook_context(user), sealed).ok_or_else(sealed_by_another)?;
                webhook::send(&self.outside, &opened, letter).await
            }
            (Channel::WebPush, Some(subscription)) => {
                let sealed = wants.subscriptions.get(&subscription).ok_or(Fault::Gone)?;
                let opened = self.open(&push_context(user, subscription), sealed);
                web_push::send(&self.outside, &self.vapid, &opened.ok_or_else(sealed_by_another)?, letter).await
            }
            (Channel::Email, _) => self.mail(work).await,
            (Channel::WebPush, None) => Err(Fault::Gone),
        }
    }

    /// Hands a mail to whoever sends mails, who tries on by himself.
    async fn mail(&self, work: &Work<'_>) -> Result<(), Fault> {
        let Work { bus, cause, letter, .. } = work;
        let (message, device) = (letter.message, letter.device);
        let name = device.name.replace(char::is_control, " ");
        let text = format!(
            "{}\n\n设备：{name}\n级别：{}\n时间：{}\n",
            letter.sentence,
            letter.level,
            message.triggered_at.to_rfc3339_opts(SecondsFormat::Secs, true)
        );
        let (to, subject) = (letter.account.email.clone(), format!("[{}] {name}：{}", letter.level, letter.sentence));
        let id = Uuid::new_v5(&message.alert_id, b"mail");
        let send_before = Some(letter.now + TimeDelta::hours(24));
        let request = mail::request(self.seal.as_ref(), id, mail::Letter { to, subject, text, send_before });
        let context = context(bus, cause, "mail").map_err(Fault::Passing)?;
        match bus.execute::<Mail>(&id.to_string(), request, &context).await {
            Ok(_) | Err(CommandError::Refused(MailError::AlreadyRequested)) => Ok(()),
            Err(CommandError::Refused(refusal)) => Err(Fault::Lasting(refusal.to_string())),
            Err(error) => Err(Fault::Passing(error.to_string())),
        }
    }

    fn open(&self, context: &str, sealed: &str) -> Option<Vec<u8>> {
        self.seal.open(context, &BASE64.decode(sealed.as_bytes()).ok()?)
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
fn recipients(wants: &NotificationPreferences) -> Vec<Recipient> {
    let preferences = &wants.preferences;
    let on = |wanted: bool, channel| wanted.then_some(Recipient { channel, subscription_id: None });
    let alone = [on(preferences.email, Channel::Email), on(preferences.webhook, Channel::Webhook)];
    let browsers = wants.subscriptions.keys().filter(|_| preferences.web_push);
    let browsers = browsers.map(|id| Recipient { channel: Channel::WebPush, subscription_id: Some(*id) });
    alone.into_iter().flatten().chain(browsers).collect()
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
