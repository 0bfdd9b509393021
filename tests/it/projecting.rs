//! What the runner of the projections says is projected, while the next events are folded beside what is written.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use commands::log::MemoryLog;
use commands::{Clock, CommandBus, CommandContext};
use domain::UserId;
use domain::billing::balance::{Balance, BalanceCommand};
use domain::log::Log;
use domain::metadata::{Metadata, TenantId};
use projections::billing::balances;
use projections::{DecimalText, Projection, ReadModels, Runner};
use replay::projections_named;
use rust_decimal::Decimal;
use sea_orm::{ConnectionTrait, EntityTrait, TransactionTrait};
use tests::engine::Engine;
use tests::fresh_id;
use tests::postgres::Database;
use tokio::sync::watch;

const WALLETS: usize = 20;
/// Long enough that an answer would have been given.
const A_WHILE: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(30);

/// A list that a runner keeps, and a log to append to.
struct Projecting {
    models: ReadModels,
    log: Arc<dyn Log>,
    bus: CommandBus,
    wallets: Vec<String>,
    position: watch::Receiver<u64>,
    running: tokio::task::JoinHandle<()>,
    directory: tempfile::TempDir,
    database: Option<Database>,
}

impl Projecting {
    async fn start(engine: Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Database::create().await),
        };
        let models = open(directory.path(), database.as_ref()).await;
        let projectors = || projections_named(Some("balances")).unwrap();
        models.create_tables(&projectors()).await.unwrap();
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let bus = CommandBus::new(Arc::clone(&log), Clock::system());
        let runner = Runner::new(Arc::clone(&log), &models, projectors());
        let position = runner.position();
        let running = tokio::spawn(runner.run(watch::Sender::new(true).subscribe()));
        let wallets = (0..WALLETS).map(|_| UserId(fresh_id()).to_string()).collect();
        Self { models, log, bus, wallets, position, running, directory, database }
    }

    /// Adds one to every wallet.
    async fn credit_all(&self) {
        for wallet in &self.wallets {
            let (redemption_id, code_id) = (fresh_id(), fresh_id());
            let command = BalanceCommand::Credit { amount: Decimal::ONE, redemption_id, code_id };
            let metadata = Metadata::of(TenantId::DEFAULT, "system".to_owned(), "cli", fresh_id());
            self.bus.execute::<Balance>(wallet, command, &CommandContext::new(metadata)).await.unwrap();
        }
    }

    /// Connections of somebody else.
    async fn others(&self) -> ReadModels {
        open(self.directory.path(), self.database.as_ref()).await
    }

    async fn all_is_projected(&mut self) {
        let head = self.log.head().await.unwrap();
        let all = self.position.wait_for(|position| *position >= head);
        tokio::time::timeout(LONG, all).await.expect("it goes on to the end").unwrap();
    }

    async fn nothing_is_projected_after(&mut self, since: u64) {
        let more = tokio::time::timeout(A_WHILE, self.position.wait_for(|position| *position > since)).await;
        assert!(more.is_err(), "{more:?} is said to be projected");
    }

    /// Every wallet was credited so often, each credit once.
    async fn end(self, credits: i64) {
        let rows = balances::Entity::find().all(&self.models.read).await.unwrap();
        let (entries, amount) = (credits, DecimalText(credits.into()));
        assert_eq!(rows.len(), WALLETS);
        assert!(rows.iter().all(|row| (row.entries, row.amount) == (entries, amount)), "{rows:?}");
        self.running.abort();
    }
}

async fn open(directory: &Path, database: Option<&Database>) -> ReadModels {
    match database {
        None => ReadModels::sqlite(&directory.join("read_models.db")).await.unwrap(),
        Some(database) => ReadModels::postgres(&database.url()).await.unwrap(),
    }
}

#[tokio::test]
async fn nothing_is_projected_before_it_is_written_sqlite() {
    nothing_is_projected_before_it_is_written(Engine::Sqlite).await;
}
#[tokio::test]
async fn nothing_is_projected_before_it_is_written_postgres() {
    nothing_is_projected_before_it_is_written(Engine::Postgres).await;
}
async fn nothing_is_projected_before_it_is_written(engine: Engine) {
    let mut projecting = Projecting::start(engine).await;
    projecting.credit_all().await;
    projecting.all_is_projected().await;
    let since = *projecting.position.borrow();

    let held = projecting.others().await.write.begin().await.unwrap();
    held.execute_unprepared("UPDATE checkpoints SET position = position").await.unwrap();
    projecting.credit_all().await;
    projecting.nothing_is_projected_after(since).await;
    projecting.credit_all().await;
    projecting.nothing_is_projected_after(since).await;
    held.rollback().await.unwrap();
    projecting.all_is_projected().await;
    projecting.end(3).await;
}

#[tokio::test]
async fn what_could_not_be_written_is_folded_again_sqlite() {
    what_could_not_be_written_is_folded_again(Engine::Sqlite).await;
}
#[tokio::test]
async fn what_could_not_be_written_is_folded_again_postgres() {
    what_could_not_be_written_is_folded_again(Engine::Postgres).await;
}
async fn what_could_not_be_written_is_folded_again(engine: Engine) {
    let mut projecting = Projecting::start(engine).await;
    projecting.credit_all().await;
    projecting.all_is_projected().await;
    let since = *projecting.position.borrow();

    let others = projecting.others().await;
    let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
    others.write.execute_unprepared(&rename(balances::Balances::TABLE, "elsewhere")).await.unwrap();
    projecting.credit_all().await;
    projecting.nothing_is_projected_after(since).await;
    projecting.credit_all().await;
    others.write.execute_unprepared(&rename("elsewhere", balances::Balances::TABLE)).await.unwrap();
    projecting.all_is_projected().await;
    projecting.end(3).await;
}
