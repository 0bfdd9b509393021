//! A second set of tables beside the live ones: to compare with them, or to take their place.
//!
//! The tables are on the same engine as the live ones, because engines round times and sort texts in their own ways:
//! a file beside the file of SQLite, a schema beside the schema of PostgreSQL.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::log::Log;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr, Statement, TransactionTrait,
};

use crate::checkpoint::{self, Checkpoint};
use crate::database::{self, Place, ReadModels, SCHEMA, Tables};
use crate::projection::ProjectionError;
use crate::scratch::{self, Folding};

/// Events that may be left to fold while the live tables are held.
const REST_EVENTS_MAX: u64 = 1_000;
/// The live tables are held after so many rounds, however fast the log grows.
const ROUNDS_MAX: usize = 20;

/// Tables beside the live ones. At most one of each purpose at a time; they are gone when this is closed.
pub struct Beside {
    tables: Tables,
    live: ReadModels,
    at: At,
}

enum At {
    File { path: PathBuf, _lock: File },
    Schema(String),
}

impl Beside {
    /// Empty tables for `foldings`, without indexes; `None` while somebody else has some for the same `purpose`, a word.
    ///
    /// # Errors
    /// What the file system or the database said.
    pub async fn open(live: &ReadModels, purpose: &str, foldings: &[Folding]) -> Result<Option<Self>, DbErr> {
        let opened = match &live.place {
            Place::File(path) => in_file(path, purpose).await?,
            Place::Server(url) => in_schema(url, purpose).await?,
        };
        let Some((tables, at)) = opened else { return Ok(None) };
        let beside = Self { tables, live: live.clone(), at };
        database::create_bare_tables(&beside.tables.db, foldings.iter().map(|folding| &*folding.projector)).await?;
        Ok(Some(beside))
    }

    /// The tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Puts the table of `folding` in the place of the live one, rows and checkpoint in one transaction. Whoever moves
    /// the live table along the log waits for that, and then goes on from the new checkpoint: no event is folded
    /// twice, none is skipped, and no reader sees the table go back.
    ///
    /// # Errors
    /// When the log or a database does not answer, or an event cannot be read; the live table is as before then.
    pub async fn switch(&self, log: &Arc<dyn Log>, folding: &mut Folding) -> Result<(), ProjectionError> {
        let table = folding.projector.table();
        database::create_indexes(&self.tables.db, &*folding.projector).await?;
        let live = self.live.one_more().await?;
        if let At::File { path, .. } = &self.at {
            attach(&live, path).await?;
        }
        self.come_near(log, folding).await?;
        checkpoint::ensure(&live, std::iter::once(table)).await?;
        let txn = live.begin().await?;
        let held = checkpoint::hold(&txn, table).await?;
        self.come_level(log, folding, &held).await?;
        match &self.at {
            At::File { .. } => copy(&txn, folding).await?,
            At::Schema(schema) => move_over(&txn, schema, table).await?,
        }
        checkpoint::replace(&txn, table, &folding.checkpoint).await?;
        txn.commit().await?;
        Ok(live.close().await?)
    }

    /// Folds on until little is left.
    async fn come_near(&self, log: &Arc<dyn Log>, folding: &mut Folding) -> Result<(), ProjectionError> {
        for _ in 0..ROUNDS_MAX {
            let head = log.head().await?;
            if head.saturating_sub(folding.checkpoint.position) <= REST_EVENTS_MAX {
                break;
            }
            scratch::fold(log, &self.tables, std::slice::from_mut(folding), head, |_| ()).await?;
        }
        Ok(())
    }

    /// Folds on to where the live table is. A live table beyond the end of the log is of another log.
    async fn come_level(
        &self,
        log: &Arc<dyn Log>,
        folding: &mut Folding,
        live: &Checkpoint,
    ) -> Result<(), ProjectionError> {
        let through = live.position.min(log.head().await?);
        if through > folding.checkpoint.position {
            scratch::fold(log, &self.tables, std::slice::from_mut(folding), through, |_| ()).await?;
        }
        Ok(())
    }

    /// Removes the tables.
    ///
    /// # Errors
    /// What the file system or the database said.
    pub async fn close(self) -> Result<(), DbErr> {
        let Self { tables: Tables { db, .. }, at, .. } = self;
        match at {
            At::File { path, _lock } => {
                db.close().await?;
                remove(&path).map_err(|error| failed(&error))
            }
            At::Schema(schema) => {
                db.execute_unprepared(&format!("DROP SCHEMA {schema} CASCADE")).await?;
                db.close().await
            }
        }
    }
}

async fn in_file(live: &Path, purpose: &str) -> Result<Option<(Tables, At)>, DbErr> {
    let path = with_ending(live, purpose);
    let lock = File::create(with_ending(&path, "lock")).map_err(|error| failed(&error))?;
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    remove(&path).map_err(|error| failed(&error))?;
    let tables = database::disposable_file(&path).await?;
    Ok(Some((tables, At::File { path, _lock: lock })))
}

async fn in_schema(url: &str, purpose: &str) -> Result<Option<(Tables, At)>, DbErr> {
    let schema = format!("{SCHEMA}_{purpose}");
    let tables = database::schema(url, &schema).await?;
    // The lock is that of the session: it ends with the one connection.
    let lock = format!("SELECT pg_try_advisory_lock(hashtext('{schema}')) AS locked");
    let locked = tables.db.query_one(Statement::from_string(tables.db.get_database_backend(), lock)).await?;
    if !locked.map(|row| row.try_get("", "locked")).transpose()?.unwrap_or(false) {
        return Ok(None);
    }
    let fresh = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
    tables.db.execute_unprepared(&fresh).await?;
    Ok(Some((tables, At::Schema(schema))))
}

async fn attach(live: &DatabaseConnection, path: &Path) -> Result<(), DbErr> {
    let path = path.display().to_string();
    let attach = Statement::from_sql_and_values(live.get_database_backend(), "ATTACH ? AS beside", [path.into()]);
    live.execute(attach).await.map(|_| ())
}

/// Between tables of one form, with the same indexes, SQLite copies rows and indexes as they are.
async fn copy(txn: &DatabaseTransaction, folding: &Folding) -> Result<(), DbErr> {
    let table = folding.projector.table();
    txn.execute_unprepared(&format!("DROP TABLE IF EXISTS main.\"{table}\"")).await?;
    txn.execute(folding.projector.create_table(txn.get_database_backend())).await?;
    database::create_indexes(txn, &*folding.projector).await?;
    let copy = format!("INSERT INTO main.\"{table}\" SELECT * FROM beside.\"{table}\"");
    txn.execute_unprepared(&copy).await.map(|_| ())
}

async fn move_over(txn: &DatabaseTransaction, schema: &str, table: &str) -> Result<(), DbErr> {
    // Who reads the live table for long must not keep those who come after it waiting for long.
    txn.execute_unprepared("SET LOCAL lock_timeout = '10s'").await?;
    txn.execute_unprepared(&format!("DROP TABLE IF EXISTS {SCHEMA}.\"{table}\"")).await?;
    txn.execute_unprepared(&format!("ALTER TABLE {schema}.\"{table}\" SET SCHEMA {SCHEMA}")).await.map(|_| ())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn failed(error: &std::io::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(error.to_string()))
}
