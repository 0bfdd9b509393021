//! The own account, signing out everywhere, and users as administrators see them.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::{Client, TestServer};

use super::devices::device;

const PASSWORD: &str = "SecurePass123!";

async fn register(server: &TestServer, name: &str) -> Answer {
    let body = json!({ "email": format!("{name}@example.com"), "username": name, "password": PASSWORD });
    server.anonymous().post("/api/v1/users/register", body).await
}

async fn login(server: &TestServer, name: &str, password: &str) -> Answer {
    server.anonymous().post("/api/v1/users/login", json!({ "login": name, "password": password })).await
}

/// A client with the tokens of an entrance, and the refresh token.
fn entered(server: &TestServer, entrance: &Answer) -> (Client, Value) {
    let access = entrance.at("/data/access_token").as_str().unwrap();
    (server.anonymous().with_token(access), json!({ "refresh_token": entrance.at("/data/refresh_token") }))
}

#[tokio::test]
async fn the_own_account_is_changed_sqlite() {
    the_own_account_is_changed(Engine::Sqlite).await;
}
#[tokio::test]
async fn the_own_account_is_changed_postgres() {
    the_own_account_is_changed(Engine::Postgres).await;
}
async fn the_own_account_is_changed(engine: Engine) {
    let server = TestServer::start(engine).await;
    register(&server, "john").await.expect(201);
    register(&server, "jane").await.expect(201);
    let (john, _) = entered(&server, &login(&server, "john", PASSWORD).await.expect(200));
    let body = json!({ "username": "johnny", "metadata": { "theme": "dark" } });
    let changed = john.put("/api/v1/users/me", body).await.expect(200);
    assert_eq!((changed.at("/data/username"), changed.at("/data/metadata/theme")), (&json!("johnny"), &json!("dark")));
    assert_eq!(john.get("/api/v1/users/me").await.expect(200).at("/data"), changed.at("/data"));
    login(&server, "john", PASSWORD).await.expect(401);
    login(&server, "johnny", PASSWORD).await.expect(200);
    // The name that was given up is free.
    let heir = json!({ "email": "heir@example.com", "username": "john", "password": PASSWORD });
    server.anonymous().post("/api/v1/users/register", heir).await.expect(201);
    let head = server.head().await;
    for (body, message) in [
        (json!({ "username": "jane" }), Some("用户名已被占用")),
        (json!({ "username": "j n" }), None),
        (json!({ "username": "jo" }), None),
        (json!({ "metadata": [] }), None),
        (json!({ "username": "other", "metadata": { "x": "y".repeat(20_000) } }), None),
    ] {
        let refused = john.put("/api/v1/users/me", body).await.expect(400);
        assert!(message.is_none_or(|message| refused.at("/message") == message), "{}", refused.text);
    }
    assert_eq!(server.head().await, head);
    let unchanged = john.put("/api/v1/users/me", json!({})).await.expect(200);
    assert_eq!(unchanged.at("/data/username"), "johnny");
    assert_eq!(unchanged.at("/data/metadata"), &json!({ "theme": "dark" }));
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_new_password_ends_every_session_sqlite() {
    a_new_password_ends_every_session(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_new_password_ends_every_session_postgres() {
    a_new_password_ends_every_session(Engine::Postgres).await;
}
async fn a_new_password_ends_every_session(engine: Engine) {
    let server = TestServer::start(engine).await;
    register(&server, "john").await.expect(201);
    let (here, refresh_here) = entered(&server, &login(&server, "john", PASSWORD).await.expect(200));
    let (_, elsewhere) = entered(&server, &login(&server, "john", PASSWORD).await.expect(200));
    let change = |current: &str, new: &str, confirmed: &str| json!({ "current_password": current, "new_password": new, "confirm_password": confirmed });
    let path = "/api/v1/users/me/password";
    here.put(path, change("Wrong1234", "NewSecure456!", "NewSecure456!")).await.expect(401);
    here.put(path, change(PASSWORD, "NewSecure456!", "Different456!")).await.expect(400);
    here.put(path, change(PASSWORD, "short1", "short1")).await.expect(400);
    let changed = here.put("/api/v1/users/me/password", change(PASSWORD, "NewSecure456!", "NewSecure456!")).await;
    assert_eq!(changed.expect(200).at("/message"), "密码修改成功");
    for refresh in [refresh_here, elsewhere] {
        server.anonymous().post("/api/v1/users/refresh", refresh).await.expect(401);
    }
    here.get("/api/v1/users/me").await.expect(401);
    login(&server, "john", PASSWORD).await.expect(401);
    login(&server, "john", "NewSecure456!").await.expect(200);
}

#[tokio::test]
async fn signing_out_everywhere_says_how_many_sessions_there_were() {
    let server = TestServer::start(Engine::Sqlite).await;
    register(&server, "john").await.expect(201);
    let (here, _) = entered(&server, &login(&server, "john", PASSWORD).await.expect(200));
    let (there, refresh) = entered(&server, &login(&server, "john", PASSWORD).await.expect(200));
    let left = here.send(Method::POST, "/api/v1/users/logout-all", None).await.expect(200);
    assert_eq!(left.at("/data"), &json!({ "message": "已登出所有设备", "sessions_revoked": 2 }));
    assert_eq!(left.cookie("refresh_token"), "");
    there.get("/api/v1/users/me").await.expect(401);
    server.anonymous().post("/api/v1/users/refresh", refresh).await.expect(401);
    // With a body that says it is JSON and is none.
    let (again, _) = entered(&server, &login(&server, "john", PASSWORD).await.expect(200));
    again.send(Method::POST, "/api/v1/users/logout-all", Some(String::new())).await.expect(200);
}

#[tokio::test]
async fn administrators_see_and_end_the_users_of_their_tenant_sqlite() {
    administrators_see_and_end_the_users_of_their_tenant(Engine::Sqlite).await;
}
#[tokio::test]
async fn administrators_see_and_end_the_users_of_their_tenant_postgres() {
    administrators_see_and_end_the_users_of_their_tenant(Engine::Postgres).await;
}
async fn administrators_see_and_end_the_users_of_their_tenant(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.signed_in(Surface::Zinnia, Role::Admin, TenantId::DEFAULT);
    let john = register(&server, "john").await.expect(201);
    register(&server, "jane").await.expect(201);
    let john = john.at("/data/id").as_str().unwrap();
    let listed = admin.get("/api/v1/users?page=1&page_size=20&search=JOHN&role=user&is_active=true").await.expect(200);
    assert_eq!((listed.at("/data/items/0/id"), listed.at("/data/pagination/total_items")), (&json!(john), &json!(1)));
    assert_eq!(admin.get("/api/v1/users?role=admin").await.expect(200).at("/data/pagination/total_items"), &json!(1));
    admin.get("/api/v1/users?role=king").await.expect(400);
    assert_eq!(admin.get(&format!("/api/v1/users/{john}")).await.expect(200).at("/data/username"), &json!("john"));
    let (client, refresh) = entered(&server, &login(&server, "john", PASSWORD).await.expect(200));
    let (device_id, key) = device(&client, "hall").await;
    let reading = json!({ "battery_level": 80 });
    server.anonymous().with("x-api-key", &key).post("/api/v1/battery/report", reading).await.expect(200);
    for stranger in [client.clone(), server.user(Surface::Zinnia)] {
        stranger.get("/api/v1/users").await.expect(403);
        stranger.get(&format!("/api/v1/users/{john}")).await.expect(403);
        stranger.send(Method::DELETE, &format!("/api/v1/users/{john}"), None).await.expect(403);
    }
    let elsewhere = server.signed_in(Surface::Zinnia, Role::Owner, TenantId(fresh_id()));
    elsewhere.get(&format!("/api/v1/users/{john}")).await.expect(404);
    elsewhere.send(Method::DELETE, &format!("/api/v1/users/{john}"), None).await.expect(404);
    let owner = admin.get("/api/v1/users?role=admin").await.expect(200);
    let owner = owner.at("/data/items/0/id").as_str().unwrap();
    admin.send(Method::DELETE, &format!("/api/v1/users/{owner}"), None).await.expect(403);
    let deleted = admin.send(Method::DELETE, &format!("/api/v1/users/{john}"), None).await.expect(204);
    assert_eq!(deleted.text, "");
    admin.get(&format!("/api/v1/users/{john}")).await.expect(404);
    client.get("/api/v1/users/me").await.expect(401);
    server.anonymous().post("/api/v1/users/refresh", refresh).await.expect(401);
    login(&server, "john", PASSWORD).await.expect(401);
    admin.get(&format!("/api/v1/devices/{device_id}")).await.expect(404);
    server.anonymous().post("/api/v1/auth/exchange", json!({ "api_key": key })).await.expect(401);
    assert_eq!(
        server.readings().latest(device_id.parse().unwrap()).await.unwrap(),
        None,
        "readings outlive their user"
    );
    // The address stays taken, so nobody inherits anything; the name is free.
    assert_eq!(register(&server, "john").await.expect(400).at("/message"), "邮箱已被注册");
    let heir = json!({ "email": "heir@example.com", "username": "john", "password": PASSWORD });
    server.anonymous().post("/api/v1/users/register", heir).await.expect(201);
}

#[tokio::test]
async fn who_would_delete_an_older_version_of_a_user_leaves_the_devices() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.signed_in(Surface::Zinnia, Role::Admin, TenantId::DEFAULT);
    let john = server.zinnia_user("john").await;
    let (device_id, _) = device(&john, "hall").await;
    let (user, device) = (format!("/api/v1/users/{}", john.user_id()), format!("/api/v1/devices/{device_id}"));
    admin.with("If-Match", "\"1000\"").send(Method::DELETE, &user, None).await.expect(412);
    john.get(&device).await.expect(200);
    let keyed = admin.with("Idempotency-Key", "once");
    keyed.send(Method::DELETE, &user, None).await.expect(204);
    server.lose_answer("once");
    // Deleted is deleted, whoever lost the answer to it.
    keyed.send(Method::DELETE, &user, None).await.expect(204);
    admin.send(Method::DELETE, &user, None).await.expect(404);
}
