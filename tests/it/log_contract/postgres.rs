//! The log in PostgreSQL.

use std::sync::Arc;

use commands::log::{PostgresLog, PostgresOptions};
use domain::log::Log;
use tests::postgres::Database;

use super::{Durable, Engine, contract, durable_contract};

mod foreign;
mod servers;

struct Postgres(Database);

impl Postgres {
    async fn server(&self, options: PostgresOptions) -> Arc<PostgresLog> {
        Arc::new(PostgresLog::connect(&self.0.url(), options).await.unwrap())
    }
}

impl Engine for Postgres {
    async fn create() -> Self {
        Self(Database::create().await)
    }
    async fn open(&self) -> Arc<dyn Log> {
        self.server(PostgresOptions::default()).await
    }
}

impl Durable for Postgres {
    async fn sql(&self, sql: &str) -> Result<(), String> {
        let result = sqlx::raw_sql(sql).execute(&mut self.0.connect().await).await;
        result.map(|_| ()).map_err(|error| error.to_string())
    }
    fn insert_in(&self, year: i32) -> String {
        let id = uuid::Uuid::nil();
        format!(
            "INSERT INTO events VALUES ('lead', '1', 1, 'thing.changed', '1', '{{}}', '{{}}', 1, '{id}', '{id}', \
             '{year}-01-01Z')"
        )
    }
}

contract!(Postgres);
durable_contract!(Postgres);
