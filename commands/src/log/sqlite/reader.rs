//! Reading the file, beside the writer: SQLite's readers never wait for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::DateTime;
use domain::log::{CommandUnderKey, KeptCommand, LogError, Page};
use domain::{Recorded, TenantId, Text};
use migrations::EVENT_STORE_SQLITE;
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{CachedStatement, Connection, OpenFlags, OptionalExtension, Row, ToSql};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::super::names::Shared;
use super::{connect, integer, unavailable};

/// Most connections that read at once.
const READERS_MAX: usize = 4;
/// Most bytes of payload and metadata of one page.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many positions one page with a filter looks through: about 30 ms. An index by sort of aggregate would spare
/// the look at the others and cost every append; walking a million events past a filter takes 0.3 s.
const FILTERED_POSITIONS_MAX: u64 = 100_000;

const STREAM: &str = "SELECT position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, \
     payload, tenant, metadata, recorded_at FROM events \
     WHERE aggregate_id = ?2 AND aggregate_type = ?1 AND sequence > ?3 ORDER BY sequence";
// NOT INDEXED: along the positions. The index of streams would find all events of a sort, and sort them, for each page.
const PAGE: &str = "SELECT position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, \
     payload, tenant, metadata, recorded_at FROM events NOT INDEXED WHERE position > ?1 AND position <= ?2";
const POSITION: &str = "SELECT position FROM reader_positions WHERE reader = ?1";
const TRIGGERS: &str = "SELECT name FROM sqlite_master WHERE type = 'trigger'";
const POSITIONS: &str = "SELECT reader, position FROM reader_positions";
const HEAD: &str = "SELECT coalesce(max(position), 0) FROM events";
const COMMANDS: &str = "SELECT fingerprint, first_position, last_position, answer, tenant, key FROM commands \
     WHERE (tenant, key) > (?1, ?2) ORDER BY tenant, key LIMIT ?3";
const COMMAND: &str =
    "SELECT fingerprint, first_position, last_position, answer FROM commands WHERE tenant = ?1 AND key = ?2";

/// The connections for reading, opened when they are needed.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
    permits: Semaphore,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default(), permits: Semaphore::new(READERS_MAX) }
    }

    /// Runs `read` on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&mut Reader) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let _permit = self.permits.acquire().await.map_err(unavailable)?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let mut reader = readers.take()?;
            let result = read(&mut reader)?;
            // After an error the connection is not used again.
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            Ok(result)
        });
        task.await.map_err(unavailable)?
    }

    fn take(&self) -> Result<Reader, LogError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Reader::open(&self.path).map_err(unavailable), Ok)
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Connection,
    shared: Shared,
}

impl Reader {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self { connection, shared: Shared::default() })
    }

    pub(super) fn stream(&mut self, sort: &str, id: &str, after: u64) -> Result<Vec<Recorded>, LogError> {
        let statement = self.connection.prepare_cached(STREAM).map_err(failed)?;
        let mut events = Vec::new();
        collect(statement, &[&sort, &id, &integer(after)], &mut self.shared, |event| {
            events.push(event);
            true
        })?;
        Ok(events)
    }

    /// The events after `after`, up to `head`.
    pub(super) fn page(&mut self, after: u64, head: u64, wanted: &[String], limit: usize) -> Result<Page, LogError> {
        let most = if wanted.is_empty() { limit as u64 } else { FILTERED_POSITIONS_MAX };
        let through = head.min(after.saturating_add(most)).max(after);
        let marks = vec!["?"; wanted.len()].join(", ");
        let filter = if wanted.is_empty() { String::new() } else { format!(" AND aggregate_type IN ({marks})") };
        let sql = format!("{PAGE}{filter} ORDER BY position");
        let statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let (from, to) = (integer(after), integer(through));
        let mut parameters: Vec<&dyn ToSql> = vec![&from, &to];
        parameters.extend(wanted.iter().map(|name| name as &dyn ToSql));
        let mut page = Page { events: Vec::new(), through };
        let mut bytes = 0;
        collect(statement, &parameters, &mut self.shared, |event| {
            bytes += event.payload.len() + event.metadata.len();
            let full = page.events.len() + 1 >= limit || bytes >= PAGE_BYTES_MAX;
            page.through = if full { event.position } else { through };
            page.events.push(event);
            !full
        })?;
        Ok(page)
    }

    pub(super) fn command(&mut self, tenant: TenantId, key: &str) -> Result<Option<KeptCommand>, LogError> {
        kept_command(&self.connection, tenant, key).map_err(failed)
    }

    pub(super) fn commands(
        &mut self,
        after: Option<&(TenantId, String)>,
        limit: usize,
    ) -> Result<Vec<CommandUnderKey>, LogError> {
        // Every tenant sorts after the empty one.
        let (tenant, key) = after.map_or((&[][..], ""), |(tenant, key)| (&tenant.0.as_bytes()[..], key));
        let mut statement = self.connection.prepare_cached(COMMANDS).map_err(failed)?;
        let rows = statement.query_map((tenant, key, integer(limit as u64)), |row| {
            let tenant = uuid(row.get_ref(4)?).map_err(|error| unreadable(4, error))?;
            Ok(CommandUnderKey { tenant: TenantId(tenant), key: row.get(5)?, kept: kept(row)? })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    pub(super) fn positions(&mut self) -> Result<BTreeMap<String, u64>, LogError> {
        let mut statement = self.connection.prepare_cached(POSITIONS).map_err(failed)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).map_err(failed)
    }

    pub(super) fn missing_guards(&mut self) -> Result<Vec<&'static str>, LogError> {
        let mut statement = self.connection.prepare_cached(TRIGGERS).map_err(failed)?;
        let rows = statement.query_map([], |row| row.get(0));
        let present: Vec<String> = rows.and_then(Iterator::collect).map_err(failed)?;
        Ok(EVENT_STORE_SQLITE.triggers().filter(|guard| present.iter().all(|name| name != guard)).collect())
    }

    pub(super) fn head(&mut self) -> Result<u64, LogError> {
        let mut statement = self.connection.prepare_cached(HEAD).map_err(failed)?;
        statement.query_row([], |row| row.get(0)).map_err(failed)
    }

    pub(super) fn position(&mut self, reader: &str) -> Result<u64, LogError> {
        let mut statement = self.connection.prepare_cached(POSITION).map_err(failed)?;
        let position = statement.query_row([reader], |row| row.get(0)).optional().map_err(failed)?;
        Ok(position.unwrap_or(0))
    }
}

/// What was done under `key`, as seen by `connection`.
pub(super) fn kept_command(
    connection: &Connection,
    tenant: TenantId,
    key: &str,
) -> rusqlite::Result<Option<KeptCommand>> {
    let mut statement = connection.prepare_cached(COMMAND)?;
    statement.query_row((tenant.0.as_bytes(), key), kept).optional()
}

fn kept(row: &Row<'_>) -> rusqlite::Result<KeptCommand> {
    Ok(KeptCommand {
        fingerprint: row.get(0)?,
        first_position: row.get(1)?,
        last_position: row.get(2)?,
        answer: row.get(3)?,
    })
}

/// Hands each event of `statement` to `take` until that says it has enough.
fn collect(
    mut statement: CachedStatement<'_>,
    parameters: &[&dyn ToSql],
    shared: &mut Shared,
    mut take: impl FnMut(Recorded) -> bool,
) -> Result<(), LogError> {
    let mut rows = statement.query(parameters).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        if !take(recorded(row, shared).map_err(failed)?) {
            break;
        }
    }
    Ok(())
}

fn recorded(row: &Row<'_>, shared: &mut Shared) -> rusqlite::Result<Recorded> {
    let text = |column| row.get_ref(column)?.as_str().map_err(|error| unreadable(column, error));
    let parts = [text(3)?, text(7)?, text(9)?];
    let [aggregate_id, payload, metadata] = Text::together(parts, &mut shared.scratch);
    let time = DateTime::from_timestamp_micros(row.get(10)?);
    Ok(Recorded {
        position: row.get(0)?,
        event_id: uuid(row.get_ref(1)?).map_err(|error| unreadable(1, error))?,
        aggregate_type: shared.aggregate_types.get(text(2)?),
        aggregate_id,
        sequence: row.get(4)?,
        event_type: shared.event_types.get(text(5)?),
        event_version: row.get(6)?,
        payload,
        tenant: TenantId(uuid(row.get_ref(8)?).map_err(|error| unreadable(8, error))?),
        metadata,
        recorded_at: time.ok_or_else(|| unreadable(10, FromSqlError::InvalidType))?,
    })
}

fn uuid(value: ValueRef<'_>) -> Result<Uuid, FromSqlError> {
    Uuid::from_slice(value.as_blob()?).map_err(|error| FromSqlError::Other(Box::new(error)))
}

fn unreadable(column: usize, error: FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, Box::new(error))
}

/// What is in the file and cannot be read is damaged; anything else may pass.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum; only these say that the contents are wrong")]
fn failed(error: rusqlite::Error) -> LogError {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    let damaged = |code| matches!(code, rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase);
    match error {
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..) => {
            LogError::Damaged(error.to_string())
        }
        error if error.sqlite_error_code().is_some_and(damaged) => LogError::Damaged(error.to_string()),
        error => unavailable(error),
    }
}
