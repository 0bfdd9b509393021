//! Tasks: submitted, listed, cancelled, run again and deleted.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::{TenantId, UserId};
use projections::compute::task_counts;
use reqwest::Method;
use sea_orm::{ConnectionTrait, EntityTrait, Set};
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer};

use super::top_up;

async fn rich(server: &TestServer) -> Client {
    let user = server.user(Surface::Owl);
    top_up(&server.admin(Surface::Owl), &user, "100").await;
    user
}

fn task(title: &str, task_type: &str, priority: u8) -> Value {
    json!({ "title": title, "task_type": task_type, "priority": priority, "config": { "video_url": "https://example.com" } })
}

async fn submit(user: &Client, body: Value) -> String {
    user.post("/api/tasks", body).await.expect(200).at("/data/id").as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_task_is_submitted_listed_and_shown_sqlite() {
    a_task_is_submitted_listed_and_shown(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_task_is_submitted_listed_and_shown_postgres() {
    a_task_is_submitted_listed_and_shown(Engine::Postgres).await;
}
async fn a_task_is_submitted_listed_and_shown(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = rich(&server).await;
    let body = json!({ "title": "视频分析任务", "description": "分析视频内容", "task_type": "video_analysis",
        "priority": 2, "estimated_duration": 30, "config": { "analysis_type": "content" } });
    let made = user.post("/api/tasks", body).await.expect(200);
    assert_eq!((made.at("/success"), made.at("/error_code")), (&json!(true), &Value::Null));
    assert_eq!((made.at("/data/status"), made.at("/data/progress")), (&json!("pending"), &json!(0.0)));
    let id = made.at("/data/id").as_str().unwrap();
    let shown = user.get(&format!("/api/tasks/{id}")).await.expect(200);
    let expected = json!({ "id": id, "user_id": user.user_id(), "title": "视频分析任务", "description": "分析视频内容",
        "task_type": "video_analysis", "status": "pending", "progress": 0.0, "priority": 2, "gpu_server_id": null,
        "config": { "analysis_type": "content" }, "result": {}, "error_message": null, "cost": 0.0,
        "estimated_duration": 30, "started_at": null, "completed_at": null,
        "created_at": made.at("/data/created_at"), "updated_at": made.at("/data/created_at") });
    assert_eq!(shown.at("/data"), &expected);
    // The document's own example has no more than this.
    submit(&user, json!({ "title": "测试任务", "task_type": "test", "description": "这是一个测试任务" })).await;
    submit(&user, task("urgent", "training", 5)).await;
    let titles = async |query: &str| -> Vec<String> {
        let list = user.get(&format!("/api/tasks?{query}")).await.expect(200);
        assert_eq!(list.at("/items"), list.at("/data/items"));
        list.at("/items").as_array().unwrap().iter().map(|task| task["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(titles("").await, ["urgent", "测试任务", "视频分析任务"]);
    assert_eq!(titles("sort_by=priority&sort_order=asc").await, ["测试任务", "视频分析任务", "urgent"]);
    assert_eq!(titles("sort_by=created_at&sort_order=asc&page_size=2&page=2").await, ["urgent"]);
    assert_eq!(titles("sort_by=updated_at&page_size=2&page=2").await, ["视频分析任务"]);
    assert_eq!(titles("status=pending&task_type=training").await, ["urgent"]);
    assert_eq!(titles("status=running").await, Vec::<String>::new());
    let page = user.get("/api/tasks?page=2&page_size=2").await.expect(200);
    assert_eq!((page.at("/total"), page.at("/total_pages")), (&json!(3), &json!(2)));
}

#[tokio::test]
async fn a_task_is_cancelled_run_again_and_deleted_sqlite() {
    a_task_is_cancelled_run_again_and_deleted(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_task_is_cancelled_run_again_and_deleted_postgres() {
    a_task_is_cancelled_run_again_and_deleted(Engine::Postgres).await;
}
async fn a_task_is_cancelled_run_again_and_deleted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = rich(&server).await;
    let id = submit(&user, task("a", "training", 1)).await;
    user.post(&format!("/api/tasks/{id}/retry"), json!({})).await.expect(400);
    let cancelled = user.send(Method::POST, &format!("/api/tasks/{id}/cancel"), None).await.expect(200);
    assert_eq!(cancelled.at("/data/status"), "cancelled");
    let again = user.post(&format!("/api/tasks/{id}/cancel"), json!({})).await.expect(400);
    assert_eq!(again.at("/error_code"), "INVALID_OPERATION");
    let retried = user.post(&format!("/api/tasks/{id}/retry"), json!({})).await.expect(200);
    assert_eq!((retried.at("/data/id"), retried.at("/data/status")), (&json!(id), &json!("pending")));
    user.send(Method::DELETE, &format!("/api/tasks/{id}"), None).await.expect(200);
    user.get(&format!("/api/tasks/{id}")).await.expect(404);
    user.send(Method::DELETE, &format!("/api/tasks/{id}"), None).await.expect(404);
    assert_eq!(user.get("/api/tasks").await.expect(200).at("/total"), 0);
}

#[tokio::test]
async fn tasks_need_money_and_a_place() {
    let server = TestServer::start(Engine::Sqlite).await;
    let poor = server.user(Surface::Owl);
    let refused = poor.post("/api/tasks", task("a", "training", 1)).await.expect(400);
    assert_eq!(refused.at("/error_code"), "INSUFFICIENT_BALANCE");
    let user = rich(&server).await;
    let attempts = (0..12).map(|_| {
        let user = user.clone();
        tokio::spawn(async move { user.post("/api/tasks", task("a", "training", 1)).await })
    });
    let mut taken = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        let answer = attempt.await.unwrap();
        if answer.status == 200 {
            taken += 1;
        } else {
            assert_eq!(answer.expect(429).at("/error_code"), "TASK_LIMIT_EXCEEDED");
        }
    }
    assert_eq!(taken, 5);
}

#[tokio::test]
async fn tasks_are_their_owners_alone() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = rich(&server).await;
    let id = submit(&user, task("a", "training", 1)).await;
    let foreign = server.signed_in(Surface::Owl, Role::Owner, TenantId(tests::fresh_id()));
    let head = server.head().await;
    for stranger in [server.user(Surface::Owl), foreign] {
        stranger.get(&format!("/api/tasks/{id}")).await.expect(404);
        stranger.post(&format!("/api/tasks/{id}/cancel"), json!({})).await.expect(404);
        stranger.post(&format!("/api/tasks/{id}/retry"), json!({})).await.expect(404);
        stranger.send(Method::DELETE, &format!("/api/tasks/{id}"), None).await.expect(404);
        assert_eq!(stranger.get("/api/tasks").await.expect(200).at("/total"), 0);
    }
    server.anonymous().get("/api/tasks").await.expect(401);
    assert_eq!(server.head().await, head);
    let admin = server.admin(Surface::Owl);
    admin.post(&format!("/api/tasks/{id}/cancel"), json!({})).await.expect(200);
    admin.post(&format!("/api/tasks/{id}/retry"), json!({})).await.expect(403);
}

#[tokio::test]
async fn bad_tasks_are_refused_in_the_products_form_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = rich(&server).await;
    let head = server.head().await;
    for body in [
        json!({}),
        json!({ "title": "a" }),
        json!({ "title": "", "task_type": "test" }),
        json!({ "title": "x".repeat(201), "task_type": "test" }),
        json!({ "title": "a", "task_type": "a b" }),
        json!({ "title": "a", "task_type": "test", "priority": 0 }),
        json!({ "title": "a", "task_type": "test", "priority": 600 }),
        json!({ "title": "a", "task_type": "test", "estimated_duration": -1 }),
        json!({ "title": "a", "task_type": "test", "config": [] }),
        json!({ "title": "a", "task_type": "test", "config": { "command": "rm" } }),
        json!({ "title": "a", "task_type": "test", "config": { "memory_gb": "much" } }),
        json!({ "title": "a", "task_type": "test", "config": { "x": "x".repeat(70_000) } }),
    ] {
        assert_eq!(user.post("/api/tasks", body).await.expect(422).at("/error_code"), "VALIDATION_ERROR");
    }
    for query in ["status=odd", "sort_by=cost", "sort_order=up", "page=x"] {
        user.get(&format!("/api/tasks?{query}")).await.expect(422);
    }
    user.get("/api/tasks/none").await.expect(404);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_repeated_submission_makes_one_task() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = rich(&server).await.with("Idempotency-Key", "once");
    let first = submit(&user, task("a", "training", 1)).await;
    assert_eq!(submit(&user, task("a", "training", 1)).await, first);
    assert_eq!(user.get("/api/tasks").await.expect(200).at("/total"), 1);
    let before = server.head().await;
    user.send(Method::DELETE, &format!("/api/tasks/{first}"), None).await.expect(422);
    let then = user.get(&format!("/api/tasks?as_of={before}")).await.expect(200);
    assert_eq!(then.at("/total"), 1);
}

#[tokio::test]
async fn a_task_that_starts_meanwhile_is_counted_once_sqlite() {
    a_task_that_starts_meanwhile_is_counted_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_task_that_starts_meanwhile_is_counted_once_postgres() {
    a_task_that_starts_meanwhile_is_counted_once(Engine::Postgres).await;
}
/// Otherwise its owner is told that there are too many.
async fn a_task_that_starts_meanwhile_is_counted_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = UserId(tests::fresh_id());
    let count = |status: &str, tasks: i64| task_counts::ActiveModel {
        id: Set(format!("{user}/{status}/inference")),
        tenant: Set(TenantId::DEFAULT.to_string()),
        user_id: Set(user.to_string()),
        status: Set(status.to_owned()),
        task_type: Set("inference".to_owned()),
        tasks: Set(tasks),
        deleted: Set(0),
        last_submitted_at: Set(None),
    };
    let rows = [count("pending", 1), count("running", 0)];
    task_counts::Entity::insert_many(rows).exec_without_returning(&server.models.write).await.unwrap();
    let (models, swapped) = (server.models.clone(), "UPDATE task_counts_v2 SET tasks = 1 - tasks");
    let starting = tokio::spawn(async move {
        for _ in 0..1_000 {
            models.write.execute_unprepared(swapped).await.unwrap();
        }
    });
    while !starting.is_finished() {
        let unfinished = task_counts::unfinished(&server.models.read, TenantId::DEFAULT, user).await.unwrap();
        assert_eq!(unfinished, 1);
    }
}
