//! The same without HTTP: what the handler does, called directly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::app::App;
use api::config::Config;
use api::server::Running;
use commands::{Clock, CommandContext};
use domain::UserId;
use domain::billing::balance::Balance;
use domain::billing::recharge_code::{CodeTerms, RechargeCode, RechargeCodeCommand};
use domain::metadata::{Metadata, TenantId};
use futures::{StreamExt, stream};
use rust_decimal::Decimal;
use tests::engine::Engine;
use tests::fresh_id;
use tests::postgres::Database;

use super::AMOUNT;
use crate::measure::Load;
use crate::stores;

/// `requests` redemptions by `clients` users.
pub(super) async fn redemptions(engine: Engine, clients: usize, requests: usize) -> Load {
    let (data, database) = (stores::directory(), stores::database(engine).await);
    let database_url = database.as_ref().map(Database::url);
    let config = Config { data_dir: data.path().to_owned(), database_url, ..Config::default() };
    // Its readers end with it.
    let running_server = Running::start(config, Clock::system()).await.unwrap();
    let app = running_server.app();
    let each = requests / clients;
    let codes: Arc<[String]> = (0..each * clients).map(|_| fresh_id().to_string()).collect();
    stream::iter(codes.iter()).map(|code| issue(&app, code)).buffer_unordered(128).collect::<()>().await;
    app.readers.passed(app.log().head().await.unwrap()).await.unwrap();
    let begun = Instant::now();
    let running: Vec<_> = (0..clients)
        .map(|client| {
            tokio::spawn(one_client(Arc::clone(&app), Arc::clone(&codes), client * each..(client + 1) * each))
        })
        .collect();
    let mut latencies = Vec::new();
    for client in running {
        latencies.append(&mut client.await.unwrap());
    }
    // Lists may be behind these answers; what they owe is not given away.
    app.readers.shown().await.unwrap();
    Load::of(latencies, begun.elapsed())
}

async fn one_client(app: App, codes: Arc<[String]>, mine: std::ops::Range<usize>) -> Vec<Duration> {
    let user = UserId(fresh_id());
    let mut latencies = Vec::new();
    let mut balance = Decimal::ZERO;
    for code in &codes[mine] {
        let begun = Instant::now();
        balance = redeem(&app, code, user).await;
        latencies.push(begun.elapsed());
    }
    assert_eq!(balance, Decimal::from(AMOUNT) * Decimal::from(latencies.len()));
    latencies
}

async fn redeem(app: &App, code: &str, user: UserId) -> Decimal {
    let command = RechargeCodeCommand::Redeem { redemption_id: fresh_id(), by: user };
    let receipt = app.bus.execute::<RechargeCode>(code, command, &context(&user.to_string())).await.unwrap();
    app.readers.handled_through(receipt.position).await.unwrap();
    app.bus.load::<Balance>(&user.to_string()).await.unwrap().0.figures.balance
}

async fn issue(app: &App, code: &str) {
    let command = RechargeCodeCommand::Issue {
        code_id: fresh_id(),
        prefix: "OWL-2222".to_owned(),
        terms: CodeTerms { amount: Decimal::from(AMOUNT), description: None, expires_at: None, max_uses: 1 },
        issued_by: UserId(fresh_id()),
    };
    app.bus.execute::<RechargeCode>(code, command, &context("admin")).await.unwrap();
}

fn context(user: &str) -> CommandContext {
    CommandContext::new(Metadata::of(TenantId::DEFAULT, format!("user:{user}"), "owl", fresh_id()))
}
