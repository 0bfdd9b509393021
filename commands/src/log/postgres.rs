//! The log in PostgreSQL: for several servers on one log.
//!
//! The table is that of postgres-es, with more columns, and its repository works on it: programs written with
//! `CqrsFramework` and `new_event_store` can read what we write and append beside us. We do not call the repository
//! ourselves: it appends one row a statement, knows no position, id, tenant or time, and parses every payload twice.

mod leadership;
mod listener;
mod reader;
mod restore;
mod writer;

pub use restore::PostgresRestore;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::log::{Append, Appended, CommandKey, CommandUnderKey, KeptCommand, Log, LogError, PAGE_EVENTS_MAX, Page};
use domain::{Recorded, TenantId};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::reader::Reader;
use self::writer::Writer;
use super::halves;
use super::jobs::{Jobs, KeepAnswer, KeepPosition};
use super::tail::Tail;

/// How the log uses its database.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Most connections that read at once. The writer and the listener have one each beside them.
    pub readers_max: usize,
    /// How long a batch waits for another server, or a foreign program, that is appending.
    pub turn_timeout: Duration,
    /// How long anything may take.
    pub statement_timeout: Duration,
    /// How often the end of the log is looked up when no notification comes.
    pub poll_interval: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            readers_max: 8,
            turn_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            poll_interval: Duration::from_secs(2),
        }
    }
}

/// The log in a database that others may use at the same time.
#[derive(Debug)]
pub struct PostgresLog {
    tail: Arc<Tail>,
    reader: Reader,
    jobs: Jobs,
    address: PgConnectOptions,
    listener: AbortHandle,
}

impl PostgresLog {
    /// Connects to the database at `url` (`postgres://user:password@host:port/database`), and makes the tables when
    /// there are none.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the database cannot be reached or the tables cannot be made.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, LogError> {
        let address = PgConnectOptions::from_str(url).map_err(|error| unavailable(&error))?;
        let address = address.application_name("corelog");
        writer::set_up(address.clone(), &options).await?;
        let reader = Reader::new(address.clone(), &options);
        let tail = Arc::new(Tail::new(reader.head().await?));
        let (jobs, waiting) = Jobs::queue();
        let writer = Writer::new(address.clone(), &options, Arc::clone(&tail));
        tokio::spawn(listener::announce(reader.clone(), writer.appended()));
        writer.start(waiting).map_err(|error| LogError::Unavailable(error.to_string()))?;
        let following = listener::follow(address.clone(), reader.clone(), Arc::clone(&tail), options.poll_interval);
        let listener = tokio::spawn(following).abort_handle();
        Ok(Self { tail, reader, jobs, address, listener })
    }

    /// Whether this server is the one that drives projections, processes and gateways on this database. Competes for
    /// it until the receiver is dropped.
    pub async fn lead(&self) -> watch::Receiver<bool> {
        leadership::compete(self.address.clone()).await
    }
}

impl Drop for PostgresLog {
    fn drop(&mut self) {
        // The writer ends by itself, when its queue is closed and empty.
        self.listener.abort();
    }
}

#[async_trait]
impl Log for PostgresLog {
    async fn append(&self, append: Append) -> Result<Appended, LogError> {
        self.jobs.append(append).await
    }

    fn of_one_server(&self) -> bool {
        false
    }

    async fn read_stream(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError> {
        self.reader.stream(aggregate_type, aggregate_id, after).await
    }

    async fn read_all(&self, after: u64, aggregate_types: &[&str], limit: usize) -> Result<Page, LogError> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        if limit == 0 {
            return Ok(Page { events: Vec::new(), through: after });
        }
        match self.tail.page(after, aggregate_types, limit) {
            Some(page) => Ok(page),
            None if aggregate_types.is_empty() => {
                halves::page(after, limit, |after, limit| self.reader.page(after, &[], limit)).await
            }
            None => self.reader.page(after, aggregate_types, limit).await,
        }
    }

    async fn head(&self) -> Result<u64, LogError> {
        let head = self.reader.head().await?;
        self.tail.advance(head);
        Ok(head)
    }

    async fn grown(&self, position: u64) {
        self.tail.grown(position).await;
    }

    async fn command(&self, tenant: TenantId, key: &str) -> Result<Option<KeptCommand>, LogError> {
        self.reader.command(tenant, key).await
    }

    async fn commands(
        &self,
        after: Option<(TenantId, String)>,
        limit: usize,
    ) -> Result<Vec<CommandUnderKey>, LogError> {
        self.reader.commands(after, limit).await
    }

    async fn keep_answer(&self, tenant: TenantId, key: &CommandKey, answer: Vec<u8>) -> Result<(), LogError> {
        self.jobs.keep_answer(KeepAnswer { tenant, key: key.clone(), answer }).await
    }

    async fn reader_position(&self, reader: &str) -> Result<u64, LogError> {
        self.reader.position(reader).await
    }

    async fn reader_positions(&self) -> Result<BTreeMap<String, u64>, LogError> {
        self.reader.positions().await
    }

    async fn missing_guards(&self) -> Result<Vec<&'static str>, LogError> {
        self.reader.missing_guards().await
    }

    async fn keep_reader_position(&self, reader: &str, position: u64) -> Result<(), LogError> {
        self.jobs.keep_position(KeepPosition { reader: reader.to_owned(), position }).await
    }
}

/// What is in the database and cannot be read is damaged; anything else may pass.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum; only these say that the contents are wrong")]
fn unavailable(error: &sqlx::Error) -> LogError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => LogError::Damaged(error.to_string()),
        _ => LogError::Unavailable(error.to_string()),
    }
}

/// A position or sequence as PostgreSQL takes it; none is ever higher than that.
fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A position or sequence as PostgreSQL gives it; the table holds none below 0.
fn number(bigint: i64) -> u64 {
    u64::try_from(bigint).unwrap_or(0)
}
