//! Alert rules: the ones to begin with, made, changed, deleted; of one user only.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer};

const RULES: &str = "/api/v1/alerts/rules";

async fn rules(client: &Client) -> Vec<Value> {
    client.get("/api/v1/alerts/rules").await.expect(200).at("/data").as_array().unwrap().clone()
}

fn rule(alert_type: &str) -> Value {
    json!({ "name": "a rule", "alert_type": alert_type, "level": "critical" })
}

#[tokio::test]
async fn whoever_registers_has_four_rules_sqlite() {
    whoever_registers_has_four_rules(Engine::Sqlite).await;
}
#[tokio::test]
async fn whoever_registers_has_four_rules_postgres() {
    whoever_registers_has_four_rules(Engine::Postgres).await;
}
async fn whoever_registers_has_four_rules(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = server.zinnia_user("johndoe").await;
    let listed = user.get("/api/v1/alerts/rules?include_disabled=true").await.expect(200);
    let told = |rule: &Value| {
        let fields = ["alert_type", "level", "cooldown_minutes", "enabled"].map(|field| rule[field].to_string());
        fields.join(" ").replace('"', "")
    };
    let told: Vec<String> = listed.at("/data").as_array().unwrap().iter().map(told).collect();
    assert_eq!(
        told,
        [
            "low_battery warning 20 true",
            "critical_battery critical 5 false",
            "high_temperature warning 50 false",
            "device_offline info 1440 false"
        ]
    );
    let enabled = rules(&user).await;
    assert_eq!((enabled.len(), &enabled[0]["alert_type"]), (1, &json!("low_battery")));
    assert_eq!(enabled[0]["user_id"], json!(user.user_id()));
    // Elsewhere nobody needs rules.
    let body = json!({ "email": "owl@example.com", "username": "owl", "password": "Battery-staple-9" });
    server.anonymous().post("/api/auth/register", body).await.expect(200);
    let events = server.log.read_all(0, &["alert_rule"], 100).await.unwrap().events;
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn a_rule_is_made_changed_and_deleted_sqlite() {
    a_rule_is_made_changed_and_deleted(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_rule_is_made_changed_and_deleted_postgres() {
    a_rule_is_made_changed_and_deleted(Engine::Postgres).await;
}
async fn a_rule_is_made_changed_and_deleted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = server.user(Surface::Zinnia);
    let body = json!({ "name": "低电量预警", "alert_type": "low_battery", "level": "warning", "cooldown_minutes": 45 });
    let made = user.post("/api/v1/alerts/rules", body).await.expect(201);
    let id = made.at("/data/id").as_str().unwrap();
    assert_eq!((made.at("/code"), made.at("/data/cooldown_minutes")), (&json!(201), &json!(45)));
    assert_eq!((made.at("/data/enabled"), made.at("/data/duration_minutes")), (&json!(true), &json!(0)));
    assert_eq!(rules(&user).await, [made.at("/data").clone()]);
    let changed = user
        .put(&format!("/api/v1/alerts/rules/{id}"), json!({ "name": "新名称", "enabled": false }))
        .await
        .expect(200);
    assert_eq!((changed.at("/data/name"), changed.at("/data/enabled")), (&json!("新名称"), &json!(false)));
    assert_eq!(
        (changed.at("/data/level"), changed.at("/data/created_at")),
        (&json!("warning"), made.at("/data/created_at"))
    );
    assert!(rules(&user).await.is_empty());
    let default = user.post(RULES, rule("rapid_drain")).await.expect(201);
    assert_eq!(default.at("/data/cooldown_minutes"), 30);
    let deleted = user.send(Method::DELETE, &format!("/api/v1/alerts/rules/{id}"), None).await.expect(204);
    assert_eq!(deleted.text, "");
    user.send(Method::DELETE, &format!("/api/v1/alerts/rules/{id}"), None).await.expect(404);
    user.put(&format!("/api/v1/alerts/rules/{id}"), json!({ "name": "x" })).await.expect(404);
}

#[tokio::test]
async fn there_is_one_enabled_rule_a_type() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.user(Surface::Zinnia);
    user.post(RULES, rule("low_battery")).await.expect(201);
    let refused = user.post(RULES, rule("low_battery")).await.expect(409);
    assert_eq!((refused.at("/code"), refused.at("/error")), (&json!(409), &json!("conflict")));
    let mut off = rule("low_battery");
    off["enabled"] = json!(false);
    let second = user.post(RULES, off).await.expect(201);
    let path = format!("/api/v1/alerts/rules/{}", second.at("/data/id").as_str().unwrap());
    user.put(&path, json!({ "enabled": true })).await.expect(409);
    user.put(&path, json!({ "enabled": true, "alert_type": "rapid_drain" })).await.expect(200);
    // Somebody else is somebody else.
    server.user(Surface::Zinnia).post(RULES, rule("low_battery")).await.expect(201);
    let attempts = (0..8).map(|_| {
        let (user, body) = (user.clone(), rule("device_offline"));
        tokio::spawn(async move { user.post("/api/v1/alerts/rules", body).await.status })
    });
    let mut statuses = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        statuses.push(attempt.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [&[201][..], &[409; 7]].concat());
}

#[tokio::test]
async fn bad_rules_are_refused_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.user(Surface::Zinnia);
    let made = user.post(RULES, rule("low_battery")).await.expect(201);
    let path = format!("/api/v1/alerts/rules/{}", made.at("/data/id").as_str().unwrap());
    let head = server.head().await;
    let with = |field: &str, value: Value| {
        let mut body = rule("rapid_drain");
        body[field] = value;
        body
    };
    for body in [
        json!({}),
        json!([]),
        with("name", json!("")),
        with("name", json!("x".repeat(101))),
        with("alert_type", json!("fire")),
        with("level", json!("loud")),
        with("cooldown_minutes", json!(0)),
        with("cooldown_minutes", json!(1_441)),
        with("cooldown_minutes", json!(-1)),
        with("duration_minutes", json!(1_441)),
        with("enabled", json!("yes")),
    ] {
        let refused = user.post("/api/v1/alerts/rules", body).await.expect(400);
        assert_eq!((refused.at("/code"), refused.at("/error")), (&json!(400), &json!("validation_error")));
    }
    user.put(&path, json!({ "cooldown_minutes": 0 })).await.expect(400);
    user.put(&path, json!({ "level": 7 })).await.expect(400);
    user.put("/api/v1/alerts/rules/nonsense", json!({})).await.expect(404);
    user.get("/api/v1/alerts/rules?include_disabled=perhaps").await.expect(400);
    server.anonymous().post(RULES, rule("rapid_drain")).await.expect(401);
    // Other people's rules are nobody's.
    let stranger = server.user(Surface::Zinnia);
    stranger.put(&path, json!({ "name": "mine" })).await.expect(404);
    stranger.send(Method::DELETE, &path, None).await.expect(404);
    assert!(rules(&stranger).await.is_empty());
    server
        .signed_in(Surface::Zinnia, Role::Guest, TenantId::DEFAULT)
        .post(RULES, rule("rapid_drain"))
        .await
        .expect(403);
    assert_eq!(server.head().await, head);
}
