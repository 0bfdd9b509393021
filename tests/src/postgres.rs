//! A database of its own for each test, on the throw-away server that `tests/run` starts.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

/// Names the server: `postgres://user@host:port/postgres`, for a user who may create databases.
pub const SERVER: &str = "CORELOG_TEST_POSTGRES_URL";

/// An empty database, dropped with this value.
#[derive(Debug)]
pub struct Database {
    server: PgConnectOptions,
    name: String,
}

impl Database {
    /// Creates one.
    ///
    /// # Panics
    /// When there is no server. The tests of PostgreSQL fail then; they are never skipped.
    pub async fn create() -> Self {
        let server = server();
        let name = format!("corelog_{:016x}", rand::random::<u64>());
        run(&server, &format!("CREATE DATABASE {name}")).await;
        Self { server, name }
    }

    /// Where it is, as the program is told.
    pub fn url(&self) -> String {
        self.server.clone().database(&self.name).to_url_lossy().to_string()
    }

    /// A connection to it, for looking behind the program's back.
    ///
    /// # Panics
    /// When the server has gone.
    pub async fn connect(&self) -> PgConnection {
        self.server.clone().database(&self.name).connect().await.expect("the server of the tests has gone")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, sql) = (self.server.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("no runtime");
            runtime.block_on(run(&server, &sql));
        });
        // A database that is left behind goes with its server.
        let _ = dropped.join();
    }
}

#[expect(clippy::disallowed_methods, reason = "the setting of the tests, not of the program")]
fn server() -> PgConnectOptions {
    let url = std::env::var(SERVER).unwrap_or_else(|_| {
        panic!("{SERVER} names no PostgreSQL server. Run tests/run, which starts one, or set it to a throw-away server")
    });
    url.parse().unwrap_or_else(|error| panic!("{SERVER}={url} is no address: {error}"))
}

async fn run(server: &PgConnectOptions, sql: &str) {
    let connection = server.connect().await;
    let mut connection: PgConnection =
        connection.unwrap_or_else(|error| panic!("the PostgreSQL server of {SERVER} cannot be reached: {error}"));
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let _ = connection.close().await;
}
