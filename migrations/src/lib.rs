//! The tables of the databases: numbered SQL files, each applied once, in order.
//!
//! The files of a schema lie in a directory of its name, one subdirectory an engine. A file that has been released is
//! never edited; a change is a new file with the next number. Read models have no files: their tables come from their
//! row types and can be thrown away.

pub mod wal_copy;

use rusqlite::TransactionBehavior;
use sqlx::{Connection, PgConnection};

/// A set of tables that grows by numbered files.
#[derive(Debug)]
pub struct Schema {
    /// The name under which its files are noted as applied.
    pub name: &'static str,
    /// Name and text of each file; the first has number 1.
    pub files: &'static [(&'static str, &'static str)],
}

/// The log on SQLite.
pub const EVENT_STORE_SQLITE: Schema = Schema {
    name: "event_store",
    files: &[
        ("0001_events.sql", include_str!("../event_store/sqlite/0001_events.sql")),
        ("0002_commands_are_only_added.sql", include_str!("../event_store/sqlite/0002_commands_are_only_added.sql")),
    ],
};

/// The log on PostgreSQL.
pub const EVENT_STORE_POSTGRES: Schema = Schema {
    name: "event_store",
    files: &[("0001_events.sql", include_str!("../event_store/postgres/0001_events.sql"))],
};

/// Market data on SQLite.
pub const MARKET_SQLITE: Schema =
    Schema { name: "market", files: &[("0001_candles.sql", include_str!("../market/sqlite/0001_candles.sql"))] };

/// Market data on PostgreSQL.
pub const MARKET_POSTGRES: Schema =
    Schema { name: "market", files: &[("0001_candles.sql", include_str!("../market/postgres/0001_candles.sql"))] };

/// Battery readings on SQLite.
pub const BATTERY_SQLITE: Schema =
    Schema { name: "battery", files: &[("0001_readings.sql", include_str!("../battery/sqlite/0001_readings.sql"))] };

/// Battery readings on PostgreSQL.
pub const BATTERY_POSTGRES: Schema =
    Schema { name: "battery", files: &[("0001_readings.sql", include_str!("../battery/postgres/0001_readings.sql"))] };

/// Log lines on SQLite.
pub const LOG_LINES_SQLITE: Schema = Schema {
    name: "log_lines",
    files: &[("0001_log_lines.sql", include_str!("../log_lines/sqlite/0001_log_lines.sql"))],
};

/// Log lines on PostgreSQL.
pub const LOG_LINES_POSTGRES: Schema = Schema {
    name: "log_lines",
    files: &[
        ("0001_log_lines.sql", include_str!("../log_lines/postgres/0001_log_lines.sql")),
        ("0002_words_of_runs.sql", include_str!("../log_lines/postgres/0002_words_of_runs.sql")),
    ],
};

/// Why a schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// SQLite refused.
    #[error("the schema could not be applied: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL refused.
    #[error("the schema could not be applied: {0}")]
    Postgres(#[from] sqlx::Error),
    /// The database was used by a later version of this program.
    #[error("schema {schema} stands at {found} and this program knows {known}: it is older than the database")]
    Newer {
        /// Which schema.
        schema: &'static str,
        /// Number of the last file applied to the database.
        found: i64,
        /// Number of the last file of this program.
        known: usize,
    },
}

/// Held while files are applied, so that servers that start together do not apply one twice.
const POSTGRES_LOCK: i64 = 0x636f_7265_6c6f_6701;

const NOTES_SQLITE: &str = "CREATE TABLE IF NOT EXISTS schema_files (
    schema TEXT NOT NULL, number INTEGER NOT NULL, file TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (schema, number)) STRICT";
const NOTES_POSTGRES: &str = "CREATE TABLE IF NOT EXISTS schema_files (
    schema text NOT NULL, number bigint NOT NULL, file text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (schema, number))";

impl Schema {
    /// The names of its triggers.
    pub fn triggers(&self) -> impl Iterator<Item = &'static str> {
        let lines = self.files.iter().flat_map(|(_, text)| text.lines());
        lines.filter_map(|line| line.strip_prefix("CREATE TRIGGER ")?.split(' ').next())
    }

    /// Applies the missing files to an SQLite database, all in one transaction.
    ///
    /// # Errors
    /// The database refuses, or is newer than this program; it is then as before.
    pub fn apply_sqlite(&self, connection: &mut rusqlite::Connection) -> Result<(), MigrationError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(NOTES_SQLITE)?;
        let last = transaction.query_row(
            "SELECT coalesce(max(number), 0) FROM schema_files WHERE schema = ?1",
            [self.name],
            |row| row.get(0),
        )?;
        for (number, file, sql) in self.missing(last)? {
            transaction.execute_batch(sql)?;
            transaction.execute(
                "INSERT INTO schema_files (schema, number, file) VALUES (?1, ?2, ?3)",
                (self.name, number, file),
            )?;
        }
        Ok(transaction.commit()?)
    }

    /// Applies the missing files to a PostgreSQL database, all in one transaction, under a lock.
    ///
    /// # Errors
    /// The database refuses, or is newer than this program; it is then as before.
    pub async fn apply_postgres(&self, connection: &mut PgConnection) -> Result<(), MigrationError> {
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(POSTGRES_LOCK).execute(&mut *transaction).await?;
        sqlx::raw_sql(NOTES_POSTGRES).execute(&mut *transaction).await?;
        let last = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM schema_files WHERE schema = $1")
            .bind(self.name)
            .fetch_one(&mut *transaction)
            .await?;
        for (number, file, sql) in self.missing(last)? {
            sqlx::raw_sql(sql).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO schema_files (schema, number, file) VALUES ($1, $2, $3)")
                .bind(self.name)
                .bind(number)
                .bind(file)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Number, name and text of the files after number `last`.
    fn missing(
        &self,
        last: i64,
    ) -> Result<impl Iterator<Item = (i64, &'static str, &'static str)> + use<>, MigrationError> {
        let known = self.files.len();
        let applied = usize::try_from(last).ok().filter(|applied| *applied <= known);
        let applied = applied.ok_or(MigrationError::Newer { schema: self.name, found: last, known })?;
        Ok((last + 1..).zip(&self.files[applied..]).map(|(number, (file, sql))| (number, *file, *sql)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_from_one_without_gaps() {
        let log = [EVENT_STORE_SQLITE, EVENT_STORE_POSTGRES, MARKET_SQLITE, MARKET_POSTGRES];
        let samples = [BATTERY_SQLITE, BATTERY_POSTGRES, LOG_LINES_SQLITE, LOG_LINES_POSTGRES];
        for schema in log.into_iter().chain(samples) {
            for (number, (file, _)) in (1..).zip(schema.files) {
                assert!(file.starts_with(&format!("{number:04}_")), "{file} stands at place {number}");
            }
        }
    }

    #[test]
    fn files_are_applied_once() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        EVENT_STORE_SQLITE.apply_sqlite(&mut connection).unwrap();
        EVENT_STORE_SQLITE.apply_sqlite(&mut connection).unwrap();
        let noted: i64 = connection.query_row("SELECT count(*) FROM schema_files", [], |row| row.get(0)).unwrap();
        assert_eq!(usize::try_from(noted), Ok(EVENT_STORE_SQLITE.files.len()));
    }

    #[test]
    fn a_database_of_a_later_version_is_left_alone() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        EVENT_STORE_SQLITE.apply_sqlite(&mut connection).unwrap();
        connection.execute("INSERT INTO schema_files VALUES ('event_store', 99, '0099_later.sql', '')", []).unwrap();
        let refused = EVENT_STORE_SQLITE.apply_sqlite(&mut connection).unwrap_err();
        assert!(matches!(refused, MigrationError::Newer { found: 99, .. }));
    }
}
