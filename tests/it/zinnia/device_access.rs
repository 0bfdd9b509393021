//! Who may do what with a device: every operation, tried by everybody.

use api::surface::Surface;
use chrono::{DateTime, TimeDelta, Utc};
use commands::Clock;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::{Client, TestServer};

use super::devices::device;

const PASSWORD: &str = "SecurePass123!";

/// Somebody who is registered and signed in.
async fn registered(server: &TestServer, name: &str) -> Client {
    let anonymous = server.anonymous();
    let body = json!({ "email": format!("{name}@example.com"), "username": name, "password": PASSWORD });
    anonymous.post("/api/v1/users/register", body).await.expect(201);
    let entered = anonymous.post("/api/v1/users/login", json!({ "login": name, "password": PASSWORD })).await;
    anonymous.with_token(entered.expect(200).at("/data/access_token").as_str().unwrap())
}

/// What an operation on a device needs, from least to most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Need {
    Read,
    Write,
    Share,
    Own,
}

/// An operation on a device: `{id}` in the path is the device, `{token}` one of its tokens.
type Operation = (Method, &'static str, Need, Option<Value>);

/// Those that destroy what the others need come last.
fn operations() -> Vec<Operation> {
    vec![
        (Method::GET, "/api/v1/devices/{id}", Need::Read, None),
        (Method::GET, "/api/v1/devices/{id}/config", Need::Read, None),
        (Method::GET, "/api/v1/users/devices/{id}/shares", Need::Read, None),
        (Method::GET, "/api/v1/battery/latest/{id}", Need::Read, None),
        (Method::GET, "/api/v1/battery/history/{id}?{day}", Need::Read, None),
        (Method::GET, "/api/v1/battery/aggregated/{id}?{day}&interval=hour", Need::Read, None),
        (Method::GET, "/api/v1/battery/stats/{id}?{day}", Need::Read, None),
        (Method::GET, "/api/v1/alerts/devices/{id}/count", Need::Read, None),
        (Method::POST, "/api/v1/alerts/events/{alert}/acknowledge", Need::Write, None),
        (Method::PUT, "/api/v1/alerts/events/{alert}/status", Need::Write, Some(json!({ "status": "acknowledged" }))),
        (Method::POST, "/api/v1/alerts/events/{alert}/resolve", Need::Write, None),
        (Method::PUT, "/api/v1/devices/{id}", Need::Write, Some(json!({ "name": "renamed" }))),
        (Method::PUT, "/api/v1/devices/{id}/config", Need::Write, Some(json!({ "low_battery_threshold": 30 }))),
        (Method::POST, "/api/v1/users/devices/{id}/share", Need::Share, Some(json!({ "user_identifier": "guest" }))),
        (Method::DELETE, "/api/v1/users/devices/{id}/share/{guest}", Need::Share, None),
        (Method::GET, "/api/v1/devices/{id}/tokens", Need::Own, None),
        (Method::POST, "/api/v1/devices/{id}/tokens", Need::Own, Some(json!({ "name": "t" }))),
        (Method::DELETE, "/api/v1/devices/{id}/tokens/{token}", Need::Own, None),
        (Method::DELETE, "/api/v1/devices/{id}/tokens", Need::Own, None),
        (Method::POST, "/api/v1/devices/{id}/rotate-key", Need::Own, None),
        (Method::DELETE, "/api/v1/devices/{id}", Need::Own, None),
    ]
}

/// A caller, and how far the device lets the caller go; `None` does not even see it.
struct Actor {
    name: &'static str,
    client: Client,
    may: Option<Need>,
}

struct Stage {
    server: TestServer,
    owner: Client,
    actors: Vec<Actor>,
    guest: String,
}

async fn stage(engine: Engine) -> Stage {
    let server = TestServer::start(engine).await;
    let owner = registered(&server, "owner").await;
    let guest = registered(&server, "guest").await.user_id().to_string();
    let mut actors = vec![Actor { name: "owner", client: owner.clone(), may: Some(Need::Own) }];
    for (name, may) in [("reader", Need::Read), ("writer", Need::Write), ("sharer", Need::Share)] {
        actors.push(Actor { name, client: registered(&server, name).await, may: Some(may) });
    }
    let elsewhere = TenantId(fresh_id());
    actors.push(Actor { name: "stranger", client: registered(&server, "stranger").await, may: None });
    actors.push(Actor { name: "administrator", client: server.admin(Surface::Zinnia), may: Some(Need::Own) });
    for (name, role) in [("foreign user", Role::User), ("foreign owner", Role::Owner)] {
        actors.push(Actor { name, client: server.signed_in(Surface::Zinnia, role, elsewhere), may: None });
    }
    Stage { server, owner, actors, guest }
}

/// A fresh device, shared with reader, writer, sharer and guest, with a token and an alert.
struct Shared {
    id: String,
    token: String,
    alert: String,
}

async fn shared_device(server: &TestServer, owner: &Client) -> Shared {
    let (id, key) = device(owner, "hall").await;
    for (name, permission) in [("reader", "read"), ("writer", "write"), ("sharer", "admin"), ("guest", "read")] {
        let body = json!({ "user_identifier": name, "permission": permission });
        owner.post(&format!("/api/v1/users/devices/{id}/share"), body).await.expect(201);
    }
    let token = owner.post(&format!("/api/v1/devices/{id}/tokens"), json!({ "name": "t" })).await.expect(201);
    // Registration makes a rule for low batteries.
    let by_key = server.anonymous().with("x-api-key", &key);
    by_key.post("/api/v1/battery/report", json!({ "battery_level": 15 })).await.expect(200);
    let path = format!("/api/v1/alerts/events?device_id={id}");
    let alerts = server.get_until(owner, &path, |alerts| alerts.at("/data/items/0/id").is_string()).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Shared { id, token: text(token.at("/data/id")), alert: text(alerts.at("/data/items/0/id")) }
}

#[tokio::test]
async fn everybody_may_do_what_their_share_says_and_nothing_else_sqlite() {
    everybody_may_do_what_their_share_says(Engine::Sqlite).await;
}
#[tokio::test]
async fn everybody_may_do_what_their_share_says_and_nothing_else_postgres() {
    everybody_may_do_what_their_share_says(Engine::Postgres).await;
}
async fn everybody_may_do_what_their_share_says(engine: Engine) {
    let Stage { server, owner, actors, guest } = stage(engine).await;
    let mut wrong = Vec::new();
    let now = Clock::system().now();
    let moment = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let day = format!("start_time={}&end_time={}", moment(now - TimeDelta::hours(24)), moment(now));
    for Actor { name, client, may } in &actors {
        let Shared { id, token, alert } = shared_device(&server, &owner).await;
        for (method, path, need, body) in operations() {
            let head = server.head().await;
            let place = path.replace("{id}", &id).replace("{token}", &token).replace("{guest}", &guest);
            let place = place.replace("{alert}", &alert).replace("{day}", &day);
            let answer = client.send(method.clone(), &place, body.map(|body| body.to_string())).await;
            let expected: &[u16] = match may {
                None => &[404],
                Some(may) if *may < need => &[403],
                Some(_) => &[200, 201, 204],
            };
            let untouched = expected[0] == 200 || did_nothing(&server, client, head).await;
            if !expected.contains(&answer.status) || !untouched {
                wrong.push(format!("{name}: {method} {path} gave {} and not {expected:?}", answer.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the log holds nothing of `client` after `head`; what follows an alert may come in meanwhile.
async fn did_nothing(server: &TestServer, client: &Client, head: u64) -> bool {
    let actor = format!("user:{}", client.user_id());
    let page = server.log.read_all(head, &[], 1_000).await.unwrap();
    page.events.iter().all(|event| event.metadata().unwrap().actor != actor)
}

#[tokio::test]
async fn lists_show_what_is_owned_or_shared() {
    let Stage { server, owner, actors, .. } = stage(Engine::Sqlite).await;
    let Shared { id, .. } = shared_device(&server, &owner).await;
    for Actor { name, client, .. } in &actors {
        let listed = client.get("/api/v1/devices").await.expect(200);
        let sees = listed.at("/data/items/0/id") == &json!(id);
        let expected = ["owner", "reader", "writer", "sharer"].contains(name);
        assert_eq!(sees, expected, "{name} sees {}", listed.text);
        let alerts = client.get(&format!("/api/v1/alerts/events?device_id={id}")).await.expect(200);
        let sees = alerts.at("/data/pagination/total_items") == &json!(1);
        assert_eq!(sees, expected, "{name} sees {}", alerts.text);
    }
}

#[tokio::test]
async fn a_share_is_shown_changed_and_given_up() {
    let Stage { server, owner, actors, guest } = stage(Engine::Sqlite).await;
    let Shared { id, .. } = shared_device(&server, &owner).await;
    let shares = owner.get(&format!("/api/v1/users/devices/{id}/shares")).await.expect(200);
    let first = shares.at("/data/0");
    assert_eq!((&first["username"], &first["email"]), (&json!("reader"), &json!("reader@example.com")));
    assert_eq!((&first["user"]["username"], &first["permission"]), (&json!("reader"), &json!("read")));
    let path = format!("/api/v1/users/devices/{id}/share");
    let raised = json!({ "user_identifier": "reader@example.com", "permission": "write" });
    assert_eq!(owner.post(&path, raised).await.expect(201).at("/data/permission"), &json!("write"));
    let reader = &actors[1].client;
    reader.put(&format!("/api/v1/devices/{id}"), json!({ "name": "by reader" })).await.expect(200);
    reader.send(Method::DELETE, &format!("{path}/{guest}"), None).await.expect(403);
    reader.send(Method::DELETE, &format!("{path}/{}", reader.user_id()), None).await.expect(204);
    reader.get(&format!("/api/v1/devices/{id}")).await.expect(404);
    let head = server.head().await;
    for (body, status) in [
        (json!({}), 400),
        (json!({ "user_identifier": "owner" }), 400),
        (json!({ "user_identifier": "nobody" }), 404),
        (json!({ "user_identifier": "guest", "permission": "all" }), 400),
    ] {
        owner.post(&path, body).await.expect(status);
    }
    owner.send(Method::DELETE, &format!("{path}/{}", owner.user_id()), None).await.expect(404);
    assert_eq!(server.head().await, head);
}
