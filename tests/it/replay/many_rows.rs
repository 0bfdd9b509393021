//! A list with more rows than are kept in memory.

use std::ops::Range;
use std::sync::Arc;

use commands::log::MemoryLog;
use commands::{Clock, CommandBus, CommandContext};
use domain::UserId;
use domain::billing::balance::{Balance, BalanceCommand};
use domain::log::Log;
use domain::metadata::{Metadata, TenantId};
use futures::{StreamExt, stream};
use projections::billing::balances;
use projections::{ReadModels, Runner};
use replay::projections_named;
use rust_decimal::Decimal;
use sea_orm::EntityTrait;
use tests::fresh_id;

/// Events that the runner folds at once when it catches up.
const PAGE: usize = 5_000;

async fn credit(bus: &CommandBus, wallet: &str) {
    let command = BalanceCommand::Credit { amount: Decimal::ONE, redemption_id: fresh_id(), code_id: fresh_id() };
    let metadata = Metadata::of(TenantId::DEFAULT, "system".to_owned(), "cli", fresh_id());
    bus.execute::<Balance>(wallet, command, &CommandContext::new(metadata)).await.unwrap();
}

async fn credit_all(bus: &CommandBus, wallets: impl Iterator<Item = &String>) {
    stream::iter(wallets).for_each(|wallet| credit(bus, wallet)).await;
}

#[tokio::test]
async fn what_is_read_for_a_batch_pushes_out_nothing_that_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let models = ReadModels::sqlite(&directory.path().join("read_models.db")).await.unwrap();
    models.create_tables(&projections_named(Some("balances")).unwrap()).await.unwrap();
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let bus = CommandBus::new(Arc::clone(&log), Clock::system());
    let mut runner = Runner::new(log, &models, projections_named(Some("balances")).unwrap());
    let wallets: Vec<String> = (0..22_400).map(|_| UserId(fresh_id()).to_string()).collect();
    let of = |range: Range<usize>| wallets[range].iter();

    // Every wallet has a row, and the runner forgets them all.
    credit_all(&bus, of(0..wallets.len())).await;
    runner.catch_up().await.unwrap();
    // Four batches later there is room for another hundred rows before the oldest 5,000 are let go.
    credit_all(&bus, of(0..3 * PAGE)).await;
    credit_all(&bus, of(3 * PAGE..19_900).chain(of(14_900..3 * PAGE))).await;
    // The fifth changes 2,500 of these, and as many that have to be read.
    let (known, unknown) = (of(PAGE..7_500), of(19_900..wallets.len()));
    credit_all(&bus, known.zip(unknown).flat_map(|(known, unknown)| [known, unknown])).await;
    runner.catch_up().await.unwrap();

    let rows = balances::Entity::find().all(&models.read).await.unwrap();
    let entries: i64 = rows.iter().map(|row| row.entries).sum();
    assert_eq!((rows.len(), entries), (wallets.len(), 22_400 + 5 * 5_000));
}
