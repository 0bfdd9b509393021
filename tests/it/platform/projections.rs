//! How far the read models have come.

use api::surface::Surface;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer};

async fn recharge_codes(admin: &Client) -> Value {
    let answer = admin.get("/platform/v1/projections").await.expect(200);
    let projections = answer.at("/projections").as_array().unwrap();
    projections.iter().find(|projection| projection["name"] == "recharge_codes").unwrap().clone()
}

#[tokio::test]
async fn a_projection_shows_what_it_consumed_sqlite() {
    a_projection_shows_what_it_consumed(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_projection_shows_what_it_consumed_postgres() {
    a_projection_shows_what_it_consumed(Engine::Postgres).await;
}
async fn a_projection_shows_what_it_consumed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::Platform);
    let before = recharge_codes(&admin).await;
    let head = server.head().await;
    assert_eq!((&before["position"], &before["events"], &before["lag"]), (&json!(head), &json!(0), &json!(0)));
    let body = json!({ "amount": 1, "batch_size": 3 });
    let owl = server.admin(Surface::Owl);
    owl.post("/api/recharge/codes", body).await.expect(200);
    // Lists may be behind an answer that shows none, until one is read.
    owl.get("/api/recharge/codes").await.expect(200);
    let after = recharge_codes(&admin).await;
    assert_eq!((&after["position"], &after["events"], &after["lag"]), (&json!(head + 3), &json!(3), &json!(0)));
    assert_ne!(after["digest"], before["digest"]);
    assert_eq!(after["halted"], Value::Null);
}

#[tokio::test]
async fn only_administrators_see_the_projections() {
    let server = TestServer::start(Engine::Sqlite).await;
    server.user(Surface::Platform).get("/platform/v1/projections").await.expect(403);
    server.anonymous().get("/platform/v1/projections").await.expect(401);
}

#[tokio::test]
async fn metrics_say_how_far_everything_has_come() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owl = server.admin(Surface::Owl);
    owl.post("/api/recharge/codes", json!({ "amount": 1 })).await.expect(200);
    owl.get("/api/recharge/codes").await.expect(200);
    server.anonymous().get("/api/recharge/codes").await.expect(401);
    let (head, shown) = (server.head().await, server.anonymous().get("/metrics").await.expect(200).text);
    for line in [
        format!("corelog_log_position {head}"),
        format!("corelog_projection_position{{projection=\"recharge_codes\"}} {head}"),
        "corelog_projection_lag{projection=\"recharge_codes\"} 0".to_owned(),
        "corelog_projection_events{projection=\"recharge_codes\"} 1".to_owned(),
        "corelog_projection_halted{projection=\"recharge_codes\"} 0".to_owned(),
        "corelog_requests_total{surface=\"owl\",status=\"200\"} 2".to_owned(),
        "corelog_requests_total{surface=\"owl\",status=\"401\"} 1".to_owned(),
        "corelog_request_seconds_count{surface=\"owl\"} 3".to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no line {line} in\n{shown}");
    }
}
