//! Recharge codes: issued by administrators, redeemed by users.

use std::pin::pin;
use std::time::Duration;

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use futures::poll;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer, WAIT_MAX};
use tokio::time::timeout;

use super::accounts::registered;

async fn issue(admin: &Client, body: Value) -> Vec<String> {
    let answer = admin.post("/api/recharge/codes", body).await.expect(200);
    let codes = answer.at("/data/codes").as_array().unwrap();
    codes.iter().map(|code| code["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_code_becomes_balance_sqlite() {
    a_code_becomes_balance(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_code_becomes_balance_postgres() {
    a_code_becomes_balance(Engine::Postgres).await;
}
async fn a_code_becomes_balance(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    let body = json!({ "amount": 100.5, "description": "welcome", "batch_size": 2, "max_uses": 1 });
    let answer = admin.post("/api/recharge/codes", body).await.expect(200);
    assert_eq!(answer.at("/success"), true);
    assert_eq!(answer.at("/error_code"), &Value::Null);
    assert_eq!(answer.at("/data/total_generated"), 2);
    assert_eq!(answer.at("/data/total_amount"), 201.0);
    for code in answer.at("/data/codes").as_array().unwrap() {
        let code = code["code"].as_str().unwrap();
        assert_eq!((code.len(), &code[..4]), (18, "OWL-"));
        let redeemed = user.post("/api/recharge/redeem", json!({ "code": code.to_lowercase() })).await.expect(200);
        assert_eq!(redeemed.at("/data/amount"), 100.5);
    }
    let records = user.get("/api/recharge/records").await.expect(200);
    assert_eq!(records.at("/data/total"), 2);
    assert_eq!(records.at("/items/0/amount"), 100.5);
    let codes = admin.get("/api/recharge/codes?status=used").await.expect(200);
    assert_eq!(codes.at("/data/items").as_array().unwrap().len(), 2);
    assert_eq!(codes.at("/data/items/0/description"), "welcome");
    assert_eq!(admin.get("/api/recharge/codes?status=active").await.expect(200).at("/total"), 0);
}

#[tokio::test]
async fn the_balance_is_in_the_answer_and_adds_up() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    for (code, balance) in issue(&admin, json!({ "amount": 10, "batch_size": 3 })).await.iter().zip([10.0, 20.0, 30.0])
    {
        let answer = user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(200);
        assert_eq!(answer.at("/data/new_balance"), balance);
    }
}

#[tokio::test]
async fn a_redemption_waits_for_no_list_and_lists_wait_for_it() {
    let server = TestServer::start(Engine::Sqlite).await;
    let app = server.app();
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    let code = issue(&admin, json!({ "amount": 10 })).await.remove(0);
    assert_eq!(admin.get("/api/recharge/codes").await.expect(200).at("/total"), 1);

    let lists = rusqlite::Connection::open(server.data_dir().join("read.db")).unwrap();
    lists.busy_timeout(WAIT_MAX).unwrap();
    lists.execute_batch("BEGIN IMMEDIATE").unwrap();
    // An answer that waited for lists would come after five seconds, and without them.
    let redeeming = user.post("/api/recharge/redeem", json!({ "code": code }));
    let redeemed = timeout(Duration::from_secs(4), redeeming).await.unwrap().expect(200);
    assert_eq!(redeemed.at("/data/new_balance"), 10.0);
    let position: u64 = redeemed.header("corelog-position").parse().unwrap();
    assert!(app.readers.position() < position, "the answer is older than the lists");

    let mut reading = pin!(app.models.read());
    assert!(poll!(reading.as_mut()).is_pending(), "nobody reads what is behind");
    lists.execute_batch("ROLLBACK").unwrap();
    assert_eq!(user.get("/api/recharge/records").await.expect(200).at("/total"), 1);
    reading.await;
    assert!(app.readers.position() >= position);
}

#[tokio::test]
async fn lists_that_cannot_be_written_are_shown_as_they_are() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    let code = issue(&admin, json!({ "amount": 10 })).await.remove(0);
    assert_eq!(admin.get("/api/recharge/codes").await.expect(200).at("/total"), 1);

    server.models.write.execute_unprepared("ALTER TABLE recharge_records_v2 RENAME TO lost").await.unwrap();
    user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(200);
    let mut paused = server.app().paused.clone();
    paused.wait_for(Option::is_some).await.unwrap();
    // One that waited for them would come after five seconds.
    let reading = timeout(Duration::from_secs(4), admin.get("/api/recharge/codes?status=active")).await;
    assert_eq!(reading.unwrap().expect(200).at("/total"), 1, "it is not shown that the code is used");

    server.models.write.execute_unprepared("ALTER TABLE lost RENAME TO recharge_records_v2").await.unwrap();
    paused.wait_for(Option::is_none).await.unwrap();
    assert_eq!(user.get("/api/recharge/records").await.expect(200).at("/total"), 1);
}

#[tokio::test]
async fn sixty_four_clients_redeem_one_code_and_one_wins_sqlite() {
    one_of_many_wins(Engine::Sqlite).await;
}
#[tokio::test]
async fn sixty_four_clients_redeem_one_code_and_one_wins_postgres() {
    one_of_many_wins(Engine::Postgres).await;
}
async fn one_of_many_wins(engine: Engine) {
    let server = TestServer::start(engine).await;
    let code = issue(&server.admin(Surface::Owl), json!({ "amount": 10 })).await.remove(0);
    let attempts = (0..64).map(|_| {
        let (user, body) = (server.user(Surface::Owl), json!({ "code": code }));
        tokio::spawn(async move { user.post("/api/recharge/redeem", body).await })
    });
    let mut won = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        let answer = attempt.await.unwrap();
        if answer.status == 200 {
            won += 1;
        } else {
            let refused = answer.expect(404);
            assert_eq!(refused.at("/error_code"), "RESOURCE_NOT_FOUND");
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_moves_nothing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let code = issue(&server.admin(Surface::Owl), json!({ "amount": 10 })).await.remove(0);
    let user = server.user(Surface::Owl).with("Idempotency-Key", "once");
    let first = user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(200);
    let head = server.head().await;
    let again = user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(200);
    assert_eq!((first.json.clone(), again.header("idempotency-replayed")), (again.json.clone(), "true"));
    let other = user.post("/api/recharge/redeem", json!({ "code": "OWL-2222-2222-2222" })).await.expect(422);
    assert_eq!(other.at("/error_code"), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn bad_input_is_refused_in_the_products_form_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    let head = server.head().await;
    let bodies = [
        json!({}),
        json!({ "amount": "ten" }),
        json!({ "amount": -1 }),
        json!({ "amount": 1, "batch_size": 1001 }),
        json!({ "amount": 1, "max_uses": 0 }),
        json!({ "amount": 1, "expires_at": "yesterday" }),
        json!({ "amount": 1, "expires_at": "2020-01-01T00:00:00Z" }),
        json!([1]),
    ];
    for body in bodies {
        let answer = admin.post("/api/recharge/codes", body).await.expect(422);
        assert_eq!(answer.at("/error_code"), "VALIDATION_ERROR");
        assert_eq!(answer.at("/success"), false);
    }
    let missing = admin.post("/api/recharge/codes", json!({})).await.expect(422);
    assert!(missing.at("/details/field_errors/amount/0").is_string());
    admin.send(reqwest::Method::POST, "/api/recharge/codes", Some("{".into())).await.expect(422);
    admin.send(reqwest::Method::POST, "/api/recharge/codes", Some("x".repeat(1_100_000))).await.expect(413);
    user.post("/api/recharge/redeem", json!({ "code": "OWL-2222-2222-2222" })).await.expect(404);
    user.send(reqwest::Method::DELETE, "/api/recharge/redeem", None).await.expect(405);
    admin.get("/api/recharge/codes?status=odd").await.expect(422);
    admin.get("/api/recharge/codes?page=x").await.expect(422);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn tenants_and_roles_are_kept_apart() {
    let server = TestServer::start(Engine::Sqlite).await;
    let stranger = server.signed_in(Surface::Owl, Role::Owner, TenantId(tests::fresh_id()));
    let code = issue(&server.admin(Surface::Owl), json!({ "amount": 10 })).await.remove(0);
    stranger.post("/api/recharge/redeem", json!({ "code": code })).await.expect(404);
    assert_eq!(stranger.get("/api/recharge/codes").await.expect(200).at("/total"), 0);
    server.user(Surface::Owl).get("/api/recharge/codes").await.expect(403);
    server.anonymous().get("/api/recharge/codes").await.expect(401);
    server.user(Surface::Zinnia).get("/api/recharge/records").await.expect(401);
}

#[tokio::test]
async fn lists_answer_as_of_a_past_position() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), registered(&server, "ada").await);
    let code = issue(&admin, json!({ "amount": 10 })).await.remove(0);
    let before = server.head().await;
    user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(200);
    let then = admin.get(&format!("/api/recharge/codes?as_of={before}")).await.expect(200);
    let now = admin.get("/api/recharge/codes").await.expect(200);
    assert_eq!((then.at("/items/0/used_count"), now.at("/items/0/used_count")), (&json!(0), &json!(1)));
    assert_eq!(user.get(&format!("/api/recharge/records?as_of={before}")).await.expect(200).at("/total"), 0);
    admin.get("/api/recharge/codes?as_of=soon").await.expect(422);
    let me = user.get(&format!("/api/users/me?as_of={before}")).await.expect(200);
    assert_eq!(me.at("/data/balance"), 0.0);
    assert_eq!(user.get("/api/users/me").await.expect(200).at("/data/balance"), 10.0);
    // What is only known as it is now is not passed off as what it was.
    for path in ["/api/users/stats", "/api/gpu/servers"] {
        let refused = user.get(&format!("{path}?as_of={before}")).await.expect(422);
        assert!(refused.at("/details/field_errors/as_of/0").is_string(), "{}", refused.text);
        user.get(&format!("{path}?as_of=")).await.expect(200);
    }
}

#[tokio::test]
async fn a_deactivated_code_is_worth_nothing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    let stranger = server.signed_in(Surface::Owl, Role::Owner, TenantId(tests::fresh_id()));
    let issued = admin.post("/api/recharge/codes", json!({ "amount": 10 })).await.expect(200);
    let code = issued.at("/data/codes/0/code").as_str().unwrap().to_owned();
    let path = format!("/api/recharge/codes/{}", issued.at("/data/codes/0/id").as_str().unwrap());
    let delete = reqwest::Method::DELETE;
    let head = server.head().await;
    user.send(delete.clone(), &path, None).await.expect(403);
    stranger.send(delete.clone(), &path, None).await.expect(404);
    admin.send(delete.clone(), "/api/recharge/codes/7", None).await.expect(404);
    admin.send(delete.clone(), &format!("/api/recharge/codes/{}", tests::fresh_id()), None).await.expect(404);
    assert_eq!(server.head().await, head);
    let gone = admin.send(delete.clone(), &path, None).await.expect(200);
    assert_eq!(gone.at("/data/is_active"), false);
    admin.send(delete, &path, None).await.expect(200);
    assert_eq!(server.head().await, head + 1);
    let refused = user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(404);
    let unknown = user.post("/api/recharge/redeem", json!({ "code": "OWL-2222-2222-2222" })).await.expect(404);
    assert_eq!(refused.json, unknown.json, "nobody learns which codes there are");
    assert_eq!(admin.get("/api/recharge/codes?status=inactive").await.expect(200).at("/total"), 1);
    assert_eq!(admin.get("/api/recharge/codes?status=unused").await.expect(200).at("/total"), 0);
}

#[tokio::test]
async fn a_code_may_be_typed_as_it_looks() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    for code in issue(&admin, json!({ "amount": 1, "batch_size": 20 })).await {
        let typed = code[4..].to_lowercase().replace('0', "o").replace('1', "l").replace('-', " ");
        user.post("/api/recharge/use", json!({ "code": format!("owl {typed}") })).await.expect(200);
    }
    let me = user.get("/api/recharge/records").await.expect(200);
    assert_eq!(me.at("/total"), 20);
}
