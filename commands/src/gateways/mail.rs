//! Mail: asked for by an event with a sealed text, sent over SMTP, or kept in the outbox where no server is configured.

mod smtp;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use data_encoding::BASE64;
use domain::event::{DecodeError, Recorded};
use domain::platform::mail::{Mail, MailCommand, MailEvent, SealedLetter};
use uuid::Uuid;

use super::{Gateway, Notice};
use crate::bus::{CommandBus, CommandError};
use crate::context::CommandContext;

pub use smtp::SmtpServer;

/// A mail in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    /// After this moment it is of no use to anybody.
    pub send_before: Option<DateTime<Utc>>,
}

/// Whoever can hide a text from all but this installation.
pub trait Seal: Send + Sync {
    /// Hides `plain`; it opens in the same context only.
    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8>;
    /// What was sealed in `context`, if it was by this installation.
    fn open(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// The command that asks for mail `id`.
pub fn request(seal: &dyn Seal, id: Uuid, letter: Letter) -> MailCommand {
    let sealed_text = BASE64.encode(&seal.seal(&context_of(&id.to_string()), letter.text.as_bytes()));
    let Letter { to, subject, send_before, .. } = letter;
    MailCommand::Request { letter: SealedLetter { to, subject, sealed_text, send_before } }
}

/// The text of mail `id`, if this installation sealed it.
pub fn text(seal: &dyn Seal, id: &str, letter: &SealedLetter) -> Option<String> {
    let sealed = BASE64.decode(letter.sealed_text.as_bytes()).ok()?;
    String::from_utf8(seal.open(&context_of(id), &sealed)?).ok()
}

fn context_of(id: &str) -> String {
    format!("mail/{id}")
}

/// Why a mail was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MailFault {
    /// Another try may succeed.
    #[error("{0}")]
    MayPass(String),
    /// No other try will.
    #[error("{0}")]
    Refused(String),
}

/// Something that takes mails.
#[async_trait]
pub trait MailServer: Send + Sync + 'static {
    /// Gives a mail away; a server may see the same `id` twice.
    async fn send(&self, id: &str, letter: &Letter) -> Result<(), MailFault>;
}

/// How hard it is tried.
#[derive(Debug, Clone, Copy)]
pub struct MailLimits {
    pub tries_max: u32,
    /// Pause after the first try; each further one is longer by as much.
    pub try_again_after: Duration,
}

/// The gateway.
pub struct MailGateway {
    /// None where none is configured.
    server: Option<Arc<dyn MailServer>>,
    seal: Arc<dyn Seal>,
    limits: MailLimits,
}

impl MailGateway {
    /// Mails go to `server`; without one they stay in the outbox.
    pub fn new(server: Option<Arc<dyn MailServer>>, seal: Arc<dyn Seal>, limits: MailLimits) -> Self {
        Self { server, seal, limits }
    }

    async fn outcome(&self, bus: &CommandBus, id: &str, sealed: &SealedLetter) -> MailCommand {
        let Some(text) = text(self.seal.as_ref(), id, sealed) else {
            return MailCommand::RecordFailure { why: "the text cannot be opened with this server's secret".into() };
        };
        let SealedLetter { to, subject, send_before, .. } = sealed.clone();
        let letter = Letter { to, subject, text, send_before };
        let Some(server) = &self.server else {
            // Never the text: whoever reads the lines could sign in with a code meant for somebody else.
            tracing::info!(mail = id, to = %letter.to, subject = %letter.subject, "no mail server: a mail stays in the outbox");
            return MailCommand::RecordKept;
        };
        match self.send(bus, server.as_ref(), id, &letter).await {
            Ok(()) => MailCommand::RecordSent,
            Err(why) => MailCommand::RecordFailure { why },
        }
    }

    async fn send(&self, bus: &CommandBus, server: &dyn MailServer, id: &str, letter: &Letter) -> Result<(), String> {
        let mut tries = 0;
        loop {
            if letter.send_before.is_some_and(|before| before <= bus.clock().now()) {
                return Err("its time has passed before a mail server took it".to_owned());
            }
            tries += 1;
            match server.send(id, letter).await {
                Ok(()) => return Ok(()),
                Err(MailFault::MayPass(why)) if tries < self.limits.tries_max => {
                    tracing::warn!(mail = id, why, "a mail is sent again later");
                }
                Err(fault) => return Err(fault.to_string()),
            }
            tokio::time::sleep(self.limits.try_again_after.saturating_mul(tries)).await;
        }
    }
}

#[async_trait]
impl Gateway for MailGateway {
    fn name(&self) -> &'static str {
        "mail"
    }

    fn consumes(&self) -> &'static str {
        Mail::TYPE
    }

    fn notice(&self, event: &Recorded) -> Result<Notice, DecodeError> {
        Ok(event.decode::<Mail>()?.map_or(Notice::Continues, |event| match event {
            MailEvent::Requested { .. } => Notice::Begins,
            MailEvent::Sent | MailEvent::Kept | MailEvent::Failed { .. } => Notice::Ends,
        }))
    }

    async fn perform(&self, bus: &CommandBus, id: &str) -> Result<(), String> {
        let (mail, _) = bus.load::<Mail>(id).await.map_err(|error| error.to_string())?;
        let Mail::Waiting(letter) = mail else { return Ok(()) };
        let stream = bus.log().read_stream(Mail::TYPE, id, 0).await.map_err(|error| error.to_string())?;
        let Some(requested) = stream.first() else { return Ok(()) };
        let command = self.outcome(bus, id, &letter).await;
        let context = CommandContext::caused_by(requested, "gateway:mail".to_owned(), "settled", bus.clock().new_id());
        match bus.execute::<Mail>(id, command, &context.map_err(|error| error.to_string())?).await {
            Ok(_) | Err(CommandError::Refused(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
