//! The log in an SQLite file: the default, for one machine.

mod read_only;
mod reader;
mod restore;
mod writer;

pub use read_only::ReadOnlySqliteLog;
pub use restore::SqliteRestore;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use domain::log::{Append, Appended, CommandKey, CommandUnderKey, KeptCommand, Log, LogError, PAGE_EVENTS_MAX, Page};
use domain::{Recorded, TenantId};
use rusqlite::{Connection, OpenFlags};

use self::reader::{Reader, Readers};
use self::writer::Writer;
use super::halves;
use super::jobs::{Jobs, KeepAnswer, KeepPosition};
use super::tail::Tail;

/// How long a connection waits for another program that has the file locked.
const BUSY: Duration = Duration::from_secs(5);

/// The log in a file.
#[derive(Debug)]
pub struct SqliteLog {
    tail: Arc<Tail>,
    readers: Arc<Readers>,
    /// `None` only while it is dropped: the writer ends when nobody can send to it.
    jobs: Option<Jobs>,
    writer: Option<JoinHandle<()>>,
    /// Held as long as the writer lives: positions are given out by one process.
    _lock: File,
}

impl SqliteLog {
    /// Opens the log at `path`, and makes it when there is none. To be called within the runtime that will use it.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when another process has it open, or the file cannot be used.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let lock = lock(path)?;
        let (jobs, waiting) = Jobs::queue();
        let writer = Writer::open(path)?;
        let tail = Arc::clone(writer.tail());
        let thread = std::thread::Builder::new().name("log-writer".to_owned());
        let writer = thread.spawn(move || writer.run(waiting)).map_err(unavailable)?;
        let readers = Arc::new(Readers::new(path));
        Ok(Self { tail, readers, jobs: Some(jobs), writer: Some(writer), _lock: lock })
    }

    fn jobs(&self) -> Result<&Jobs, LogError> {
        self.jobs.as_ref().ok_or_else(|| LogError::Unavailable("the log is being closed".to_owned()))
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(writer) = self.writer.take() {
            // Waits for the last transaction, so that whoever opens the file next finds the lock free.
            let _ = writer.join();
        }
    }
}

/// Takes the file beside the log that says it is in use.
fn lock(path: &Path) -> Result<File, LogError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let file = File::create(&beside)
        .map_err(|error| LogError::Unavailable(format!("{} cannot be made: {error}", beside.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(LogError::Unavailable(format!("{} is in use by another process", path.display())))
        }
        Err(TryLockError::Error(error)) => {
            Err(LogError::Unavailable(format!("{} cannot be locked: {error}", beside.display())))
        }
    }
}

/// A connection set up as all of ours are.
fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn unavailable(error: impl std::fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string())
}

/// A position or sequence as SQLite takes it; none is ever higher than that.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl Log for SqliteLog {
    async fn append(&self, append: Append) -> Result<Appended, LogError> {
        self.jobs()?.append(append).await
    }

    fn of_one_server(&self) -> bool {
        // Whoever has the lock.
        true
    }

    async fn read_stream(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError> {
        let (aggregate_type, aggregate_id) = (aggregate_type.to_owned(), aggregate_id.to_owned());
        self.readers.read(move |reader| reader.stream(&aggregate_type, &aggregate_id, after)).await
    }

    async fn read_all(&self, after: u64, aggregate_types: &[&str], limit: usize) -> Result<Page, LogError> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        let head = self.tail.head();
        if limit == 0 || after >= head {
            return Ok(Page { events: Vec::new(), through: after });
        }
        if let Some(page) = self.tail.page(after, aggregate_types, limit) {
            return Ok(page);
        }
        if aggregate_types.is_empty() {
            let half = |after, limit| self.readers.read(move |reader| reader.page(after, head, &[], limit));
            return halves::page(after, limit, half).await;
        }
        let wanted: Vec<String> = aggregate_types.iter().map(|&name| name.to_owned()).collect();
        self.readers.read(move |reader| reader.page(after, head, &wanted, limit)).await
    }

    async fn head(&self) -> Result<u64, LogError> {
        Ok(self.tail.head())
    }

    async fn grown(&self, position: u64) {
        self.tail.grown(position).await;
    }

    async fn command(&self, tenant: TenantId, key: &str) -> Result<Option<KeptCommand>, LogError> {
        let key = key.to_owned();
        self.readers.read(move |reader| reader.command(tenant, &key)).await
    }

    async fn commands(
        &self,
        after: Option<(TenantId, String)>,
        limit: usize,
    ) -> Result<Vec<CommandUnderKey>, LogError> {
        self.readers.read(move |reader| reader.commands(after.as_ref(), limit)).await
    }

    async fn keep_answer(&self, tenant: TenantId, key: &CommandKey, answer: Vec<u8>) -> Result<(), LogError> {
        self.jobs()?.keep_answer(KeepAnswer { tenant, key: key.clone(), answer }).await
    }

    async fn reader_position(&self, reader: &str) -> Result<u64, LogError> {
        let name = reader.to_owned();
        self.readers.read(move |reader| reader.position(&name)).await
    }

    async fn reader_positions(&self) -> Result<BTreeMap<String, u64>, LogError> {
        self.readers.read(Reader::positions).await
    }

    async fn missing_guards(&self) -> Result<Vec<&'static str>, LogError> {
        self.readers.read(Reader::missing_guards).await
    }

    async fn keep_reader_position(&self, reader: &str, position: u64) -> Result<(), LogError> {
        self.jobs()?.keep_position(KeepPosition { reader: reader.to_owned(), position }).await
    }
}
