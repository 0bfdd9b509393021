//! Writing to an SQLite file.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeZone};
use migrations::wal_copy::{self, WalCopy};
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use rusqlite::{Connection, ToSql, Transaction, TransactionBehavior, params_from_iter};
use sea_orm::{DbErr, Value};

use super::{Batch, Changes, Move, Shape, failed};
use crate::projection::ProjectionError;

const BUSY: Duration = Duration::from_secs(5);
/// More than there are statements: two a table, and that of the checkpoints.
const STATEMENTS_MAX: usize = 512;
const ADVANCE: &str = "UPDATE checkpoints SET position = ?4, events = ?5, digest = ?6 \
     WHERE table_name = ?1 AND position = ?2 AND generation = ?3";

/// What a file is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Rows and checkpoints are lost or kept together.
    Kept,
    /// Nothing is flushed, nothing can be rolled back.
    Disposable,
}

/// A file that is written to.
pub(crate) struct WrittenFile {
    connection: Connection,
    wal_copy: Option<WalCopy>,
}

impl WrittenFile {
    pub(super) fn open(path: &Path, protection: Protection) -> Result<Self, DbErr> {
        let connection = connect(path, protection).map_err(|error| failed(&error))?;
        let wal_copy = match protection {
            Protection::Kept => Some(WalCopy::beside(path).map_err(|error| failed(&error))?),
            Protection::Disposable => None,
        };
        Ok(Self { connection, wal_copy })
    }

    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), ProjectionError> {
        write(&mut self.connection, batch)?;
        self.wal_copy.iter_mut().for_each(WalCopy::committed);
        Ok(())
    }
}

fn connect(path: &Path, protection: Protection) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    match protection {
        Protection::Kept => {
            connection.execute_batch(wal_copy::SET_UP)?;
            // No larger cache than SQLite's own: a commit that has split a page walks through all of it.
            connection.execute_batch("PRAGMA synchronous = NORMAL;")?;
        }
        Protection::Disposable => connection
            .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;")?,
    }
    Ok(connection)
}

fn write(connection: &mut Connection, batch: &Batch) -> Result<(), ProjectionError> {
    let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| failed(&error))?;
    for moved in &batch.moves {
        if !advance(&txn, moved).map_err(|error| failed(&error))? {
            return Err(ProjectionError::Overtaken(moved.table));
        }
    }
    for changes in &batch.changes {
        change(&txn, changes).map_err(|error| failed(&error))?;
    }
    txn.commit().map_err(|error| failed(&error).into())
}

fn advance(txn: &Transaction<'_>, Move { table, since, to }: &Move) -> rusqlite::Result<bool> {
    let (since, position, events) = (since.cast_signed(), to.position.cast_signed(), to.tally.events.cast_signed());
    let mut advance = txn.prepare_cached(ADVANCE)?;
    Ok(advance.execute((table, since, to.generation, position, events, to.tally.hex()))? == 1)
}

fn change(txn: &Transaction<'_>, Changes { shape, rows, updated, removed }: &Changes) -> rusqlite::Result<()> {
    if !rows.is_empty() {
        let mut upsert = txn.prepare_cached(&upsert(shape))?;
        for row in rows.chunks_exact(shape.columns.len()) {
            upsert.execute(params_from_iter(row.iter().map(Bound)))?;
        }
    }
    if !updated.is_empty() && !shape.plain.is_empty() {
        let mut update = txn.prepare_cached(&update(shape))?;
        let key = shape.columns.iter().position(|column| *column == shape.key);
        for row in updated.chunks_exact(shape.columns.len()) {
            let values = shape.plain.iter().copied().chain(key).map(|place| Bound(&row[place]));
            match update.execute(params_from_iter(values))? {
                1 => {}
                others => return Err(rusqlite::Error::StatementChangedRows(others)),
            }
        }
    }
    if !removed.is_empty() {
        let mut delete = txn.prepare_cached(&format!("DELETE FROM \"{}\" WHERE \"{}\" = ?", shape.table, shape.key))?;
        for key in removed {
            delete.execute([Bound(key)])?;
        }
    }
    Ok(())
}

fn upsert(shape: &Shape) -> String {
    let places = vec!["?"; shape.columns.len()].join(", ");
    format!("INSERT INTO \"{}\" ({}) VALUES ({places}) {}", shape.table, shape.columns(), shape.on_conflict())
}

fn update(shape: &Shape) -> String {
    let set =
        shape.plain.iter().map(|place| format!("\"{}\" = ?", shape.columns[*place])).collect::<Vec<_>>().join(", ");
    format!("UPDATE \"{}\" SET {set} WHERE \"{}\" = ?", shape.table, shape.key)
}

/// A value as sqlx binds it, because it is sqlx that reads it back.
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Bool(value) => integer(value.map(i64::from)),
            Value::TinyInt(value) => integer(value.map(i64::from)),
            Value::SmallInt(value) => integer(value.map(i64::from)),
            Value::Int(value) => integer(value.map(i64::from)),
            Value::BigInt(value) => integer(*value),
            Value::TinyUnsigned(value) => integer(value.map(i64::from)),
            Value::SmallUnsigned(value) => integer(value.map(i64::from)),
            Value::Unsigned(value) => integer(value.map(i64::from)),
            Value::BigUnsigned(value) => integer(value.map(u64::cast_signed)),
            Value::Float(value) => real(value.map(f64::from)),
            Value::Double(value) => real(*value),
            Value::String(value) => text(value.as_deref().map(|text| Cow::Borrowed(text.as_str()))),
            Value::Char(value) => text(value.map(|one| Cow::Owned(one.to_string()))),
            Value::Bytes(value) => match value {
                Some(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
                None => NULL,
            },
            Value::Json(value) => text(value.as_deref().map(|json| Cow::Owned(json.to_string()))),
            Value::ChronoDate(value) => text(value.as_deref().map(|date| date.format("%F").to_string().into())),
            Value::ChronoTime(value) => text(value.as_deref().map(|time| time.format("%T%.f").to_string().into())),
            Value::ChronoDateTime(value) => {
                text(value.as_deref().map(|time| time.format("%F %T%.f").to_string().into()))
            }
            Value::ChronoDateTimeUtc(value) => moment(value.as_deref()),
            Value::ChronoDateTimeLocal(value) => moment(value.as_deref()),
            Value::ChronoDateTimeWithTimeZone(value) => moment(value.as_deref()),
            Value::Array(..) => unreachable!("SQLite has no arrays, so no row has one"),
        })
    }
}

const NULL: ToSqlOutput<'static> = ToSqlOutput::Owned(Owned::Null);

fn integer(value: Option<i64>) -> ToSqlOutput<'static> {
    value.map_or(NULL, |value| ToSqlOutput::Owned(Owned::Integer(value)))
}

fn real(value: Option<f64>) -> ToSqlOutput<'static> {
    value.map_or(NULL, |value| ToSqlOutput::Owned(Owned::Real(value)))
}

fn text(value: Option<Cow<'_, str>>) -> ToSqlOutput<'_> {
    match value {
        Some(Cow::Borrowed(text)) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        Some(Cow::Owned(text)) => ToSqlOutput::Owned(Owned::Text(text)),
        None => NULL,
    }
}

fn moment<Z: TimeZone<Offset: std::fmt::Display>>(value: Option<&DateTime<Z>>) -> ToSqlOutput<'static> {
    text(value.map(|moment| Cow::Owned(moment.to_rfc3339_opts(SecondsFormat::AutoSi, false))))
}
