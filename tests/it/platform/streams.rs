//! One aggregate and how it came to its state.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::events::append;
use tests::fresh_id;
use tests::server::{Client, TestServer};

async fn with_a_balance(engine: Engine) -> (TestServer, Client, String) {
    let server = TestServer::start(engine).await;
    let user = server.user(Surface::Owl);
    let body = json!({ "amount": 10, "batch_size": 3 });
    let issued = server.admin(Surface::Owl).post("/api/recharge/codes", body).await.expect(200);
    for code in issued.at("/data/codes").as_array().unwrap() {
        user.post("/api/recharge/redeem", json!({ "code": code["code"] })).await.expect(200);
    }
    let path = format!("/platform/v1/streams/balance/{}", user.user_id());
    let admin = server.admin(Surface::Platform);
    (server, admin, path)
}

#[tokio::test]
async fn a_stream_shows_state_and_events_sqlite() {
    a_stream_shows_state_and_events(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_stream_shows_state_and_events_postgres() {
    a_stream_shows_state_and_events(Engine::Postgres).await;
}
async fn a_stream_shows_state_and_events(engine: Engine) {
    let (_server, admin, path) = with_a_balance(engine).await;
    let now = admin.get(&path).await.expect(200);
    assert_eq!((now.at("/state/balance"), now.at("/version"), now.header("etag")), (&json!("30"), &json!(3), "\"3\""));
    let second = now.at("/events/1");
    assert_eq!((&second["type"], &second["sequence"]), (&json!("balance.credited"), &json!(2)));
    for as_of in [second["position"].to_string(), second["recorded_at"].as_str().unwrap().to_owned()] {
        let then = admin.get(&format!("{path}?as_of={as_of}")).await.expect(200);
        assert_eq!(
            (then.at("/state/balance"), then.at("/events/1"), then.at("/events/2")),
            (&json!("20"), second, &Value::Null)
        );
    }
    let page = admin.get(&format!("{path}?limit=2")).await.expect(200);
    assert_eq!((page.at("/next"), page.at("/state/balance")), (&json!(2), &json!("30")));
    let rest = admin.get(&format!("{path}?limit=2&after=2")).await.expect(200);
    assert_eq!(
        (rest.at("/next"), rest.at("/events/0/sequence"), rest.at("/events/1")),
        (&Value::Null, &json!(3), &Value::Null)
    );
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (server, admin, path) = with_a_balance(Engine::Sqlite).await;
    admin.get(&format!("{path}?as_of=1")).await.expect(404);
    admin.get("/platform/v1/streams/balance/nobody").await.expect(404);
    admin.get("/platform/v1/streams/unheard_of/1").await.expect(404);
    let stranger = server.signed_in(Surface::Platform, Role::Owner, TenantId(fresh_id()));
    stranger.get(&path).await.expect(404);
    server.user(Surface::Platform).get(&path).await.expect(403);
    server.anonymous().get(&path).await.expect(401);
    let bad = [("as_of=soon", "as_of"), ("after=x", "after"), ("limit=0", "limit")];
    for (query, field) in bad {
        assert_eq!(admin.get(&format!("{path}?{query}")).await.expect(422).at("/fields/0/field"), field);
    }
}

#[tokio::test]
async fn a_stream_with_an_event_that_cannot_be_read_is_shown_without_its_state() {
    let (server, admin, path) = with_a_balance(Engine::Sqlite).await;
    let id = path.rsplit('/').next().unwrap();
    server.log.append(append("balance", id, 3, 1)).await.unwrap();
    let shown = admin.get(&path).await.expect(200);
    let unreadable = shown.at("/unreadable").as_str().unwrap();
    assert!(unreadable.contains("(thing.changed v1) cannot be read"), "{unreadable}");
    assert_eq!((shown.at("/state"), shown.at("/events/3/type")), (&Value::Null, &json!("thing.changed")));
    let before = admin.get(&format!("{path}?as_of={}", shown.at("/events/2/position"))).await.expect(200);
    assert_eq!((before.at("/state/balance"), before.at("/unreadable")), (&json!("30"), &Value::Null));
}

#[tokio::test]
async fn secrets_are_in_neither_state_nor_events() {
    let server = TestServer::start(Engine::Sqlite).await;
    let body = json!({ "email": "ann@example.com", "username": "ann", "password": "Battery-staple-9" });
    server.anonymous().post("/api/auth/register", body).await.expect(200);
    let admin = server.admin(Surface::Platform);
    let events = admin.get("/platform/v1/events?type=user.registered").await.expect(200);
    let id = events.at("/events/0/aggregate_id").as_str().unwrap().to_owned();
    let shown = admin.get(&format!("/platform/v1/streams/user/{id}")).await.expect(200);
    assert!(shown.text.contains("[redacted]") && !shown.text.contains("$argon2"), "{}", shown.text);
}
