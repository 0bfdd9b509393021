//! Live connections: who may listen, what is pushed, and when a connection ends.

use std::time::Duration;

use api::config::{Config, LiveSettings};
use api::surface::Surface;
use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer, WAIT_MAX, settings};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::alerts::{Scene, rule};
use super::devices::device;

/// A live connection.
struct Live(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Live {
    /// A connection that has been greeted.
    async fn connect(server: &TestServer) -> Self {
        let mut live = Self(open(server).await.unwrap());
        let connected = live.hear().await;
        assert_eq!(connected["type"], "connected");
        assert!(connected["message"].is_string() && connected["server_time"].is_string());
        live
    }
    /// A connection of a user.
    async fn of(server: &TestServer, user: &Client) -> Self {
        let mut live = Self::connect(server).await;
        let result = live.ask(json!({ "type": "auth", "token": user.token(), "auth_type": "jwt" })).await;
        assert_eq!((&result["success"], &result["user_id"]), (&json!(true), &json!(user.user_id())));
        live
    }
    /// A connection of a device.
    async fn of_device(server: &TestServer, key: &str) -> Self {
        let mut live = Self::connect(server).await;
        let result = live.ask(json!({ "type": "auth", "token": key, "auth_type": "device_token" })).await;
        assert_eq!(result["success"], true);
        live
    }
    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }
    async fn ask(&mut self, message: Value) -> Value {
        self.say(message).await;
        self.hear().await
    }
    /// The next message; fails when the connection ends first.
    async fn hear(&mut self) -> Value {
        self.next().await.expect("the connection has ended")
    }
    /// The next message, or that the connection has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(WAIT_MAX, self.0.next()).await.expect("nothing is said") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }
    /// Hears on until the connection ends; answers the last message.
    async fn end(&mut self) -> Value {
        let mut last = Value::Null;
        while let Some(message) = self.next().await {
            last = message;
        }
        last
    }
    async fn subscribe(&mut self, devices: &[&str]) -> Value {
        self.ask(json!({ "type": "subscribe", "device_ids": devices })).await
    }
}

async fn open(server: &TestServer) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, tungstenite::Error> {
    let url = format!("{}/api/v1/battery/ws", server.url().replace("http", "ws"));
    connect_async(url).await.map(|(socket, _)| socket)
}

#[tokio::test]
async fn readings_and_alerts_are_pushed_to_who_listens_sqlite() {
    pushed_to_who_listens(Engine::Sqlite).await;
}
#[tokio::test]
async fn readings_and_alerts_are_pushed_to_who_listens_postgres() {
    pushed_to_who_listens(Engine::Postgres).await;
}
async fn pushed_to_who_listens(engine: Engine) {
    let server = TestServer::start(engine).await;
    let owner = server.user(Surface::Zinnia);
    rule(&owner, "low_battery").await;
    let (id, key) = device(&owner, "hall").await;
    let (other, other_key) = device(&owner, "other").await;
    let mut live = Live::of(&server, &owner).await;
    let subscribed = live.subscribe(&[&id, "nonsense", &tests::fresh_id().to_string()]).await;
    assert_eq!((&subscribed["type"], &subscribed["success"]), (&json!("subscribe_result"), &json!(false)));
    assert_eq!((&subscribed["subscribed"], &subscribed["failed"][0]), (&json!([id]), &json!("nonsense")));
    let elsewhere = server.anonymous().with("x-api-key", &other_key);
    elsewhere.post("/api/v1/battery/report", json!({ "battery_level": 1 })).await.expect(200);
    let hall = server.anonymous().with("x-api-key", &key);
    let kept = hall.post("/api/v1/battery/report", json!({ "battery_level": 15, "voltage": 3.9 })).await.expect(200);
    let pushes = [live.hear().await, live.hear().await];
    let of = |kind: &str| pushes.iter().find(|push| push["type"] == kind).unwrap();
    assert_eq!((&of("battery_push")["device_id"], &of("battery_push")["data"]), (&json!(id), kept.at("/data")));
    let alert = &of("alert_push")["alert"];
    assert_eq!((&alert["status"], &alert["message"]), (&json!("active"), &json!("设备电量低: 15%")));
    let resolve = format!("/api/v1/alerts/events/{}/resolve", alert["id"].as_str().unwrap());
    owner.send(Method::POST, &resolve, None).await.expect(200);
    assert_eq!(live.hear().await["alert"]["status"], "resolved");
    let left = live.ask(json!({ "type": "unsubscribe", "device_ids": [id] })).await;
    assert_eq!((&left["type"], &left["unsubscribed"]), (&json!("unsubscribe_result"), &json!([id])));
    assert_eq!(live.subscribe(&[&other]).await["success"], true);
    hall.post("/api/v1/battery/report", json!({ "battery_level": 90 })).await.expect(200);
    elsewhere.post("/api/v1/battery/report", json!({ "battery_level": 90 })).await.expect(200);
    assert_eq!(live.hear().await["device_id"], json!(other));
}

#[tokio::test]
async fn devices_report_over_a_connection_sqlite() {
    devices_report(Engine::Sqlite).await;
}
#[tokio::test]
async fn devices_report_over_a_connection_postgres() {
    devices_report(Engine::Postgres).await;
}
async fn devices_report(engine: Engine) {
    let server = TestServer::start(engine).await;
    let owner = server.user(Surface::Zinnia);
    let (id, key) = device(&owner, "hall").await;
    let mut live = Live::of_device(&server, &key).await;
    let report = json!({ "type": "battery_report", "msg_id": "m-1", "battery_level": 80, "is_charging": true });
    let result = live.ask(report).await;
    assert_eq!((&result["type"], &result["msg_id"]), (&json!("battery_report_result"), &json!("m-1")));
    assert_eq!((&result["success"], &result["data"]["battery_level"]), (&json!(true), &json!(80)));
    let wrapped = json!({ "type": "battery_report", "msg_id": 2, "data": { "battery_level": 79 } });
    assert_eq!(live.ask(wrapped).await["msg_id"], 2);
    let data = json!([
        { "battery_level": 70, "recorded_at": "2026-01-12T10:00:00Z" }, { "battery_level": 69, "recorded_at": "2026-01-12T10:01:00Z" }
    ]);
    let batch = json!({ "type": "batch_battery_report", "msg_id": "m-3", "data": data });
    let result = live.ask(batch.clone()).await;
    assert_eq!((&result["type"], &result["inserted_count"]), (&json!("batch_battery_report_result"), &json!(2)));
    assert_eq!(live.ask(batch).await["inserted_count"], 0);
    let refused = live.ask(json!({ "type": "battery_report", "msg_id": "m-4", "battery_level": 101 })).await;
    assert_eq!((&refused["success"], refused["error"].is_string()), (&json!(false), true));
    assert_eq!(live.ask(json!({ "type": "ping" })).await["type"], "pong");
    let latest = owner.get(&format!("/api/v1/battery/latest/{id}")).await.expect(200);
    assert_eq!(latest.at("/data/battery_level"), 79);
    // A device listens to itself only.
    let (other, _) = device(&owner, "other").await;
    assert_eq!(live.subscribe(&[&id, &other]).await["failed"], json!([other]));
    // A key that is replaced ends the connection.
    owner.send(Method::POST, &format!("/api/v1/devices/{id}/rotate-key"), None).await.expect(200);
    assert_eq!(live.end().await["code"], "UNAUTHORIZED");
}

#[tokio::test]
async fn a_token_of_a_device_is_good_for_what_it_says() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.user(Surface::Zinnia);
    let (id, _) = device(&owner, "hall").await;
    let token = async |permission: &str| {
        let body = json!({ "name": permission, "permission": permission });
        let issued = owner.post(&format!("/api/v1/devices/{id}/tokens"), body).await.expect(201);
        (issued.at("/data/id").as_str().unwrap().to_owned(), issued.at("/data/token").as_str().unwrap().to_owned())
    };
    let (_, writes) = token("write").await;
    let mut live = Live::of_device(&server, &writes).await;
    assert_eq!(live.subscribe(&[&id]).await["success"], false);
    assert_eq!(live.ask(json!({ "type": "battery_report", "battery_level": 80 })).await["success"], true);
    let (token_id, reads) = token("read").await;
    let mut live = Live::of_device(&server, &reads).await;
    assert_eq!(live.subscribe(&[&id]).await["success"], true);
    assert_eq!(live.ask(json!({ "type": "battery_report", "battery_level": 80 })).await["success"], false);
    owner.send(Method::DELETE, &format!("/api/v1/devices/{id}/tokens/{token_id}"), None).await.expect(200);
    assert_eq!(live.end().await["code"], "UNAUTHORIZED");
}

#[tokio::test]
async fn a_share_that_ends_ends_the_pushes() {
    let scene = Scene::with_rules(Engine::Sqlite, &[]).await;
    let friend = scene.server.zinnia_user("friend").await;
    let mut live = Live::of(&scene.server, &friend).await;
    assert_eq!(live.subscribe(&[&scene.id]).await["success"], false);
    let share = format!("/api/v1/users/devices/{}/share", scene.id);
    scene.owner.post(&share, json!({ "user_identifier": "friend", "permission": "read" })).await.expect(201);
    assert_eq!(live.subscribe(&[&scene.id]).await["success"], true);
    scene.report(50).await;
    // The device has come online, which changed nothing for who listens.
    assert_eq!(live.hear().await["type"], "battery_push");
    scene.owner.send(Method::DELETE, &format!("{share}/{}", friend.user_id()), None).await.expect(204);
    assert_eq!(live.hear().await, json!({ "type": "subscription_ended", "device_id": scene.id }));
    scene.at(1);
    scene.report(49).await;
    scene.judged().await;
    assert_eq!(live.ask(json!({ "type": "ping" })).await["type"], "pong", "nothing was pushed");
}

#[tokio::test]
async fn signing_out_ends_the_connection() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.zinnia_user("johndoe").await;
    let mut live = Live::of(&server, &user).await;
    user.send(Method::POST, "/api/v1/users/logout", None).await.expect(200);
    let last = live.end().await;
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("UNAUTHORIZED")));
}

#[tokio::test]
async fn what_makes_no_sense_is_answered_with_a_code() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.user(Surface::Zinnia);
    let (id, _) = device(&owner, "hall").await;
    let head = server.head().await;
    let mut live = Live::connect(&server).await;
    let code = async |live: &mut Live, message: &str| {
        live.0.send(Message::text(message.to_owned())).await.unwrap();
        let answer = live.hear().await;
        assert_eq!(answer["type"], "error", "{answer}");
        answer["code"].as_str().unwrap().to_owned()
    };
    for nonsense in ["{", "", "7x", r#"{"type":"auth"}"#, r#"{"type":"subscribe","device_ids":7}"#] {
        assert_eq!(code(&mut live, nonsense).await, "INVALID_FORMAT", "{nonsense}");
    }
    for unknown in ["7", "[]", "null", r#"{"type":"shutdown"}"#, r#"{"type":7}"#] {
        assert_eq!(code(&mut live, unknown).await, "INVALID_MESSAGE", "{unknown}");
    }
    for early in [
        json!({ "type": "subscribe", "device_ids": [id] }),
        json!({ "type": "battery_report", "battery_level": 5 }),
        json!({ "type": "batch_battery_report", "data": [] }),
    ] {
        assert_eq!(code(&mut live, &early.to_string()).await, "UNAUTHORIZED");
    }
    live.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(live.hear().await["code"], "INVALID_FORMAT");
    let mut live = Live::of(&server, &owner).await;
    assert_eq!(live.ask(json!({ "type": "battery_report", "battery_level": 5 })).await["success"], false);
    let many: Vec<String> = (0..101).map(|_| tests::fresh_id().to_string()).collect();
    let many = json!({ "type": "subscribe", "device_ids": many });
    assert_eq!(code(&mut live, &many.to_string()).await, "INVALID_MESSAGE");
    let again = json!({ "type": "auth", "token": "x", "auth_type": "jwt" });
    assert_eq!(code(&mut live, &again.to_string()).await, "INVALID_MESSAGE");
    assert_eq!(server.head().await, head);
    // Too large a message ends the connection.
    let _ = live.0.send(Message::text("x".repeat(300_000))).await;
    live.end().await;
}

#[tokio::test]
async fn wrong_tokens_end_the_connection() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owl = server.user(Surface::Owl);
    let mut live = Live::connect(&server).await;
    for token in ["nonsense", owl.token().unwrap()] {
        let result = live.ask(json!({ "type": "auth", "token": token, "auth_type": "jwt" })).await;
        assert_eq!((&result["type"], &result["success"]), (&json!("auth_result"), &json!(false)));
    }
    live.say(json!({ "type": "auth", "token": "zn_live_x", "auth_type": "device_token" })).await;
    assert_eq!(live.end().await["code"], "UNAUTHORIZED");
    server.anonymous().get("/api/v1/battery/ws").await.expect(400);
}

/// A server with these limits of live connections.
async fn limited(live: LiveSettings) -> TestServer {
    TestServer::start_with(Config { live, ..settings() }).await
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let server = limited(LiveSettings { auth_timeout_ms: 50, ..LiveSettings::default() }).await;
    let mut live = Live::connect(&server).await;
    assert_eq!(live.end().await["code"], "AUTH_TIMEOUT");
    let limits = LiveSettings { heartbeat_ms: 20, silence_max_ms: 60, connections_max: 1, ..LiveSettings::default() };
    let server = limited(limits).await;
    // A client answers pings only while it reads.
    let _silent = Live::of(&server, &server.user(Surface::Zinnia)).await;
    until_there_is_room(&server).await;
}

#[tokio::test]
async fn there_are_only_so_many_connections() {
    let server =
        limited(LiveSettings { connections_max: 2, connections_per_caller_max: 1, ..LiveSettings::default() }).await;
    let user = server.user(Surface::Zinnia);
    let first = Live::of(&server, &user).await;
    let mut second = Live::connect(&server).await;
    let refused = open(&server).await.unwrap_err();
    assert!(matches!(refused, tungstenite::Error::Http(answer) if answer.status() == 503));
    second.say(json!({ "type": "auth", "token": user.token(), "auth_type": "jwt" })).await;
    assert_eq!(second.end().await["code"], "TOO_MANY_CONNECTIONS");
    drop((first, second));
    until_there_is_room(&server).await;
}

async fn until_there_is_room(server: &TestServer) {
    let room = async {
        while open(server).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(WAIT_MAX, room).await.unwrap();
}

/// A client that does not read is let go: nothing waits for it for ever.
#[tokio::test]
async fn a_slow_client_is_let_go() {
    let server = limited(LiveSettings { connections_max: 1, ..LiveSettings::default() }).await;
    let owner = server.user(Surface::Zinnia);
    let (id, key) = device(&owner, "hall").await;
    let mut slow = Live::of(&server, &owner).await;
    slow.subscribe(&[&id]).await;
    let client = server.anonymous().with("x-api-key", &key);
    let mut reported = 0;
    // As soon as there is room for another one, it is gone.
    while open(&server).await.is_err() {
        assert!(reported < 200_000, "{reported} readings wait for a client that does not read");
        let at = |n: i64| chrono::DateTime::from_timestamp(1_780_000_000 + reported + n, 0).unwrap();
        let data: Vec<Value> = (0..1_000).map(|n| json!({ "battery_level": 50, "recorded_at": at(n) })).collect();
        client.post("/api/v1/battery/batch-report", json!({ "data": data })).await.expect(200);
        reported += 1_000;
    }
}
