//! What administrators set and see.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::json;
use tests::engine::Engine;
use tests::server::TestServer;

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
    assert_eq!((changed.at("/data/max_concurrent_tasks_per_user"), changed.at("/data/default_task_timeout")), (&json!(8), &json!(3600)));
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
