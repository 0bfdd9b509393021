//! Reports of devices, and what their owners see of them.

use api::surface::Surface;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::clock::TestClock;
use tests::engine::Engine;
use tests::postgres::Database;
use tests::server::{Client, TestServer, settings};

use super::devices::device;

/// A server by a clock that stands at a full hour, an owner, a device and that as a client.
struct Scene {
    server: TestServer,
    owner: Client,
    id: String,
    key: String,
    reporter: Client,
    now: DateTime<Utc>,
}

impl Scene {
    async fn new(engine: Engine) -> Self {
        let now: DateTime<Utc> = "2026-03-10T12:00:00Z".parse().unwrap();
        let server = TestServer::start_by(engine, commands::Clock::reading(move || now)).await;
        let owner = server.user(Surface::Zinnia);
        let (id, key) = device(&owner, "hall").await;
        let reporter = server.anonymous().with("x-api-key", &key);
        Self { server, owner, id, key, reporter, now }
    }

    /// The time so many minutes ago, as it is written in queries and answers.
    fn ago(&self, minutes: i64) -> String {
        (self.now - TimeDelta::minutes(minutes)).format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    async fn latest(&self) -> Answer {
        self.owner.get(&format!("/api/v1/battery/latest/{}", self.id)).await
    }

    async fn history(&self, more: &str) -> Answer {
        let (from, to) = (self.ago(1_440), self.ago(0));
        let path = format!("/api/v1/battery/history/{}?start_time={from}&end_time={to}{more}", self.id);
        self.owner.get(&path).await.expect(200)
    }
}

fn levels(history: &Answer) -> Vec<u64> {
    history.at("/data").as_array().unwrap().iter().map(|data| data["battery_level"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_device_reports_and_its_owner_sees_it_sqlite() {
    a_device_reports_and_its_owner_sees_it(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_device_reports_and_its_owner_sees_it_postgres() {
    a_device_reports_and_its_owner_sees_it(Engine::Postgres).await;
}
async fn a_device_reports_and_its_owner_sees_it(engine: Engine) {
    let scene = Scene::new(engine).await;
    assert_eq!(scene.latest().await.expect(404).at("/message"), "资源不存在");
    let report = json!({ "battery_level": 15, "is_charging": false, "power_saving_mode": "high", "temperature": 31.5,
        "voltage": 3.72, "recorded_at": scene.ago(5) });
    let reported = scene.reporter.post("/api/v1/battery/report", report.clone()).await.expect(200);
    let data = reported.at("/data");
    assert_eq!((reported.at("/code"), reported.at("/message")), (&json!(200), &json!("success")));
    let created = scene.now.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(
        data,
        &json!({ "id": data["id"], "device_id": scene.id, "battery_level": 15, "is_charging": false,
            "power_saving_mode": "high", "temperature": 31.5, "voltage": 3.72, "recorded_at": scene.ago(5),
            "created_at": created })
    );
    let latest = scene.latest().await.expect(200);
    assert_eq!(
        latest.at("/data"),
        &json!({ "device_id": scene.id, "battery_level": 15, "is_charging": false, "power_saving_mode": "high",
            "recorded_at": scene.ago(5), "is_low_battery": true, "is_critical": false, "temperature": 31.5,
            "voltage": 3.72, "drain_rate_per_hour": null, "minutes_to_empty": null })
    );
    // The same again, and once more with another level: the first one stays.
    let again = scene.reporter.post("/api/v1/battery/report", report).await.expect(200);
    let other = json!({ "battery_level": 99, "recorded_at": scene.ago(5) });
    let other = scene.reporter.post("/api/v1/battery/report", other).await.expect(200);
    assert_eq!((again.at("/data"), other.at("/data")), (data, data));
    // A late one finds its place, and is not the latest.
    let late = json!({ "battery_level": 22, "recorded_at": scene.ago(65) });
    scene.reporter.post("/api/v1/battery/report", late).await.expect(200);
    assert_eq!(scene.latest().await.at("/data/battery_level"), 15);
    let batch = json!({ "data": [{ "battery_level": 9, "is_charging": true, "recorded_at": scene.ago(1) },
        { "battery_level": 22, "recorded_at": scene.ago(65) }, { "battery_level": 5 }] });
    let batch = scene.reporter.post("/api/v1/battery/batch-report", batch).await.expect(200);
    assert_eq!(batch.at("/data"), &json!({ "inserted_count": 2, "duplicate_count": 1 }));
    assert_eq!(levels(&scene.history("").await), [5, 9, 15, 22]);
    assert_eq!(levels(&scene.history("&limit=2&offset=1").await), [9, 15]);
    let latest = scene.latest().await.expect(200);
    assert_eq!((latest.at("/data/is_critical"), latest.at("/data/voltage")), (&json!(true), &Value::Null));
    sums(&scene).await;
}

async fn sums(scene: &Scene) {
    let range = format!("{}?start_time={}&end_time={}", scene.id, scene.ago(1_440), scene.ago(0));
    let hours = scene.owner.get(&format!("/api/v1/battery/aggregated/{range}")).await.expect(200);
    assert_eq!(
        hours.at("/data"),
        &json!([
            { "bucket": scene.ago(0), "avg_level": 5.0, "min_level": 5, "max_level": 5, "count": 1 },
            { "bucket": scene.ago(60), "avg_level": 12.0, "min_level": 9, "max_level": 15, "count": 2 },
            { "bucket": scene.ago(120), "avg_level": 22.0, "min_level": 22, "max_level": 22, "count": 1 },
        ])
    );
    let days = scene.owner.get(&format!("/api/v1/battery/aggregated/{range}&interval=day")).await.expect(200);
    assert_eq!(
        days.at("/data"),
        &json!([{ "bucket": "2026-03-10T00:00:00Z", "avg_level": 12.75, "min_level": 5, "max_level": 22, "count": 4 }])
    );
    let minutes = scene.owner.get(&format!("/api/v1/battery/aggregated/{range}&interval=minute")).await.expect(200);
    assert_eq!(minutes.at("/data").as_array().unwrap().len(), 4);
    let stats = scene.owner.get(&format!("/api/v1/battery/stats/{range}")).await.expect(200);
    assert_eq!(
        stats.at("/data"),
        &json!({ "device_id": scene.id, "period_start": scene.ago(1_440), "period_end": scene.ago(0),
            "avg_battery_level": 12.75, "min_battery_level": 5, "max_battery_level": 22, "total_records": 4,
            "charging_duration_minutes": 1.0, "low_battery_count": 3 })
    );
    let before = format!("{}?start_time={}&end_time={}", scene.id, scene.ago(2_880), scene.ago(1_441));
    let empty = scene.owner.get(&format!("/api/v1/battery/stats/{before}")).await.expect(200);
    assert_eq!(
        empty.at("/data"),
        &json!({ "device_id": scene.id, "period_start": scene.ago(2_880), "period_end": scene.ago(1_441),
            "avg_battery_level": 0.0, "min_battery_level": 0, "max_battery_level": 100, "total_records": 0,
            "charging_duration_minutes": 0.0, "low_battery_count": 0 })
    );
}

#[tokio::test]
async fn what_cannot_be_true_is_refused_whole_sqlite() {
    what_cannot_be_true_is_refused_whole(Engine::Sqlite).await;
}
#[tokio::test]
async fn what_cannot_be_true_is_refused_whole_postgres() {
    what_cannot_be_true_is_refused_whole(Engine::Postgres).await;
}
async fn what_cannot_be_true_is_refused_whole(engine: Engine) {
    let scene = Scene::new(engine).await;
    let head = scene.server.head().await;
    for wrong in [
        json!({ "battery_level": 101 }),
        json!({ "battery_level": -1 }),
        json!({ "battery_level": 300 }),
        json!({ "battery_level": 50.5 }),
        json!({ "battery_level": "50" }),
        json!({ "battery_level": 50, "temperature": 85.1 }),
        json!({ "battery_level": 50, "voltage": -0.1 }),
        json!({ "battery_level": 50, "power_saving_mode": "max" }),
        json!({ "battery_level": 50, "recorded_at": scene.ago(-1) }),
        json!({ "battery_level": 50, "recorded_at": "1970-01-01T00:00:00Z" }),
        json!({ "battery_level": 50, "recorded_at": "yesterday" }),
        json!({}),
        json!([]),
    ] {
        let refused = scene.reporter.post("/api/v1/battery/report", wrong.clone()).await.expect(400);
        assert_eq!((refused.at("/code"), refused.at("/error")), (&json!(400), &json!("validation_error")), "{wrong}");
        let with_a_good_one = json!({ "data": [{ "battery_level": 50 }, wrong] });
        scene.reporter.post("/api/v1/battery/batch-report", with_a_good_one).await.expect(400);
    }
    let of = |count: usize| {
        let data: Vec<_> = (0..count).map(|n| json!({ "battery_level": n % 100 })).collect();
        json!({ "data": data })
    };
    for count in [0, 1_001] {
        scene.reporter.post("/api/v1/battery/batch-report", of(count)).await.expect(400);
    }
    scene.reporter.send(Method::POST, "/api/v1/battery/report", Some("{".to_owned())).await.expect(400);
    scene.reporter.send(Method::POST, "/api/v1/battery/report", None).await.expect(400);
    scene.latest().await.expect(404);
    assert_eq!(scene.server.head().await, head);
    let future = json!({ "battery_level": 50, "recorded_at": scene.ago(-1) });
    let refused = scene.reporter.post("/api/v1/battery/report", future).await.expect(400);
    assert!(refused.at("/message").as_str().unwrap().contains("记录时间不能晚于当前时间"), "{}", refused.text);
    wrong_questions(&scene).await;
}

async fn wrong_questions(scene: &Scene) {
    let (now, path) = (scene.ago(0), format!("/api/v1/battery/history/{}", scene.id));
    for query in [
        String::new(),
        format!("start_time={now}"),
        format!("start_time={now}&end_time={}", scene.ago(60)),
        format!("start_time={now}&end_time={now}"),
        format!("start_time={}&end_time={now}", scene.ago(30 * 1_440 + 1)),
        format!("start_time={now}&end_time={}", scene.ago(-60)),
        format!("start_time={}&end_time={now}&limit=1001", scene.ago(60)),
        format!("start_time={}&end_time={now}&limit=0", scene.ago(60)),
        format!("start_time={}&end_time={now}&offset=-1", scene.ago(60)),
        "start_time=x&end_time=y".to_owned(),
    ] {
        let refused = scene.owner.get(&format!("{path}?{query}")).await.expect(400);
        assert_eq!(refused.at("/error"), "validation_error");
    }
    let week = format!("{}?start_time={}&end_time={now}&interval=week", scene.id, scene.ago(60));
    scene.owner.get(&format!("/api/v1/battery/aggregated/{week}")).await.expect(400);
    scene.owner.get("/api/v1/battery/latest/nonsense").await.expect(404);
}

#[tokio::test]
async fn only_who_may_reports_and_looks_sqlite() {
    only_who_may_reports_and_looks(Engine::Sqlite).await;
}
#[tokio::test]
async fn only_who_may_reports_and_looks_postgres() {
    only_who_may_reports_and_looks(Engine::Postgres).await;
}
async fn only_who_may_reports_and_looks(engine: Engine) {
    let scene = Scene::new(engine).await;
    let (server, owner) = (&scene.server, &scene.owner);
    let report = json!({ "battery_level": 50 });
    let mut tokens = Vec::new();
    for permission in ["write", "read"] {
        let body = json!({ "name": permission, "permission": permission });
        let created = owner.post(&format!("/api/v1/devices/{}/tokens", scene.id), body).await.expect(201);
        tokens.push(created.at("/data").clone());
    }
    let by_token = |token: &Value| server.anonymous().with_token(token["token"].as_str().unwrap());
    by_token(&tokens[0]).post("/api/v1/battery/report", report.clone()).await.expect(200);
    by_token(&tokens[1]).post("/api/v1/battery/report", report.clone()).await.expect(403);
    let exchanged = server.anonymous().post("/api/v1/auth/exchange", json!({ "api_key": scene.key })).await.expect(200);
    let session = server.anonymous().with_token(exchanged.at("/data/access_token").as_str().unwrap());
    session.post("/api/v1/battery/report", report.clone()).await.expect(200);
    // Neither a user nor nobody is a device.
    owner.post("/api/v1/battery/report", report.clone()).await.expect(401);
    server.anonymous().post("/api/v1/battery/report", report.clone()).await.expect(401);
    server.anonymous().with("x-api-key", "zn_live_x").post("/api/v1/battery/report", report.clone()).await.expect(401);
    let token_id = tokens[0]["id"].as_str().unwrap();
    owner.send(Method::DELETE, &format!("/api/v1/devices/{}/tokens/{token_id}", scene.id), None).await.expect(200);
    by_token(&tokens[0]).post("/api/v1/battery/report", report.clone()).await.expect(401);
    owner.send(Method::POST, &format!("/api/v1/devices/{}/rotate-key", scene.id), None).await.expect(200);
    scene.reporter.post("/api/v1/battery/report", report).await.expect(401);
    let stranger = server.user(Surface::Zinnia);
    let range = format!("{}?start_time={}&end_time={}", scene.id, scene.ago(60), scene.ago(0));
    for path in [
        format!("/api/v1/battery/latest/{}", scene.id),
        format!("/api/v1/battery/history/{range}"),
        format!("/api/v1/battery/aggregated/{range}"),
        format!("/api/v1/battery/stats/{range}"),
    ] {
        stranger.get(&path).await.expect(404);
        server.anonymous().get(&path).await.expect(401);
        owner.get(&path).await.expect(200);
    }
}

#[tokio::test]
async fn the_first_report_after_silence_is_decided_once_sqlite() {
    the_first_report_after_silence_is_decided_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn the_first_report_after_silence_is_decided_once_postgres() {
    the_first_report_after_silence_is_decided_once(Engine::Postgres).await;
}
async fn the_first_report_after_silence_is_decided_once(engine: Engine) {
    let clock = TestClock::default();
    let server = TestServer::start_by(engine, clock.clock()).await;
    let owner = server.user(Surface::Zinnia);
    let (id, key) = device(&owner, "hall").await;
    let (path, reporter) = (format!("/api/v1/devices/{id}"), server.anonymous().with("x-api-key", &key));
    assert_eq!(owner.get(&path).await.at("/data/last_seen_at"), &Value::Null);
    let head = server.head().await;
    let reports = (0..8).map(|level| {
        let reporter = reporter.clone();
        tokio::spawn(async move { reporter.post("/api/v1/battery/report", json!({ "battery_level": level })).await })
    });
    for report in reports.collect::<Vec<_>>() {
        report.await.unwrap().expect(200);
    }
    assert_eq!(server.head().await, head + 1, "more than one event says that it came online");
    let shown = owner.get(&path).await.expect(200);
    assert_eq!(shown.at("/data/status"), "online");
    clock.turn(TimeDelta::hours(1));
    reporter.post("/api/v1/battery/report", json!({ "battery_level": 3 })).await.expect(200);
    // Whoever looks for silent devices may have found it silent just before.
    let told = server.log.read_stream("device", &id, 0).await.unwrap();
    let count = |name: &str| told.iter().filter(|event| &*event.event_type == name).count();
    assert!(count("device.came_online") <= 1 + count("device.went_offline"), "it came online twice");
    let seen = |answer: &Answer, pointer: &str| answer.at(pointer).as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let later = owner.get(&path).await.expect(200);
    assert!(seen(&later, "/data/last_seen_at") >= seen(&shown, "/data/last_seen_at") + TimeDelta::minutes(59));
    let listed = owner.get("/api/v1/devices").await.expect(200);
    assert_eq!(seen(&listed, "/data/items/0/last_seen_at"), seen(&later, "/data/last_seen_at"));
}

#[tokio::test]
async fn weak_devices_report_in_a_url_sqlite() {
    weak_devices_report_in_a_url(Engine::Sqlite).await;
}
#[tokio::test]
async fn weak_devices_report_in_a_url_postgres() {
    weak_devices_report_in_a_url(Engine::Postgres).await;
}
async fn weak_devices_report_in_a_url(engine: Engine) {
    let scene = Scene::new(engine).await;
    let (weak, key) = (scene.server.anonymous(), &scene.key);
    let ts = (scene.now - TimeDelta::minutes(3)).timestamp();
    let query = format!("token={key}&level=40&charging=1&temp=21.5&voltage=3.9&ts={ts}");
    let reported = weak.get(&format!("/api/v1/compat/battery/report?{query}")).await.expect(200);
    assert_eq!((reported.at("/data/battery_level"), reported.at("/data/is_charging")), (&json!(40), &json!(true)));
    assert_eq!(reported.at("/data/recorded_at"), &json!(scene.ago(3)));
    let fields = [("token", key.as_str()), ("level", "39"), ("charging", "0")];
    let posted = weak.post_form("/api/v1/compat/battery/report", &fields).await.expect(200);
    assert_eq!(posted.at("/data/battery_level"), 39);
    let latest = weak.get(&format!("/api/v1/compat/battery/latest?token={key}")).await.expect(200);
    assert_eq!(latest.json, json!({ "level": 39, "charging": false, "timestamp": scene.now.timestamp() }));
    let simple = weak.get(&format!("/api/v1/compat/battery/simple?token={key}&l=38&c=1")).await.expect(200);
    assert_eq!(simple.json, json!({ "ok": true, "ts": scene.now.timestamp() }));
    let ping = weak.get(&format!("/api/v1/compat/ping?token={key}")).await.expect(200);
    assert_eq!(ping.json, json!({ "ok": true, "device_id": scene.id, "permission": "all", "expires_at": null }));
    for query in [
        format!("token={key}"),
        format!("token={key}&level=101"),
        format!("token={key}&level=x"),
        format!("token={key}&level=1&level=2"),
        format!("token={key}&level=5&charging=perhaps"),
        format!("token={key}&level=5&temp=NaN"),
        format!("token={key}&level=5&voltage=inf"),
        format!("token={key}&level=5&ts=9223372036854775807"),
        format!("token={key}&level=5&ts={}", scene.now.timestamp() + 60),
    ] {
        let refused = weak.get(&format!("/api/v1/compat/battery/report?{query}")).await.expect(400);
        assert!(!refused.text.contains(key.as_str()), "the answer shows the key: {}", refused.text);
    }
    weak.get("/api/v1/compat/battery/report?level=5").await.expect(401);
    weak.get("/api/v1/compat/ping?token=zn_live_wrong").await.expect(401);
}

#[tokio::test]
async fn the_drain_says_when_the_battery_is_empty() {
    let scene = Scene::new(Engine::Sqlite).await;
    // One reading is wrong, and moves nothing.
    let levels = [(50, 80), (40, 78), (30, 3), (20, 74), (10, 72), (0, 70)];
    let data: Vec<_> =
        levels.iter().map(|(ago, level)| json!({ "battery_level": level, "recorded_at": scene.ago(*ago) })).collect();
    scene.reporter.post("/api/v1/battery/batch-report", json!({ "data": data })).await.expect(200);
    let latest = scene.latest().await.expect(200);
    assert_eq!(
        (latest.at("/data/drain_rate_per_hour"), latest.at("/data/minutes_to_empty")),
        (&json!(12.0), &json!(350.0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_take_reports_of_one_device() {
    const REPORTS: i64 = 60;
    let database = Database::create().await;
    let config =
        api::config::Config { database_url: Some(database.url()), secret_key: Some("7".repeat(64)), ..settings() };
    let servers = [TestServer::start_with(config.clone()).await, TestServer::start_with(config).await];
    let owner = servers[0].user(Surface::Zinnia);
    let (id, key) = device(&owner, "hall").await;
    let head = servers[0].head().await;
    let now = commands::Clock::system().now();
    let reporting = servers.iter().map(|server| {
        let reporter = server.anonymous().with("x-api-key", &key).with("Corelog-Min-Position", &head.to_string());
        tokio::spawn(async move {
            for ago in 0..REPORTS {
                // Every reading is reported to both.
                let at = now - TimeDelta::minutes(ago);
                let report = json!({ "battery_level": ago, "recorded_at": at });
                reporter.post("/api/v1/battery/report", report).await.expect(200);
            }
        })
    });
    for reporter in reporting.collect::<Vec<_>>() {
        reporter.await.unwrap();
    }
    let (from, to) = ((now - TimeDelta::hours(2)).timestamp_millis(), now.timestamp_millis());
    let time = |millis| DateTime::from_timestamp_millis(millis).unwrap().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let range = format!("{id}?start_time={}&end_time={}", time(from), time(to + 1));
    let stats = owner.get(&format!("/api/v1/battery/stats/{range}")).await.expect(200);
    assert_eq!(stats.at("/data/total_records"), REPORTS);
    let events = servers[0].log.read_stream("device", &id, 0).await.unwrap();
    assert_eq!(events.iter().filter(|event| &*event.event_type == "device.came_online").count(), 1);
}
