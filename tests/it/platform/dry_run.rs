//! `?dry_run=true`: what a command would append, or the rule that refuses it; nothing is appended.

use api::surface::Surface;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::server::TestServer;

const PASSWORD: &str = "Battery-staple-9";

fn types(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.at("/dry_run"), true);
    answer.at("/events").as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_dry_run_tells_the_events_and_appends_none_sqlite() {
    a_dry_run_tells_the_events_and_appends_none(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_dry_run_tells_the_events_and_appends_none_postgres() {
    a_dry_run_tells_the_events_and_appends_none(Engine::Postgres).await;
}
async fn a_dry_run_tells_the_events_and_appends_none(engine: Engine) {
    let server = TestServer::start(engine).await;
    let owner = server.admin(Surface::Platform);
    let user = json!({ "email": "bob@example.com", "username": "bob", "password": PASSWORD, "role": "client" });
    let head = server.head().await;
    let tried = owner.post("/platform/v1/users?dry_run=true", user.clone()).await.expect(200);
    assert_eq!(types(&tried), ["username.taken", "user.registered"]);
    assert_eq!(tried.at("/events/1/payload/registered/email"), "bob@example.com");
    assert_eq!(tried.at("/events/1/payload/registered/password_hash"), "[redacted]");
    let tried = owner.post("/platform/v1/tenants?dry_run=true", json!({ "name": "Acme" })).await.expect(200);
    assert_eq!((types(&tried), tried.at("/events/0/payload/created/name")), (vec!["tenant.created"], &json!("Acme")));
    assert_eq!(server.head().await, head);
    // `false` does it, and the user was not there before.
    let bob = owner.post("/platform/v1/users?dry_run=false", user.clone()).await.expect(201);
    let head = server.head().await;
    let id = bob.at("/id").as_str().unwrap();
    let of_bob = |what: &str| format!("/platform/v1/users/{id}/{what}?dry_run=true");
    let changes: [(&str, Value, &[&str]); 5] = [
        ("role", json!({ "role": "user" }), &["user.role_changed"]),
        ("active", json!({ "is_active": false }), &["user.deactivated"]),
        ("active", json!({ "is_active": true }), &[]),
        ("plan", json!({ "plan": "pro" }), &["user.plan_changed"]),
        ("customer", json!({ "customer_id": null }), &[]),
    ];
    for (what, body, events) in changes {
        assert_eq!(types(&owner.put(&of_bob(what), body).await.expect(200)), events);
    }
    assert_eq!(server.head().await, head);
    assert_eq!(owner.get("/platform/v1/users?role=client").await.expect(200).at("/items/0/is_active"), true);
}

#[tokio::test]
async fn a_dry_run_is_refused_by_the_same_rules() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.admin(Surface::Platform);
    let head = server.head().await;
    let known = json!({ "email": tests::program::ADMIN_EMAIL, "password": PASSWORD, "role": "user" });
    let refused = owner.post("/platform/v1/users?dry_run=true", known).await.expect(409);
    assert_eq!(refused.at("/error"), "user.already_registered");
    let taken = json!({ "email": "b@example.com", "username": "admin", "password": PASSWORD, "role": "user" });
    assert_eq!(owner.post("/platform/v1/users?dry_run=true", taken).await.expect(409).at("/error"), "username.taken");
    let nobody = format!("/platform/v1/users/{}/role?dry_run=true", tests::fresh_id());
    owner.put(&nobody, json!({ "role": "user" })).await.expect(404);
    owner.post("/platform/v1/tenants?dry_run=perhaps", json!({ "name": "Acme" })).await.expect(422);
    server.user(Surface::Platform).post("/platform/v1/tenants?dry_run=true", json!({ "name": "A" })).await.expect(403);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_dry_run_leaves_its_idempotency_key_free() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.admin(Surface::Platform).with("Idempotency-Key", "acme-1");
    let body = json!({ "name": "Acme" });
    owner.post("/platform/v1/tenants?dry_run=true", body.clone()).await.expect(200);
    owner.post("/platform/v1/tenants", body).await.expect(201);
}

/// Whoever adds a command to the platform has to say what a dry run of it does.
#[test]
fn every_command_of_the_platform_documents_its_dry_run() {
    let documents = api::openapi_documents();
    let (_, platform) = documents.iter().find(|(name, _)| *name == "platform").unwrap();
    let mut without = Vec::new();
    for (path, item) in platform["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "get") {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            if !parameters.into_iter().any(|parameter| parameter["name"] == "dry_run") {
                without.push(format!("{method} {path}"));
            }
        }
    }
    assert!(without.is_empty(), "commands without a dry run: {without:?}");
}

#[tokio::test]
async fn products_rehearse_nothing_and_do_nothing_when_asked_to() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, lead) = (server.admin(Surface::HashInsight), json!({ "name": "Ada" }));
    let head = server.head().await;
    admin.post("/crm/api/lead?dry_run=true", lead.clone()).await.expect(400);
    assert_eq!(server.head().await, head);
    admin.post("/crm/api/lead?dry_run=false", lead).await.expect(200);
    admin.get("/crm/api/leads?dry_run=true").await.expect(200);
}
