//! Our bus and our runner, as a server has them, with every read model there is.

use std::sync::Arc;

use async_trait::async_trait;
use commands::{Clock, CommandBus, CommandContext};
use domain::billing::balance::Balance;
use domain::metadata::{Metadata, TenantId};
use projections::billing::balances;
use projections::{ReadModels, Runner, catalogue};
use rust_decimal::Decimal;
use sea_orm::EntityTrait;
use tests::engine::Engine;
use tests::fresh_id;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Stack;
use crate::stores::Store;

pub(super) struct Corelog {
    bus: CommandBus,
    models: ReadModels,
    projected: watch::Receiver<u64>,
    running: JoinHandle<()>,
    _store: Store,
}

impl Corelog {
    pub(super) async fn start(engine: Engine) -> Self {
        let store = Store::open(engine).await;
        let (log, models) = (Arc::clone(&store.storage.log), store.storage.models.clone());
        let runner = Runner::new(Arc::clone(&log), &models, catalogue());
        let projected = runner.position();
        let running = tokio::spawn(runner.run(store.storage.leading.clone()));
        Self { bus: CommandBus::new(log, Clock::system()), models, projected, running, _store: store }
    }
}

impl Drop for Corelog {
    fn drop(&mut self) {
        self.running.abort();
    }
}

#[async_trait]
impl Stack for Corelog {
    async fn credit(&self, wallet: &str) {
        // What a request of a signed-in user brings along.
        let metadata = Metadata {
            remote_addr: Some("127.0.0.1".to_owned()),
            ..Metadata::of(TenantId::DEFAULT, format!("user:{wallet}"), "owl", fresh_id())
        };
        self.bus.execute::<Balance>(wallet, super::credit(), &CommandContext::new(metadata)).await.unwrap();
    }

    async fn caught_up(&self) {
        let head = self.bus.log().head().await.unwrap();
        self.projected.clone().wait_for(|position| *position >= head).await.unwrap();
    }

    async fn total(&self) -> Decimal {
        let rows = balances::Entity::find().all(&self.models.read).await.unwrap();
        rows.iter().map(|row| row.amount.parse::<Decimal>().unwrap()).sum()
    }
}
