//! The way into Zinnia: registration, tokens, refresh, logout.

use api::surface::Surface;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::clock::TestClock;
use tests::engine::Engine;
use tests::server::{Client, TestServer};

const PASSWORD: &str = "SecurePass123!";

fn registration(name: &str) -> Value {
    json!({ "email": format!("{name}@example.com"), "username": name, "password": PASSWORD, "confirm_password": PASSWORD })
}

async fn login(client: &Client, login: &str, password: &str) -> Answer {
    let body = json!({ "login": login, "password": password, "device_info": "Chrome on macOS" });
    client.post("/api/v1/users/login", body).await
}

/// A registered and signed-in user.
async fn john(server: &TestServer) -> Answer {
    server.anonymous().post("/api/v1/users/register", registration("johndoe")).await.expect(201);
    login(&server.anonymous(), "johndoe@example.com", PASSWORD).await.expect(200)
}

fn text<'a>(answer: &'a Answer, pointer: &str) -> &'a str {
    answer.at(pointer).as_str().unwrap()
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
    let registered = anonymous.post("/api/v1/users/register", registration("johndoe")).await.expect(201);
    assert_eq!((registered.at("/code"), registered.at("/message")), (&json!(200), &json!("success")));
    let user = registered.at("/data");
    assert_eq!(
        (&user["username"], &user["role"], &user["email_verified"]),
        (&json!("johndoe"), &json!("user"), &json!(false))
    );
    assert_eq!(user["last_login_at"], Value::Null);
    assert!(text(&registered, "/timestamp").ends_with('Z') && registered.at("/request_id").is_string());
    for name in ["johndoe@example.com", "JohnDoe"] {
        let entered = login(&anonymous, name, PASSWORD).await.expect(200);
        assert_eq!((entered.at("/data/token_type"), entered.at("/data/expires_in")), (&json!("Bearer"), &json!(900)));
        assert!(entered.at("/data/user/last_login_at").is_string());
        let by_token = anonymous.with_token(text(&entered, "/data/access_token"));
        assert_eq!(by_token.get("/api/v1/users/me").await.expect(200).at("/data/id"), &user["id"]);
        let left = by_token.send(Method::POST, "/api/v1/users/logout", None).await.expect(200);
        assert_eq!((left.at("/message"), left.at("/data")), (&json!("已登出"), &Value::Null));
        let shut_out = by_token.get("/api/v1/users/me").await.expect(401);
        assert_eq!((shut_out.at("/message"), shut_out.at("/error")), (&json!("认证失败"), &json!("unauthorized")));
        assert_eq!(shut_out.at("/request_id"), shut_out.header("x-request-id"));
    }
}

#[tokio::test]
async fn browsers_come_in_by_cookies_from_our_own_pages_only() {
    let server = TestServer::start(Engine::Sqlite).await;
    let entered = john(&server).await;
    let access = format!("access_token={}", entered.cookie("access_token"));
    assert_eq!(entered.cookie("refresh_token"), text(&entered, "/data/refresh_token"));
    assert!(entered.header("set-cookie").contains("HttpOnly; SameSite=Lax"));
    let browser = server.anonymous().with("cookie", &access);
    browser.get("/api/v1/users/me").await.expect(200);
    let elsewhere = browser.with("origin", "https://evil.example");
    elsewhere.send(Method::POST, "/api/v1/users/logout", None).await.expect(403);
    browser.get("/api/v1/users/me").await.expect(200);
    // A header beats the cookie.
    browser.with_token("nonsense").get("/api/v1/users/me").await.expect(401);
    let left = browser.with("origin", &server.url()).send(Method::POST, "/api/v1/users/logout", None).await.expect(200);
    assert_eq!((left.cookie("access_token"), left.cookie("refresh_token")), ("", ""));
    browser.get("/api/v1/users/me").await.expect(401);
}

#[tokio::test]
async fn a_refresh_token_is_good_once_sqlite() {
    a_refresh_token_is_good_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_refresh_token_is_good_once_postgres() {
    a_refresh_token_is_good_once(Engine::Postgres).await;
}
async fn a_refresh_token_is_good_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (anonymous, entered) = (server.anonymous(), john(&server).await);
    let first = text(&entered, "/data/refresh_token");
    let refreshed = anonymous.post("/api/v1/users/refresh", json!({ "refresh_token": first })).await.expect(200);
    let by_token = anonymous.with_token(text(&refreshed, "/data/access_token"));
    by_token.get("/api/v1/users/me").await.expect(200);
    // From the cookie, with no body at all.
    let browser = anonymous.with("cookie", &format!("refresh_token={}", refreshed.cookie("refresh_token")));
    let elsewhere = browser.with("sec-fetch-site", "cross-site");
    elsewhere.send(Method::POST, "/api/v1/users/refresh", None).await.expect(403);
    let again = browser.send(Method::POST, "/api/v1/users/refresh", None).await.expect(200);
    let last = text(&again, "/data/refresh_token");
    // Whoever comes with the first one again may be a thief: the session ends for both.
    anonymous.post("/api/v1/users/refresh", json!({ "refresh_token": first })).await.expect(401);
    anonymous.post("/api/v1/users/refresh", json!({ "refresh_token": last })).await.expect(401);
    by_token.get("/api/v1/users/me").await.expect(401);
    anonymous.post("/api/v1/users/refresh", json!({})).await.expect(401);
    let access = text(&again, "/data/access_token");
    anonymous.post("/api/v1/users/refresh", json!({ "refresh_token": access })).await.expect(401);
}

#[tokio::test]
async fn a_refresh_repeated_under_its_key_gets_the_same_tokens() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (client, entered) = (server.anonymous().with("idempotency-key", "refresh-1"), john(&server).await);
    let body = json!({ "refresh_token": text(&entered, "/data/refresh_token") });
    let first = client.post("/api/v1/users/refresh", body.clone()).await.expect(200);
    let again = client.post("/api/v1/users/refresh", body).await.expect(200);
    assert_eq!((first.json, again.header("idempotency-replayed")), (again.json.clone(), "true"));
}

#[tokio::test]
async fn a_refresh_by_cookie_under_a_key_is_repeated_for_nobody_else() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (stranger, entered) = (server.anonymous().with("idempotency-key", "refresh-1"), john(&server).await);
    let browser = stranger.with("cookie", &format!("refresh_token={}", entered.cookie("refresh_token")));
    let first = browser.send(Method::POST, "/api/v1/users/refresh", None).await.expect(200);
    let again = browser.send(Method::POST, "/api/v1/users/refresh", None).await.expect(200);
    assert_eq!((first.json, again.header("idempotency-replayed")), (again.json.clone(), "true"));
    stranger.send(Method::POST, "/api/v1/users/refresh", None).await.expect(401);
    let somebody = stranger.with("cookie", "refresh_token=a.b.c");
    somebody.send(Method::POST, "/api/v1/users/refresh", None).await.expect(401);
    // Pages that show a constant instead of a token are told apart by their cookies as well.
    let cookie = format!("refresh_token={}", again.cookie("refresh_token"));
    let page = stranger.with_token("null");
    page.with("cookie", &cookie).send(Method::POST, "/api/v1/users/refresh", None).await.expect(200);
    page.send(Method::POST, "/api/v1/users/refresh", None).await.expect(401);
}

#[tokio::test]
async fn five_wrong_passwords_lock_for_a_quarter_of_an_hour() {
    let time = TestClock::default();
    let server = TestServer::start_by(Engine::Sqlite, time.clock()).await;
    john(&server).await;
    for _ in 0..5 {
        let refused = login(&server.anonymous(), "johndoe", "WrongPass123!").await.expect(401);
        assert_eq!(refused.at("/message"), "认证失败");
    }
    let locked = login(&server.anonymous(), "johndoe", PASSWORD).await.expect(401);
    assert_eq!(locked.at("/message"), "认证失败：账户已锁定，请15分钟后再试");
    assert_eq!(locked.header("retry-after"), "900");
    time.turn(TimeDelta::minutes(15));
    login(&server.anonymous(), "johndoe", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn tokens_and_sessions_end_in_time() {
    let time = TestClock::default();
    let server = TestServer::start_by(Engine::Sqlite, time.clock()).await;
    let entered = john(&server).await;
    let by_token = server.anonymous().with_token(text(&entered, "/data/access_token"));
    time.turn(TimeDelta::minutes(16));
    by_token.get("/api/v1/users/me").await.expect(401);
    let body = json!({ "refresh_token": text(&entered, "/data/refresh_token") });
    time.turn(TimeDelta::days(7));
    server.anonymous().post("/api/v1/users/refresh", body).await.expect(401);
}

#[tokio::test]
async fn addresses_and_names_are_taken_once_even_by_many_at_a_time_sqlite() {
    taken_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn addresses_and_names_are_taken_once_even_by_many_at_a_time_postgres() {
    taken_once(Engine::Postgres).await;
}
async fn taken_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let anonymous = server.anonymous();
    anonymous.post("/api/v1/users/register", registration("johndoe")).await.expect(201);
    let mut same_address = registration("other");
    same_address["email"] = json!("JohnDoe@Example.com");
    let refused = anonymous.post("/api/v1/users/register", same_address).await.expect(400);
    assert_eq!((refused.at("/message"), refused.at("/error")), (&json!("邮箱已被注册"), &json!("validation_error")));
    // The name that the refused registration asked for is still free.
    anonymous.post("/api/v1/users/register", registration("other")).await.expect(201);
    let attempts: Vec<_> = (0..8)
        .map(|n| {
            let (client, mut body) = (anonymous.clone(), registration("JOHNNY"));
            body["email"] = json!(format!("johnny{n}@example.com"));
            tokio::spawn(async move { client.post("/api/v1/users/register", body).await })
        })
        .collect();
    let mut registered = 0;
    for attempt in attempts {
        let answer = attempt.await.unwrap();
        registered += usize::from(answer.status == 201);
        assert!(answer.status == 201 || answer.at("/message") == "用户名已被占用", "{}", answer.text);
    }
    assert_eq!(registered, 1);
}

#[tokio::test]
async fn bad_bodies_are_refused_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (anonymous, head) = (server.anonymous(), server.head().await);
    let with = |field: &str, value: Value| {
        let mut body = registration("johndoe");
        body[field] = value;
        body
    };
    let registrations = [
        json!({}),
        json!([]),
        with("email", json!("nonsense")),
        with("email", json!(7)),
        with("username", json!("jo")),
        with("username", json!("john doe")),
        with("username", json!("x".repeat(51))),
        with("password", json!("short1")),
        with("password", json!("onlyletters")),
        with("password", json!("x1".repeat(65))),
        with("confirm_password", json!("different1")),
    ];
    for body in registrations {
        let refused = anonymous.post("/api/v1/users/register", body).await.expect(400);
        assert_eq!((refused.at("/code"), refused.at("/error")), (&json!(400), &json!("validation_error")));
    }
    for path in ["register", "login", "refresh"] {
        let path = format!("/api/v1/users/{path}");
        anonymous.send(Method::POST, &path, Some("{".into())).await.expect(400);
        anonymous.send(Method::POST, &path, Some("x".repeat(1_100_000))).await.expect(413);
    }
    anonymous.send(Method::POST, "/api/v1/users/login", None).await.expect(400);
    login(&anonymous, "nobody@example.com", PASSWORD).await.expect(401);
    login(&anonymous, "", &"x".repeat(100_000)).await.expect(401);
    anonymous.send(Method::POST, "/api/v1/users/logout", None).await.expect(401);
    anonymous.get("/api/v1/users/me").await.expect(401);
    anonymous.with_token("a.b.c").get("/api/v1/users/me").await.expect(401);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_token_of_another_product_is_none_here() {
    let server = TestServer::start(Engine::Sqlite).await;
    server.user(Surface::Owl).get("/api/v1/users/me").await.expect(401);
}

#[tokio::test]
async fn no_secret_is_in_a_read_model_or_an_answer() {
    let server = TestServer::start(Engine::Sqlite).await;
    let entered = john(&server).await;
    let refresh = text(&entered, "/data/refresh_token");
    let events = server.log.read_all(0, &[], 1000).await.unwrap().events;
    assert!(events.iter().all(|event| !event.payload.contains(PASSWORD) && !event.payload.contains(refresh)));
    let row = projections::identity::users::find_by_login(&server.models.read, "johndoe").await.unwrap().unwrap();
    assert!(!format!("{row:?}").contains("argon2id"));
    assert!(!entered.text.contains("argon2id"));
}
