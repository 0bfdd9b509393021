//! The one thread that writes: everything that waits becomes one durable transaction.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::Recorded;
use domain::log::{Append, Appended, KeptCommand, LogError};
use migrations::EVENT_STORE_SQLITE;
use migrations::wal_copy::{self, WalCopy};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::super::jobs::{Job, KeepAnswer, KeepPosition, fill};
use super::super::names::Shared;
use super::super::tail::Tail;
use super::super::{ends, recorded, time_of_recording};
use super::reader::kept_command;
use super::{connect, integer, unavailable};

/// Durable when committed: FULL syncs the write-ahead log in every commit. The cache of pages stays as small as SQLite
/// makes it: a commit that has split a page walks through all of it.
const SET_UP: &str = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
/// What the trigger on the table says of a stream that ends elsewhere.
const ELSEWHERE: &str = "events are only appended: the stream does not end there";
const END: &str = "SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1";
// FAIL undoes nothing, so nothing is set aside to be undone: a row is refused before it is written.
pub(super) const INSERT: &str = "INSERT OR FAIL INTO events (position, event_id, aggregate_type, aggregate_id, sequence, event_type, \
     event_version, payload, tenant, metadata, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
pub(super) const KEEP: &str = "INSERT INTO commands (tenant, key, fingerprint, first_position, last_position, answer) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const ANSWER: &str = "UPDATE commands SET answer = ?4 \
     WHERE tenant = ?1 AND key = ?2 AND fingerprint = ?3 AND answer IS NULL";
pub(super) const KEEP_POSITION: &str = "INSERT INTO reader_positions (reader, position) VALUES (?1, ?2) \
     ON CONFLICT (reader) DO UPDATE SET position = excluded.position";

/// Owns the only connection that writes.
pub(super) struct Writer {
    path: PathBuf,
    tail: Arc<Tail>,
    shared: Shared,
    /// Where senders wait for their answers.
    runtime: Handle,
    /// `None` after a failure: the next batch opens the file again.
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    wal_copy: WalCopy,
    end: End,
}

/// Where the log ends.
#[derive(Clone, Copy)]
struct End {
    position: u64,
    recorded_at: DateTime<Utc>,
}

/// A job that is done as soon as the transaction is.
enum Done {
    Append(Appended),
    Kept,
}

impl Writer {
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let open = Open::new(path)?;
        let tail = Arc::new(Tail::new(open.end.position));
        let (path, runtime) = (path.to_owned(), Handle::current());
        Ok(Self { path, tail, shared: Shared::default(), runtime, open: Some(open) })
    }

    pub(super) fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// Works until nobody can send any more.
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(job) = waiting.blocking_recv() {
            let mut batch = vec![job];
            fill(&mut batch, &mut waiting);
            self.commit(batch);
        }
    }

    /// All of `batch` is durable when anybody hears of it, or none is.
    fn commit(&mut self, mut batch: Vec<Job>) {
        match self.write(&mut batch) {
            Ok(done) => self.answer(batch, done),
            Err(error) => {
                tracing::error!(%error, commands = batch.len(), "a batch could not be written");
                self.open = None;
                for job in batch {
                    job.fail(error.clone());
                }
            }
        }
    }

    fn write(&mut self, batch: &mut [Job]) -> Result<Vec<Done>, LogError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.path)?,
        };
        // A commit that was reported as failed may have reached the disk all the same.
        self.tail.advance(open.end.position);
        let open = self.open.insert(open);
        let behavior = TransactionBehavior::Immediate;
        let transaction = open.connection.transaction_with_behavior(behavior).map_err(unavailable)?;
        let end = End { recorded_at: time_of_recording(open.end.recorded_at), ..open.end };
        let mut changes = Changes { transaction: &transaction, shared: &mut self.shared, end };
        let done: Result<Vec<_>, _> = batch.iter_mut().map(|job| changes.make(job)).collect();
        let (done, end) = (done.map_err(unavailable)?, changes.end);
        transaction.commit().map_err(unavailable)?;
        open.wal_copy.committed();
        open.end = end;
        Ok(done)
    }

    fn answer(&self, batch: Vec<Job>, done: Vec<Done>) {
        let appended = done.iter().filter_map(|done| match done {
            Done::Append(Appended::Done(events)) => Some(events),
            Done::Append(Appended::Conflict | Appended::Repeated(_)) | Done::Kept => None,
        });
        self.tail.append(appended.flatten().cloned());
        let answers = batch.into_iter().zip(done);
        // One task wakes all senders from within the runtime: to wake each from here costs a system call each.
        self.runtime.spawn(async move { answers.for_each(|(job, done)| done.told_to(job)) });
    }
}

impl Done {
    /// A sender that has gone needs no answer.
    fn told_to(self, job: Job) {
        match (job, self) {
            (Job::Append(_, answer), Self::Append(appended)) => drop(answer.send(Ok(appended))),
            (Job::KeepAnswer(_, answer) | Job::KeepPosition(_, answer), Self::Kept) => drop(answer.send(Ok(()))),
            (job @ Job::Append(..), Self::Kept)
            | (job @ (Job::KeepAnswer(..) | Job::KeepPosition(..)), Self::Append(_)) => {
                job.fail(LogError::Damaged("answers were mixed up".to_owned()));
            }
        }
    }
}

impl Open {
    fn new(path: &Path) -> Result<Self, LogError> {
        let connection = connect_and_set_up(path)?;
        let end = End::of(&connection).map_err(unavailable)?;
        let wal_copy = WalCopy::beside(path).map_err(unavailable)?;
        Ok(Self { connection, wal_copy, end })
    }
}

/// A connection that writes, to tables that are there.
pub(super) fn connect_and_set_up(path: &Path) -> Result<Connection, LogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(path, flags).map_err(unavailable)?;
    connection.execute_batch(wal_copy::SET_UP).map_err(unavailable)?;
    connection.execute_batch(SET_UP).map_err(unavailable)?;
    EVENT_STORE_SQLITE.apply_sqlite(&mut connection).map_err(unavailable)?;
    Ok(connection)
}

impl End {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare(END)?;
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else { return Ok(Self { position: 0, recorded_at: DateTime::UNIX_EPOCH }) };
        let recorded_at = DateTime::from_timestamp_micros(row.get(1)?).unwrap_or(DateTime::UNIX_EPOCH);
        Ok(Self { position: row.get(0)?, recorded_at })
    }
}

/// What one transaction has done so far. Each command sees those before it.
struct Changes<'a> {
    transaction: &'a Transaction<'a>,
    shared: &'a mut Shared,
    end: End,
}

impl Changes<'_> {
    fn make(&mut self, job: &mut Job) -> rusqlite::Result<Done> {
        match job {
            Job::Append(append, _) => self.append(append).map(Done::Append),
            Job::KeepAnswer(keep, _) => self.keep_answer(keep).map(|()| Done::Kept),
            Job::KeepPosition(keep, _) => self.keep_position(keep).map(|()| Done::Kept),
        }
    }

    fn append(&mut self, append: &mut Append) -> rusqlite::Result<Appended> {
        if let Some(key) = &append.key
            && let Some(kept) = kept_command(self.transaction, append.tenant, &key.key)?
        {
            return Ok(Appended::Repeated(kept));
        }
        let end = self.end;
        let events = self.record(append);
        let mut insert = self.transaction.prepare_cached(INSERT)?;
        for event in &events {
            match insert_event(&mut insert, event) {
                Err(error) if is_conflict(&error) => {
                    // It was the first event: those after it follow each other.
                    self.end = end;
                    return Ok(Appended::Conflict);
                }
                inserted => inserted?,
            }
        }
        if let Some(key) = append.key.take() {
            let (first_position, last_position) = ends(&events);
            let kept = KeptCommand { fingerprint: key.fingerprint, first_position, last_position, answer: None };
            self.keep(append.tenant.0.as_bytes(), &key.key, &kept)?;
        }
        Ok(Appended::Done(events))
    }

    /// Gives the events their places.
    fn record(&mut self, append: &mut Append) -> Vec<Recorded> {
        let (first, recorded_at) = (self.end.position + 1, self.end.recorded_at);
        let events = recorded(append, first, recorded_at, self.shared);
        self.end.position += events.len() as u64;
        events
    }

    fn keep(&self, tenant: &[u8], key: &str, kept: &KeptCommand) -> rusqlite::Result<()> {
        let positions = (integer(kept.first_position), integer(kept.last_position));
        let row = (tenant, key, &kept.fingerprint, positions.0, positions.1, &kept.answer);
        self.transaction.prepare_cached(KEEP)?.execute(row).map(|_| ())
    }

    fn keep_answer(&self, keep: &mut KeepAnswer) -> rusqlite::Result<()> {
        let tenant = keep.tenant.0.as_bytes();
        let KeepAnswer { key, answer, .. } = keep;
        if kept_command(self.transaction, keep.tenant, &key.key)?.is_some() {
            let row = (tenant, &key.key, &key.fingerprint, &*answer);
            return self.transaction.prepare_cached(ANSWER)?.execute(row).map(|_| ());
        }
        let (fingerprint, answer) = (std::mem::take(&mut key.fingerprint), Some(std::mem::take(answer)));
        let kept = KeptCommand { fingerprint, first_position: 0, last_position: 0, answer };
        self.keep(tenant, &key.key, &kept)
    }

    fn keep_position(&self, keep: &KeepPosition) -> rusqlite::Result<()> {
        let row = (&keep.reader, integer(keep.position));
        self.transaction.prepare_cached(KEEP_POSITION)?.execute(row).map(|_| ())
    }
}

/// Whether the table refused an event because its stream does not end where the command saw it (see the migration).
fn is_conflict(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(_, Some(why)) if why == ELSEWHERE)
}

pub(super) fn insert_event(insert: &mut rusqlite::CachedStatement<'_>, event: &Recorded) -> rusqlite::Result<()> {
    let (event_id, tenant) = (event.event_id.as_bytes(), event.tenant.0.as_bytes());
    let row = rusqlite::params![
        integer(event.position),
        event_id,
        event.aggregate_type,
        &*event.aggregate_id,
        integer(event.sequence),
        event.event_type,
        event.event_version,
        &*event.payload,
        tenant,
        &*event.metadata,
        event.recorded_at.timestamp_micros(),
    ];
    insert.execute(row).map(|_| ())
}
