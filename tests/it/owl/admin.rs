//! What administrators set and see.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::json;
use tests::engine::Engine;
use tests::server::TestServer;

use super::accounts::registered;

#[tokio::test]
async fn settings_are_events_and_in_force_at_once_sqlite() {
    settings(Engine::Sqlite).await;
}
#[tokio::test]
async fn settings_are_events_and_in_force_at_once_postgres() {
    settings(Engine::Postgres).await;
}
async fn settings(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::Owl);
    let config = admin.get("/api/admin/config").await.expect(200);
    assert_eq!(
        config.at("/data"),
        &json!({ "max_concurrent_tasks_per_user": 5, "default_task_timeout": 3600, "maintenance_mode": false,
            "maintenance_notice": "" })
    );
    let body = json!({ "max_concurrent_tasks_per_user": 8, "maintenance_mode": true });
    let changed = admin.put("/api/admin/config", body.clone()).await.expect(200);
    assert_eq!(
        (changed.at("/data/max_concurrent_tasks_per_user"), changed.at("/data/default_task_timeout")),
        (&json!(8), &json!(3600))
    );
    assert_eq!(admin.get("/api/admin/config").await.expect(200).at("/data/maintenance_mode"), true);
    let head = server.head().await;
    admin.put("/api/admin/config", body).await.expect(200);
    assert_eq!(server.head().await, head, "what is as it was is no event");
    for (body, field) in [
        (json!({ "max_concurrent_tasks_per_user": 0 }), "max_concurrent_tasks_per_user"),
        (json!({ "max_concurrent_tasks_per_user": -3 }), "max_concurrent_tasks_per_user"),
        (json!({ "default_task_timeout": 10_000_000 }), "default_task_timeout"),
        (json!({ "maintenance_mode": "yes" }), "maintenance_mode"),
        (json!({ "maintenance_notice": "长".repeat(201) }), "maintenance_notice"),
    ] {
        let refused = admin.put("/api/admin/config", body).await.expect(422);
        let message = refused.at(&format!("/details/field_errors/{field}/0")).as_str().unwrap_or_default();
        assert!(!message.is_empty() && !message.is_ascii(), "{}", refused.text);
    }
    admin.put("/api/admin/config", json!({ "no_such_setting": 1 })).await.expect(422);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn settings_belong_to_a_tenant_and_its_administrators() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    let stranger = server.signed_in(Surface::Owl, Role::Admin, TenantId(tests::fresh_id()));
    admin.put("/api/admin/config", json!({ "default_task_timeout": 60 })).await.expect(200);
    assert_eq!(stranger.get("/api/admin/config").await.expect(200).at("/data/default_task_timeout"), 3600);
    stranger.put("/api/admin/config", json!({ "default_task_timeout": 90 })).await.expect(200);
    assert_eq!(admin.get("/api/admin/config").await.expect(200).at("/data/default_task_timeout"), 60);
    let head = server.head().await;
    user.put("/api/admin/config", json!({ "maintenance_mode": true })).await.expect(403);
    server.anonymous().put("/api/admin/config", json!({ "maintenance_mode": true })).await.expect(401);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn users_are_listed_and_changed_sqlite() {
    users_are_changed(Engine::Sqlite).await;
}
#[tokio::test]
async fn users_are_listed_and_changed_postgres() {
    users_are_changed(Engine::Postgres).await;
}
async fn users_are_changed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::Owl);
    let (ada, grace) = (registered(&server, "ada").await, registered(&server, "grace").await);
    let path = format!("/api/admin/users/{}", ada.user_id());
    let changed = admin.put(&path, json!({ "role": "admin", "balance": 200.5 })).await.expect(200);
    assert_eq!((changed.at("/data/role"), changed.at("/data/balance")), (&json!("admin"), &json!(200.5)));
    let body = json!({ "balance": 50.25, "reason": "退款" });
    admin.put(&path, body).await.expect(200);
    let events = server.admin(Surface::Platform).get("/platform/v1/events?type=balance").await.expect(200);
    let adjusted = events.at("/events/1/payload/adjusted");
    assert_eq!(
        (&adjusted["amount"], &adjusted["reason"], &adjusted["by"]),
        (&json!("-150.25"), &json!("退款"), &json!(admin.user_id()))
    );
    assert_eq!(ada.get("/api/users/me").await.expect(200).at("/data/balance"), 50.25);
    ada.get("/api/admin/users").await.expect(200);
    let admins = admin.get("/api/admin/users?role=admin&is_active=true&search=ADA").await.expect(200);
    assert_eq!(
        (admins.at("/total"), admins.at("/items/0/email"), admins.at("/items/0/balance")),
        (&json!(1), &json!("ada@example.com"), &json!(50.25))
    );
    assert_eq!(admin.get("/api/admin/users?role=user").await.expect(200).at("/total"), 1);
    assert_eq!(
        admin.get("/api/admin/users?page=2&page_size=2").await.expect(200).at("/items/0/email"),
        "admin@example.com"
    );
    admin.put(&format!("/api/admin/users/{}", grace.user_id()), json!({ "is_active": false })).await.expect(200);
    grace.get("/api/users/me").await.expect(401);
    assert_eq!(admin.get("/api/admin/users?is_active=false").await.expect(200).at("/items/0/username"), "grace");
    let head = server.head().await;
    admin.put(&path, json!({ "role": "admin", "balance": 50.25, "is_active": true })).await.expect(200);
    assert_eq!(server.head().await, head, "what is as it was is no event");
}

#[tokio::test]
async fn nobody_manages_above_themselves_and_a_refused_change_changes_nothing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.admin(Surface::Owl);
    let (ada, grace) = (registered(&server, "ada").await, registered(&server, "grace").await);
    let path_of = |client: &tests::server::Client| format!("/api/admin/users/{}", client.user_id());
    let (of_ada, of_grace) = (path_of(&ada), path_of(&grace));
    owner.put(&of_ada, json!({ "role": "admin" })).await.expect(200);
    let stranger = server.signed_in(Surface::Owl, Role::Owner, TenantId(tests::fresh_id()));
    let head = server.head().await;
    for (client, path, body, status) in [
        (&ada, &of_grace, json!({ "role": "admin" }), 403),
        (&ada, &of_grace, json!({ "is_active": false, "role": "super_admin" }), 403),
        (&ada, &of_ada, json!({ "role": "super_admin" }), 403),
        (&ada, &of_ada, json!({ "balance": 1_000 }), 403),
        (&owner, &of_grace, json!({ "is_active": false, "balance": -1 }), 422),
        (&owner, &of_grace, json!({ "is_active": false, "balance": 1.001 }), 422),
        (&owner, &of_grace, json!({ "is_active": false, "balance": 1e12 }), 422),
        (&owner, &of_grace, json!({ "is_active": false, "balance": 5, "reason": "" }), 422),
        (&owner, &of_grace, json!({ "is_active": false, "role": "king" }), 422),
        (&owner, &of_grace, json!({ "is_active": "no" }), 422),
        (&owner, &of_grace, json!({ "password": "x" }), 422),
        (&stranger, &of_grace, json!({ "is_active": false }), 404),
        (&grace, &of_grace, json!({ "balance": 5 }), 403),
    ] {
        client.put(path, body).await.expect(status);
    }
    server.anonymous().put(&of_grace, json!({ "balance": 5 })).await.expect(401);
    owner.put("/api/admin/users/7", json!({ "balance": 5 })).await.expect(404);
    owner.put(&format!("/api/admin/users/{}", tests::fresh_id()), json!({ "balance": 5 })).await.expect(404);
    owner.get("/api/admin/users?role=king").await.expect(422);
    owner.get("/api/admin/users?is_active=maybe").await.expect(422);
    owner.get("/api/admin/users?search=%00").await.expect(422);
    assert_eq!(stranger.get("/api/admin/users").await.expect(200).at("/total"), 0);
    grace.get("/api/admin/users").await.expect(403);
    assert_eq!(server.head().await, head, "nothing was appended");
    ada.put(&of_grace, json!({ "balance": 5, "is_active": false })).await.expect(200);
}
