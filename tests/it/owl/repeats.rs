//! A request that is repeated while the first one is still being answered.

use api::surface::Surface;
use commands::CommandContext;
use domain::compute::task::{Task, TaskCommand};
use domain::log::CommandKey;
use domain::metadata::{Metadata, TenantId, UserId};
use reqwest::Method;
use serde_json::json;
use tests::engine::Engine;
use tests::server::TestServer;

use super::accounts::registered;
use super::agents::submit;
use super::top_up;

#[tokio::test]
async fn who_comes_while_the_first_is_under_way_is_told_that_it_is_a_repetition_sqlite() {
    who_comes_meanwhile_is_told(Engine::Sqlite).await;
}
#[tokio::test]
async fn who_comes_while_the_first_is_under_way_is_told_that_it_is_a_repetition_postgres() {
    who_comes_meanwhile_is_told(Engine::Postgres).await;
}
async fn who_comes_meanwhile_is_told(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = server.user(Surface::Owl);
    top_up(&server.admin(Surface::Owl), &user, "100").await;
    let task = submit(&user, "a", 1, json!({})).await;
    let cancel = format!("/api/tasks/{task}/cancel");
    let learned = user.with("Idempotency-Key", "learned").send(Method::POST, &cancel, None).await.expect(200);
    assert_eq!(learned.header("idempotency-replayed"), "", "it was the first");
    user.send(Method::POST, &format!("/api/tasks/{task}/retry"), None).await.expect(200);
    // As it is when the first request under this key has been carried out, and its answer is still being made.
    let known = server.log.command(TenantId::DEFAULT, "http:learned").await.unwrap().unwrap();
    let key = CommandKey { key: "http:second".to_owned(), fingerprint: known.fingerprint };
    let by = UserId(user.user_id());
    let metadata = Metadata::of(TenantId::DEFAULT, format!("user:{by}"), "owl", tests::fresh_id());
    let context = CommandContext { key: Some(key), ..CommandContext::new(metadata) };
    server.app().bus.execute::<Task>(&task, TaskCommand::Cancel { by }, &context).await.unwrap();
    let head = server.head().await;
    let second = user.with("Idempotency-Key", "second");
    let meanwhile = second.send(Method::POST, &cancel, None).await.expect(200);
    let later = second.send(Method::POST, &cancel, None).await.expect(200);
    assert_eq!(meanwhile.at("/data/status"), "cancelled");
    assert_eq!((later.header("idempotency-replayed"), &later.text), ("true", &meanwhile.text));
    assert_eq!(meanwhile.header("idempotency-replayed"), "true", "it was carried out before");
    assert_eq!(meanwhile.header("corelog-position"), later.header("corelog-position"));
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_change_of_the_password_whose_answer_was_lost_is_known_again() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = registered(&server, "ada").await;
    let (change, path) =
        (json!({ "current_password": "password123", "new_password": "password456" }), "/api/users/change-password");
    let keyed = user.with("Idempotency-Key", "once");
    let first = keyed.post(path, change.clone()).await.expect(200);
    server.lose_answer("once");
    let head = server.head().await;
    let again = keyed.post(path, change.clone()).await.expect(200);
    assert_eq!((&again.json, again.header("idempotency-replayed")), (&first.json, "true"));
    // Another request with what is no longer the password is none of it.
    user.with("Idempotency-Key", "twice").post(path, change.clone()).await.expect(401);
    user.post(path, change).await.expect(401);
    assert_eq!(server.head().await, head);
}
