//! What administrators set and see.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::json;
use tests::engine::Engine;
use tests::server::TestServer;

use super::accounts::registered;
use super::agents::{Puppet, submit};
use super::top_up;

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

#[tokio::test]
async fn administrators_may_name_their_own_role_when_it_stays() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = super::accounts::owner(&server).await;
    let path = format!("/api/admin/users/{}", owner.user_id());
    let body = json!({ "role": "super_admin", "is_active": true, "balance": 100 });
    let changed = owner.put(&path, body).await.expect(200);
    assert_eq!(changed.at("/data/balance"), 100.0);
    let head = server.head().await;
    owner.put(&path, json!({ "role": "admin" })).await.expect(403);
    owner.put(&path, json!({ "is_active": false, "balance": 5 })).await.expect(403);
    assert_eq!(server.head().await, head);
}

/// What is as it was is no command, so a repeated request may give fewer of them: each has a key by its purpose.
#[tokio::test]
async fn commands_of_one_change_are_told_apart_by_their_purpose() {
    let server = TestServer::start(Engine::Sqlite).await;
    let ada = registered(&server, "ada").await;
    let admin = server.admin(Surface::Owl).with("Idempotency-Key", "once");
    let path = format!("/api/admin/users/{}", ada.user_id());
    let body = json!({ "role": "admin", "is_active": false, "balance": 200 });
    admin.put(&path, body).await.expect(200);
    for purpose in ["role", "is_active", "balance"] {
        let kept = server.log.command(TenantId::DEFAULT, &format!("http:once#{purpose}")).await.unwrap();
        assert!(kept.is_some_and(|kept| kept.first_position > 0), "{purpose}");
    }
}

#[tokio::test]
async fn figures_are_what_happened_sqlite() {
    figures(Engine::Sqlite).await;
}
#[tokio::test]
async fn figures_are_what_happened_postgres() {
    figures(Engine::Postgres).await;
}
async fn figures(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::Owl);
    let (ada, agent) = (registered(&server, "ada").await, Puppet::connect(&server, 4).await);
    let none = ada.get("/api/users/stats").await.expect(200);
    assert_eq!(
        none.at("/data"),
        &json!({ "total_tasks": 0, "completed_tasks": 0, "failed_tasks": 0, "total_cost": 0.0,
            "current_balance": 0.0, "last_task_date": null })
    );
    top_up(&admin, &ada, "100.5").await;
    let id = submit(&ada, "first", 1, json!({})).await;
    let second = submit(&ada, "second", 1, json!({})).await;
    let (leased, _, lease) = agent.lease().await.unwrap();
    assert_eq!(leased, id);
    let stats = admin.get("/api/admin/stats").await.expect(200);
    assert_eq!(
        stats.at("/data"),
        &json!({ "total_users": 2, "active_users": 2, "total_tasks": 2, "running_tasks": 1, "completed_tasks": 0,
            "failed_tasks": 0, "total_gpu_servers": 1, "online_gpu_servers": 1, "total_revenue": 100.5 })
    );
    agent.complete(&id, lease).await.expect(200);
    let done = server.get_until(&ada, "/api/users/stats", |answer| answer.at("/data/completed_tasks") == 1).await;
    assert_eq!(done.at("/data/total_tasks"), 2);
    let newest = ada.get(&format!("/api/tasks/{second}")).await.expect(200);
    assert_eq!(done.at("/data/last_task_date"), newest.at("/data/created_at"));
    let paid = server.get_until(&ada, "/api/recharge/balance", |answer| answer.at("/data/held") == 0.0).await;
    let stats = ada.get("/api/users/stats").await.expect(200);
    assert_eq!(stats.at("/data/total_cost"), paid.at("/data/spent"));
    assert_eq!(stats.at("/data/current_balance"), paid.at("/data/balance"));
    assert_eq!(ada.get("/api/users/me").await.expect(200).at("/data/total_tasks"), 2);
    let listed = admin.get("/api/admin/users?search=ada").await.expect(200);
    assert_eq!(listed.at("/items/0/total_tasks"), 2);
    ada.get("/api/admin/stats").await.expect(403);
    server.anonymous().get("/api/admin/stats").await.expect(401);
    server.anonymous().get("/api/users/stats").await.expect(401);
}

#[tokio::test]
async fn maintenance_refuses_new_work_of_users_and_says_why() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Owl);
    let ada = registered(&server, "ada").await;
    top_up(&admin, &ada, "100").await;
    let id = submit(&ada, "before", 1, json!({})).await;
    ada.send(reqwest::Method::POST, &format!("/api/tasks/{id}/cancel"), None).await.expect(200);
    let notice = json!({ "maintenance_mode": true, "maintenance_notice": "升级驱动，18:00 恢复" });
    admin.put("/api/admin/config", notice).await.expect(200);
    let head = server.head().await;
    let task = json!({ "title": "a", "task_type": "training" });
    for refused in [
        ada.post("/api/tasks", task.clone()).await.expect(503),
        ada.send(reqwest::Method::POST, &format!("/api/tasks/{id}/retry"), None).await.expect(503),
    ] {
        assert_eq!(
            (refused.at("/error_code"), refused.at("/message"), refused.at("/details/maintenance_mode")),
            (&json!("SERVER_UNAVAILABLE"), &json!("升级驱动，18:00 恢复"), &json!(true))
        );
        assert_eq!(refused.header("retry-after"), "60");
    }
    assert_eq!(server.head().await, head, "nothing was appended");
    ada.get("/api/tasks").await.expect(200);
    super::accounts::signed_in(&server, "ada", "password123").await;
    admin
        .put("/api/admin/config", json!({ "maintenance_mode": false, "max_concurrent_tasks_per_user": 1 }))
        .await
        .expect(200);
    ada.post("/api/tasks", task.clone()).await.expect(200);
    let too_many = ada.post("/api/tasks", task).await.expect(429);
    assert_eq!(too_many.at("/error_code"), "TASK_LIMIT_EXCEEDED");
}
