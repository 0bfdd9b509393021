//! Events of a tenant, filtered and paged.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::{Client, TestServer};

/// Five codes, two of which a user redeemed; and one code of another tenant. Before them stand the events of the
/// server's owner, whose number is answered too.
async fn with_a_history(engine: Engine) -> (TestServer, Client, Client, u64) {
    let server = TestServer::start(engine).await;
    let before = server.head().await;
    let (admin, user) = (server.admin(Surface::Platform), server.user(Surface::Owl));
    let issued = server.admin(Surface::Owl).post("/api/recharge/codes", json!({ "amount": 10, "batch_size": 5 })).await;
    let issued = issued.expect(200);
    for at in ["/data/codes/0/code", "/data/codes/1/code"] {
        user.post("/api/recharge/redeem", json!({ "code": issued.at(at) })).await.expect(200);
    }
    let stranger = server.signed_in(Surface::Owl, Role::Owner, TenantId(fresh_id()));
    stranger.post("/api/recharge/codes", json!({ "amount": 10 })).await.expect(200);
    (server, admin, user, before)
}

async fn events(admin: &Client, query: &str) -> Vec<Value> {
    let answer = admin.get(&format!("/platform/v1/events{query}")).await.expect(200);
    assert_eq!(answer.at("/next"), &Value::Null);
    answer.at("/events").as_array().unwrap().clone()
}

#[tokio::test]
async fn events_are_filtered_sqlite() {
    events_are_filtered(Engine::Sqlite).await;
}
#[tokio::test]
async fn events_are_filtered_postgres() {
    events_are_filtered(Engine::Postgres).await;
}
async fn events_are_filtered(engine: Engine) {
    let (_server, admin, user, before) = with_a_history(engine).await;
    let count = async |query: &str| events(&admin, query).await.len();
    // The one event of the other tenant is the last one.
    assert_eq!(count(&format!("?from={}", before + 1)).await, 9);
    assert_eq!(count("").await as u64, before + 9);
    assert_eq!(count("?type=recharge_code").await, 7);
    assert_eq!(count("?type=recharge_code.redeemed").await, 2);
    assert_eq!(count(&format!("?actor=user:{}", user.user_id())).await, 2);
    assert_eq!(count("?actor=process:credit_balance_on_redeem").await, 2);
    assert_eq!(count(&format!("?stream=balance/{}", user.user_id())).await, 2);
    assert_eq!(count(&format!("?stream=balance/{}&to={}", user.user_id(), before + 7)).await, 1);
    assert_eq!(count("?stream=balance/nobody").await, 0);
    assert_eq!(count("?from=3&to=5").await, 3);
    let third = &events(&admin, "?from=3&to=3").await[0];
    let time = third["recorded_at"].as_str().unwrap();
    assert!(events(&admin, &format!("?from={time}")).await.contains(third));
    assert!(events(&admin, &format!("?to={time}")).await.contains(third));
    assert_eq!(count("?to=2020-01-01T00:00:00Z").await, 0);
    let redeemed = &events(&admin, "?type=recharge_code.redeemed").await[0];
    assert_eq!((&redeemed["version"], &redeemed["sequence"]), (&json!(1), &json!(2)));
    assert_eq!(redeemed["actor"], format!("user:{}", user.user_id()));
    assert_eq!(redeemed["payload"]["redeemed"]["amount"], "10");
    assert_eq!(redeemed["metadata"]["surface"], "owl");
}

#[tokio::test]
async fn pages_are_stable_while_the_log_grows_sqlite() {
    pages_are_stable_while_the_log_grows(Engine::Sqlite).await;
}
#[tokio::test]
async fn pages_are_stable_while_the_log_grows_postgres() {
    pages_are_stable_while_the_log_grows(Engine::Postgres).await;
}
async fn pages_are_stable_while_the_log_grows(engine: Engine) {
    let (server, admin, ..) = with_a_history(engine).await;
    let (mut seen, mut after) = (Vec::new(), json!(0));
    loop {
        let answer =
            admin.get(&format!("/platform/v1/events?type=recharge_code&limit=2&after={after}")).await.expect(200);
        let page = answer.at("/events").as_array().unwrap();
        assert!(page.len() <= 2);
        seen.extend(page.iter().map(|event| event["position"].as_u64().unwrap()));
        if seen.len() == 4 {
            server.admin(Surface::Owl).post("/api/recharge/codes", json!({ "amount": 1 })).await.expect(200);
        }
        let next = answer.at("/next");
        if next.is_null() {
            // What comes later comes after what was looked at.
            assert_eq!(answer.at("/through"), server.head().await);
            break;
        }
        after = next.clone();
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.is_sorted_by(|one, other| one < other), "{seen:?}");
}

#[tokio::test]
async fn another_tenant_sees_its_own_events_only() {
    let (server, ..) = with_a_history(Engine::Sqlite).await;
    let stranger = server.signed_in(Surface::Platform, Role::Owner, TenantId(fresh_id()));
    assert!(events(&stranger, "").await.is_empty());
    assert!(events(&stranger, "?type=balance&from=1").await.is_empty());
    server.user(Surface::Platform).get("/platform/v1/events").await.expect(403);
    server.anonymous().get("/platform/v1/events").await.expect(401);
}

#[tokio::test]
async fn secrets_are_blanked() {
    let server = TestServer::start(Engine::Sqlite).await;
    let body = json!({ "email": "ann@example.com", "username": "ann", "password": "Battery-staple-9" });
    server.anonymous().post("/api/auth/register", body).await.expect(200);
    let answer = server.admin(Surface::Platform).get("/platform/v1/events?type=user.registered").await.expect(200);
    assert_eq!(answer.at("/events/0/payload/registered/password_hash"), "[redacted]");
    assert_eq!(answer.at("/events/0/redacted/0"), "password_hash");
    assert!(answer.text.contains("ann@example.com") && !answer.text.contains("$argon2"));
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Platform);
    let bad = [
        ("after=x", "after"),
        ("after=-1", "after"),
        ("after=99999999999999999999999", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("from=yesterday", "from"),
        ("to=2026-13-01T00:00:00Z", "to"),
        ("type=unheard_of", "type"),
        ("type=recharge_code.found", "type"),
        ("stream=balance", "stream"),
        ("stream=unheard_of/1", "stream"),
        ("from=9&to=3", "to"),
    ];
    for (query, field) in bad {
        let answer = admin.get(&format!("/platform/v1/events?{query}")).await.expect(422);
        assert_eq!(answer.at("/fields/0/field"), field, "{query}: {}", answer.text);
    }
    // Far beyond the end there is nothing, which is no fault.
    assert!(events(&admin, "?after=18446744073709551615").await.is_empty());
}
