//! Where read models live: a file of their own beside the SQLite log, or a schema of their own in PostgreSQL.

use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, Schema};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use crate::checkpoint;
use crate::projector::AnyProjector;

/// The schema of PostgreSQL in which read models live.
pub const SCHEMA: &str = "read_models";
const SQLITE_READERS: u32 = 4;
const POSTGRES_READERS: u32 = 8;
const IN_MEMORY: &str = "sqlite::memory:";
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Connections to the read models: many that read, one that writes.
#[derive(Clone)]
pub struct ReadModels {
    /// For queries.
    pub read: DatabaseConnection,
    /// For the runner.
    pub write: DatabaseConnection,
}

impl ReadModels {
    /// Opens (or creates) the SQLite file. Its commits are not flushed one by one: read models can be rebuilt, and
    /// rows and checkpoint are lost or kept together.
    ///
    /// # Errors
    /// What SQLite said.
    pub async fn sqlite(path: &Path) -> Result<Self, DbErr> {
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let write = connect(&url, 1, None).await?;
        Ok(Self { read: connect(&url, SQLITE_READERS, None).await?, write })
    }

    /// Connects to PostgreSQL and creates the schema of the read models when it is missing.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn postgres(url: &str) -> Result<Self, DbErr> {
        let write = connect(url, 2, Some(SCHEMA)).await?;
        write.execute_unprepared(&format!("create schema if not exists {SCHEMA}")).await?;
        Ok(Self { read: connect(url, POSTGRES_READERS, Some(SCHEMA)).await?, write })
    }

    /// Creates every table that is missing.
    ///
    /// # Errors
    /// What the database said.
    pub async fn create_tables(&self, projectors: &[Box<dyn AnyProjector>]) -> Result<(), DbErr> {
        create_tables(&self.write, projectors).await
    }
}

/// Creates the table of checkpoints and those of `projectors` where missing.
///
/// # Errors
/// What the database said.
pub async fn create_tables(db: &DatabaseConnection, projectors: &[Box<dyn AnyProjector>]) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let checkpoints = Schema::new(backend).create_table_from_entity(checkpoint::Entity).if_not_exists().to_owned();
    db.execute(backend.build(&checkpoints)).await?;
    for projector in projectors {
        for statement in projector.create_statements(backend) {
            db.execute(statement).await?;
        }
    }
    Ok(())
}

/// An empty database in memory: for lists at a past moment and for comparing a rebuild with the live rows.
///
/// # Errors
/// What SQLite said.
pub async fn in_memory() -> Result<DatabaseConnection, DbErr> {
    connect(IN_MEMORY, 1, None).await
}

async fn connect(url: &str, connections: u32, schema: Option<&str>) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Normal)
                .busy_timeout(Duration::from_secs(5))
        });
    if url == IN_MEMORY {
        // The database lives as long as its one connection: it must never be replaced.
        options.idle_timeout(FOREVER).max_lifetime(FOREVER);
    }
    if let Some(schema) = schema {
        options.set_schema_search_path(schema);
    }
    Database::connect(options).await
}
