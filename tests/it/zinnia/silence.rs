//! Devices that fall silent: found by the server's clock, told once each, while others go on reporting.

use std::time::{Duration, Instant};

use api::surface::Surface;
use chrono::TimeDelta;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tests::clock::SetClock;
use tests::engine::Engine;
use tests::server::TestServer;

use super::alerts::{Scene, noon, rule};
use super::devices::device;

/// How many devices fall silent at once, unless this setting says otherwise.
const DEVICES: usize = 200;
const DEVICES_SETTING: &str = "CORELOG_TEST_SILENT_DEVICES";
/// Time between two looks for silent devices, where nothing else is set.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_silent_device_is_told_once_and_is_back_with_its_next_report_sqlite() {
    a_silent_device_is_told_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_silent_device_is_told_once_and_is_back_with_its_next_report_postgres() {
    a_silent_device_is_told_once(Engine::Postgres).await;
}
async fn a_silent_device_is_told_once(engine: Engine) {
    let scene = Scene::with_rules(engine, &["device_offline"]).await;
    let path = format!("/api/v1/devices/{}", scene.id);
    let status = async |wanted: &str| {
        scene.server.get_until(&scene.owner, &path, |answer| answer.at("/data/status") == wanted).await
    };
    // A device that never reported is not missed.
    scene.at(10);
    scene.report(50).await;
    status("online").await;
    scene.at(12);
    scene.report(50).await;
    scene.at(15);
    let alert = scene.alerts("status=active", 1).await.remove(0);
    assert_eq!(alert["message"], "设备离线: 已 3 分钟未上报");
    assert_eq!((&alert["value"], &alert["threshold"]), (&json!(3.0), &json!(3.0)));
    status("offline").await;
    scene.at(60);
    scene.report(50).await;
    scene.alerts("status=resolved", 1).await;
    status("online").await;
    // A late report says that it is alive, too.
    scene.at(100);
    scene.alerts("status=active", 1).await;
    scene.say(json!({ "battery_level": 50, "recorded_at": "2026-01-12T12:05:00Z" })).await;
    scene.alerts("status=resolved", 2).await;
    scene.judged().await;
    scene.alerts("", 2).await;
}

#[tokio::test]
async fn many_devices_that_fall_silent_at_once_are_told_once_each_sqlite() {
    many_devices_fall_silent(Engine::Sqlite).await;
}
#[tokio::test]
async fn many_devices_that_fall_silent_at_once_are_told_once_each_postgres() {
    many_devices_fall_silent(Engine::Postgres).await;
}
async fn many_devices_fall_silent(engine: Engine) {
    // The clock stands still until all have reported, however long that takes.
    let (time, devices) = (SetClock::at(noon()), devices());
    let server = TestServer::start_by(engine, time.clock()).await;
    let owner = server.user(Surface::Zinnia);
    rule(&owner, "device_offline").await;
    let reporting = (0..devices).map(|n| {
        let (server, owner) = (&server, &owner);
        async move {
            let (_, key) = device(owner, &format!("device {n}")).await;
            let client = server.anonymous().with("x-api-key", &key);
            client.post("/api/v1/battery/report", json!({ "battery_level": 50 })).await.expect(200);
        }
    });
    stream::iter(reporting).buffer_unordered(32).collect::<Vec<_>>().await;
    let (_, key) = device(&owner, "awake").await;
    let awake = server.anonymous().with("x-api-key", &key);
    time.set(noon() + TimeDelta::seconds(190));
    let (silent_since, mut slowest, mut reports) = (Instant::now(), Duration::ZERO, 0);
    loop {
        let asked = Instant::now();
        awake.post("/api/v1/battery/report", json!({ "battery_level": 50 })).await.expect(200);
        (slowest, reports) = (slowest.max(asked.elapsed()), reports + 1);
        let told = owner.get("/api/v1/alerts/events?page_size=1").await.expect(200);
        if told.at("/data/pagination/total_items").as_u64() >= Some(devices as u64) {
            break;
        }
        // The first interval may pass before somebody looks.
        assert!(silent_since.elapsed() < CHECK_INTERVAL, "told of {} in time", told.at("/data/pagination"));
    }
    let took = silent_since.elapsed();
    eprintln!("{devices} devices ({engine:?}): told after {took:?}; {reports} reports, the slowest {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "a report took {slowest:?}");
    let raised = triggered(&server).await;
    assert_eq!(raised, devices, "each once, and nothing about the device that reports");
}

/// Every alert that was ever raised.
async fn triggered(server: &TestServer) -> usize {
    let (mut position, mut raised) = (0, 0);
    while position < server.head().await {
        let page = server.log.read_all(position, &["alert"], 10_000).await.unwrap();
        raised += page.events.iter().filter(|event| &*event.event_type == "alert.triggered").count();
        position = page.through;
    }
    raised
}

#[expect(clippy::disallowed_methods, reason = "a setting of the tests, not of the program")]
fn devices() -> usize {
    std::env::var(DEVICES_SETTING).ok().and_then(|text| text.parse().ok()).unwrap_or(DEVICES)
}

/// A report that comes while the alert is being raised: whichever is first, the device is not left offline.
#[tokio::test]
async fn a_report_while_the_alert_is_raised_leaves_the_device_online() {
    for _ in 0..5 {
        let scene = Scene::with_rules(Engine::Sqlite, &["device_offline"]).await;
        scene.report(50).await;
        scene.judged().await;
        scene.at(3);
        let reports = (0..4).map(|n| {
            let device = scene.device.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(n * 40)).await;
                device.post("/api/v1/battery/report", json!({ "battery_level": 50 })).await.expect(200);
            })
        });
        for report in reports.collect::<Vec<_>>() {
            report.await.unwrap();
        }
        scene.judged().await;
        let device = format!("/api/v1/devices/{}", scene.id);
        let online = |answer: &tests::answer::Answer| answer.at("/data/status") == "online";
        scene.server.get_until(&scene.owner, &device, online).await;
        let active = scene.owner.get("/api/v1/alerts/events?status=active").await.expect(200);
        assert_eq!(active.at("/data/items"), &Value::Array(vec![]));
    }
}
