//! Rule-based strategies: created, activated, paused and stopped.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer};
use uuid::Uuid;

/// The id of a fresh paper account.
pub(super) async fn paper_account(user: &Client, initial_balance: i64) -> String {
    let body = json!({ "name": "Paper", "exchange": "paper", "initial_balance": initial_balance });
    user.post("/api/v1/accounts", body).await.expect(200).at("/id").as_str().unwrap().to_owned()
}

fn grid() -> Value {
    json!({ "upper_price": 105_000, "lower_price": 95_000, "grid_count": 20, "total_investment": 5_000, "leverage": 1.0 })
}

fn body(kind: &str, config: &Value, account: Option<&str>) -> Value {
    json!({ "name": "BTC", "strategy_type": kind, "symbol": "btc/usdt:usdt", "config": config, "account_id": account })
}

/// A new strategy, answered as it is shown.
pub(super) async fn create(user: &Client, kind: &str, config: &Value, account: Option<&str>) -> Value {
    user.post("/api/v1/quant-strategies", body(kind, config, account)).await.expect(201).json
}

fn path(strategy: &Value) -> String {
    format!("/api/v1/quant-strategies/{}", strategy["id"].as_str().unwrap())
}

/// A new strategy that trades.
pub(super) async fn active(user: &Client, kind: &str, config: &Value, account: &str) -> Value {
    let strategy = create(user, kind, config, Some(account)).await;
    let id = strategy["id"].as_str().unwrap();
    user.post(&format!("/api/v1/quant-strategies/{id}/status"), json!({ "status": "active" })).await.expect(200).json
}

#[tokio::test]
async fn strategies_are_created_and_listed_sqlite() {
    strategies_are_created_and_listed(Engine::Sqlite).await;
}
#[tokio::test]
async fn strategies_are_created_and_listed_postgres() {
    strategies_are_created_and_listed(Engine::Postgres).await;
}
async fn strategies_are_created_and_listed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = server.user(Surface::Bitrun);
    let account = paper_account(&user, 10_000).await;
    let drawn = create(&user, "grid", &grid(), Some(&account)).await;
    assert_eq!((&drawn["symbol"], &drawn["status"]), (&json!("BTC/USDT:USDT"), &json!("draft")));
    assert_eq!(
        drawn["config"],
        json!({
            "upper_price": 105_000.0, "lower_price": 95_000.0, "grid_count": 20, "total_investment": 5_000.0, "leverage": 1.0,
        })
    );
    assert_eq!(drawn["runtime_state"]["initialized"], false);
    assert_eq!(drawn["runtime_state"]["grid_levels"].as_array().unwrap().len(), 21);
    let saver = json!({ "order_amount": "100", "interval_minutes": 60 });
    let saver = create(&user, "dca", &saver, None).await;
    assert_eq!(saver["config"]["take_profit_percent"], 5.0);
    let swinger = create(&user, "rsi", &json!({ "order_amount": 500 }), None).await;
    assert_eq!(
        swinger["config"],
        json!({
            "rsi_period": 14, "overbought": 70, "oversold": 30, "order_amount": 500.0, "timeframe": "1h", "leverage": 1.0,
        })
    );
    let before = server.head().await;
    let active = user.post(&format!("{}/status", path(&drawn)), json!({ "status": "active" })).await.expect(200);
    assert_eq!(active.at("/status"), "active");
    assert_eq!(user.get(&path(&drawn)).await.expect(200).json, active.json);
    let ids = async |query: &str| -> Value {
        let list = user.get(&format!("/api/v1/quant-strategies{query}")).await.expect(200);
        list.json.as_array().unwrap().iter().map(|row| row["id"].clone()).collect()
    };
    assert_eq!(ids("").await, json!([drawn["id"], swinger["id"], saver["id"]]), "the last changed first");
    assert_eq!(ids("?status=active").await, json!([drawn["id"]]));
    assert_eq!(ids("?status_filter=draft&strategy_type=rsi").await, json!([swinger["id"]]));
    assert_eq!(ids("?limit=1&offset=1").await, json!([swinger["id"]]));
    assert_eq!(ids(&format!("?as_of={before}&status=draft")).await.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn bad_settings_are_named_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let head = server.head().await;
    let user = server.user(Surface::Bitrun);
    let with = |name: &str, value: Value| {
        let mut config = grid();
        config[name] = value;
        config
    };
    let against_rules = [
        (
            "grid",
            with("upper_price", json!(90_000)),
            "Invalid config for grid strategy: upper_price must be greater than lower_price",
        ),
        (
            "grid",
            with("grid_count", json!(1)),
            "Invalid config for grid strategy: grid_count must be between 2 and 200",
        ),
        ("grid", with("leverage", json!(51)), "Invalid config for grid strategy: leverage must be between 1 and 50"),
        ("grid", with("lower_price", json!(104_900)), "Invalid config for grid strategy: the profit per grid"),
        ("grid", json!({}), "Invalid config for grid strategy: upper_price is required"),
        (
            "dca",
            json!({ "order_amount": -1, "interval_minutes": 1 }),
            "Invalid config for dca strategy: order_amount must be above 0",
        ),
        ("dca", json!({ "order_amount": 1 }), "Invalid config for dca strategy: interval_minutes is required"),
        (
            "rsi",
            json!({ "order_amount": 1, "timeframe": "2h" }),
            "Invalid config for rsi strategy: timeframe must be one of",
        ),
        ("rsi", json!({ "order_amount": {} }), "Invalid config for rsi strategy: order_amount must be a number"),
    ];
    for (kind, config, sentence) in against_rules {
        let answer = user.post("/api/v1/quant-strategies", body(kind, &config, None)).await.expect(400);
        assert!(answer.at("/detail").as_str().unwrap().starts_with(sentence), "{}", answer.text);
    }
    let mut long = body("grid", &grid(), None);
    long["symbol"] = json!("A".repeat(21));
    user.post("/api/v1/quant-strategies", long).await.expect(400);
    let mut both = body("grid", &grid(), None);
    both["allocated_capital"] = json!(100);
    both["allocated_capital_percent"] = json!(0.5);
    let wrong_types = [
        json!({}),
        body("martingale", &grid(), None),
        body("grid", &json!(5), None),
        body("grid", &grid(), Some("no-uuid")),
        both,
    ];
    for body in wrong_types {
        assert!(user.post("/api/v1/quant-strategies", body).await.expect(422).at("/detail/0/loc").is_array());
    }
    for query in ["limit=0", "limit=101", "limit=x", "status=odd", "strategy_type=odd", "offset=-1"] {
        user.get(&format!("/api/v1/quant-strategies?{query}")).await.expect(422);
    }
    let foreign = user
        .post("/api/v1/quant-strategies", body("grid", &grid(), Some(&Uuid::from_u128(5).to_string())))
        .await
        .expect(404);
    assert_eq!(foreign.at("/detail"), "Account not found");
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn status_changes_follow_the_rules() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.user(Surface::Bitrun);
    let account = paper_account(&user, 10_000).await;
    let path = format!("{}/status", path(&create(&user, "grid", &grid(), Some(&account)).await));
    let refused = async |to: &str, sentence: &str| {
        let answer = user.post(&path, json!({ "status": to })).await.expect(400);
        assert_eq!(answer.at("/detail"), sentence);
    };
    refused("paused", "Invalid status transition from 'draft' to 'paused'").await;
    user.post(&path, json!({ "status": "active" })).await.expect(200);
    refused("active", "Invalid status transition from 'active' to 'active'").await;
    refused("error", "Invalid status transition from 'active' to 'error'").await;
    let closing = json!({ "status": "stopped", "close_positions": true });
    user.post(&path, closing).await.expect(400);
    user.post(&path, json!({ "status": "paused" })).await.expect(200);
    user.post(&path, json!({ "status": "active" })).await.expect(200);
    user.post(&path, json!({ "status": "stopped", "close_positions": false })).await.expect(200);
    let head = server.head().await;
    refused("active", "Invalid status transition from 'stopped' to 'active'").await;
    user.post(&path, json!({ "status": "sleeping" })).await.expect(422);
    user.post(&path, json!({})).await.expect(422);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn only_a_strategy_with_a_connected_account_is_activated() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.user(Surface::Bitrun);
    let real = json!({ "name": "Main", "exchange": "hyperliquid", "private_key": "0x1" });
    let real = user.post("/api/v1/accounts", real).await.expect(200).at("/id").as_str().unwrap().to_owned();
    let reasons = [
        (None, "Cannot activate strategy without an exchange account"),
        (
            Some(real.as_str()),
            "Cannot activate strategy: There is no adapter for hyperliquid on this server; only accounts on the paper exchange can trade",
        ),
    ];
    for (account, sentence) in reasons {
        let strategy = create(&user, "grid", &grid(), account).await;
        let answer = user.post(&format!("{}/status", path(&strategy)), json!({ "status": "active" })).await.expect(400);
        assert_eq!(answer.at("/detail"), sentence);
    }
}

#[tokio::test]
async fn a_stale_version_is_not_changed() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.user(Surface::Bitrun);
    let account = paper_account(&user, 10_000).await;
    let path = path(&create(&user, "grid", &grid(), Some(&account)).await);
    let seen = user.get(&path).await.expect(200);
    assert_eq!(seen.header("etag"), "\"1\"");
    let matching = user.with("If-Match", seen.header("etag"));
    let activated = matching.post(&format!("{path}/status"), json!({ "status": "active" })).await.expect(200);
    assert_eq!(activated.header("etag"), "\"2\"");
    matching.post(&format!("{path}/status"), json!({ "status": "paused" })).await.expect(412);
    assert_eq!(user.get(&path).await.expect(200).at("/status"), "active");
}

#[tokio::test]
async fn strategies_are_their_owners_only() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.user(Surface::Bitrun);
    let account = paper_account(&owner, 10_000).await;
    let strategy = active(&owner, "grid", &grid(), &account).await;
    let (path, id) = (path(&strategy), strategy["id"].as_str().unwrap());
    let head = server.head().await;
    let stranger = server.signed_in(Surface::Bitrun, Role::Owner, TenantId(Uuid::from_u128(77)));
    for other in [server.user(Surface::Bitrun), stranger] {
        assert_eq!(other.get("/api/v1/quant-strategies").await.expect(200).json, json!([]));
        assert_eq!(other.get(&path).await.expect(404).at("/detail"), "Strategy not found");
        other.post(&format!("{path}/status"), json!({ "status": "stopped" })).await.expect(404);
        other.post(&format!("/api/v1/workers/{id}/trigger"), json!({})).await.expect(404);
        other.get(&format!("/api/v1/decisions/strategy/{id}")).await.expect(404);
        other.post("/api/v1/quant-strategies", body("grid", &grid(), Some(&account))).await.expect(404);
    }
    server.anonymous().get("/api/v1/quant-strategies").await.expect(401);
    owner.get("/api/v1/quant-strategies/no-uuid").await.expect(404);
    assert_eq!(server.head().await, head);
}
