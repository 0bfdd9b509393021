//! The own account: what it shows, and what its user changes.

use api::surface::Surface;
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer};

const PASSWORD: &str = "password123";

/// Registers `name`@example.com and signs in.
pub(super) async fn registered(server: &TestServer, name: &str) -> Client {
    let body = json!({ "email": format!("{name}@example.com"), "username": name, "password": PASSWORD });
    server.anonymous().post("/api/auth/register", body).await.expect(200);
    signed_in(server, name, PASSWORD).await
}

pub(super) async fn signed_in(server: &TestServer, name: &str, password: &str) -> Client {
    let body = json!({ "email": format!("{name}@example.com"), "password": password });
    let entered = server.anonymous().post("/api/auth/login", body).await.expect(200);
    server.anonymous().with_token(entered.at("/data/access_token").as_str().unwrap())
}

/// The owner whom the first start registered.
pub(super) async fn owner(server: &TestServer) -> Client {
    let config = server.config();
    let body = json!({ "email": config.admin_email, "password": config.admin_password });
    let entered = server.anonymous().post("/api/auth/login", body).await.expect(200);
    server.anonymous().with_token(entered.at("/data/access_token").as_str().unwrap())
}

#[tokio::test]
async fn a_profile_is_changed_sqlite() {
    a_profile_is_changed(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_profile_is_changed_postgres() {
    a_profile_is_changed(Engine::Postgres).await;
}
async fn a_profile_is_changed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = registered(&server, "ada").await;
    registered(&server, "grace").await;
    let changed = user.put("/api/users/me", json!({ "full_name": "艾达", "username": "Ada_2" })).await.expect(200);
    assert_eq!((changed.at("/data/full_name"), changed.at("/data/username")), (&json!("艾达"), &json!("Ada_2")));
    assert_eq!(user.get("/api/users/me").await.expect(200).at("/data/username"), "Ada_2");
    // Other capitals are the same name; the old name is free again; a name that is taken changes nothing.
    user.put("/api/users/me", json!({ "username": "ADA_2" })).await.expect(200);
    registered(&server, "ada2").await.put("/api/users/me", json!({ "username": "ada" })).await.expect(200);
    let head = server.head().await;
    let taken = user.put("/api/users/me", json!({ "username": "Grace", "full_name": "Other" })).await.expect(400);
    assert_eq!(taken.at("/message"), "用户名已被使用");
    let refused = user.put("/api/users/me", json!({ "username": "free_name", "full_name": "" })).await.expect(422);
    assert_eq!(refused.at("/details/field_errors/full_name/0"), "姓名长度必须在1到100之间，且不能包含控制字符");
    let refused = user.put("/api/users/me", json!({ "username": "a b" })).await.expect(422);
    assert!(refused.at("/details/field_errors/username/0").as_str().unwrap().starts_with("用户名必须有"));
    user.put("/api/users/me", json!({})).await.expect(200);
    assert_eq!(server.head().await, head, "nothing was appended");
    assert_eq!(user.get("/api/users/me").await.expect(200).at("/data/full_name"), "艾达");
}

#[tokio::test]
async fn a_password_is_changed_and_other_sessions_end() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = registered(&server, "ada").await;
    let other = signed_in(&server, "ada", PASSWORD).await;
    let head = server.head().await;
    let wrong = json!({ "current_password": "wrong123", "new_password": "new_password" });
    let wrong = user.post("/api/users/change-password", wrong).await.expect(401);
    assert_eq!(
        (wrong.at("/error_code"), wrong.at("/message")),
        (&json!("INVALID_CREDENTIALS"), &json!("当前密码错误"))
    );
    let short = json!({ "current_password": PASSWORD, "new_password": "12345" });
    let short = user.post("/api/users/change-password", short).await.expect(422);
    assert!(short.at("/details/field_errors/new_password/0").is_string());
    let missing = user.post("/api/users/change-password", json!({ "current_password": PASSWORD })).await.expect(422);
    assert_eq!(missing.at("/details/field_errors/new_password/0"), "此字段为必填项");
    assert_eq!(server.head().await, head);
    let body = json!({ "current_password": PASSWORD, "new_password": "new_password" });
    user.post("/api/users/change-password", body).await.expect(200);
    user.get("/api/users/me").await.expect(200);
    other.get("/api/users/me").await.expect(401);
    let old = json!({ "email": "ada@example.com", "password": PASSWORD });
    server.anonymous().post("/api/auth/login", old).await.expect(401);
    signed_in(&server, "ada", "new_password").await;
}

#[tokio::test]
async fn two_changes_of_one_password_do_not_both_count() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = registered(&server, "ada").await;
    let attempts = (0..4).map(|n| {
        let body = json!({ "current_password": PASSWORD, "new_password": format!("new_password_{n}") });
        let user = user.clone();
        tokio::spawn(async move { user.post("/api/users/change-password", body).await.status })
    });
    let mut changed = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        changed += u32::from(attempt.await.unwrap() == 200);
    }
    assert_eq!(changed, 1);
}

#[tokio::test]
async fn a_token_lasts_half_an_hour() {
    let server = TestServer::start(Engine::Sqlite).await;
    registered(&server, "ada").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let entered = server.anonymous().post("/api/auth/login", body).await.expect(200);
    assert_eq!((entered.at("/data/expires_in"), entered.at("/data/token_type")), (&json!(1800), &json!("bearer")));
    assert_eq!(entered.at("/data/user/role"), "user");
}

#[tokio::test]
async fn errors_are_those_of_the_document() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.user(Surface::Owl);
    let body = json!({ "email": "nobody", "username": "ab", "password": "12345" });
    let refused = server.anonymous().post("/api/auth/register", body).await.expect(422);
    assert_eq!(
        (refused.at("/success"), refused.at("/error_code"), refused.at("/message")),
        (&json!(false), &json!("VALIDATION_ERROR"), &json!("请求参数验证失败"))
    );
    assert!(refused.at("/details/field_errors").is_object());
    let wrong_type = user.put("/api/users/me", json!({ "full_name": 7 })).await.expect(422);
    assert_eq!(wrong_type.at("/details/field_errors/full_name/0"), "字段类型不正确");
    let tasks = [
        (json!({ "title": "", "task_type": "training" }), "title"),
        (json!({ "title": "a", "task_type": "a b" }), "task_type"),
        (json!({ "title": "a", "task_type": "training", "priority": 6 }), "priority"),
        (json!({ "title": "a", "task_type": "training", "estimated_duration": 0 }), "estimated_duration"),
        (json!({ "title": "a" }), "task_type"),
    ];
    for (task, field) in tasks {
        let refused = user.post("/api/tasks", task).await.expect(422);
        let message = refused.at(&format!("/details/field_errors/{field}/0")).as_str().unwrap_or_default();
        assert!(!message.is_empty() && !message.is_ascii(), "{}", refused.text);
    }
    let nul = user.put("/api/users/me", json!({ "full_name": "a\u{0}b" })).await.expect(422);
    assert_eq!(nul.at("/error_code"), "VALIDATION_ERROR");
    for (method, path, status, code) in [
        (Method::GET, "/api/nothing", 404, "RESOURCE_NOT_FOUND"),
        (Method::DELETE, "/api/users/me", 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, "/api/admin/config", 403, "ACCESS_DENIED"),
    ] {
        let answer = user.send(method, path, None).await.expect(status);
        assert_eq!((answer.at("/error_code"), answer.at("/data")), (&json!(code), &Value::Null));
    }
    let unknown = server.anonymous().get("/api/users/me").await.expect(401);
    assert_eq!(unknown.at("/error_code"), "INVALID_CREDENTIALS");
}
