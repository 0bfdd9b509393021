//! Alerts: raised once by readings, seen and dealt with by whoever may.

use std::sync::Arc;
use std::time::Duration;

use api::surface::Surface;
use chrono::{DateTime, TimeDelta, Utc};
use commands::CommandBus;
use commands::gateways::alert_watch::AlertWatch;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::clock::SetClock;
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::{Client, TestServer};

use super::devices::device;

const EVENTS: &str = "/api/v1/alerts/events";

pub(super) fn noon() -> DateTime<Utc> {
    "2026-01-12T12:00:00Z".parse().unwrap()
}

/// Makes a rule of the type with a cooldown of half an hour.
pub(super) async fn rule(owner: &Client, alert_type: &str) {
    let body = json!({ "name": alert_type, "alert_type": alert_type, "level": "warning" });
    owner.post("/api/v1/alerts/rules", body).await.expect(201);
}

/// A device, its owner, and what it reports.
pub(super) struct Scene {
    pub(super) server: TestServer,
    pub(super) time: SetClock,
    pub(super) owner: Client,
    pub(super) device: Client,
    pub(super) id: String,
}

impl Scene {
    /// A device whose owner has these rules, at noon.
    pub(super) async fn with_rules(engine: Engine, types: &[&str]) -> Self {
        Self::with_rules_at(engine, types, noon()).await
    }
    pub(super) async fn with_rules_at(engine: Engine, types: &[&str], moment: DateTime<Utc>) -> Self {
        let time = SetClock::at(moment);
        let server = TestServer::start_by(engine, time.clock()).await;
        let owner = server.user(Surface::Zinnia);
        for alert_type in types {
            rule(&owner, alert_type).await;
        }
        let (id, key) = device(&owner, "hall").await;
        let device = server.anonymous().with("x-api-key", &key);
        Self { server, time, owner, device, id }
    }
    /// Sets the clock to minutes after noon.
    pub(super) fn at(&self, minute: i64) {
        self.time.set(noon() + TimeDelta::minutes(minute));
    }
    /// Reports a level now.
    pub(super) async fn report(&self, level: u8) {
        self.say(json!({ "battery_level": level })).await;
    }
    pub(super) async fn say(&self, body: Value) {
        self.device.post("/api/v1/battery/report", body).await.expect(200);
    }
    /// The alerts, the newest first, as soon as there are so many of this status.
    pub(super) async fn alerts(&self, query: &str, count: u64) -> Vec<Value> {
        let path = format!("/api/v1/alerts/events?{query}");
        let done = |answer: &Answer| answer.at("/data/pagination/total_items") == count;
        self.server.get_until(&self.owner, &path, done).await.at("/data/items").as_array().unwrap().clone()
    }
    /// Waits until everything that was reported is judged.
    pub(super) async fn judged(&self) {
        let last = self.server.readings().last_arrival().await.unwrap();
        let judged = async {
            while self.server.log.reader_position("gateway:alert_watch").await.unwrap() < last {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(tests::server::WAIT_MAX, judged).await.unwrap();
    }
    pub(super) async fn set(&self, id: &str, action: &str) -> Answer {
        self.owner.send(Method::POST, &format!("/api/v1/alerts/events/{id}/{action}"), None).await
    }
}

#[tokio::test]
async fn a_low_battery_is_told_once_and_dealt_with_sqlite() {
    a_low_battery_is_told_once_and_dealt_with(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_low_battery_is_told_once_and_dealt_with_postgres() {
    a_low_battery_is_told_once_and_dealt_with(Engine::Postgres).await;
}
async fn a_low_battery_is_told_once_and_dealt_with(engine: Engine) {
    let scene = Scene::with_rules(engine, &["low_battery"]).await;
    scene.report(50).await;
    for minute in 1..=10 {
        scene.at(minute);
        scene.report(19).await;
    }
    scene.judged().await;
    let alert = &scene.alerts("", 1).await[0];
    let id = alert["id"].as_str().unwrap();
    assert_eq!(alert["message"], "设备电量低: 19%");
    assert_eq!((&alert["device_id"], &alert["status"]), (&json!(scene.id), &json!("active")));
    assert_eq!((&alert["value"], &alert["threshold"]), (&json!(19.0), &json!(20.0)));
    assert_eq!((&alert["acknowledged_at"], &alert["resolved_at"]), (&Value::Null, &Value::Null));
    let at: DateTime<Utc> = alert["triggered_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(at, noon() + TimeDelta::minutes(1));
    let count = scene.owner.get(&format!("/api/v1/alerts/devices/{}/count", scene.id)).await.expect(200);
    assert_eq!((count.at("/data/active_count"), count.at("/data/active_alerts")), (&json!(1), &json!(1)));
    // An empty body, with and without a content type.
    let path = format!("/api/v1/alerts/events/{id}/acknowledge");
    let acknowledged = scene.owner.send(Method::POST, &path, Some(String::new())).await.expect(200);
    assert_eq!(acknowledged.at("/data/status"), "acknowledged");
    assert!(acknowledged.at("/data/acknowledged_at").is_string());
    scene.set(id, "acknowledge").await.expect(200);
    let count = scene.owner.get(&format!("/api/v1/alerts/devices/{}/count", scene.id)).await.expect(200);
    assert_eq!(count.at("/data/active_count"), 0);
    let resolved =
        scene.owner.send(Method::POST, &format!("/api/v1/alerts/events/{id}/resolve"), None).await.expect(200);
    assert_eq!(resolved.at("/data/status"), "resolved");
    scene.set(id, "resolve").await.expect(200);
    let refused = scene.set(id, "acknowledge").await.expect(400);
    assert_eq!(refused.at("/error"), "validation_error");
    let status = format!("/api/v1/alerts/events/{id}/status");
    scene.owner.put(&status, json!({ "status": "active" })).await.expect(400);
    scene.owner.put(&status, json!({ "status": "resolved" })).await.expect(200);
    // Still low after a while: it is told again.
    scene.at(39);
    scene.report(18).await;
    scene.at(41);
    scene.report(18).await;
    scene.judged().await;
    let active = &scene.alerts("status=active", 1).await[0];
    assert_eq!(
        active["triggered_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(),
        noon() + TimeDelta::minutes(41)
    );
    scene.at(42);
    scene.say(json!({ "battery_level": 18, "is_charging": true })).await;
    assert_eq!(scene.alerts("status=resolved", 2).await.len(), 2);
}

#[tokio::test]
async fn all_types_of_readings_raise_alerts() {
    let scene =
        Scene::with_rules(Engine::Sqlite, &["low_battery", "critical_battery", "high_temperature", "rapid_drain"])
            .await;
    scene.report(60).await;
    scene.at(30);
    scene.report(39).await;
    scene.at(31);
    scene.say(json!({ "battery_level": 9, "temperature": 50.5 })).await;
    scene.judged().await;
    let alerts = scene.alerts("", 3).await;
    let mut told: Vec<&str> = alerts.iter().map(|alert| alert["message"].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, ["设备温度过高: 50.5°C", "设备电量下降过快: 一小时内下降 51%", "设备电量临界: 9%"]);
    assert_eq!(scene.alerts("alert_type=critical_battery&level=warning", 1).await[0]["threshold"], 10.0);
    scene.alerts("level=critical", 0).await;
    scene.alerts(&format!("device_id={}", fresh_id()), 0).await;
    scene.alerts("page=2&page_size=1", 3).await;
}

#[tokio::test]
async fn late_and_repeated_readings_raise_nothing() {
    let scene = Scene::with_rules(Engine::Sqlite, &["low_battery"]).await;
    scene.at(60);
    scene.report(50).await;
    let late = json!({ "battery_level": 5, "recorded_at": noon() });
    scene.say(late.clone()).await;
    scene.say(late).await;
    scene.at(61);
    scene.report(50).await;
    scene.judged().await;
    scene.alerts("", 0).await;
}

#[tokio::test]
async fn a_duration_must_pass_first() {
    let scene = Scene::with_rules(Engine::Sqlite, &[]).await;
    let body = json!({ "name": "x", "alert_type": "low_battery", "level": "critical", "duration_minutes": 10 });
    scene.owner.post("/api/v1/alerts/rules", body).await.expect(201);
    for minute in [0, 5, 9, 10, 11] {
        scene.at(minute);
        scene.report(15).await;
    }
    let alert = &scene.alerts("", 1).await[0];
    assert_eq!(
        alert["triggered_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(),
        noon() + TimeDelta::minutes(10)
    );
}

#[tokio::test]
async fn rules_and_settings_count_from_the_next_reading_on() {
    let scene = Scene::with_rules(Engine::Sqlite, &[]).await;
    scene.report(15).await;
    scene.judged().await;
    rule(&scene.owner, "low_battery").await;
    scene.at(1);
    scene.report(15).await;
    scene.alerts("", 1).await;
    scene
        .owner
        .put(
            &format!("/api/v1/devices/{}/config", scene.id),
            json!({ "low_battery_threshold": 11, "critical_battery_threshold": 5 }),
        )
        .await
        .expect(200);
    scene.at(2);
    scene.report(16).await;
    scene.alerts("status=resolved", 1).await;
    // Out of service, nobody wants to know.
    scene.owner.put(&format!("/api/v1/devices/{}", scene.id), json!({ "status": "maintenance" })).await.expect(200);
    scene.at(60);
    scene.report(3).await;
    scene.judged().await;
    scene.alerts("", 1).await;
}

#[tokio::test]
async fn alerts_are_for_those_who_may_see_the_device_sqlite() {
    alerts_are_for_those_who_may_see_the_device(Engine::Sqlite).await;
}
#[tokio::test]
async fn alerts_are_for_those_who_may_see_the_device_postgres() {
    alerts_are_for_those_who_may_see_the_device(Engine::Postgres).await;
}
async fn alerts_are_for_those_who_may_see_the_device(engine: Engine) {
    let scene = Scene::with_rules(engine, &["low_battery"]).await;
    let friend = scene.server.zinnia_user("friend").await;
    scene.report(15).await;
    let alert = scene.alerts("", 1).await.remove(0);
    let resolve = format!("/api/v1/alerts/events/{}/resolve", alert["id"].as_str().unwrap());
    let count = format!("/api/v1/alerts/devices/{}/count", scene.id);
    let seen = async |client: &Client| client.get(EVENTS).await.expect(200).at("/data/pagination/total_items").clone();
    let elsewhere = scene.server.signed_in(Surface::Zinnia, Role::Owner, TenantId(fresh_id()));
    for stranger in [&friend, &scene.server.user(Surface::Zinnia), &elsewhere] {
        assert_eq!(seen(stranger).await, 0);
        stranger.get(&count).await.expect(404);
        stranger.send(Method::POST, &resolve, None).await.expect(404);
    }
    let share = format!("/api/v1/users/devices/{}/share", scene.id);
    scene.owner.post(&share, json!({ "user_identifier": "friend", "permission": "read" })).await.expect(201);
    assert_eq!(seen(&friend).await, 1);
    friend.get(&count).await.expect(200);
    friend.send(Method::POST, &resolve, None).await.expect(403);
    let before = scene.server.head().await;
    scene.owner.post(&share, json!({ "user_identifier": "friend", "permission": "write" })).await.expect(201);
    friend.send(Method::POST, &resolve, None).await.expect(200);
    let then = scene.owner.get(&format!("/api/v1/alerts/events?as_of={before}")).await.expect(200);
    assert_eq!(then.at("/data/items/0/status"), "active");
    scene.server.anonymous().get(EVENTS).await.expect(401);
    scene.server.anonymous().get(&count).await.expect(401);
}

#[tokio::test]
async fn the_alerts_of_a_deleted_device_are_over() {
    let scene = Scene::with_rules(Engine::Sqlite, &["low_battery"]).await;
    scene.report(15).await;
    scene.alerts("status=active", 1).await;
    scene.owner.send(Method::DELETE, &format!("/api/v1/devices/{}", scene.id), None).await.expect(200);
    let alert = scene.alerts("status=resolved", 1).await.remove(0);
    scene.set(alert["id"].as_str().unwrap(), "acknowledge").await.expect(404);
}

#[tokio::test]
async fn bad_questions_about_alerts_are_refused() {
    let scene = Scene::with_rules(Engine::Sqlite, &["low_battery"]).await;
    scene.report(15).await;
    let alert = scene.alerts("", 1).await.remove(0);
    // The owner is told of the alert meanwhile, which is no answer to a question.
    let stood = scene.server.log.read_all(0, &["alert"], 100).await.unwrap().events.len();
    for query in ["status=odd", "level=loud", "alert_type=fire", "device_id=x", "page=x"] {
        scene.owner.get(&format!("/api/v1/alerts/events?{query}")).await.expect(400);
    }
    let path = format!("/api/v1/alerts/events/{}/status", alert["id"].as_str().unwrap());
    for body in [json!({}), json!({ "status": "gone" }), json!({ "status": 1 })] {
        scene.owner.put(&path, body).await.expect(400);
    }
    for id in ["nonsense".to_owned(), fresh_id().to_string()] {
        scene.set(&id, "resolve").await.expect(404);
    }
    scene.owner.get("/api/v1/alerts/devices/nonsense/count").await.expect(404);
    let stands = scene.server.log.read_all(0, &["alert"], 100).await.unwrap().events.len();
    assert_eq!(stands, stood);
}

/// What a watch that begins anew makes of the log and the readings is what the one before left.
#[tokio::test]
async fn readings_that_are_judged_again_change_nothing() {
    let scene = Scene::with_rules(Engine::Sqlite, &["low_battery"]).await;
    for (minute, level) in [(0, 15), (1, 14), (2, 50), (40, 15), (41, 60), (80, 10)] {
        scene.at(minute);
        scene.report(level).await;
        scene.judged().await;
    }
    scene.alerts("", 3).await;
    // The owner is told of the alerts meanwhile, which is no judgement.
    let log = &scene.server.log;
    let judgements = async || log.read_all(0, &["alert"], 100).await.unwrap().events.len();
    let before = judgements().await;
    log.keep_reader_position("gateway:alert_watch", 0).await.unwrap();
    let bus = Arc::new(CommandBus::new(Arc::clone(log), scene.time.clock()));
    let watch = AlertWatch::new(bus, scene.server.readings(), Duration::from_secs(1), Arc::default());
    let leading = tokio::sync::watch::Sender::new(true);
    let watching = tokio::spawn(watch.run(leading.subscribe()));
    scene.judged().await;
    assert_eq!(judgements().await, before);
    // Two watches at once, as for a moment after a server took over from another.
    for (minute, level) in [(81, 70), (120, 15), (121, 15)] {
        scene.at(minute);
        scene.report(level).await;
        scene.judged().await;
    }
    scene.alerts("", 4).await;
    watching.abort();
}
