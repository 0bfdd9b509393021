//! A read model rebuilt by the running server.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::TestServer;

const PATH: &str = "/platform/v1/projections/recharge_codes/rebuild";

#[tokio::test]
async fn a_read_model_is_rebuilt_sqlite() {
    a_read_model_is_rebuilt(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_read_model_is_rebuilt_postgres() {
    a_read_model_is_rebuilt(Engine::Postgres).await;
}
async fn a_read_model_is_rebuilt(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (admin, owl) = (server.admin(Surface::Platform), server.admin(Surface::Owl));
    owl.post("/api/recharge/codes", json!({ "amount": 10, "batch_size": 3 })).await.expect(200);
    assert_eq!(owl.get("/api/recharge/codes").await.expect(200).at("/total"), 3);
    server.models.write.execute_unprepared("UPDATE recharge_codes_v1 SET amount = '5'").await.unwrap();
    let dry = admin.send(Method::POST, &format!("{PATH}?dry_run=true"), None).await.expect(200);
    assert_eq!((dry.at("/dry_run"), dry.at("/differing_rows"), dry.at("/rows")), (&json!(true), &json!(3), &json!(3)));
    assert_eq!(owl.get("/api/recharge/codes").await.expect(200).at("/items/0/amount"), 5.0);
    let head = server.head().await;
    let done = admin.send(Method::POST, PATH, None).await.expect(200);
    assert_eq!(
        (done.at("/rows"), done.at("/events"), done.at("/differing_rows")),
        (&json!(3), &json!(3), &Value::Null)
    );
    assert_eq!(done.at("/digest"), dry.at("/digest"));
    assert_eq!(owl.get("/api/recharge/codes").await.expect(200).at("/items/0/amount"), 10.0);
    let dry = admin.send(Method::POST, &format!("{PATH}?dry_run=true"), None).await.expect(200);
    assert_eq!(dry.at("/differing_rows"), 0);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn those_who_run_the_installation_may_rebuild() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Platform);
    admin.send(Method::POST, "/platform/v1/projections/nothing/rebuild", None).await.expect(404);
    admin.send(Method::POST, &format!("{PATH}?dry_run=perhaps"), None).await.expect(422);
    let stranger = server.signed_in(Surface::Platform, Role::Owner, TenantId(fresh_id()));
    stranger.send(Method::POST, PATH, None).await.expect(403);
    server.user(Surface::Platform).send(Method::POST, PATH, None).await.expect(403);
    server.anonymous().send(Method::POST, PATH, None).await.expect(401);
    let held = projections::Beside::open(&server.models, "rebuild", &[]).await.unwrap().unwrap();
    let busy = admin.send(Method::POST, PATH, None).await.expect(409);
    assert_eq!(busy.at("/error"), "busy");
    held.close().await.unwrap();
}

#[tokio::test]
async fn processes_and_readers_are_shown() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Platform), server.user(Surface::Owl));
    let issued = server.admin(Surface::Owl).post("/api/recharge/codes", json!({ "amount": 10 })).await.expect(200);
    user.post("/api/recharge/redeem", json!({ "code": issued.at("/data/codes/0/code") })).await.expect(200);
    let shown = admin.get("/platform/v1/projections").await.expect(200);
    // The last event is the credit that a process made of the redemption.
    let head = server.head().await;
    assert_eq!(shown.at("/processes/produced"), head);
    assert!(shown.at("/processes/position").as_u64().unwrap() >= head - 1, "{}", shown.text);
    assert!(shown.at("/readers").is_object());
}
