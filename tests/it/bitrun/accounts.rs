//! Exchange accounts: opened, listed, and nobody else's business.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::TestServer;
use uuid::Uuid;

#[tokio::test]
async fn accounts_are_opened_and_listed_sqlite() {
    accounts_are_opened_and_listed(Engine::Sqlite).await;
}
#[tokio::test]
async fn accounts_are_opened_and_listed_postgres() {
    accounts_are_opened_and_listed(Engine::Postgres).await;
}
async fn accounts_are_opened_and_listed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = server.user(Surface::Bitrun);
    let paper = user.post("/api/v1/accounts", json!({ "name": "Paper", "exchange": "paper" })).await.expect(200);
    assert_eq!(paper.at("/is_connected"), true);
    assert_eq!(paper.at("/connection_error"), &Value::Null);
    assert_eq!(paper.at("/has_api_key"), false);
    let created_at = paper.at("/created_at").as_str().unwrap();
    assert!(
        created_at.ends_with("+00:00") && created_at.len() == "2025-01-01T00:00:00.000000+00:00".len(),
        "{created_at}"
    );
    let before = server.head().await;
    let body = json!({ "name": "Main", "exchange": "binance", "api_key": "kkk-1", "api_secret": "sss-2" });
    let real = user.post("/api/v1/accounts", body).await.expect(200);
    assert_eq!(real.at("/is_connected"), false);
    let reason = "There is no adapter for binance on this server; only accounts on the paper exchange can trade";
    assert_eq!(real.at("/connection_error"), reason);
    assert_eq!((real.at("/has_api_key"), real.at("/has_private_key")), (&json!(true), &json!(false)));
    let list = user.get("/api/v1/accounts").await.expect(200);
    assert_eq!(list.json, json!([real.json, paper.json]));
    assert_eq!(user.get("/api/v1/accounts?exchange=paper").await.expect(200).json, json!([paper.json]));
    assert_eq!(user.get(&format!("/api/v1/accounts?as_of={before}")).await.expect(200).json, json!([paper.json]));
    let path = format!("/api/v1/accounts/{}", paper.at("/id").as_str().unwrap());
    assert_eq!(user.get(&path).await.expect(200).json, paper.json);
    let balance = user.get(&format!("{path}/balance")).await.expect(200);
    assert_eq!((balance.at("/equity"), balance.at("/available_balance")), (&json!(10_000.0), &json!(10_000.0)));
    assert_eq!(balance.at("/positions"), &json!([]));
    let path = format!("/api/v1/accounts/{}/balance", real.at("/id").as_str().unwrap());
    assert_eq!(user.get(&path).await.expect(400).at("/detail"), reason);
}

#[tokio::test]
async fn credentials_are_sealed_before_they_are_stored() {
    let server = TestServer::start(Engine::Sqlite).await;
    let head = server.head().await;
    let body = json!({
        "name": "Main", "exchange": "okx", "api_key": "kkk-1", "api_secret": "sss-2", "passphrase": "ppp-3",
        "mnemonic": "mmm-4",
    });
    let answer = server.user(Surface::Bitrun).post("/api/v1/accounts", body).await.expect(200);
    assert_eq!((answer.at("/has_passphrase"), answer.at("/has_private_key")), (&json!(true), &json!(true)));
    let events = server.log.read_all(head, &[], 10).await.unwrap().events;
    assert_eq!(events.len(), 1);
    for secret in ["kkk-1", "sss-2", "ppp-3", "mmm-4"] {
        assert!(!events[0].payload.contains(secret) && !answer.text.contains(secret), "{secret} is in the open");
    }
}

#[tokio::test]
async fn a_repeated_request_opens_one_account() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.user(Surface::Bitrun);
    let keyed = user.with("Idempotency-Key", "open-1");
    let body = json!({ "name": "Paper", "exchange": "paper", "initial_balance": 500.5 });
    let first = keyed.post("/api/v1/accounts", body.clone()).await.expect(200);
    let again = keyed.post("/api/v1/accounts", body).await.expect(200);
    assert_eq!((first.json, again.header("idempotency-replayed")), (again.json.clone(), "true"));
    assert_eq!(user.get("/api/v1/accounts").await.expect(200).json.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn bad_accounts_are_refused_in_the_products_form_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let head = server.head().await;
    let user = server.user(Surface::Bitrun);
    let wrong_types = [
        json!({}),
        json!({ "name": "x" }),
        json!({ "name": 1, "exchange": "paper" }),
        json!({ "name": "x", "exchange": "paper", "initial_balance": "much" }),
        json!({ "name": "x", "exchange": "okx", "api_key": "k".repeat(5_000) }),
        json!([]),
    ];
    for body in wrong_types {
        let answer = user.post("/api/v1/accounts", body).await.expect(422);
        assert_eq!(answer.at("/detail/0/loc/0"), "body", "{}", answer.text);
        assert!(answer.at("/detail/0/msg").is_string() && answer.at("/detail/0/type").is_string());
    }
    let against_rules = [
        (json!({ "name": "x", "exchange": "mtgox" }), "Unsupported exchange."),
        (json!({ "name": " ", "exchange": "paper" }), "name must be 1 to 100 characters"),
        (json!({ "name": "x".repeat(101), "exchange": "paper" }), "name must be 1 to 100 characters"),
        (json!({ "name": "x", "exchange": "paper", "initial_balance": 0 }), "initial_balance must be above 0"),
        (json!({ "name": "x", "exchange": "paper", "initial_balance": 1e18 }), "initial_balance must be above 0"),
        (json!({ "name": "x", "exchange": "okx", "initial_balance": 5 }), "initial_balance can be given for the paper"),
        (json!({ "name": "x", "exchange": "paper", "api_key": "k" }), "The paper exchange takes no credentials"),
    ];
    for (body, sentence) in against_rules {
        let answer = user.post("/api/v1/accounts", body).await.expect(400);
        assert!(answer.at("/detail").as_str().unwrap().starts_with(sentence), "{}", answer.text);
    }
    user.send(reqwest::Method::POST, "/api/v1/accounts", Some("{".into())).await.expect(400);
    user.get("/api/v1/accounts/no-uuid").await.expect(404);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn accounts_are_their_owners_only() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.user(Surface::Bitrun);
    let account = owner.post("/api/v1/accounts", json!({ "name": "Paper", "exchange": "paper" })).await.expect(200);
    let path = format!("/api/v1/accounts/{}", account.at("/id").as_str().unwrap());
    let stranger = server.signed_in(Surface::Bitrun, Role::Owner, TenantId(Uuid::from_u128(77)));
    for other in [server.user(Surface::Bitrun), stranger] {
        assert_eq!(other.get("/api/v1/accounts").await.expect(200).json, json!([]));
        assert_eq!(other.get(&path).await.expect(404).at("/detail"), "Account not found");
        other.get(&format!("{path}/balance")).await.expect(404);
    }
    let nobody = server.anonymous().get("/api/v1/accounts").await.expect(401);
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
    server.user(Surface::Owl).get("/api/v1/accounts").await.expect(401);
}

/// As its framework says it, whose list of places its clients read.
#[tokio::test]
async fn what_is_refused_says_in_which_part_of_the_request_it_stands() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.user(Surface::Bitrun);
    let head = server.head().await;
    let account = "/api/v1/accounts";
    for (refused, place) in [
        (user.post(account, json!({ "exchange": "paper" })).await, json!(["body", "name"])),
        (user.post(account, json!({ "name": 5, "exchange": "paper" })).await, json!(["body", "name"])),
        (user.get("/api/v1/decisions/recent?limit=many").await, json!(["query", "limit"])),
        (user.get("/api/v1/decisions/recent?limit=0").await, json!(["query", "limit"])),
        (user.get("/api/v1/quant-strategies?strategy_type=odd").await, json!(["query", "strategy_type"])),
        (user.get("/api/v1/quant-strategies?offset=99999999999").await, json!(["query", "offset"])),
        (user.get("/api/v1/quant-strategies?status=odd").await, json!(["query", "status"])),
        (user.get("/api/v1/quant-strategies?status_filter=odd").await, json!(["query", "status_filter"])),
        (user.get("/api/v1/accounts?as_of=never").await, json!(["query", "as_of"])),
        (user.post(&format!("{account}?dry_run=true"), json!({})).await, json!(["query", "dry_run"])),
        (user.with("If-Match", "odd").get(account).await, json!(["header", "If-Match"])),
    ] {
        let refused = refused.expect(422);
        assert_eq!(refused.at("/detail/0/loc"), &place, "{}", refused.text);
    }
    assert_eq!(server.head().await, head);
}
