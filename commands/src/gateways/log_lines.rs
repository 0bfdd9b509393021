//! The port to log lines: what programs and tasks said, and who did what, in tables beside the log.
//!
//! Lines are telemetry: nothing is decided by keeping them, and old ones go. They are appended in batches by one
//! writer ([`LineQueue`]); their ids are the order of arrival, and counts of lines for each run of ids make totals and
//! deep pages cheap however many lines there are.

mod actions;
mod pages;
mod postgres;
mod queue;
mod rows;
mod sqlite;
mod words;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::metadata::{TenantId, UserId};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use actions::{ActionProgress, UserActions};
pub use pages::{LinePage, MATCHES_MAX, StoredLines};
pub use queue::{LineQueue, LineWriter, Retention};
pub use words::words;

/// Longest message of one line, in bytes; what is longer is cut.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// Largest fields of one line, in bytes of JSON; larger ones are left out.
pub const FIELDS_BYTES_MAX: usize = 16 * 1024;

/// Why lines cannot be read or kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log lines are unavailable: {0}")]
pub struct LinesFault(pub(crate) String);

impl From<sqlx::Error> for LinesFault {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<rusqlite::Error> for LinesFault {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<migrations::MigrationError> for LinesFault {
    fn from(error: migrations::MigrationError) -> Self {
        Self(error.to_string())
    }
}

/// A word that names no source or level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of them")]
pub struct UnknownWord(pub String);

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The server itself.
    System,
    /// A task that an agent runs.
    Task,
    /// An event that somebody caused.
    Action,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 3] = [Self::System, Self::Task, Self::Action];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Task => "task",
            Self::Action => "action",
        }
    }
}

impl FromStr for Source {
    type Err = UnknownWord;

    fn from_str(name: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|source| source.name() == name).ok_or_else(|| UnknownWord(name.to_owned()))
    }
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// The name in tables and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownWord;

    fn from_str(name: &str) -> Result<Self, UnknownWord> {
        let upper = name.to_ascii_uppercase();
        Self::ALL.into_iter().find(|level| level.name() == upper).ok_or_else(|| UnknownWord(name.to_owned()))
    }
}

/// A line to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLine {
    pub at: DateTime<Utc>,
    pub tenant: TenantId,
    pub source: Source,
    pub level: Level,
    pub message: String,
    pub fields: Map<String, Value>,
    pub request_id: Option<Uuid>,
    pub user: Option<UserId>,
    pub task: Option<Uuid>,
}

impl NewLine {
    /// A line with nothing but its message.
    pub fn new(at: DateTime<Utc>, tenant: TenantId, source: Source, level: Level, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { at, tenant, source, level, message, fields: Map::new(), request_id: None, user: None, task: None }
    }
}

/// A line that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its place in the order of arrival.
    pub id: i64,
    pub line: NewLine,
}

/// Which lines are asked for.
#[derive(Debug, Clone)]
pub struct LineFilter {
    pub tenant: TenantId,
    pub source: Source,
    pub level: Option<Level>,
    /// From this moment on.
    pub from: Option<DateTime<Utc>>,
    /// Before this moment.
    pub before: Option<DateTime<Utc>>,
    /// Lines with all of these words, or words that begin so.
    pub search: Option<String>,
    pub user: Option<UserId>,
    pub task: Option<Uuid>,
}

impl LineFilter {
    /// All lines of one source that belong to `tenant`.
    pub fn all(tenant: TenantId, source: Source) -> Self {
        Self { tenant, source, level: None, from: None, before: None, search: None, user: None, task: None }
    }
}

/// How far a reader of the log has come in making lines of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    pub reader: &'static str,
    /// Where it was.
    pub from: u64,
    pub position: u64,
}

/// A reader is not where it was said to be: another server has kept these lines meanwhile.
fn overtaken(reader: &str) -> LinesFault {
    LinesFault(format!("another server has moved {reader}"))
}

/// Lines of all tenants and sources.
#[async_trait]
pub trait LogLines: Send + Sync {
    /// Keeps lines in this order, all or none, and with them how far a reader has come.
    ///
    /// # Errors
    /// When the database does not answer, or the reader is elsewhere.
    async fn append(&self, lines: Vec<NewLine>, reached: Option<Reached>) -> Result<(), LinesFault>;

    /// One page of the lines that `filter` lets through, the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn page(&self, filter: &LineFilter, offset: u64, limit: u64) -> Result<LinePage, LinesFault>;

    /// The next at most `limit` lines after the id `after`, the oldest first: for who reads them all.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn after(&self, filter: &LineFilter, after: i64, limit: u64) -> Result<Vec<Line>, LinesFault>;

    /// How far a reader of the log has come; 0 when it never began.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn reached(&self, reader: &str) -> Result<u64, LinesFault>;

    /// Lets go of the oldest lines, in whole runs of ids: what is older than `before`, and what is more than
    /// `lines_max`. Answers how many went.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn trim(&self, before: DateTime<Utc>, lines_max: u64) -> Result<u64, LinesFault>;
}
