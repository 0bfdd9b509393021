//! A database of its own for each test.

use sqlx::{Connection, PgConnection};

/// Which engine a scenario runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A PostgreSQL database that is dropped with this value.
pub struct PostgresDatabase {
    admin_url: String,
    name: String,
}

impl PostgresDatabase {
    /// A fresh, empty database on the server that `tests/run` started.
    pub async fn create() -> Self {
        let admin_url = admin_url();
        let name = format!("test_{}", crate::fresh_id().simple());
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        sqlx::query(&format!("create database {name}")).execute(&mut admin).await.unwrap();
        Self { admin_url, name }
    }

    /// How to connect to it.
    pub fn url(&self) -> String {
        let (server, _) = self.admin_url.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let (admin_url, name) = (self.admin_url.clone(), self.name.clone());
        // A thread of its own, because the runtime of the test may be ending.
        let drop_it = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&admin_url).await.unwrap();
                sqlx::query(&format!("drop database {name} with (force)")).execute(&mut admin).await.unwrap();
            });
        });
        let _ = drop_it.join();
    }
}

#[expect(clippy::disallowed_methods, reason = "the one setting of the tests")]
fn admin_url() -> String {
    let message = "CORELOG_TEST_POSTGRES_URL is not set: run the tests with tests/run, which starts a PostgreSQL";
    std::env::var("CORELOG_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty()).expect(message)
}
