//! Users and tenants, as administrators see and make them.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::server::{Client, TestServer};

const PASSWORD: &str = "Battery-staple-9";

async fn create(by: &Client, name: &str, role: &str, tenant: Option<&Value>) -> Answer {
    let email = format!("{name}@example.com");
    let body = json!({ "email": email, "username": name, "password": PASSWORD, "role": role, "tenant_id": tenant });
    by.post("/platform/v1/users", body).await
}

/// Signs in through Owl Factory, whose tokens the platform takes.
async fn sign_in(server: &TestServer, name: &str) -> Client {
    let body = json!({ "email": format!("{name}@example.com"), "password": PASSWORD });
    let entered = server.anonymous().post("/api/auth/login", body).await.expect(200);
    server.anonymous().with_token(entered.at("/data/access_token").as_str().unwrap())
}

async fn names(by: &Client, query: &str) -> Vec<String> {
    let list = by.get(&format!("/platform/v1/users{query}")).await.expect(200);
    let items = list.at("/items").as_array().unwrap();
    items.iter().map(|user| user["username"].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test]
async fn tenants_do_not_see_each_other_sqlite() {
    tenants_do_not_see_each_other(Engine::Sqlite).await;
}
#[tokio::test]
async fn tenants_do_not_see_each_other_postgres() {
    tenants_do_not_see_each_other(Engine::Postgres).await;
}
async fn tenants_do_not_see_each_other(engine: Engine) {
    let server = TestServer::start(engine).await;
    let installer = server.admin(Surface::Platform);
    let acme = installer.post("/platform/v1/tenants", json!({ "name": "Acme" })).await.expect(201);
    let acme = acme.at("/id");
    create(&installer, "alice", "owner", Some(acme)).await.expect(201);
    let bob = create(&installer, "bob", "user", None).await.expect(201);
    let alice = sign_in(&server, "alice").await;
    let carol = create(&alice, "carol", "client", None).await.expect(201);
    assert_eq!(carol.at("/tenant_id"), acme);
    assert_eq!(names(&alice, "").await, ["carol", "alice"]);
    assert_eq!(names(&installer, "").await, ["bob", "admin"]);
    assert_eq!(names(&installer, &format!("?tenant_id={}", acme.as_str().unwrap())).await, ["carol", "alice"]);
    // To an owner of another tenant, Bob and the other tenants are not there.
    let bob = bob.at("/id").as_str().unwrap();
    alice.put(&format!("/platform/v1/users/{bob}/role"), json!({ "role": "client" })).await.expect(404);
    alice.get(&format!("/platform/v1/users?tenant_id={}", TenantId::DEFAULT)).await.expect(404);
    create(&alice, "dave", "user", Some(&json!(TenantId::DEFAULT))).await.expect(404);
    alice.get("/platform/v1/tenants").await.expect(403);
    alice.post("/platform/v1/tenants", json!({ "name": "Mine" })).await.expect(403);
    // Addresses and usernames are taken across tenants.
    create(&alice, "bob", "user", None).await.expect(409);
    let body = json!({ "email": "other@example.com", "username": "BOB", "password": PASSWORD, "role": "user" });
    alice.post("/platform/v1/users", body).await.expect(409);
}

#[tokio::test]
async fn roles_are_given_by_those_who_manage_them() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (owner, admin) = (server.admin(Surface::Platform), Role::Admin);
    let admin = server.signed_in(Surface::Platform, admin, TenantId::DEFAULT);
    let user = create(&admin, "ann", "user", None).await.expect(201);
    let role = format!("/platform/v1/users/{}/role", user.at("/id").as_str().unwrap());
    create(&admin, "bob", "admin", None).await.expect(403);
    admin.put(&role, json!({ "role": "owner" })).await.expect(403);
    assert_eq!(admin.put(&role, json!({ "role": "readonly" })).await.expect(200).at("/role"), "readonly");
    admin.put(&role, json!({ "role": "king" })).await.expect(422);
    let stale = admin.with("if-match", "\"1\"").put(&role, json!({ "role": "user" })).await;
    assert_eq!(stale.expect(412).at("/error"), "stale");
    create(&server.user(Surface::Platform), "eve", "user", None).await.expect(403);
    // A change counts in sessions that are open: a role that reads may not redeem.
    let ann = sign_in(&server, "ann").await;
    ann.post("/api/recharge/redeem", json!({ "code": "OWL-2222-2222-2222" })).await.expect(403);
    owner.put(&role, json!({ "role": "user" })).await.expect(200);
    ann.post("/api/recharge/redeem", json!({ "code": "OWL-2222-2222-2222" })).await.expect(404);
    ann.get("/platform/v1/users").await.expect(403);
    owner.put(&role, json!({ "role": "admin" })).await.expect(200);
    ann.get("/platform/v1/users").await.expect(200);
    let own = format!("/platform/v1/users/{}/active", user.at("/id").as_str().unwrap());
    ann.put(&own, json!({ "is_active": false })).await.expect(403);
}

#[tokio::test]
async fn lists_are_filtered_and_answer_for_the_past() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.admin(Surface::Platform);
    create(&owner, "ann_1", "client", None).await.expect(201);
    let before = server.head().await;
    create(&owner, "anna", "user", None).await.expect(201);
    assert_eq!(names(&owner, "?search=ANN").await, ["anna", "ann_1"]);
    assert_eq!(names(&owner, "?search=n_").await, ["ann_1"]);
    assert_eq!(names(&owner, "?role=client").await, ["ann_1"]);
    assert_eq!(names(&owner, "?is_active=false").await, [""; 0]);
    assert_eq!(names(&owner, "?per_page=1&page=2").await, ["ann_1"]);
    assert_eq!(names(&owner, &format!("?as_of={before}")).await, ["ann_1", "admin"]);
    owner.get("/platform/v1/users?role=king").await.expect(422);
    // SQLite knows the other case of ASCII letters only.
    create(&owner, "Élise", "readonly", None).await.expect(201);
    assert_eq!(names(&owner, "?search=Él").await, ["Élise"]);
}

#[tokio::test]
async fn tenants_are_made_once_under_a_key_and_renamed() {
    let server = TestServer::start(Engine::Sqlite).await;
    let installer = server.admin(Surface::Platform);
    let keyed = installer.with("idempotency-key", "acme");
    let made = keyed.post("/platform/v1/tenants", json!({ "name": "Acme" })).await.expect(201);
    assert_eq!(keyed.post("/platform/v1/tenants", json!({ "name": "Acme" })).await.expect(201).json, made.json);
    let path = format!("/platform/v1/tenants/{}", made.at("/id").as_str().unwrap());
    assert_eq!(installer.put(&path, json!({ "name": "Ajax" })).await.expect(200).at("/name"), "Ajax");
    let list = installer.get("/platform/v1/tenants").await.expect(200);
    assert_eq!((list.at("/total"), list.at("/items/0/name")), (&json!(1), &json!("Ajax")));
    let head = server.head().await;
    installer.post("/platform/v1/tenants", json!({ "name": " " })).await.expect(422);
    installer.post("/platform/v1/tenants", json!({})).await.expect(422);
    installer.put(&format!("/platform/v1/tenants/{}", tests::fresh_id()), json!({ "name": "x" })).await.expect(404);
    installer.put("/platform/v1/tenants/x", json!({ "name": "x" })).await.expect(404);
    assert_eq!(server.head().await, head);
}
