//! A mail to the owner: asked for here, sent by the gateway for mail.

use chrono::TimeDelta;
use domain::event::Recorded;
use domain::platform::mail::{Mail, MailError, SUBJECT_CHARS_MAX};
use uuid::Uuid;

use super::{Fault, Letter, Notifications, context};
use crate::bus::{CommandBus, CommandError};
use crate::gateways::mail;

/// An older alert is no news.
const NEWS: TimeDelta = TimeDelta::days(1);

/// Asks for the mail, once.
pub(super) async fn ask_for(
    gateway: &Notifications,
    bus: &CommandBus,
    cause: &Recorded,
    letter: &Letter<'_>,
) -> Result<Result<(), Fault>, String> {
    let message = letter.message;
    let id = Uuid::new_v5(&message.alert_id, b"mail");
    let (subject, text) =
        (gateway.words.mail)(&letter.device.name, &letter.sentence, letter.level, message.triggered_at);
    let letter = mail::Letter {
        to: letter.account.email.clone(),
        subject: subject.chars().filter(|c| !c.is_control()).take(SUBJECT_CHARS_MAX).collect(),
        text,
        send_before: Some(message.triggered_at + NEWS),
    };
    let command = mail::request(gateway.seal.as_ref(), id, letter);
    match bus.execute::<Mail>(&id.to_string(), command, &context(bus, cause, "mail")?).await {
        Ok(_) | Err(CommandError::Refused(MailError::AlreadyRequested)) => Ok(Ok(())),
        Err(CommandError::Refused(refusal)) => Ok(Err(Fault::Lasting(refusal.to_string()))),
        Err(error) => Err(error.to_string()),
    }
}
