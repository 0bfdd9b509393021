//! The way into Owl Factory, and the own account.

use api::surface::Surface;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tests::clock::TestClock;
use tests::engine::Engine;
use tests::server::{Client, TestServer};

const PASSWORD: &str = "password123";

async fn register(client: &Client, name: &str) -> tests::answer::Answer {
    let email = format!("{name}@example.com");
    let body = json!({ "email": email, "username": name, "password": PASSWORD, "full_name": "新用户" });
    client.post("/api/auth/register", body).await
}

async fn login(client: &Client, email: &str, password: &str) -> tests::answer::Answer {
    client.post("/api/auth/login", json!({ "email": email, "password": password })).await
}

#[tokio::test]
async fn a_user_registers_and_sees_the_balance_sqlite() {
    a_user_registers_and_sees_the_balance(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_user_registers_and_sees_the_balance_postgres() {
    a_user_registers_and_sees_the_balance(Engine::Postgres).await;
}
async fn a_user_registers_and_sees_the_balance(engine: Engine) {
    let server = TestServer::start(engine).await;
    let anonymous = server.anonymous();
    let registered = register(&anonymous, "newuser").await.expect(200);
    assert_eq!(registered.at("/success"), true);
    let entered = login(&anonymous, "newuser@example.com", PASSWORD).await.expect(200);
    let data = entered.at("/data");
    assert_eq!((&data["token_type"], &data["expires_in"]), (&json!("bearer"), &json!(1800)));
    assert_eq!((&data["user"]["role"], &data["user"]["is_active"]), (&json!("user"), &json!(true)));
    assert_eq!(&data["user"]["id"], registered.at("/data/user_id"));
    let user = anonymous.with_token(data["access_token"].as_str().unwrap());
    let codes = server.admin(Surface::Owl).post("/api/recharge/codes", json!({ "amount": 100.5 })).await.expect(200);
    user.post("/api/recharge/redeem", json!({ "code": codes.at("/data/codes/0/code") })).await.expect(200);
    let me = user.get("/api/users/me").await.expect(200);
    let me = me.at("/data");
    assert_eq!((&me["email"], &me["username"]), (&json!("newuser@example.com"), &json!("newuser")));
    assert_eq!((&me["full_name"], &me["balance"], &me["total_tasks"]), (&json!("新用户"), &json!(100.5), &json!(0)));
    assert!(me["created_at"].is_string() && me["last_login"].is_string());
    assert_eq!(user.send(Method::POST, "/api/auth/logout", None).await.expect(200).at("/data"), &Value::Null);
    assert_eq!(user.get("/api/users/me").await.expect(401).at("/error_code"), "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn refusals_have_the_documented_words() {
    let server = TestServer::start(Engine::Sqlite).await;
    let anonymous = server.anonymous();
    register(&anonymous, "newuser").await.expect(200);
    let head = server.head().await;
    let taken = register(&anonymous, "newuser").await.expect(400);
    assert_eq!(taken.at("/message"), "邮箱已被注册");
    let body = json!({ "email": "other@example.com", "username": "NewUser", "password": PASSWORD });
    let taken = anonymous.post("/api/auth/register", body).await.expect(400);
    assert_eq!((taken.at("/message"), taken.at("/error")), (&json!("用户名已被使用"), &json!("HTTP_400")));
    for (field, value) in [("email", "nonsense"), ("username", "ab"), ("password", "12345")] {
        let mut body = json!({ "email": "ann@example.com", "username": "ann", "password": PASSWORD });
        body[field] = json!(value);
        let refused = anonymous.post("/api/auth/register", body).await.expect(422);
        assert_eq!(refused.at("/error_code"), "VALIDATION_ERROR");
        assert!(refused.at(&format!("/details/field_errors/{field}/0")).is_string(), "{}", refused.text);
    }
    let refused = anonymous.post("/api/auth/login", json!({ "email": "newuser@example.com" })).await.expect(422);
    assert!(refused.at("/details/field_errors/password/0").is_string());
    anonymous.get("/api/users/me").await.expect(401);
    anonymous.send(Method::POST, "/api/auth/logout", None).await.expect(401);
    assert_eq!(server.head().await, head);
    let refused = login(&anonymous, "newuser@example.com", "wrong123").await.expect(401);
    assert_eq!(
        (refused.at("/message"), refused.at("/error_code")),
        (&json!("邮箱或密码错误"), &json!("INVALID_CREDENTIALS"))
    );
}

#[tokio::test]
async fn a_locked_and_a_deactivated_account_stay_out() {
    let time = TestClock::default();
    let server = TestServer::start_by(Engine::Sqlite, time.clock()).await;
    let anonymous = server.anonymous();
    let id = register(&anonymous, "newuser").await.expect(200).at("/data/user_id").as_str().unwrap().to_owned();
    for _ in 0..5 {
        login(&anonymous, "newuser@example.com", "wrong123").await.expect(401);
    }
    let locked = login(&anonymous, "newuser@example.com", PASSWORD).await.expect(401);
    assert_eq!(
        (locked.at("/message"), locked.at("/details/remaining_minutes")),
        (&json!("账户已被锁定，请稍后再试"), &json!(15))
    );
    time.turn(TimeDelta::minutes(15));
    let entered = login(&anonymous, "newuser@example.com", PASSWORD).await.expect(200);
    let user = anonymous.with_token(entered.at("/data/access_token").as_str().unwrap());
    user.get("/api/users/me").await.expect(200);
    let owner = server.admin(Surface::Platform);
    owner.put(&format!("/platform/v1/users/{id}/active"), json!({ "is_active": false })).await.expect(200);
    user.get("/api/users/me").await.expect(401);
    let refused = login(&anonymous, "newuser@example.com", PASSWORD).await.expect(401);
    assert_eq!(refused.at("/message"), "账户已被禁用");
    owner.put(&format!("/platform/v1/users/{id}/active"), json!({ "is_active": true })).await.expect(200);
    user.get("/api/users/me").await.expect(401);
    login(&anonymous, "newuser@example.com", PASSWORD).await.expect(200);
}

/// Otherwise anybody finds out which addresses are registered.
#[tokio::test]
async fn unknown_addresses_are_answered_like_known_ones() {
    let time = TestClock::default();
    let server = TestServer::start_by(Engine::Sqlite, time.clock()).await;
    let anonymous = server.anonymous();
    register(&anonymous, "newuser").await.expect(200);
    for attempt in 0..14 {
        let known = login(&anonymous, "newuser@example.com", "wrong123").await;
        let unknown = login(&anonymous, " Nobody@example.com", "wrong123").await;
        assert_eq!((unknown.status, &unknown.json), (known.status, &known.json), "attempt {attempt}");
        assert_eq!(unknown.header("retry-after"), known.header("retry-after"));
        if attempt >= 5 {
            time.turn(TimeDelta::minutes(4));
        }
    }
    let other = login(&anonymous, "other@example.com", "wrong123").await.expect(401);
    assert_eq!(other.at("/details/remaining_attempts"), 4);
}

#[tokio::test]
async fn of_many_who_register_one_address_all_but_one_are_told_that_it_is_taken() {
    let server = TestServer::start(Engine::Sqlite).await;
    let attempts = (0..8).map(|_| {
        let anonymous = server.anonymous();
        tokio::spawn(async move { register(&anonymous, "newuser").await })
    });
    let mut messages = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        let answer = attempt.await.unwrap();
        if answer.status != 200 {
            messages.push(answer.expect(400).at("/message").as_str().unwrap().to_owned());
        }
    }
    assert_eq!(messages, ["邮箱已被注册"; 7]);
}

#[tokio::test]
async fn a_session_ends_after_half_an_hour() {
    let time = TestClock::default();
    let server = TestServer::start_by(Engine::Sqlite, time.clock()).await;
    register(&server.anonymous(), "newuser").await.expect(200);
    let entered = login(&server.anonymous(), "newuser@example.com", PASSWORD).await.expect(200);
    let user = server.anonymous().with_token(entered.at("/data/access_token").as_str().unwrap());
    time.turn(TimeDelta::minutes(29));
    user.get("/api/users/me").await.expect(200);
    time.turn(TimeDelta::minutes(1));
    user.get("/api/users/me").await.expect(401);
}
