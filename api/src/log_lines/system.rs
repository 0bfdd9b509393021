//! The server's own log lines on their way into the table: a layer of `tracing` that hands each on and never waits.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use commands::Clock;
use commands::gateways::log_lines::{Level, LineQueue, NewLine, Source};
use domain::metadata::TenantId;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::request;

/// Stands where a secret was.
const REDACTED: &str = "[redacted]";
/// Fields whose names hold one of these are never kept.
const SECRET_NAMES: [&str; 7] = ["password", "secret", "token", "authorization", "cookie", "api_key", "credential"];
/// What stands before a secret in a text: the rest of the word is one.
const SECRET_BEGINNINGS: [&str; 4] = ["password=", "token=", "secret=", "api_key="];
/// Longest text of one field, in characters.
const FIELD_CHARS_MAX: usize = 2_000;

/// The layer. Until it is connected to a queue, lines go nowhere.
#[derive(Clone, Default)]
pub struct SystemLines(Arc<OnceLock<(LineQueue, Clock)>>);

impl SystemLines {
    /// From now on lines go to `queue`. Only the first queue counts.
    pub fn connect(&self, queue: LineQueue, clock: Clock) {
        let _ = self.0.set((queue, clock));
    }
}

impl<S: Subscriber> Layer<S> for SystemLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some((queue, clock)) = self.0.get() else { return };
        let mut seen = Seen::default();
        event.record(&mut seen);
        let metadata = event.metadata();
        let level = match *metadata.level() {
            tracing::Level::ERROR if seen.critical => Level::Critical,
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            // More than anybody reads in a list.
            _ => return,
        };
        seen.fields.insert("target".to_owned(), Value::from(metadata.target()));
        let line = NewLine::new(clock.now(), TenantId::DEFAULT, Source::System, level, seen.message);
        let (request_id, user) = request::current().map_or((None, None), |(id, user)| (Some(id), user));
        queue.offer(NewLine { fields: seen.fields, request_id, user, ..line });
    }
}

/// What an event says.
#[derive(Default)]
struct Seen {
    message: String,
    fields: Map<String, Value>,
    critical: bool,
}

impl Seen {
    fn keep(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let secret = SECRET_NAMES.iter().any(|word| name.to_ascii_lowercase().contains(word));
        let value = if secret { Value::from(REDACTED) } else { value };
        self.fields.insert(name.to_owned(), value);
    }

    fn keep_text(&mut self, field: &Field, text: &str) {
        let text: String = without_secrets(text).chars().take(FIELD_CHARS_MAX).collect();
        if field.name() == "message" {
            self.message = text;
        } else {
            self.keep(field, Value::from(text));
        }
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.keep_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep_text(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "critical" {
            self.critical = value;
        } else {
            self.keep(field, Value::from(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, Value::from(value));
    }
}

/// `text` without passwords in URLs, bearer tokens and the like.
fn without_secrets(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut after_bearer = false;
    for word in text.split(' ') {
        let shown = if after_bearer { REDACTED.to_owned() } else { without_secret(word) };
        after_bearer = word.eq_ignore_ascii_case("bearer");
        words.push(shown);
    }
    words.join(" ")
}

fn without_secret(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    for beginning in SECRET_BEGINNINGS {
        if let Some(at) = lower.find(beginning) {
            return format!("{}{REDACTED}", &word[..at + beginning.len()]);
        }
    }
    // `postgres://user:password@host`
    match (word.find("://"), word.rfind('@')) {
        (Some(scheme), Some(host)) if scheme < host => match word[scheme + 3..host].find(':') {
            Some(colon) => format!("{}:{REDACTED}{}", &word[..scheme + 3 + colon], &word[host..]),
            None => word.to_owned(),
        },
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_texts_are_blanked() {
        assert_eq!(
            without_secrets("at postgres://me:s3cret@db:5432/x now"),
            "at postgres://me:[redacted]@db:5432/x now"
        );
        assert_eq!(without_secrets("sent Bearer abc.def on"), "sent Bearer [redacted] on");
        assert_eq!(without_secrets("GET /x?token=abc&y=1"), "GET /x?token=[redacted]");
        assert_eq!(without_secrets("nothing @ here: a:b"), "nothing @ here: a:b");
    }
}
