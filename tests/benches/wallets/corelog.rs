//! Our bus and our runner, as a server has them.

use std::sync::Arc;

use async_trait::async_trait;
use commands::{Clock, CommandBus, CommandContext};
use domain::billing::balance::Balance;
use domain::metadata::{Metadata, TenantId};
use projections::billing::balances::{self, Balances};
use projections::{Projection, ReadModels, Runner, catalogue};
use rust_decimal::Decimal;
use sea_orm::EntityTrait;
use tests::engine::Engine;
use tests::fresh_id;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Stack;
use crate::stores::Store;

/// Which read models follow the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    /// That of the balances, which the idiomatic stack keeps as well.
    Balances,
    /// Every one that a server has.
    All,
}

impl Lists {
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Balances => "the list of balances",
            Self::All => "all read models",
        }
    }
}

pub(super) struct Corelog {
    bus: CommandBus,
    models: ReadModels,
    projected: watch::Receiver<u64>,
    running: JoinHandle<()>,
    _store: Store,
}

impl Corelog {
    pub(super) async fn start(engine: Engine, lists: Lists) -> Self {
        let store = Store::open(engine).await;
        let (log, models) = (Arc::clone(&store.storage.log), store.storage.models.clone());
        let mut projectors = catalogue();
        projectors.retain(|projector| lists == Lists::All || projector.name() == Balances::NAME);
        let runner = Runner::new(Arc::clone(&log), &models, projectors);
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
        rows.iter().map(|row| row.amount.0).sum()
    }
}
