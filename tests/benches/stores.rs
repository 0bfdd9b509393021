//! Throw-away logs and read models.

use std::path::Path;

use api::config::Config;
use api::storage::Storage;
use tempfile::TempDir;
use tests::engine::Engine;
use tests::postgres::Database;

/// A log and read models as a server has them. They go with this value.
pub(crate) struct Store {
    pub(crate) storage: Storage,
    data: TempDir,
    database: Option<Database>,
}

impl Store {
    pub(crate) async fn open(engine: Engine) -> Self {
        let (data, database) = (directory(), database(engine).await);
        let storage = Storage::open(&config(data.path(), database.as_ref())).await.unwrap();
        Self { storage, data, database }
    }

    /// Closes the log and gives what is left to a server process.
    pub(crate) fn into_parts(self) -> (TempDir, Option<Database>) {
        (self.data, self.database)
    }
}

fn config(data: &Path, database: Option<&Database>) -> Config {
    Config { data_dir: data.to_owned(), database_url: database.map(Database::url), ..Config::default() }
}

/// An empty database, where the engine has such.
pub(crate) async fn database(engine: Engine) -> Option<Database> {
    match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Database::create().await),
    }
}

/// An empty directory on the disk of the build, which is a real one; that of temporary files may be in memory.
pub(crate) fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// How tables name the engine.
pub(crate) fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    }
}
