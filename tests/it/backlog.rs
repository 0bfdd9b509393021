//! Process managers that come back to a log that went on without them.

use std::sync::Arc;
use std::time::Duration;

use api::config::Config;
use api::storage::Storage;
use commands::processes::{self, ProcessRunner};
use commands::{Clock, CommandBus, CommandContext};
use domain::UserId;
use domain::billing::balance::Balance;
use domain::billing::recharge_code::{CodeTerms, RechargeCode, RechargeCodeCommand};
use domain::metadata::{Metadata, TenantId};
use futures::{StreamExt, stream};
use rust_decimal::Decimal;
use tests::engine::Engine;
use tests::fresh_id;
use tests::postgres::Database;

/// More than there are connections that read, and fewer than are handled at the same time.
const CODES: usize = 60;
/// With these, more events than one page has.
const USERS: usize = 40;

async fn carry_out(bus: &CommandBus, code: &str, command: RechargeCodeCommand) {
    let metadata = Metadata::of(TenantId::DEFAULT, "system".to_owned(), "cli", fresh_id());
    bus.execute::<RechargeCode>(code, command, &CommandContext::new(metadata)).await.unwrap();
}

/// Every user redeems a code, each code another user first: then their balances are read at the same time.
async fn redeemed(bus: &CommandBus, users: &[UserId], first: usize) {
    let code = fresh_id().to_string();
    let issue = RechargeCodeCommand::Issue {
        code_id: fresh_id(),
        prefix: "OWL-2222".to_owned(),
        terms: CodeTerms {
            amount: Decimal::ONE,
            description: None,
            expires_at: None,
            max_uses: u32::try_from(users.len()).unwrap(),
        },
        issued_by: UserId(fresh_id()),
    };
    carry_out(bus, &code, issue).await;
    for by in users.iter().cycle().skip(first).take(users.len()) {
        carry_out(bus, &code, RechargeCodeCommand::Redeem { redemption_id: fresh_id(), by: *by }).await;
    }
}

#[tokio::test]
async fn a_long_backlog_is_handled_to_its_end_sqlite() {
    a_long_backlog_is_handled_to_its_end(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_long_backlog_is_handled_to_its_end_postgres() {
    a_long_backlog_is_handled_to_its_end(Engine::Postgres).await;
}
async fn a_long_backlog_is_handled_to_its_end(engine: Engine) {
    let directory = tempfile::tempdir().unwrap();
    let database = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Database::create().await),
    };
    let config = Config {
        data_dir: directory.path().to_owned(),
        database_url: database.as_ref().map(Database::url),
        ..Config::default()
    };
    let users: Vec<UserId> = (0..USERS).map(|_| UserId(fresh_id())).collect();
    let storage = Storage::open(&config).await.unwrap();
    let bus = CommandBus::new(Arc::clone(&storage.log), Clock::system());
    stream::iter(0..CODES).map(|code| redeemed(&bus, &users, code)).buffer_unordered(CODES).collect::<()>().await;
    drop((bus, storage));

    // Nothing of the log is in memory any more, and every aggregate has to be read.
    let storage = Storage::open(&config).await.unwrap();
    let head = storage.log.head().await.unwrap();
    let bus = Arc::new(CommandBus::new(Arc::clone(&storage.log), Clock::system()));
    let runner = ProcessRunner::new(Arc::clone(&bus), processes::all(), Arc::default());
    let mut handled = runner.handled();
    let running = tokio::spawn(runner.run(storage.leading.clone()));
    let all = handled.wait_for(|handled| handled.through >= head);
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("it goes on to the end").unwrap();
    for user in users {
        let (balance, _) = bus.load::<Balance>(&user.to_string()).await.unwrap();
        assert_eq!(balance.figures.balance, Decimal::from(CODES));
    }
    running.abort();
}
