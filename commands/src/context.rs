//! What comes with a command besides the command.

use domain::event::Recorded;
use domain::log::CommandKey;
use domain::metadata::Metadata;
use uuid::Uuid;

/// Who commands, under which key, and against which state.
#[derive(Debug, Clone)]
pub struct CommandContext {
    /// Stored beside every event of the command.
    pub metadata: Metadata,
    /// Set when the sender may repeat the command.
    pub key: Option<CommandKey>,
    /// The sequence that the sender saw (`If-Match`); without it conflicts are retried.
    pub expected_sequence: Option<u64>,
    /// Decide, but append nothing.
    pub dry_run: bool,
}

impl CommandContext {
    /// A command with nothing but its metadata.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata, key: None, expected_sequence: None, dry_run: false }
    }

    /// A command that `event` causes. Its key is the event's id and `purpose`, so that the same event never causes it
    /// twice; `command_id` is fresh.
    ///
    /// # Errors
    /// When the event's metadata cannot be read.
    pub fn caused_by(
        event: &Recorded,
        actor: String,
        purpose: &str,
        command_id: Uuid,
    ) -> Result<Self, domain::event::DecodeError> {
        let cause = event.metadata()?;
        let surface = actor.split(':').next().unwrap_or("process").to_owned();
        let metadata = Metadata {
            actor: actor.into(),
            surface: surface.into(),
            command_id,
            causation_id: Some(event.event_id),
            remote_addr: None,
            ..cause
        };
        let key = CommandKey { key: format!("event:{}/{purpose}", event.event_id), fingerprint: Vec::new() };
        Ok(Self { key: Some(key), ..Self::new(metadata) })
    }
}
