//! What an installation keeps: the log and the read models, in files or in a database.

use std::fs::DirBuilder;
use std::path::Path;
use std::sync::Arc;

use commands::log::{
    PostgresLog, PostgresOptions, PostgresRestore, ReadOnlySqliteLog, Restore, SqliteLog, SqliteRestore,
};
use domain::log::Log;
use migrations::wal_copy;
use projections::{ReadModels, catalogue};
use tokio::sync::watch;

use crate::config::Config;
use crate::server::StartError;

const LOG_FILE: &str = "log.db";
const READ_MODELS_FILE: &str = "read.db";
/// Candles.
pub(crate) const MARKET_FILE: &str = "market.db";
/// Readings of batteries.
pub(crate) const READINGS_FILE: &str = "battery.db";
pub(crate) const LOG_LINES_FILE: &str = "log_lines.db";
const FILES: [&str; 5] = [LOG_FILE, READ_MODELS_FILE, MARKET_FILE, READINGS_FILE, LOG_LINES_FILE];

/// The log and the read models of an installation.
pub struct Storage {
    pub log: Arc<dyn Log>,
    pub models: ReadModels,
    /// Whether this server drives projections, processes and gateways: one of those on one database does.
    pub leading: watch::Receiver<bool>,
}

impl Storage {
    /// Opens what `config` names and creates the tables that are missing.
    ///
    /// # Errors
    /// A sentence that says what could not be opened.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let storage = match &config.database_url {
            Some(url) => {
                let log = postgres_log(url).await?;
                let leading = log.lead().await;
                Self { log: Arc::new(log), models: postgres_models(url).await?, leading }
            }
            None => {
                let directory = data_dir(config)?;
                let log =
                    SqliteLog::open(&directory.join(LOG_FILE)).map_err(|error| in_directory(directory, &error))?;
                let leading = watch::Sender::new(true).subscribe();
                Self { log: Arc::new(log), models: sqlite_models(directory).await?, leading }
            }
        };
        storage.with_tables().await
    }

    /// Opens what `config` names for looking at its history, while a server may run on it. It never leads, and a log in
    /// a file can only be read.
    ///
    /// # Errors
    /// A sentence that says what could not be opened.
    pub async fn history(config: &Config) -> Result<Self, StartError> {
        let leading = watch::Sender::new(false).subscribe();
        let storage = match &config.database_url {
            Some(url) => Self { log: Arc::new(postgres_log(url).await?), models: postgres_models(url).await?, leading },
            None => {
                let directory = &config.data_dir;
                let log = ReadOnlySqliteLog::open(&directory.join(LOG_FILE));
                let log = log.map_err(|error| in_directory(directory, &error))?;
                Self { log: Arc::new(log), models: sqlite_models(directory).await?, leading }
            }
        };
        storage.with_tables().await
    }

    /// Begins to fill the log that `config` names, which must be empty.
    ///
    /// # Errors
    /// A sentence that says why it cannot be filled.
    pub async fn restore(config: &Config) -> Result<Box<dyn Restore>, StartError> {
        match &config.database_url {
            Some(url) => Ok(Box::new(PostgresRestore::begin(url).await.map_err(|error| in_database(&error))?)),
            None => {
                let directory = data_dir(config)?;
                let restore = SqliteRestore::begin(&directory.join(LOG_FILE));
                Ok(Box::new(restore.map_err(|error| in_directory(directory, &error))?))
            }
        }
    }

    async fn with_tables(self) -> Result<Self, StartError> {
        let tables = self.models.create_tables(&catalogue()).await;
        tables.map_err(|error| StartError::because("the tables of the read models cannot be created", &error))?;
        Ok(self)
    }
}

/// Where the log is, for people. Without the password of a database.
pub(crate) fn place_of_log(config: &Config) -> String {
    match &config.database_url {
        Some(_) => "the database of the setting database_url".to_owned(),
        None => config.data_dir.join(LOG_FILE).display().to_string(),
    }
}

/// The directory of the data. Where it is missing it is made for its owner alone: what is in it has hashes of passwords.
///
/// # Errors
/// A sentence that says why it cannot be made.
pub(crate) fn data_dir(config: &Config) -> Result<&Path, StartError> {
    let directory = &config.data_dir;
    let mut made = DirBuilder::new();
    made.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut made, 0o700);
    made.create(directory).map_err(|error| in_directory(directory, &error))?;
    Ok(directory)
}

/// Makes the SQLite files whole by themselves, so that each can be copied alone. The last act of a server: nobody may
/// have them open any more.
pub fn make_files_whole(config: &Config) {
    if config.database_url.is_some() {
        return;
    }
    for file in FILES.map(|file| config.data_dir.join(file)).into_iter().filter(|file| file.is_file()) {
        match wal_copy::copy_everything(&file) {
            Ok(true) => {}
            Ok(false) => tracing::warn!(file = %file.display(), "somebody reads it: copy its -wal file along"),
            Err(error) => tracing::warn!(file = %file.display(), %error, "copy its -wal file along"),
        }
    }
}

pub(crate) fn in_directory(directory: &Path, error: &dyn std::fmt::Display) -> StartError {
    let setting = format!("the setting data_dir (CORELOG_DATA_DIR) {} cannot be used", directory.display());
    StartError::because(&setting, error)
}

pub(crate) fn in_database(error: &dyn std::fmt::Display) -> StartError {
    StartError::because("the setting database_url (CORELOG_DATABASE_URL) cannot be used", error)
}

async fn sqlite_models(directory: &Path) -> Result<ReadModels, StartError> {
    ReadModels::sqlite(&directory.join(READ_MODELS_FILE)).await.map_err(|error| in_directory(directory, &error))
}

async fn postgres_log(url: &str) -> Result<PostgresLog, StartError> {
    PostgresLog::connect(url, PostgresOptions::default()).await.map_err(|error| in_database(&error))
}

async fn postgres_models(url: &str) -> Result<ReadModels, StartError> {
    ReadModels::postgres(url).await.map_err(|error| in_database(&error))
}
