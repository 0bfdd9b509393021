//! The way into BITRUN: a form, a pair of tokens, lockout.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::clock::TestClock;
use tests::engine::Engine;
use tests::server::{Client, TestServer};

const PASSWORD: &str = "SecurePass123";

async fn register(client: &Client, email: &str) -> Answer {
    client.post("/api/v1/auth/register", json!({ "email": email, "password": PASSWORD, "name": "John" })).await
}

async fn login(client: &Client, email: &str, password: &str) -> Answer {
    client.post_form("/api/v1/auth/login", &[("username", email), ("password", password)]).await
}

#[tokio::test]
async fn a_user_registers_comes_in_and_leaves_sqlite() {
    a_user_registers_comes_in_and_leaves(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_user_registers_comes_in_and_leaves_postgres() {
    a_user_registers_comes_in_and_leaves(Engine::Postgres).await;
}
async fn a_user_registers_comes_in_and_leaves(engine: Engine) {
    let server = TestServer::start(engine).await;
    let anonymous = server.anonymous();
    let registered = register(&anonymous, "john@example.com").await.expect(200);
    let shown = json!({ "id": registered.at("/id"), "email": "john@example.com", "name": "John", "is_active": true });
    assert_eq!(registered.json, shown);
    let entered = login(&anonymous, "John@example.com", PASSWORD).await.expect(200);
    assert_eq!((entered.at("/token_type"), entered.at("/expires_in")), (&json!("bearer"), &json!(3600)));
    let by_token = anonymous.with_token(entered.at("/access_token").as_str().unwrap());
    assert_eq!(by_token.get("/api/v1/auth/me").await.expect(200).json, shown);
    let body = json!({ "refresh_token": entered.at("/refresh_token") });
    let refreshed = anonymous.post("/api/v1/auth/refresh", body.clone()).await.expect(200);
    let by_token = anonymous.with_token(refreshed.at("/access_token").as_str().unwrap());
    let left = by_token.post("/api/v1/auth/logout", body.clone()).await.expect(200);
    assert_eq!(left.json, json!({ "message": "Successfully logged out" }));
    let shut_out = by_token.get("/api/v1/auth/me").await.expect(401);
    assert_eq!(shut_out.json, json!({ "detail": "Token has been revoked" }));
    assert_eq!(shut_out.header("www-authenticate"), "Bearer");
    let latest = json!({ "refresh_token": refreshed.at("/refresh_token") });
    let revoked = anonymous.post("/api/v1/auth/refresh", latest).await.expect(401);
    assert_eq!(revoked.json, json!({ "detail": "Token has been revoked" }));
    anonymous.post("/api/v1/auth/refresh", body).await.expect(401);
    // The session that the refresh token names ends as well.
    let here = login(&anonymous, "John@example.com", PASSWORD).await.expect(200);
    let there = login(&anonymous, "John@example.com", PASSWORD).await.expect(200);
    let named = json!({ "refresh_token": there.at("/refresh_token") });
    let by_token = anonymous.with_token(here.at("/access_token").as_str().unwrap());
    by_token.post("/api/v1/auth/logout", named.clone()).await.expect(200);
    anonymous.post("/api/v1/auth/refresh", named).await.expect(401);
}

#[tokio::test]
async fn a_used_refresh_token_ends_the_session() {
    let server = TestServer::start(Engine::Sqlite).await;
    let anonymous = server.anonymous();
    register(&anonymous, "john@example.com").await.expect(200);
    let entered = login(&anonymous, "john@example.com", PASSWORD).await.expect(200);
    let first = json!({ "refresh_token": entered.at("/refresh_token") });
    let refreshed = anonymous.post("/api/v1/auth/refresh", first.clone()).await.expect(200);
    anonymous.post("/api/v1/auth/refresh", first).await.expect(401);
    let second = json!({ "refresh_token": refreshed.at("/refresh_token") });
    anonymous.post("/api/v1/auth/refresh", second).await.expect(401);
    let by_token = anonymous.with_token(refreshed.at("/access_token").as_str().unwrap());
    by_token.get("/api/v1/auth/me").await.expect(401);
}

#[tokio::test]
async fn wrong_passwords_are_counted_and_lock_sqlite() {
    wrong_passwords_are_counted_and_lock(Engine::Sqlite).await;
}
#[tokio::test]
async fn wrong_passwords_are_counted_and_lock_postgres() {
    wrong_passwords_are_counted_and_lock(Engine::Postgres).await;
}
async fn wrong_passwords_are_counted_and_lock(engine: Engine) {
    let time = TestClock::default();
    let server = TestServer::start_by(engine, time.clock()).await;
    let anonymous = server.anonymous();
    register(&anonymous, "john@example.com").await.expect(200);
    for remaining in [4, 3, 2, 1, 0] {
        let refused = login(&anonymous, "john@example.com", "WrongPass123").await.expect(401);
        assert_eq!(refused.at("/detail/code"), "AUTH_INVALID_CREDENTIALS");
        assert_eq!(refused.at("/detail/remaining_attempts"), remaining);
    }
    let locked = login(&anonymous, "john@example.com", PASSWORD).await.expect(429);
    assert_eq!(locked.at("/detail/code"), "AUTH_ACCOUNT_LOCKED");
    assert_eq!((locked.at("/detail/remaining_minutes"), locked.header("retry-after")), (&json!(15), "900"));
    time.turn(TimeDelta::minutes(14));
    let locked = login(&anonymous, "john@example.com", PASSWORD).await.expect(429);
    assert_eq!(locked.at("/detail/remaining_minutes"), 1);
    time.turn(TimeDelta::minutes(1));
    login(&anonymous, "john@example.com", PASSWORD).await.expect(200);
    let refused = login(&anonymous, "john@example.com", "WrongPass123").await.expect(401);
    assert_eq!(refused.at("/detail/remaining_attempts"), 4);
}

#[tokio::test]
async fn bad_input_is_refused_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let anonymous = server.anonymous();
    register(&anonymous, "john@example.com").await.expect(200);
    let head = server.head().await;
    let taken = register(&anonymous, "JOHN@example.com").await.expect(400);
    assert_eq!(taken.at("/detail/code"), "AUTH_EMAIL_EXISTS");
    let body = |email: &str, password: &str, name: Value| json!({ "email": email, "password": password, "name": name });
    let bodies = [
        json!({}),
        body("nonsense", PASSWORD, json!("John")),
        body("ann@example.com", "short", json!("Ann")),
        body("ann@example.com", &"x".repeat(73), json!("Ann")),
        body("ann@example.com", PASSWORD, json!("")),
        body("ann@example.com", PASSWORD, json!("x".repeat(101))),
        body("ann@example.com", PASSWORD, json!(7)),
    ];
    for body in bodies {
        let refused = anonymous.post("/api/v1/auth/register", body).await.expect(422);
        assert!(refused.at("/detail/0/msg").is_string(), "{}", refused.text);
    }
    let missing = anonymous.post_form("/api/v1/auth/login", &[("username", "john@example.com")]).await.expect(422);
    assert_eq!(missing.at("/detail/0/loc/1"), "password");
    anonymous.post("/api/v1/auth/login", json!({ "username": "john@example.com" })).await.expect(422);
    login(&anonymous, "nobody@example.com", PASSWORD).await.expect(401);
    anonymous.post("/api/v1/auth/refresh", json!({})).await.expect(422);
    let forged = anonymous.post("/api/v1/auth/refresh", json!({ "refresh_token": "a.b.c" })).await.expect(401);
    assert_eq!(forged.at("/detail"), "Invalid or expired refresh token");
    anonymous.send(Method::POST, "/api/v1/auth/logout", None).await.expect(401);
    assert_eq!(anonymous.get("/api/v1/auth/me").await.expect(401).at("/detail"), "Not authenticated");
    assert_eq!(server.head().await, head);
}
