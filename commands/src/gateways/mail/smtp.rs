//! A mail server that speaks SMTP.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::{Letter, MailFault, MailServer};

/// Longest wait for a server's answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The configured server.
pub struct SmtpServer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpServer {
    /// The server at `url` (`smtp://`, `smtps://`, with user and password where it asks for them); mails come `from`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the URL or the address.
    pub fn new(url: &str, from: &str) -> Result<Self, String> {
        let from = from.parse().map_err(|error| format!("{from} is no address: {error}"))?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|error| error.to_string())?;
        Ok(Self { transport: transport.timeout(Some(PATIENCE)).build(), from })
    }

    fn message(&self, id: &str, letter: &Letter) -> Result<Message, String> {
        let to: Mailbox = letter.to.parse().map_err(|error| format!("no address: {error}"))?;
        let host = self.from.email.domain();
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject.as_str())
            .message_id(Some(format!("<{id}@{host}>")))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|error| error.to_string())
    }
}

#[async_trait]
impl MailServer for SmtpServer {
    async fn send(&self, id: &str, letter: &Letter) -> Result<(), MailFault> {
        let message = self.message(id, letter).map_err(MailFault::Refused)?;
        self.transport.send(message).await.map(|_| ()).map_err(|error| fault(&error))
    }
}

fn fault(error: &Error) -> MailFault {
    // What the server says is part of the sentence; the mail itself is not.
    if error.is_permanent() { MailFault::Refused(error.to_string()) } else { MailFault::MayPass(error.to_string()) }
}
