//! Writes what was folded: rows and checkpoints of many projections in one transaction.
//!
//! Statements are prepared once and know no number of rows: SQLite runs one for each row inside the transaction,
//! PostgreSQL takes whole columns. Where others could meanwhile have moved a table on, nothing is written.

mod postgres;
mod sqlite;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{DatabaseConnection, DbErr, RuntimeErr, Value};
use sqlx::PgPool;

use crate::checkpoint::Checkpoint;
use crate::projection::ProjectionError;

pub(crate) use sqlite::{Protection, WrittenFile};

/// The table of a projection as the writer needs to know it.
#[derive(Debug)]
pub struct Shape {
    pub table: &'static str,
    /// The name of the column that is the primary key.
    pub key: String,
    /// All columns.
    pub columns: Vec<String>,
    /// The places in `columns` of those that are neither the key nor in an index.
    pub plain: Vec<usize>,
    /// Whether no row that is put is ever there already.
    pub appended: bool,
}

impl Shape {
    /// What an upsert does about a row that is there. Looking for one is a fifth of what it costs PostgreSQL.
    fn on_conflict(&self) -> String {
        if self.appended {
            return String::new();
        }
        let others = self.columns.iter().filter(|column| **column != self.key);
        let set: Vec<String> = others.map(|column| format!("\"{column}\" = excluded.\"{column}\"")).collect();
        let action = if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) };
        format!("ON CONFLICT (\"{}\") DO {action}", self.key)
    }

    fn columns(&self) -> String {
        self.columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ")
    }
}

/// Rows of one table to be put and to be removed.
pub struct Changes {
    pub shape: Arc<Shape>,
    /// Row after row, as many values each as there are columns.
    pub rows: Vec<Value>,
    /// The same for rows that are there, with the same values in all columns that are in an index: these need not be
    /// written again, nor the indexes.
    pub updated: Vec<Value>,
    /// Keys of rows to be removed.
    pub removed: Vec<Value>,
}

/// A checkpoint that moves on, if it is where it was.
struct Move {
    table: &'static str,
    since: u64,
    to: Checkpoint,
}

/// What one transaction writes.
#[derive(Default)]
pub(crate) struct Batch {
    moves: Vec<Move>,
    changes: Vec<Changes>,
}

impl Batch {
    /// Moves the checkpoint of `table` from `since` to `to`, or fails when it is not there any more, or is of another
    /// generation.
    pub(crate) fn advance(&mut self, table: &'static str, since: u64, to: Checkpoint) {
        self.moves.push(Move { table, since, to });
    }

    pub(crate) fn change(&mut self, changes: Changes) {
        self.changes.push(changes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.changes.is_empty()
    }
}

/// A connection that writes.
#[derive(Clone)]
pub(crate) enum Writer {
    Sqlite(Arc<Mutex<WrittenFile>>),
    Postgres(PgPool),
}

impl Writer {
    /// Writes to the SQLite file at `path`.
    pub(crate) fn sqlite(path: &Path, protection: Protection) -> Result<Self, DbErr> {
        Ok(Self::Sqlite(Arc::new(Mutex::new(WrittenFile::open(path, protection)?))))
    }

    /// Writes by the connections of `db`.
    pub(crate) fn postgres(db: &DatabaseConnection) -> Self {
        Self::Postgres(db.get_postgres_connection_pool().clone())
    }

    /// Writes all of `batch` or nothing.
    pub(crate) async fn write(&self, batch: Batch) -> Result<(), ProjectionError> {
        match self {
            Self::Sqlite(file) => {
                let file = Arc::clone(file);
                let written = tokio::task::spawn_blocking(move || {
                    file.lock().unwrap_or_else(PoisonError::into_inner).write(&batch)
                });
                written.await.map_err(|error| failed(&error))?
            }
            Self::Postgres(pool) => postgres::write(pool, batch).await,
        }
    }
}

/// What a database said, as SeaORM would say it.
pub(crate) fn failed(error: &dyn std::fmt::Display) -> DbErr {
    DbErr::Exec(RuntimeErr::Internal(error.to_string()))
}
