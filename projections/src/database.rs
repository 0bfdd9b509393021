//! Where read models live: a file of their own beside the SQLite log, or a schema of their own in PostgreSQL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr,
    IsolationLevel, RuntimeErr, Schema, SqlxPostgresConnector, TransactionTrait,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::checkpoint;
use crate::devices::token_uses;
use crate::projection::ProjectionError;
use crate::projector::AnyProjector;
use crate::writer::{Batch, Protection, Writer};

/// The schema of PostgreSQL in which read models live.
pub const SCHEMA: &str = "read_models";
/// A transaction in which nothing happens for so long is ended: what a server that was stopped in the middle holds would
/// keep all others waiting.
const SILENCE_MAX: &str = "10s";
const SQLITE_READERS: u32 = 4;
const POSTGRES_READERS: u32 = 8;
/// Held by who makes tables, until they are there: `IF NOT EXISTS` fails where somebody else is about to make the same.
/// It says nothing meanwhile.
const TURN: &str = "SET LOCAL idle_in_transaction_session_timeout = '5min'; \
     SELECT pg_advisory_xact_lock(7165071312106252035)";
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// A connection for queries that nobody used for so long is tried before it is used.
const IDLE: Duration = Duration::from_secs(1);
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Connections to the read models: many that read, one that writes.
#[derive(Clone)]
pub struct ReadModels {
    /// For queries.
    pub read: DatabaseConnection,
    /// For statements of one's own; rows are written through [`tables`](Self::tables).
    pub write: DatabaseConnection,
    writer: Writer,
    pub(crate) place: Place,
}

/// Where the tables are.
#[derive(Clone)]
pub(crate) enum Place {
    /// An SQLite file.
    File(PathBuf),
    /// A PostgreSQL server.
    Server(String),
}

/// Tables that somebody moves along the log.
#[derive(Clone)]
pub struct Tables {
    /// For reading them and for statements of one's own.
    pub db: DatabaseConnection,
    writer: Writer,
}

impl Tables {
    /// Writes all of `batch` or nothing.
    pub(crate) async fn write(&self, batch: Batch) -> Result<(), ProjectionError> {
        if batch.is_empty() { Ok(()) } else { self.writer.write(batch).await }
    }
}

impl ReadModels {
    /// Opens (or creates) the SQLite file. Its commits are not flushed one by one: read models can be rebuilt, and
    /// rows and checkpoint are lost or kept together.
    ///
    /// # Errors
    /// What SQLite said.
    pub async fn sqlite(path: &Path) -> Result<Self, DbErr> {
        let url = file_url(path);
        let write = connect(&url, 1, None).await?;
        let read = connect(&url, SQLITE_READERS, None).await?;
        let writer = Writer::sqlite(path, Protection::Kept)?;
        Ok(Self { read, write, writer, place: Place::File(path.to_owned()) })
    }

    /// Connects to PostgreSQL and creates the schema of the read models when it is missing. Commits are not flushed
    /// one by one here either.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn postgres(url: &str) -> Result<Self, DbErr> {
        let mut writing = options_of(url, 2, Some(SCHEMA));
        writing.map_sqlx_postgres_opts(|postgres| {
            postgres.options([("synchronous_commit", "off"), ("idle_in_transaction_session_timeout", SILENCE_MAX)])
        });
        let write = Database::connect(writing).await?;
        let turn = turn(&write).await?;
        turn.execute_unprepared(&format!("create schema if not exists {SCHEMA}")).await?;
        turn.commit().await?;
        let read = postgres_readers(url).await?;
        let writer = Writer::postgres(&write);
        Ok(Self { read, write, writer, place: Place::Server(url.to_owned()) })
    }

    /// The tables, for who moves them along the log.
    pub fn tables(&self) -> Tables {
        Tables { db: self.write.clone(), writer: self.writer.clone() }
    }

    /// The tables and checkpoints as they are at one moment, whatever is written meanwhile. To be dropped soon: a
    /// database cannot clean up behind it.
    ///
    /// # Errors
    /// What the database said.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction, DbErr> {
        match self.place {
            Place::File(_) => self.read.begin().await,
            Place::Server(_) => {
                let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
                self.read.begin_with_config(Some(isolation), Some(access)).await
            }
        }
    }

    /// One more connection that writes, for who cannot wait between the transactions of the runner.
    pub(crate) async fn one_more(&self) -> Result<DatabaseConnection, DbErr> {
        match &self.place {
            Place::File(path) => connect(&file_url(path), 1, None).await,
            Place::Server(url) => connect(url, 1, Some(SCHEMA)).await,
        }
    }

    /// Creates every table that is missing. Servers on one database that start at the same time take turns.
    ///
    /// # Errors
    /// What the database said.
    pub async fn create_tables(&self, projectors: &[Box<dyn AnyProjector>]) -> Result<(), DbErr> {
        // The tables are made outside of this transaction: in it, each would stay locked for the leader until the last.
        let turn = match self.place {
            Place::File(_) => None,
            Place::Server(_) => Some(turn(&self.write).await?),
        };
        create_tables(&self.write, projectors.iter().map(AsRef::as_ref)).await?;
        token_uses::create_table(&self.write).await?;
        match turn {
            Some(turn) => turn.commit().await,
            None => Ok(()),
        }
    }
}

/// Waits until nobody else makes tables, and keeps the turn until the transaction ends.
async fn turn(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let turn = db.begin().await?;
    turn.execute_unprepared(TURN).await?;
    Ok(turn)
}

/// Creates the table of checkpoints and those of `projectors` where missing, with their indexes.
///
/// # Errors
/// What the database said.
pub async fn create_tables(
    db: &DatabaseConnection,
    projectors: impl Iterator<Item = &dyn AnyProjector> + Clone,
) -> Result<(), DbErr> {
    create_bare_tables(db, projectors.clone()).await?;
    for projector in projectors {
        create_indexes(db, projector).await?;
    }
    Ok(())
}

/// The same without the indexes, which are made faster when the rows are there.
pub(crate) async fn create_bare_tables(
    db: &DatabaseConnection,
    projectors: impl Iterator<Item = &dyn AnyProjector>,
) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let checkpoints = Schema::new(backend).create_table_from_entity(checkpoint::Entity).if_not_exists().to_owned();
    db.execute(backend.build(&checkpoints)).await?;
    for projector in projectors {
        db.execute(projector.create_table(backend)).await?;
    }
    Ok(())
}

/// Creates the indexes of a table where missing.
pub(crate) async fn create_indexes(db: &impl ConnectionTrait, projector: &dyn AnyProjector) -> Result<(), DbErr> {
    for statement in projector.create_indexes(db.get_database_backend()) {
        db.execute(statement).await?;
    }
    Ok(())
}

/// An empty database in a file without a name, which is gone with its connections.
///
/// # Errors
/// What SQLite or the file system said.
pub(crate) async fn temporary() -> Result<Tables, DbErr> {
    let file = tempfile::Builder::new().prefix("corelog-").tempfile();
    // The name is there until both connections are open.
    let file = file.map_err(|error| DbErr::Conn(RuntimeErr::Internal(error.to_string())))?;
    disposable_file(file.path()).await
}

/// The database at `path`, made when there is none, without any protection of its contents.
pub(crate) async fn disposable_file(path: &Path) -> Result<Tables, DbErr> {
    let mut options = options(&file_url(path), 1);
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite.journal_mode(SqliteJournalMode::Off).synchronous(SqliteSynchronous::Off).pragma("cache_size", "-16000")
    });
    let db = Database::connect(options).await?;
    Ok(Tables { db, writer: Writer::sqlite(path, Protection::Disposable)? })
}

/// Tables in `schema`, by one connection to the server at `url`.
pub(crate) async fn schema(url: &str, schema: &str) -> Result<Tables, DbErr> {
    let db = connect(url, 1, Some(schema)).await?;
    let writer = Writer::postgres(&db);
    Ok(Tables { db, writer })
}

fn file_url(path: &Path) -> String {
    format!("sqlite://{}?mode=rwc", path.display())
}

async fn connect(url: &str, connections: u32, schema: Option<&str>) -> Result<DatabaseConnection, DbErr> {
    Database::connect(options_of(url, connections, schema)).await
}

/// Connections for queries. One that nobody used for a while is tried first: the server may have been restarted.
async fn postgres_readers(url: &str) -> Result<DatabaseConnection, DbErr> {
    let unreachable = |error| DbErr::Conn(RuntimeErr::SqlxError(error));
    let address: PgConnectOptions = url.parse().map_err(unreachable)?;
    let address = address.options([("search_path", SCHEMA)]).disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_READERS)
        .min_connections(1)
        .acquire_timeout(CONNECTED_WITHIN)
        .test_before_acquire(false)
        .before_acquire(|connection, last| {
            Box::pin(async move { Ok(last.idle_for < IDLE || connection.ping().await.is_ok()) })
        });
    let pool = pool.connect_with(address).await.map_err(unreachable)?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

fn options_of(url: &str, connections: u32, schema: Option<&str>) -> ConnectOptions {
    let mut options = options(url, connections);
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5))
    });
    options.map_sqlx_postgres_opts(|postgres| postgres.options([("synchronous_commit", "off")]));
    if let Some(schema) = schema {
        options.set_schema_search_path(schema);
    }
    options
}

fn options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(CONNECTED_WITHIN)
        .test_before_acquire(false)
        .sqlx_logging(false);
    if connections == 1 {
        // A temporary database, an attached one and a lock live as long as their connection: it is never replaced.
        options.idle_timeout(FOREVER).max_lifetime(FOREVER);
    }
    options
}
