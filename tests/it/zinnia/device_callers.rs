//! Devices that report for themselves: what they show, from where, how often, and what ends it.

use std::time::Duration;

use api::config::Config;
use api::surface::Surface;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::clock::TestClock;
use tests::engine::Engine;
use tests::postgres::Database;
use tests::server::{Client, TestServer, settings};

use super::devices::device;

/// A token for a device, with these fields.
async fn token(owner: &Client, device: &str, fields: Value) -> (String, String) {
    let issued = owner.post(&format!("/api/v1/devices/{device}/tokens"), fields).await.expect(201);
    let text = |pointer| issued.at(pointer).as_str().unwrap().to_owned();
    (text("/data/id"), text("/data/token"))
}

async fn report(client: &Client, level: u8) -> Answer {
    client.post("/api/v1/battery/report", json!({ "battery_level": level })).await
}

#[tokio::test]
async fn a_key_counts_from_its_rotation_on_sqlite() {
    a_key_counts_from_its_rotation_on(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_key_counts_from_its_rotation_on_postgres() {
    a_key_counts_from_its_rotation_on(Engine::Postgres).await;
}
async fn a_key_counts_from_its_rotation_on(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (owner, anonymous) = (server.user(Surface::Zinnia), server.anonymous());
    let (id, key) = device(&owner, "hall").await;
    let by_key = anonymous.with("x-api-key", &key);
    report(&by_key, 80).await.expect(200);
    let exchanged = anonymous.post("/api/v1/auth/exchange", json!({ "api_key": key })).await.expect(200);
    let by_session = anonymous.with_token(exchanged.at("/data/access_token").as_str().unwrap());
    report(&by_session, 79).await.expect(200);
    let rotated = owner.send(Method::POST, &format!("/api/v1/devices/{id}/rotate-key"), None).await.expect(200);
    report(&by_key, 78).await.expect(401);
    report(&by_session, 78).await.expect(401);
    let by_new_key = anonymous.with("x-api-key", rotated.at("/data/api_key").as_str().unwrap());
    report(&by_new_key, 77).await.expect(200);
    owner.put(&format!("/api/v1/devices/{id}"), json!({ "status": "disabled" })).await.expect(200);
    report(&by_new_key, 76).await.expect(403);
    owner.send(Method::DELETE, &format!("/api/v1/devices/{id}"), None).await.expect(200);
    report(&by_new_key, 75).await.expect(401);
    for nothing in [anonymous.clone(), anonymous.with("x-api-key", "zn_live_x"), owner] {
        report(&nothing, 74).await.expect(401);
    }
}

#[tokio::test]
async fn a_token_keeps_to_its_permission_its_networks_and_its_time_sqlite() {
    a_token_keeps_to_its_limits(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_token_keeps_to_its_permission_its_networks_and_its_time_postgres() {
    a_token_keeps_to_its_limits(Engine::Postgres).await;
}
async fn a_token_keeps_to_its_limits(engine: Engine) {
    let time = TestClock::default();
    let server = TestServer::start_by(engine, time.clock()).await;
    let (owner, anonymous) = (server.user(Surface::Zinnia), server.anonymous());
    let (id, _) = device(&owner, "hall").await;
    let (_, reading) = token(&owner, &id, json!({ "name": "r", "permission": "read" })).await;
    report(&anonymous.with_token(&reading), 80).await.expect(403);
    let elsewhere = json!({ "name": "e", "allowed_ips": ["10.0.0.0/8", "fd00::/8"] });
    let (_, elsewhere) = token(&owner, &id, elsewhere).await;
    report(&anonymous.with_token(&elsewhere), 80).await.expect(403);
    let here = json!({ "name": "h", "allowed_ips": ["127.0.0.0/8"], "expires_in_hours": 1 });
    let (here_id, here) = token(&owner, &id, here).await;
    let by_token = anonymous.with_token(&here);
    for _ in 0..3 {
        report(&by_token, 80).await.expect(200);
    }
    let path = format!("/api/v1/devices/{id}/tokens");
    let listed = owner.get(&path).await.expect(200);
    assert_eq!((listed.at("/data/0/id"), listed.at("/data/0/use_count")), (&json!(here_id), &json!(3)));
    assert!(listed.at("/data/0/last_used_at").is_string());
    assert_eq!((listed.at("/data/1/use_count"), listed.at("/data/1/last_used_at")), (&json!(0), &Value::Null));
    time.turn(TimeDelta::minutes(61));
    report(&by_token, 80).await.expect(401);
    let all = owner.get(&format!("{path}?include_expired=true")).await.expect(200);
    assert_eq!(all.at("/data/0/is_expired"), &json!(true));
}

#[tokio::test]
async fn a_token_may_be_used_so_often_a_minute_and_never_after_it_was_revoked() {
    let time = TestClock::default();
    let server = TestServer::start_by(Engine::Sqlite, time.clock()).await;
    let (owner, anonymous) = (server.user(Surface::Zinnia), server.anonymous());
    let (id, _) = device(&owner, "hall").await;
    let (token_id, token) = token(&owner, &id, json!({ "name": "t", "rate_limit_per_minute": 1_000 })).await;
    let by_token = anonymous.with_token(&token);
    let (_, slow) = self::token(&owner, &id, json!({ "name": "slow", "rate_limit_per_minute": 2 })).await;
    let slow = anonymous.with_token(&slow);
    // Three reports meet in one minute, or four do: a minute may end in between.
    let statuses = [80, 79, 78, 77, 76].map(|level| report(&slow, level));
    let statuses = futures::future::join_all(statuses).await;
    let refused = statuses.iter().find(|answer| answer.status == 429).unwrap();
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    time.turn(TimeDelta::minutes(1));
    report(&slow, 75).await.expect(200);
    report(&by_token, 74).await.expect(200);
    let path = format!("/api/v1/devices/{id}/tokens/{token_id}");
    owner.send(Method::DELETE, &path, None).await.expect(200);
    report(&by_token, 73).await.expect(401);
    anonymous.post("/api/v1/auth/revoke", json!({ "token": slow.token() })).await.expect(200);
    report(&slow, 72).await.expect(401);
}

#[tokio::test]
async fn two_devices_may_use_the_same_idempotency_key() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.user(Surface::Zinnia);
    for name in ["hall", "attic"] {
        let (id, key) = device(&owner, name).await;
        let client = server.anonymous().with("x-api-key", &key).with("idempotency-key", "1");
        let first = report(&client, 80).await.expect(200);
        assert_eq!(first.at("/data/device_id"), &json!(id));
        let again = report(&client, 80).await.expect(200);
        assert_eq!((again.header("idempotency-replayed"), again.at("/data")), ("true", first.at("/data")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_rotated_on_one_server_is_worth_nothing_on_the_other() {
    let database = Database::create().await;
    let config = Config { database_url: Some(database.url()), secret_key: Some("7".repeat(64)), ..settings() };
    let [here, there] = [TestServer::start_with(config.clone()).await, TestServer::start_with(config).await];
    let owner = here.user(Surface::Zinnia);
    let (id, key) = device(&owner, "hall").await;
    let seen = here.head().await.to_string();
    let by_key = there.anonymous().with("x-api-key", &key).with("corelog-min-position", &seen);
    report(&by_key, 80).await.expect(200);
    owner.send(Method::POST, &format!("/api/v1/devices/{id}/rotate-key"), None).await.expect(200);
    let ended = async {
        while report(&by_key, 79).await.status != 401 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
}
