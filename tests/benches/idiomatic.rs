//! The stack that the documentation of cqrs-es and postgres-es leads to: `CqrsFramework`, the event store, one view.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::DateTime;
use cqrs_es::persist::{GenericQuery, QueryReplay, ViewRepository};
use cqrs_es::{AggregateError, EventEnvelope, View};
use domain::aggregate::Now;
use domain::billing::balance::{Balance, BalanceEvent};
use postgres_es::{
    PostgresCqrs, PostgresEventRepository, PostgresViewRepository, default_postgress_pool, postgres_cqrs,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tests::engine::Engine;
use tests::postgres::Database;

use crate::stores;
use crate::wallets::{Stack, credit};

/// The tables of postgres-es, as its documentation gives them.
const TABLES: &str = "
    CREATE TABLE events (
        aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL,
        event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence));
    CREATE TABLE wallet_view (
        view_id text NOT NULL, version bigint CHECK (version >= 0) NOT NULL, payload json NOT NULL,
        PRIMARY KEY (view_id));";

/// The view: what a wallet holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct WalletView {
    amount: Decimal,
    entries: u64,
}

impl View<Balance> for WalletView {
    fn update(&mut self, event: &EventEnvelope<Balance>) {
        let BalanceEvent::Credited { amount, .. } = &event.payload else { return };
        self.amount += amount;
        self.entries += 1;
    }
}

type Views = PostgresViewRepository<WalletView, Balance>;

/// A running stack with a database of its own.
pub(crate) struct Idiomatic {
    framework: PostgresCqrs<Balance>,
    pool: PgPool,
    /// View updates that the framework reported as lost: two commands of one wallet at the same time.
    lost: Arc<AtomicU64>,
    _database: Database,
}

impl Idiomatic {
    pub(crate) async fn start() -> Self {
        let database = stores::database(Engine::Postgres).await.unwrap();
        let pool = default_postgress_pool(&database.url()).await;
        sqlx::raw_sql(TABLES).execute(&pool).await.unwrap();
        let (query, lost) = query(pool.clone());
        let framework = postgres_cqrs(pool.clone(), vec![Box::new(query)], Now(DateTime::UNIX_EPOCH));
        Self { framework, pool, lost, _database: database }
    }

    /// The events, for a replay.
    pub(crate) fn repository(&self) -> PostgresEventRepository {
        PostgresEventRepository::new(self.pool.clone())
    }

    /// Builds the view anew from the events.
    pub(crate) async fn rebuild_view(&self) {
        sqlx::query("DELETE FROM wallet_view").execute(&self.pool).await.unwrap();
        let (query, _) = query(self.pool.clone());
        QueryReplay::new(self.repository(), query).replay_all().await.unwrap();
    }
}

fn query(pool: PgPool) -> (GenericQuery<Views, WalletView, Balance>, Arc<AtomicU64>) {
    let lost = Arc::<AtomicU64>::default();
    let mut query = GenericQuery::new(Arc::new(Views::new("wallet_view", pool)));
    let counter = Arc::clone(&lost);
    query.use_error_handler(Box::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    (query, lost)
}

#[async_trait]
impl Stack for Idiomatic {
    async fn credit(&self, wallet: &str) {
        let metadata = HashMap::from([("actor".to_owned(), format!("user:{wallet}"))]);
        // Conflicts come back to the caller; all he can do is try again.
        while let Err(error) = self.framework.execute_with_metadata(wallet, credit(), metadata.clone()).await {
            assert!(matches!(error, AggregateError::AggregateConflict), "{error}");
        }
    }

    async fn caught_up(&self) {
        // `execute` returns after the view was written.
    }

    async fn total(&self) -> Decimal {
        let views = Views::new("wallet_view", self.pool.clone());
        let wallets: Vec<String> =
            sqlx::query_scalar("SELECT view_id FROM wallet_view").fetch_all(&self.pool).await.unwrap();
        let mut total = Decimal::from(self.lost.load(Ordering::Relaxed));
        for wallet in wallets {
            total += views.load(&wallet).await.unwrap().unwrap().amount;
        }
        total
    }
}
