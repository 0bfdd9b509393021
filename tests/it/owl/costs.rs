//! What tasks cost, and what there was of them: neither begins again with a retry, nor goes with what is deleted.

use api::config::{AgentSettings, Config};
use api::surface::Surface;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::clock::TestClock;
use tests::engine::Engine;
use tests::server::{Client, TestServer, settings};

use super::accounts::registered;
use super::agents::{Puppet, rich, submit};
use super::top_up;

async fn tell(user: &Client, id: &str, what: &str) -> Answer {
    user.send(Method::POST, &format!("/api/tasks/{id}/{what}"), None).await.expect(200)
}

/// What was spent, once nothing is held any more.
async fn spent(server: &TestServer, user: &Client) -> Value {
    let settled = server.get_until(user, "/api/recharge/balance", |answer| answer.at("/data/held") == 0.0).await;
    settled.at("/data/spent").clone()
}

#[tokio::test]
async fn a_task_costs_what_all_its_runs_cost_sqlite() {
    a_task_costs_what_all_its_runs_cost(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_task_costs_what_all_its_runs_cost_postgres() {
    a_task_costs_what_all_its_runs_cost(Engine::Postgres).await;
}
async fn a_task_costs_what_all_its_runs_cost(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (user, agent) = (rich(&server).await, Puppet::connect(&server, 4).await);
    let id = submit(&user, "a", 1, json!({})).await;
    let path = format!("/api/tasks/{id}");
    agent.lease().await.unwrap();
    tell(&user, &id, "cancel").await;
    let first = spent(&server, &user).await;
    assert!(first.as_f64().unwrap() > 0.0);
    assert_eq!(user.get(&path).await.expect(200).at("/data/cost"), &first);
    // Neither the retry, nor a run that comes to nothing, nor an end in line takes away from it.
    assert_eq!(tell(&user, &id, "retry").await.at("/data/cost"), &first);
    let (_, _, lease) = agent.lease().await.unwrap();
    assert_eq!(user.get(&path).await.expect(200).at("/data/cost"), &first);
    agent.fail(&id, lease).await.expect(200);
    assert_eq!(spent(&server, &user).await, first);
    assert_eq!(user.get(&path).await.expect(200).at("/data/cost"), &first);
    tell(&user, &id, "retry").await;
    assert_eq!(tell(&user, &id, "cancel").await.at("/data/cost"), &first);
    tell(&user, &id, "retry").await;
    let (_, _, lease) = agent.lease().await.unwrap();
    agent.complete(&id, lease).await.expect(200);
    let all = spent(&server, &user).await;
    assert!(all.as_f64() > first.as_f64());
    assert_eq!(user.get(&path).await.expect(200).at("/data/cost"), &all);
    assert_eq!(user.get("/api/users/stats").await.expect(200).at("/data/total_cost"), &all);
}

#[tokio::test]
async fn a_task_that_runs_shows_what_was_taken_for_it_sqlite() {
    a_task_that_runs_shows_what_was_taken_for_it(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_task_that_runs_shows_what_was_taken_for_it_postgres() {
    a_task_that_runs_shows_what_was_taken_for_it(Engine::Postgres).await;
}
async fn a_task_that_runs_shows_what_was_taken_for_it(engine: Engine) {
    let clock = TestClock::default();
    // However the clock is turned, the agent is not given up.
    let agents = AgentSettings { patience_ms: 600_000, ..AgentSettings::default() };
    let server = TestServer::start_as(engine, Config { agents, ..settings() }, clock.clock()).await;
    let (user, agent) = (rich(&server).await, Puppet::connect(&server, 4).await);
    let id = submit(&user, "a", 1, json!({})).await;
    let path = format!("/api/tasks/{id}");
    let (_, _, lease) = agent.lease().await.unwrap();
    clock.turn(TimeDelta::seconds(125));
    agent.beat(&[(&id, lease)]).await.expect(200);
    // Two full minutes of training.
    let running = server.get_until(&user, &path, |answer| answer.at("/data/cost") == 0.2).await;
    assert_eq!(running.at("/data/status"), "running");
    agent.fail(&id, lease).await.expect(200);
    assert_eq!(spent(&server, &user).await, 0.0);
    assert_eq!(user.get(&path).await.expect(200).at("/data/cost"), 0.0);
}

#[tokio::test]
async fn figures_keep_what_was_deleted_sqlite() {
    figures_keep_what_was_deleted(Engine::Sqlite).await;
}
#[tokio::test]
async fn figures_keep_what_was_deleted_postgres() {
    figures_keep_what_was_deleted(Engine::Postgres).await;
}
async fn figures_keep_what_was_deleted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::Owl);
    let (ada, agent) = (registered(&server, "ada").await, Puppet::connect(&server, 4).await);
    top_up(&admin, &ada, "100.5").await;
    let completed = submit(&ada, "completed", 5, json!({})).await;
    let (_, _, lease) = agent.lease().await.unwrap();
    agent.complete(&completed, lease).await.expect(200);
    let failed = submit(&ada, "failed", 5, json!({})).await;
    let (_, _, lease) = agent.lease().await.unwrap();
    agent.fail(&failed, lease).await.expect(200);
    let cancelled = submit(&ada, "cancelled", 1, json!({})).await;
    tell(&ada, &cancelled, "cancel").await;
    let waiting = submit(&ada, "waiting", 1, json!({})).await;
    spent(&server, &ada).await;
    let figures = async || {
        let of_user = ada.get("/api/users/stats").await.expect(200).at("/data").clone();
        let of_all = admin.get("/api/admin/stats").await.expect(200).at("/data").clone();
        let own = ada.get("/api/users/me").await.expect(200).at("/data/total_tasks").clone();
        let listed = admin.get("/api/admin/users?search=ada").await.expect(200).at("/items/0/total_tasks").clone();
        [of_user, of_all, own, listed]
    };
    let before = figures().await;
    assert_eq!((&before[0]["total_tasks"], &before[1]["total_tasks"]), (&json!(4), &json!(4)));
    assert_eq!((&before[0]["completed_tasks"], &before[0]["failed_tasks"]), (&json!(1), &json!(1)));
    assert_eq!((&before[1]["total_revenue"], &before[2], &before[3]), (&json!(100.5), &json!(4), &json!(4)));
    let queue = async || ada.get("/api/gpu/cluster/overview").await.expect(200).at("/data/queue_length").clone();
    assert_eq!(queue().await, 1);
    for id in [completed, failed, cancelled, waiting] {
        ada.send(Method::DELETE, &format!("/api/tasks/{id}"), None).await.expect(200);
    }
    assert_eq!(figures().await, before);
    // Lists, and the line, are of what there is.
    assert_eq!(ada.get("/api/tasks").await.expect(200).at("/total"), 0);
    assert_eq!(queue().await, 0);
}
