//! Devices: created with a key that is shown once, configured, shared by tokens, deleted.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::{Client, TestServer};

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap()
}

/// A device of `owner`: its id and its key.
pub(super) async fn device(owner: &Client, name: &str) -> (String, String) {
    let created = owner.post("/api/v1/devices", json!({ "name": name, "device_type": "battery_sensor" })).await;
    let created = created.expect(201);
    (text(&created.json, "/data/device/id").to_owned(), text(&created.json, "/data/api_key").to_owned())
}

#[tokio::test]
async fn a_device_is_made_changed_and_deleted_sqlite() {
    a_device_is_made_changed_and_deleted(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_device_is_made_changed_and_deleted_postgres() {
    a_device_is_made_changed_and_deleted(Engine::Postgres).await;
}
async fn a_device_is_made_changed_and_deleted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let owner = server.user(Surface::Zinnia);
    let body =
        json!({ "name": "客厅传感器", "device_type": "battery_sensor", "metadata": { "location": "living_room" } });
    let created = owner.post("/api/v1/devices", body).await.expect(201);
    assert_eq!((created.at("/code"), created.at("/message")), (&json!(201), &json!("created")));
    let (device, key) = (created.at("/data/device"), text(&created.json, "/data/api_key"));
    let id = text(device, "/id");
    assert!(key.starts_with("zn_live_") && key.len() == 51);
    assert_eq!(text(device, "/api_key_prefix"), format!("{}...", &key[..16]));
    assert_eq!((text(device, "/status"), &device["last_seen_at"]), ("offline", &Value::Null));
    assert_eq!(text(device, "/owner_id"), owner.user_id().to_string());
    let config = created.at("/data/config");
    assert_eq!((&config["low_battery_threshold"], &config["critical_battery_threshold"]), (&json!(20), &json!(10)));
    assert_eq!((&config["report_interval_seconds"], &config["high_temperature_threshold"]), (&json!(60), &json!(45.0)));
    let path = format!("/api/v1/devices/{id}");
    let shown = owner.get(&path).await.expect(200);
    assert_eq!(shown.at("/data"), device);
    let changed = owner.put(&path, json!({ "name": "新名称", "status": "maintenance" })).await.expect(200);
    assert_eq!((text(&changed.json, "/data/name"), text(&changed.json, "/data/status")), ("新名称", "maintenance"));
    assert_eq!(changed.at("/data/metadata"), &json!({ "location": "living_room" }));
    let listed = owner.get("/api/v1/devices?page=1&page_size=20&status=maintenance&device_type=battery_sensor").await;
    let listed = listed.expect(200);
    assert_eq!(text(&listed.json, "/data/items/0/id"), id);
    assert_eq!(
        listed.at("/data/pagination"),
        &json!({ "page": 1, "page_size": 20, "total_items": 1, "total_pages": 1 })
    );
    assert_eq!(owner.get("/api/v1/devices?status=online").await.expect(200).at("/data/items"), &json!([]));
    let deleted = owner.send(Method::DELETE, &path, None).await.expect(200);
    assert_eq!(text(&deleted.json, "/data/message"), "设备已删除");
    owner.get(&path).await.expect(404);
    owner.send(Method::DELETE, &path, None).await.expect(404);
}

#[tokio::test]
async fn settings_keep_to_their_ranges_sqlite() {
    settings_keep_to_their_ranges(Engine::Sqlite).await;
}
#[tokio::test]
async fn settings_keep_to_their_ranges_postgres() {
    settings_keep_to_their_ranges(Engine::Postgres).await;
}
async fn settings_keep_to_their_ranges(engine: Engine) {
    let server = TestServer::start(engine).await;
    let owner = server.user(Surface::Zinnia);
    let (id, _) = device(&owner, "hall").await;
    let path = format!("/api/v1/devices/{id}/config");
    let changed = json!({ "low_battery_threshold": 25, "high_temperature_threshold": 45.5 });
    let config = owner.put(&format!("/api/v1/devices/{id}/config"), changed).await.expect(200);
    assert_eq!((config.at("/data/device_id"), config.at("/data/low_battery_threshold")), (&json!(id), &json!(25)));
    let shown = owner.get(&format!("/api/v1/devices/{id}/config")).await.expect(200);
    assert_eq!(shown.at("/data"), config.at("/data"));
    let head = server.head().await;
    for wrong in [
        json!({ "low_battery_threshold": 0 }),
        json!({ "low_battery_threshold": 101 }),
        json!({ "low_battery_threshold": -1 }),
        json!({ "low_battery_threshold": 20.5 }),
        json!({ "low_battery_threshold": "20" }),
        json!({ "critical_battery_threshold": 25 }),
        json!({ "low_battery_threshold": 5 }),
        json!({ "report_interval_seconds": 9 }),
        json!({ "report_interval_seconds": 3_601 }),
        json!({ "high_temperature_threshold": 200.1 }),
        json!([]),
    ] {
        let refused = owner.put(&path, wrong).await.expect(400);
        assert_eq!(refused.at("/error"), "validation_error");
    }
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_rotated_key_is_another_one() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.user(Surface::Zinnia);
    let (id, key) = device(&owner, "hall").await;
    let rotated = owner.send(Method::POST, &format!("/api/v1/devices/{id}/rotate-key"), None).await.expect(200);
    let fresh = text(&rotated.json, "/data/api_key");
    assert!(fresh != key && fresh.starts_with("zn_live_"));
    let shown = owner.get(&format!("/api/v1/devices/{id}")).await.expect(200);
    assert_eq!(shown.at("/data/api_key_prefix"), rotated.at("/data/api_key_prefix"));
}

#[tokio::test]
async fn tokens_are_handed_out_and_taken_back_sqlite() {
    tokens_are_handed_out_and_taken_back(Engine::Sqlite).await;
}
#[tokio::test]
async fn tokens_are_handed_out_and_taken_back_postgres() {
    tokens_are_handed_out_and_taken_back(Engine::Postgres).await;
}
async fn tokens_are_handed_out_and_taken_back(engine: Engine) {
    let server = TestServer::start(engine).await;
    let owner = server.user(Surface::Zinnia);
    let (id, _) = device(&owner, "hall").await;
    let path = format!("/api/v1/devices/{id}/tokens");
    let body = json!({ "name": "IoT 传感器令牌", "permission": "write", "expires_in_hours": 720,
        "allowed_ips": ["10.1.2.3/8", "::1"], "rate_limit_per_minute": 60 });
    let created = owner.post(&format!("/api/v1/devices/{id}/tokens"), body).await.expect(201);
    let (token, token_id) = (text(&created.json, "/data/token"), text(&created.json, "/data/id"));
    assert_eq!(text(&created.json, "/data/token_prefix"), format!("{}...", &token[..19]));
    assert_eq!(created.at("/data/allowed_ips"), &json!(["10.0.0.0/8", "::1/128"]));
    let listed = owner.get(&format!("/api/v1/devices/{id}/tokens")).await.expect(200);
    assert_eq!((listed.at("/data/0/id"), listed.at("/data/0/token")), (&json!(token_id), &Value::Null));
    assert_eq!((listed.at("/data/0/use_count"), listed.at("/data/0/is_revoked")), (&json!(0), &json!(false)));
    let revoked = owner.send(Method::DELETE, &format!("/api/v1/devices/{id}/tokens/{token_id}"), None).await;
    assert_eq!(text(&revoked.expect(200).json, "/data/message"), "令牌已吊销");
    owner.send(Method::DELETE, &format!("{path}/{token_id}"), None).await.expect(404);
    assert_eq!(owner.get(&path).await.expect(200).at("/data"), &json!([]));
    let with_revoked = owner.get(&format!("{path}?include_revoked=true")).await.expect(200);
    assert_eq!(with_revoked.at("/data/0/is_revoked"), &json!(true));
    for number in 0..20 {
        owner.post(&path, json!({ "name": format!("t{number}") })).await.expect(201);
    }
    owner.post(&path, json!({ "name": "one too many" })).await.expect(400);
    let all = owner.send(Method::DELETE, &format!("/api/v1/devices/{id}/tokens"), None).await.expect(200);
    assert_eq!(all.at("/data/revoked_count"), &json!(20));
    assert_eq!(owner.send(Method::DELETE, &path, None).await.expect(200).at("/data/revoked_count"), &json!(0));
}

#[tokio::test]
async fn bad_bodies_are_refused_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.user(Surface::Zinnia);
    let (id, _) = device(&owner, "hall").await;
    let head = server.head().await;
    let with = |field: &str, value: Value| {
        let mut body = json!({ "name": "hall", "device_type": "sensor" });
        body[field] = value;
        body
    };
    for body in [
        json!({}),
        json!({ "name": "hall" }),
        with("name", json!("")),
        with("name", json!("x".repeat(101))),
        with("name", json!("a\u{0}b")),
        with("device_type", json!("x".repeat(51))),
        with("metadata", json!([])),
        with("metadata", json!({ "x": "y".repeat(20_000) })),
        with("metadata", json!({ "x": "\u{0}" })),
    ] {
        owner.post("/api/v1/devices", body).await.expect(400);
    }
    for body in [
        json!({}),
        json!({ "name": "t", "permission": "admin" }),
        json!({ "name": "t", "expires_in_hours": 0 }),
        json!({ "name": "t", "expires_in_hours": 8_761 }),
        json!({ "name": "t", "expires_in_hours": i64::MAX }),
        json!({ "name": "t", "allowed_ips": ["nowhere"] }),
        json!({ "name": "t", "allowed_ips": vec!["10.0.0.1"; 51] }),
        json!({ "name": "t", "rate_limit_per_minute": 0 }),
        json!({ "name": "t", "rate_limit_per_minute": 1_001 }),
    ] {
        owner.post(&format!("/api/v1/devices/{id}/tokens"), body).await.expect(400);
    }
    owner.put(&format!("/api/v1/devices/{id}"), json!({ "status": "broken" })).await.expect(400);
    owner.get("/api/v1/devices?status=broken").await.expect(400);
    owner.get("/api/v1/devices?page=x").await.expect(400);
    owner.get("/api/v1/devices/nonsense").await.expect(404);
    owner.get(&format!("/api/v1/devices/{}", fresh_id())).await.expect(404);
    server.anonymous().get("/api/v1/devices").await.expect(401);
    let readonly = server.signed_in(Surface::Zinnia, Role::Readonly, TenantId::DEFAULT);
    readonly.post("/api/v1/devices", with("name", json!("hall"))).await.expect(403);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_device_made_again_under_its_key_is_the_same_device() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.user(Surface::Zinnia).with("idempotency-key", "device-1");
    let body = json!({ "name": "hall", "device_type": "sensor" });
    let first = owner.post("/api/v1/devices", body.clone()).await.expect(201);
    let again = owner.post("/api/v1/devices", body).await.expect(201);
    assert_eq!((first.json, again.header("idempotency-replayed")), (again.json.clone(), "true"));
}

#[tokio::test]
async fn keys_and_tokens_stand_nowhere() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.user(Surface::Zinnia);
    let (id, key) = device(&owner, "hall").await;
    let issued = owner.post(&format!("/api/v1/devices/{id}/tokens"), json!({ "name": "t" })).await.expect(201);
    let token = text(&issued.json, "/data/token");
    let events = server.log.read_all(0, &[], 1000).await.unwrap().events;
    assert!(events.iter().all(|event| !event.payload.contains(&key) && !event.payload.contains(token)));
    let shown = server.admin(Surface::Platform).get(&format!("/platform/v1/streams/device/{id}")).await.expect(200);
    assert!(shown.text.contains("[redacted]"));
    let hashes = events.iter().filter_map(|event| {
        let payload: Value = serde_json::from_str(&event.payload).unwrap();
        let hash = payload.pointer("/registered/key_hash").or(payload.pointer("/token_issued/token_hash"));
        hash.and_then(Value::as_str).map(str::to_owned)
    });
    let hashes: Vec<String> = hashes.collect();
    assert_eq!(hashes.len(), 2);
    for hash in hashes {
        assert!(!shown.text.contains(&hash));
        let listed = owner.get(&format!("/api/v1/devices/{id}/tokens")).await.expect(200);
        assert!(!listed.text.contains(&hash));
    }
}

#[tokio::test]
async fn a_session_lives_as_long_as_the_key_it_was_exchanged_for() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (owner, anonymous) = (server.user(Surface::Zinnia), server.anonymous());
    let (id, key) = device(&owner, "hall").await;
    let exchanged = anonymous.post("/api/v1/auth/exchange", json!({ "api_key": key })).await.expect(200);
    assert_eq!((exchanged.at("/data/token_type"), exchanged.at("/data/expires_in")), (&json!("Bearer"), &json!(900)));
    let refresh = json!({ "refresh_token": exchanged.at("/data/refresh_token") });
    anonymous.post("/api/v1/auth/token", refresh.clone()).await.expect(200);
    let by_header = anonymous.with("x-api-key", &key);
    by_header.send(Method::POST, "/api/v1/auth/exchange", None).await.expect(200);
    // A session of a device is nobody's way into an account.
    let access = text(&exchanged.json, "/data/access_token");
    anonymous.with_token(access).get("/api/v1/users/me").await.expect(401);
    let access_token = json!({ "refresh_token": access });
    anonymous.post("/api/v1/auth/token", access_token).await.expect(401);
    anonymous.post("/api/v1/auth/revoke", json!({ "token": access })).await.expect(200);
    anonymous.post("/api/v1/auth/token", refresh).await.expect(401);
    let again = anonymous.post("/api/v1/auth/exchange", json!({ "api_key": key })).await.expect(200);
    owner.send(Method::POST, &format!("/api/v1/devices/{id}/rotate-key"), None).await.expect(200);
    anonymous.post("/api/v1/auth/exchange", json!({ "api_key": key })).await.expect(401);
    let refresh = json!({ "refresh_token": again.at("/data/refresh_token") });
    anonymous.post("/api/v1/auth/token", refresh).await.expect(401);
    for nonsense in [json!({}), json!({ "api_key": "zn_live_x" }), json!({ "refresh_token": "a.b.c" })] {
        anonymous.post("/api/v1/auth/exchange", nonsense).await.expect(401);
    }
}
