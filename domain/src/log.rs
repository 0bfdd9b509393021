//! The port of the event log: the common ground of every engine. Adapters live in `commands::log`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use crate::event::Recorded;
use crate::metadata::TenantId;

/// Largest payload of one event, in bytes of JSON.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Most events of one append.
pub const APPEND_EVENTS_MAX: usize = 1_000;
/// Most bytes of payload and metadata of one append.
pub const APPEND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest id of an aggregate, in bytes: it stands in an index.
pub const AGGREGATE_ID_BYTES_MAX: usize = 512;
/// Longest key of a command, in bytes: it stands in an index.
pub const KEY_BYTES_MAX: usize = 512;
/// Most events of one page.
pub const PAGE_EVENTS_MAX: usize = 10_000;

/// An event on its way into the log.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// A UUID of version 7.
    pub event_id: Uuid,
    /// Storage name.
    pub event_type: &'static str,
    /// Version of the payload's shape.
    pub event_version: u16,
    /// The event as JSON.
    pub payload: String,
}

/// The key under which a command may be repeated: kept for good, per tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandKey {
    /// The caller's word, or the id of the event that caused the command.
    pub key: String,
    /// What was asked: the same key with another fingerprint is another command.
    pub fingerprint: Vec<u8>,
}

/// All events of one command, for one stream.
#[derive(Debug, Clone)]
pub struct Append {
    /// The sort of aggregate.
    pub aggregate_type: &'static str,
    /// Which one.
    pub aggregate_id: String,
    /// Sequence of the stream's last event as the decision saw it; 0 for a new stream.
    pub expected_sequence: u64,
    /// The events, in order; at least one.
    pub events: Vec<NewEvent>,
    /// Whose events they are.
    pub tenant: TenantId,
    /// [`crate::Metadata`] as JSON, the same for all of them.
    pub metadata: String,
    /// Set when the command can be repeated by its sender.
    pub key: Option<CommandKey>,
}

/// What the log says of an append.
#[derive(Debug, Clone)]
pub enum Appended {
    /// The events are durable; here they are as recorded.
    Done(Vec<Recorded>),
    /// The stream was not where the decision saw it.
    Conflict,
    /// The key was used before; nothing was appended.
    Repeated(KeptCommand),
}

/// A command that was carried out under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCommand {
    /// What was asked.
    pub fingerprint: Vec<u8>,
    /// First position of its events; 0 when it had none.
    pub first_position: u64,
    /// Last position of its events; 0 when it had none.
    pub last_position: u64,
    /// The answer its sender got, sealed by whoever kept it.
    pub answer: Option<Vec<u8>>,
}

/// A kept command and the key it is kept under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandUnderKey {
    /// Keys are per tenant.
    pub tenant: TenantId,
    /// The sender's word.
    pub key: String,
    /// What was done.
    pub kept: KeptCommand,
}

/// Some consecutive part of the log.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The events that the filter let through, in order of position.
    pub events: Vec<Recorded>,
    /// Everything up to here has been looked at: the position to go on from.
    pub through: u64,
}

/// Why the log cannot answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Disk full, database gone: may pass.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// An event or append over the limits of this module; it can never be appended.
    #[error("the append is over the limit: {0}")]
    TooLarge(String),
    /// What is stored cannot be read.
    #[error("the log is damaged: {0}")]
    Damaged(String),
}

/// The log.
#[async_trait]
pub trait Log: Send + Sync {
    /// Appends to one stream. Returns when the events are durable. Calls that arrive together share a transaction.
    async fn append(&self, append: Append) -> Result<Appended, LogError>;

    /// Whether one server alone can append. Otherwise what a server has seen of a stream may be old at any moment.
    fn of_one_server(&self) -> bool;

    /// Events of one stream with a sequence above `after`, in order.
    async fn read_stream(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError>;

    /// The next at most `limit` events with a position above `after`. With `aggregate_types`, only events of those
    /// sorts are returned (an empty slice: all), and `through` still says how far the log was looked at.
    ///
    /// A page also ends where it would become too big or too slow to make, so a short or empty page does not mean the
    /// end of the log: a reader is there when `through` has reached [`head`](Self::head).
    ///
    /// Never returns an event while one with a smaller position may still appear.
    async fn read_all(&self, after: u64, aggregate_types: &[&str], limit: usize) -> Result<Page, LogError>;

    /// The highest position; 0 when the log is empty.
    async fn head(&self) -> Result<u64, LogError>;

    /// Returns as soon as the log is known to reach beyond `position`.
    async fn grown(&self, position: u64);

    /// What was done under `key`.
    async fn command(&self, tenant: TenantId, key: &str) -> Result<Option<KeptCommand>, LogError>;

    /// The next at most `limit` kept commands after a tenant's key, ordered by tenant and key: for who checks or copies
    /// all of them.
    async fn commands(&self, after: Option<(TenantId, String)>, limit: usize)
    -> Result<Vec<CommandUnderKey>, LogError>;

    /// Keeps the answer given for `key`, unless one is kept already or the key stands for another fingerprint. A key
    /// that no append has brought is kept too, as a command without events.
    async fn keep_answer(&self, tenant: TenantId, key: &CommandKey, answer: Vec<u8>) -> Result<(), LogError>;

    /// How far the reader of this name had come when it last said so; 0 when it never did.
    async fn reader_position(&self, reader: &str) -> Result<u64, LogError>;

    /// How far every reader had come when it last said so, by name.
    async fn reader_positions(&self) -> Result<BTreeMap<String, u64>, LogError>;

    /// Keeps how far a reader has come. Readers are idempotent, so this may lag behind.
    async fn keep_reader_position(&self, reader: &str, position: u64) -> Result<(), LogError>;

    /// Which of the guards are gone or off by which the database itself refuses to change what is recorded.
    async fn missing_guards(&self) -> Result<Vec<&'static str>, LogError>;
}
