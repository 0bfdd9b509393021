//! The database goes away and comes back: commands say so, nothing acknowledged is lost, the server recovers by itself.

mod database_restart;
mod disk_full;

use std::time::Duration;

use api::config::Config;
use api::surface::Surface;
use domain::log::{Append, NewEvent};
use sea_orm::ConnectionTrait;
use serde_json::json;
use tests::engine::Engine;
use tests::postgres::Database;
use tests::proxy::Proxy;
use tests::server::{Client, TestServer, settings};

/// A fault must be noticed, or be over, within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server whose PostgreSQL is reached over a wire that can be cut.
async fn over_a_wire() -> (Database, Proxy, TestServer) {
    let database = Database::create().await;
    let url = database.url();
    let (before, rest) = url.rsplit_once('@').unwrap();
    let (host, name) = rest.split_once('/').unwrap();
    let proxy = Proxy::to(host.replace("localhost", "127.0.0.1").parse().unwrap()).await;
    let url = format!("{before}@{}/{name}", proxy.address());
    let server = TestServer::start_with(Config { database_url: Some(url), ..settings() }).await;
    (database, proxy, server)
}

async fn issue(admin: &Client) -> u16 {
    admin.post("/api/recharge/codes", json!({ "amount": 1 })).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_the_server_says_so_and_recovers_by_itself() {
    let (_database, proxy, server) = over_a_wire().await;
    let admin = server.admin(Surface::Owl);
    assert_eq!(issue(&admin).await, 200);
    for _ in 0..3 {
        proxy.cut();
        assert_eq!(issue(&admin).await, 503);
        assert_eq!(server.anonymous().get("/health").await.status, 503);
        proxy.mend();
        let recovered = async { while issue(&admin).await != 200 {} };
        tokio::time::timeout(PATIENCE, recovered).await.unwrap();
    }
    let seen = admin.with("Corelog-Min-Position", &server.head().await.to_string());
    let recovered = async { while seen.get("/api/recharge/codes").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, recovered).await.unwrap();
    // Every code that was answered for is there; one that was refused may be there too, if its commit arrived.
    assert!(seen.get("/api/recharge/codes").await.at("/total").as_u64().unwrap() >= 4);
    // What could not go on meanwhile tries again at its own pace.
    let healthy = async { while server.anonymous().get("/health").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, healthy).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn read_models_that_cannot_be_written_are_told_of_sqlite() {
    read_models_that_cannot_be_written_are_told_of(Engine::Sqlite).await;
}
#[tokio::test(flavor = "multi_thread")]
async fn read_models_that_cannot_be_written_are_told_of_postgres() {
    read_models_that_cannot_be_written_are_told_of(Engine::Postgres).await;
}
async fn read_models_that_cannot_be_written_are_told_of(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (admin, anonymous) = (server.admin(Surface::HashInsight), server.anonymous());
    let rename = async |from: &str, to: &str| rename(&server, from, to).await;
    let health = async |word: &str| {
        let told = async { while anonymous.get("/health").await.at("/components/projections") != word {} };
        tokio::time::timeout(PATIENCE, told).await.unwrap();
    };
    rename("leads_v1", "lost").await;
    admin.post("/crm/api/lead", json!({ "name": "Ada" })).await.expect(200);
    health("paused").await;
    assert_eq!(anonymous.get("/health").await.status, 503);
    assert!(anonymous.get("/metrics").await.text.contains("corelog_projections_paused 1"));
    rename("lost", "leads_v1").await;
    health("ok").await;
    assert_eq!(admin.get("/crm/api/leads").await.expect(200).at("/leads/0/name"), "Ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_does_not_get_on_is_told_of_sqlite() {
    work_that_does_not_get_on_is_told_of(Engine::Sqlite).await;
}
#[tokio::test(flavor = "multi_thread")]
async fn work_that_does_not_get_on_is_told_of_postgres() {
    work_that_does_not_get_on_is_told_of(Engine::Postgres).await;
}
/// A task whose last event only a newer program can read: process managers wait for that program, and the gateway that
/// watches over the task cannot tell what to do.
async fn work_that_does_not_get_on_is_told_of(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (user, anonymous) = (server.user(Surface::Owl), server.anonymous());
    let code = server.admin(Surface::Owl).post("/api/recharge/codes", json!({ "amount": 100 })).await.expect(200);
    user.post("/api/recharge/redeem", json!({ "code": code.at("/data/codes/0/code") })).await.expect(200);
    let task = user.post("/api/tasks", json!({ "title": "a", "task_type": "training" })).await.expect(200);
    let healthy = anonymous.get("/health").await.expect(200);
    assert_eq!((healthy.at("/components/processes"), healthy.at("/components/gateways")), (&json!("ok"), &json!("ok")));
    let measured = anonymous.get("/metrics").await.text;
    assert!(measured.contains("corelog_processes_waiting 0") && measured.contains("corelog_gateways_waiting 0"));

    let submitted = server.log.read_stream("task", task.at("/data/id").as_str().unwrap(), 0).await.unwrap().remove(0);
    let event = |event_type, payload: &str| NewEvent {
        event_id: tests::fresh_id(),
        event_type,
        event_version: 1,
        payload: payload.to_owned(),
    };
    let events = vec![event("task.submitted", &submitted.payload), event("task.foreseen", r#"{"foreseen":{}}"#)];
    let append = Append {
        aggregate_type: "task",
        aggregate_id: tests::fresh_id().to_string(),
        expected_sequence: 0,
        events,
        tenant: submitted.tenant,
        metadata: submitted.metadata.to_string(),
        key: None,
    };
    server.log.append(append).await.unwrap();
    let told = async {
        loop {
            let health = anonymous.get("/health").await;
            if ["processes", "gateways"].iter().all(|of| health.at(&format!("/components/{of}")) == "waiting") {
                return health;
            }
        }
    };
    let health = tokio::time::timeout(PATIENCE, told).await.unwrap();
    // The lists of tasks halt at this event, too; what waits would not make it unhealthy.
    assert_eq!((health.at("/status"), health.at("/components/projections")), (&json!("unhealthy"), &json!("halted")));
    let measured = anonymous.get("/metrics").await.text;
    assert!(measured.contains("corelog_gateways_waiting 1") && !measured.contains("corelog_processes_waiting 0"));
}

async fn rename(server: &TestServer, from: &str, to: &str) {
    let sql = format!("ALTER TABLE {from} RENAME TO {to}");
    server.models.write.execute_unprepared(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_read_models_do_not_show_yet_is_not_called_missing_sqlite() {
    what_the_read_models_do_not_show_yet_is_not_called_missing(Engine::Sqlite).await;
}
#[tokio::test(flavor = "multi_thread")]
async fn what_the_read_models_do_not_show_yet_is_not_called_missing_postgres() {
    what_the_read_models_do_not_show_yet_is_not_called_missing(Engine::Postgres).await;
}
async fn what_the_read_models_do_not_show_yet_is_not_called_missing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let installer = server.admin(Surface::Platform).with("Idempotency-Key", "acme");
    let tenant = json!({ "name": "Acme" });
    // Another table that cannot be written holds all of them up.
    rename(&server, "leads_v1", "lost").await;
    server.admin(Surface::HashInsight).post("/crm/api/lead", json!({ "name": "Ada" })).await.expect(200);
    let late = installer.post("/platform/v1/tenants", tenant.clone()).await.expect(503);
    assert_eq!(late.header("retry-after"), "1");
    // What is shown only once is shown.
    let owner = server.user(Surface::Zinnia);
    let device = owner.post("/api/v1/devices", json!({ "name": "hall", "device_type": "phone" })).await.expect(201);
    rename(&server, "lost", "leads_v1").await;
    let made = async {
        loop {
            let answer = installer.post("/platform/v1/tenants", tenant.clone()).await;
            if answer.status != 503 {
                return answer.expect(201);
            }
        }
    };
    tokio::time::timeout(PATIENCE, made).await.expect("it is never shown");
    let reporter = server.anonymous().with("x-api-key", device.at("/data/api_key").as_str().unwrap());
    reporter.post("/api/v1/battery/report", json!({ "battery_level": 80 })).await.expect(200);
}
