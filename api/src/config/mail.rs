//! How mails are sent.

use std::sync::Arc;
use std::time::Duration;

use commands::gateways::mail::{MailLimits, MailServer, SmtpServer};
use serde::{Deserialize, Serialize};

/// Stands for a server where only the address is looked at.
const ANY_SERVER: &str = "smtp://localhost";

/// The section `[mail]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailSettings {
    /// `smtp://user:password@host:587?tls=required` and the like; mails stay in the outbox when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_url: Option<String>,
    /// Who mails come from.
    pub from: String,
    /// Tries to send a mail that a server does not take.
    pub tries_max: u32,
    /// Pause after the first try; each further one is longer by as much.
    pub try_again_ms: u64,
}

impl Default for MailSettings {
    fn default() -> Self {
        Self { smtp_url: None, from: "Corelog <corelog@localhost>".to_owned(), tries_max: 5, try_again_ms: 5_000 }
    }
}

impl MailSettings {
    /// The server that mails go to, if one is configured.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the settings.
    pub fn server(&self) -> Result<Option<Arc<dyn MailServer>>, String> {
        let Some(url) = &self.smtp_url else { return Ok(None) };
        Ok(Some(Arc::new(SmtpServer::new(url, &self.from)?)))
    }

    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        // It is asked for without a server too: who names one later should not find it wrong then.
        if SmtpServer::new(ANY_SERVER, &self.from).is_err() {
            return Some(("from", "must be an e-mail address, such as Corelog <corelog@example.com>"));
        }
        if self.server().is_err() {
            return Some(("smtp_url", "must be like smtp://user:password@host:587?tls=required"));
        }
        (self.tries_max == 0).then_some(("tries_max", "must be at least 1"))
    }

    /// How hard it is tried.
    pub fn limits(&self) -> MailLimits {
        MailLimits { tries_max: self.tries_max, try_again_after: Duration::from_millis(self.try_again_ms) }
    }
}
