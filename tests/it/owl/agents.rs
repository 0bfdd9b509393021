//! Servers and their agents, played by the test: who gets which task, and whose answer counts.

use api::config::{AgentSettings, Config};
use api::log_lines::SystemLines;
use api::surface::Surface;
use commands::Clock;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::postgres::Database;
use tests::server::{Client, TestServer, settings};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::top_up;

/// An agent that is told what to say.
pub(super) struct Puppet {
    pub(super) client: Client,
    pub(super) server_id: String,
    session: u64,
}

impl Puppet {
    /// A server that is registered, and its agent in a session.
    pub(super) async fn connect(server: &TestServer, tasks: u32) -> Self {
        let body = json!({ "name": "GPU-Server-01", "host": "192.168.1.100", "max_concurrent_tasks": tasks });
        let made = server.admin(Surface::Owl).post("/api/gpu/servers", body).await.expect(200);
        let token = made.at("/data/agent_token").as_str().unwrap();
        let server_id = made.at("/data/id").as_str().unwrap().to_owned();
        let mut puppet = Self { client: server.anonymous().with_token(token), server_id, session: 0 };
        puppet.register().await;
        puppet
    }

    async fn register(&mut self) {
        let begun = self.client.post("/api/gpu/agent/register", json!({})).await.expect(200);
        self.session = begun.at("/data/session").as_u64().unwrap();
    }

    async fn lease_within(&self, memory_gb: f64, gpus: u32) -> Answer {
        let body = json!({ "session": self.session, "tasks": 4, "gpus": gpus, "gpu_memory_gb": 24.0,
            "memory_gb": memory_gb, "wait_seconds": 0 });
        self.client.post("/api/gpu/agent/lease", body).await
    }

    /// The title of the next task for an agent that runs only what it names.
    async fn lease_of(&self, runs: Value) -> Value {
        let body = json!({ "session": self.session, "tasks": 4, "gpus": 0, "gpu_memory_gb": 0, "memory_gb": 16,
            "runs": runs });
        let answer = self.client.post("/api/gpu/agent/lease", body).await.expect(200);
        answer.at("/data/task").get("title").cloned().unwrap_or_default()
    }

    /// The title and the lease of the next task.
    pub(super) async fn lease(&self) -> Option<(String, String, u64)> {
        let answer = self.lease_within(16.0, 0).await.expect(200);
        let task = answer.at("/data/task");
        let text = |name: &str| Some(task[name].as_str()?.to_owned());
        Some((text("task_id")?, text("title")?, task["lease"].as_u64()?))
    }

    pub(super) async fn beat(&self, running: &[(&str, u64)]) -> Answer {
        let running: Vec<Value> =
            running.iter().map(|(task, lease)| json!({ "task_id": task, "lease": lease })).collect();
        let body = self.figures(&running);
        self.client.post("/api/gpu/agent/heartbeat", body).await
    }

    fn figures(&self, running: &[Value]) -> Value {
        json!({ "session": self.session, "running": running, "cpu_usage": 45.2, "memory_used_gb": 8.0,
            "memory_total_gb": 16.0, "gpus": [
                { "name": "A", "usage": 85.5, "memory_used_gb": 10.2, "memory_total_gb": 12.0 },
                { "name": "B", "usage": 0.0, "memory_used_gb": 0.0, "memory_total_gb": 12.0 }] })
    }

    pub(super) async fn complete(&self, id: &str, lease: u64) -> Answer {
        let body = json!({ "lease": lease, "result": { "ok": true } });
        self.client.post(&format!("/api/gpu/agent/tasks/{id}/complete"), body).await
    }

    pub(super) async fn fail(&self, id: &str, lease: u64) -> Answer {
        let body = json!({ "lease": lease, "error": "exit code 1" });
        self.client.post(&format!("/api/gpu/agent/tasks/{id}/fail"), body).await
    }
}

pub(super) async fn rich(server: &TestServer) -> Client {
    let user = server.user(Surface::Owl);
    top_up(&server.admin(Surface::Owl), &user, "100").await;
    user
}

pub(super) async fn submit(user: &Client, title: &str, priority: u8, config: Value) -> String {
    let body = json!({ "title": title, "task_type": "training", "priority": priority, "config": config });
    user.post("/api/tasks", body).await.expect(200).at("/data/id").as_str().unwrap().to_owned()
}

/// A server that gives agents up after half a second.
async fn impatient(engine: Engine) -> (TestServer, Option<Database>) {
    let database = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Database::create().await),
    };
    let agents = AgentSettings { heartbeat_ms: 100, patience_ms: 500 };
    let config = Config { database_url: database.as_ref().map(Database::url), agents, ..settings() };
    (TestServer::start_with(config).await, database)
}

#[tokio::test]
async fn a_task_runs_from_its_lease_to_its_bill_sqlite() {
    a_task_runs_from_its_lease_to_its_bill(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_task_runs_from_its_lease_to_its_bill_postgres() {
    a_task_runs_from_its_lease_to_its_bill(Engine::Postgres).await;
}
async fn a_task_runs_from_its_lease_to_its_bill(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (user, agent) = (rich(&server).await, Puppet::connect(&server, 4).await);
    let id = submit(&user, "a", 1, json!({})).await;
    let (leased, _, lease) = agent.lease().await.unwrap();
    assert_eq!(leased, id);
    let running = user.get(&format!("/api/tasks/{id}")).await.expect(200);
    assert_eq!(running.at("/data/status"), "running");
    assert_eq!(running.at("/data/gpu_server_id"), &json!(agent.server_id));
    assert!(running.at("/data/started_at").is_string());
    // Ten minutes of training are held.
    let balance = user.get("/api/recharge/balance").await.expect(200);
    assert_eq!((balance.at("/data/held"), balance.at("/data/available")), (&json!(1.0), &json!(99.0)));
    let progress = json!({ "lease": lease, "progress": 45.5 });
    agent.client.post(&format!("/api/gpu/agent/tasks/{id}/progress"), progress).await.expect(200);
    user.send(Method::DELETE, &format!("/api/tasks/{id}"), None).await.expect(400);
    agent.beat(&[(&id, lease)]).await.expect(200);
    let path = format!("/api/gpu/servers/{}/status", agent.server_id);
    let progressed = |answer: &Answer| answer.at("/data/running_tasks/0/progress") == 45.5;
    let status = server.get_until(&user, &path, progressed).await;
    assert_eq!(
        status.at("/data/gpu_usage/0"),
        &json!({ "gpu_id": 0, "name": "A", "usage": 85.5,
        "memory_used": 10.2, "memory_total": 12.0 })
    );
    let path_of_result = format!("/api/gpu/agent/tasks/{id}/complete");
    for unfit in [json!([1]), json!("done"), json!(null)] {
        agent.client.post(&path_of_result, json!({ "lease": lease, "result": unfit })).await.expect(422);
    }
    agent.complete(&id, lease).await.expect(200);
    let shown = user.get(&format!("/api/tasks/{id}")).await.expect(200);
    assert_eq!(shown.at("/data/status"), "completed", "it is not shown at once");
    // Told again, because the answer was lost: nothing happens twice.
    agent.complete(&id, lease).await.expect(200);
    let path = format!("/api/tasks/{id}");
    let done = server.get_until(&user, &path, |answer| answer.at("/data/status") == "completed").await;
    assert_eq!((done.at("/data/result"), done.at("/data/progress")), (&json!({ "ok": true }), &json!(100.0)));
    let cost = done.at("/data/cost").as_f64().unwrap();
    let paid = server.get_until(&user, "/api/recharge/balance", |answer| answer.at("/data/held") == 0.0).await;
    assert!(cost > 0.0 && (paid.at("/data/spent").as_f64().unwrap() - cost).abs() < 1e-9, "{paid:?}");
    assert!((paid.at("/data/balance").as_f64().unwrap() + cost - 100.0).abs() < 1e-9);
    let kinds = user.get("/api/recharge/ledger").await.expect(200);
    let kinds: Vec<&str> = kinds.at("/items").as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["release", "capture", "hold", "credit"]);
}

#[tokio::test]
async fn the_higher_priority_and_then_the_earlier_comes_first_as_far_as_it_fits() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (user, agent) = (rich(&server).await, Puppet::connect(&server, 4).await);
    submit(&user, "low", 1, json!({})).await;
    submit(&user, "large", 5, json!({ "memory_gb": 64 })).await;
    submit(&user, "gpu", 5, json!({ "gpu_count": 1 })).await;
    submit(&user, "high", 5, json!({ "memory_gb": 8.5 })).await;
    submit(&user, "high too", 5, json!({})).await;
    let mut titles = Vec::new();
    while let Some((_, title, _)) = agent.lease().await {
        titles.push(title);
    }
    assert_eq!(titles, ["high", "high too", "low"]);
    let with_gpu = agent.lease_within(1.0, 1).await.expect(200);
    assert_eq!(with_gpu.at("/data/task/title"), "gpu");
    // Four run, and no more may.
    assert_eq!(agent.lease_within(100.0, 4).await.expect(200).at("/data/task"), &Value::Null);
    let servers = user.get("/api/gpu/servers").await.expect(200);
    assert_eq!((servers.at("/data/0/status"), servers.at("/data/0/current_tasks")), (&json!("busy"), &json!(4)));
}

#[tokio::test]
async fn a_late_answer_of_a_lost_agent_is_refused_sqlite() {
    a_late_answer_of_a_lost_agent_is_refused(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_late_answer_of_a_lost_agent_is_refused_postgres() {
    a_late_answer_of_a_lost_agent_is_refused(Engine::Postgres).await;
}
async fn a_late_answer_of_a_lost_agent_is_refused(engine: Engine) {
    let (server, _database) = impatient(engine).await;
    let user = rich(&server).await;
    let lost = Puppet::connect(&server, 4).await;
    let id = submit(&user, "a", 1, json!({})).await;
    let (_, _, lease) = lost.lease().await.unwrap();
    // It falls silent: the server is offline, its task is in line again, and its money is free.
    let path = format!("/api/tasks/{id}");
    server.get_until(&user, &path, |answer| answer.at("/data/status") == "pending").await;
    let listed = user.get(&format!("/api/gpu/servers/{}", lost.server_id)).await.expect(200);
    assert_eq!((listed.at("/data/status"), listed.at("/data/cpu_usage")), (&json!("offline"), &Value::Null));
    server.get_until(&user, "/api/recharge/balance", |answer| answer.at("/data/held") == 0.0).await;
    let refused = lost.complete(&id, lease).await.expect(409);
    assert_eq!(refused.at("/error_code"), "LEASE_LOST");
    let refused = lost.beat(&[]).await.expect(409);
    assert_eq!(refused.at("/details/present_session"), lost.session);
    lost.lease_within(16.0, 0).await.expect(409);
    // Another one takes over; the lost one still counts for nothing, nor does it end the other's run.
    let other = Puppet::connect(&server, 4).await;
    let (again, _, second) = other.lease().await.unwrap();
    assert_eq!((again.as_str(), second), (id.as_str(), lease + 1));
    for lease in [lease, second] {
        lost.complete(&id, lease).await.expect(409);
        lost.fail(&id, lease).await.expect(409);
    }
    other.complete(&id, second).await.expect(200);
    server.get_until(&user, &path, |answer| answer.at("/data/status") == "completed").await;
    let spent = server.get_until(&user, "/api/recharge/balance", |answer| answer.at("/data/held") == 0.0).await;
    assert_eq!(spent.at("/data/spent"), user.get(&path).await.expect(200).at("/data/cost"));
}

#[tokio::test]
async fn a_new_session_ends_the_one_before_and_an_agent_is_told_what_is_over() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (user, mut agent) = (rich(&server).await, Puppet::connect(&server, 4).await);
    let id = submit(&user, "a", 1, json!({})).await;
    let (_, _, lease) = agent.lease().await.unwrap();
    user.post(&format!("/api/tasks/{id}/cancel"), json!({})).await.expect(200);
    let told = agent.beat(&[(&id, lease)]).await.expect(200);
    assert_eq!(told.at("/data/over"), &json!([{ "task_id": id, "lease": lease }]));
    let session = agent.session;
    agent.register().await;
    assert_eq!(agent.session, session + 1);
    let old = Puppet { client: agent.client.clone(), server_id: agent.server_id.clone(), session };
    // It is told that there is a later one.
    let refused = old.beat(&[]).await.expect(409);
    assert_eq!(
        (refused.at("/error_code"), refused.at("/details/present_session")),
        (&json!("LEASE_LOST"), &json!(session + 1))
    );
    agent.beat(&[]).await.expect(200);
    agent.client.post("/api/gpu/agent/leave", json!({ "session": agent.session })).await.expect(200);
    let overview = user.get("/api/gpu/cluster/overview").await.expect(200);
    assert_eq!((overview.at("/data/total_servers"), overview.at("/data/offline_servers")), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_failed_task_costs_nothing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (user, agent) = (rich(&server).await, Puppet::connect(&server, 4).await);
    let id = submit(&user, "a", 1, json!({})).await;
    let (_, _, lease) = agent.lease().await.unwrap();
    agent.fail(&id, lease).await.expect(200);
    let path = format!("/api/tasks/{id}");
    let failed = server.get_until(&user, &path, |answer| answer.at("/data/status") == "failed").await;
    assert_eq!(failed.at("/data/error_message"), "exit code 1");
    let balance = server.get_until(&user, "/api/recharge/balance", |answer| answer.at("/data/held") == 0.0).await;
    assert_eq!((balance.at("/data/balance"), balance.at("/data/spent")), (&json!(100.0), &json!(0.0)));
}

#[tokio::test]
async fn servers_are_for_administrators_and_tokens_for_one_server() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    let body = json!({ "name": "GPU-Server-01", "host": "192.168.1.100" });
    user.post("/api/gpu/servers", body.clone()).await.expect(403);
    server.anonymous().post("/api/gpu/servers", body.clone()).await.expect(401);
    admin.post("/api/gpu/servers", json!({ "name": "", "host": "x" })).await.expect(422);
    admin.post("/api/gpu/servers", json!({ "name": "x", "host": "x", "max_concurrent_tasks": 1000 })).await.expect(422);
    let made = admin.post("/api/gpu/servers", body).await.expect(200);
    let (id, token) = (made.at("/data/id").as_str().unwrap(), made.at("/data/agent_token").as_str().unwrap());
    let agent = server.anonymous().with_token(token);
    agent.post("/api/gpu/agent/register", json!({})).await.expect(200);
    for bad in ["", "owl_agent_", "owl_agent_x_y", &token[..token.len() - 2], &token.replace("owl_", "bat_")] {
        server.anonymous().with_token(bad).post("/api/gpu/agent/register", json!({})).await.expect(401);
    }
    user.post("/api/gpu/agent/register", json!({})).await.expect(401);
    let stranger = server.signed_in(Surface::Owl, Role::Owner, TenantId(tests::fresh_id()));
    assert_eq!(stranger.get("/api/gpu/servers").await.expect(200).at("/data"), &json!([]));
    stranger.get(&format!("/api/gpu/servers/{id}")).await.expect(404);
    stranger.get(&format!("/api/gpu/servers/{id}/status")).await.expect(404);
    stranger.put(&format!("/api/gpu/servers/{id}"), json!({ "name": "x" })).await.expect(404);
    stranger.send(Method::DELETE, &format!("/api/gpu/servers/{id}"), None).await.expect(404);
    stranger.post(&format!("/api/gpu/servers/{id}/token"), json!({})).await.expect(404);
    user.put(&format!("/api/gpu/servers/{id}"), json!({ "name": "x" })).await.expect(403);
    let changed = admin.put(&format!("/api/gpu/servers/{id}"), json!({ "is_active": false })).await.expect(200);
    assert_eq!((changed.at("/data/status"), changed.at("/data/port")), (&json!("maintenance"), &json!(22)));
    let renewed = admin.post(&format!("/api/gpu/servers/{id}/token"), json!({})).await.expect(200);
    agent.post("/api/gpu/agent/register", json!({})).await.expect(401);
    let agent = server.anonymous().with_token(renewed.at("/data/agent_token").as_str().unwrap());
    agent.post("/api/gpu/agent/register", json!({})).await.expect(200);
    admin.send(Method::DELETE, &format!("/api/gpu/servers/{id}"), None).await.expect(200);
    agent.post("/api/gpu/agent/register", json!({})).await.expect(401);
    assert_eq!(admin.get("/api/gpu/servers").await.expect(200).at("/data"), &json!([]));
    // Neither the log's own view nor an answer shows what a token is known by.
    let events = admin.get("/api/gpu/servers").await;
    assert!(!events.text.contains("token"));
}

#[tokio::test]
async fn an_agent_is_given_only_what_it_can_run() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (user, agent) = (rich(&server).await, Puppet::connect(&server, 8).await);
    submit(&user, "own program", 5, json!({})).await;
    submit(&user, "image", 4, json!({ "image": "cuda", "command": ["sh"] })).await;
    submit(&user, "cat", 3, json!({ "command": ["cat", "x"] })).await;
    submit(&user, "sh", 2, json!({ "command": ["sh", "-c", "true"] })).await;
    let runs = |programs: Value, types: &[&str], images: &[&str]| json!({ "programs": programs, "task_types": types, "images": images });
    assert_eq!(agent.lease_of(runs(json!(["sh"]), &["inference"], &["debian"])).await, "sh");
    assert_eq!(agent.lease_of(runs(json!(["sh"]), &["inference"], &["debian"])).await, Value::Null);
    assert_eq!(agent.lease_of(runs(Value::Null, &[], &[])).await, "cat");
    assert_eq!(agent.lease_of(runs(json!([]), &["training"], &[])).await, "own program");
    assert_eq!(agent.lease_of(runs(Value::Null, &[], &["cuda"])).await, "image");
    // An agent that says nothing of it runs everything.
    submit(&user, "anything", 1, json!({ "image": "cuda" })).await;
    assert_eq!(agent.lease().await.unwrap().1, "anything");
}

#[tokio::test]
async fn figures_that_cannot_be_are_refused() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (user, agent) = (server.user(Surface::Owl), Puppet::connect(&server, 4).await);
    for (pointer, wrong, field) in [
        ("/cpu_usage", -5.0, "cpu_usage"),
        ("/cpu_usage", 1e308, "cpu_usage"),
        ("/memory_used_gb", -0.1, "memory_used_gb"),
        ("/memory_total_gb", 1e308, "memory_total_gb"),
        ("/gpus/1/usage", 102.0, "gpus[1].usage"),
        ("/gpus/0/memory_used_gb", -1.0, "gpus[0].memory_used_gb"),
        ("/gpus/0/memory_total_gb", 1e300, "gpus[0].memory_total_gb"),
    ] {
        let mut body = agent.figures(&[]);
        *body.pointer_mut(pointer).unwrap() = json!(wrong);
        let refused = agent.client.post("/api/gpu/agent/heartbeat", body).await.expect(422);
        let named = &refused.at("/details/field_errors")[field];
        assert!(named[0].as_str().is_some_and(|message| !message.is_ascii()), "{pointer}: {}", refused.text);
    }
    // Instruments are not exact.
    let mut body = agent.figures(&[]);
    body["cpu_usage"] = json!(100.04);
    agent.client.post("/api/gpu/agent/heartbeat", body).await.expect(200);
    let shown = user.get(&format!("/api/gpu/servers/{}", agent.server_id)).await.expect(200);
    assert_eq!(shown.at("/data/cpu_usage"), 100.0);
}

#[tokio::test]
async fn what_was_known_of_a_server_is_shown_when_it_is_offline_sqlite() {
    what_was_known_of_a_server_is_shown_when_it_is_offline(Engine::Sqlite).await;
}
#[tokio::test]
async fn what_was_known_of_a_server_is_shown_when_it_is_offline_postgres() {
    what_was_known_of_a_server_is_shown_when_it_is_offline(Engine::Postgres).await;
}
async fn what_was_known_of_a_server_is_shown_when_it_is_offline(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (user, agent) = (server.user(Surface::Owl), Puppet::connect(&server, 4).await);
    let path = format!("/api/gpu/servers/{}", agent.server_id);
    let shown = async || user.get(&path).await.expect(200).at("/data").clone();
    // Nothing was measured yet; that it is there was heard.
    let new = shown().await;
    assert!(new["last_heartbeat"].is_string() && new["gpu_count"].is_null(), "{new}");
    agent.beat(&[]).await.expect(200);
    let measured = shown().await;
    agent.client.post("/api/gpu/agent/leave", json!({ "session": agent.session })).await.expect(200);
    let offline = shown().await;
    assert_eq!((&offline["status"], &offline["cpu_usage"]), (&json!("offline"), &Value::Null));
    assert_eq!((&offline["gpu_count"], &offline["total_memory"]), (&json!(2), &json!(24.0)));
    assert_eq!(offline["last_heartbeat"], measured["last_heartbeat"]);
    // What a session begins with is in the log, and known though nothing is heard any more.
    let begun = json!({ "equipment": { "gpu_count": 4, "memory_gb": 96.06 } });
    let begun = agent.client.post("/api/gpu/agent/register", begun).await.expect(200);
    let begun = begun.at("/data/session").clone();
    let known = shown().await;
    assert_eq!((&known["gpu_count"], &known["total_memory"]), (&json!(4), &json!(96.1)));
    agent.client.post("/api/gpu/agent/leave", json!({ "session": begun })).await.expect(200);
    // An agent of an earlier build does not say.
    agent.client.post("/api/gpu/agent/register", json!({})).await.expect(200);
    let known = shown().await;
    assert_eq!((&known["gpu_count"], &known["status"]), (&json!(4), &json!("online")));
    for wrong in [json!({ "gpu_count": 65, "memory_gb": 1 }), json!({ "gpu_count": 1, "memory_gb": -1 })] {
        agent.client.post("/api/gpu/agent/register", json!({ "equipment": wrong })).await.expect(422);
    }
}

#[tokio::test]
async fn the_system_log_tells_of_agents_that_come_and_go() {
    let server = TestServer::start(Engine::Sqlite).await;
    let lines = SystemLines::default();
    let _here =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(LevelFilter::INFO).with(lines.clone()));
    lines.connect(server.app().line_queue.clone(), Clock::system());
    let mut agent = Puppet::connect(&server, 4).await;
    agent.register().await;
    agent.client.post("/api/gpu/agent/leave", json!({ "session": agent.session })).await.expect(200);
    server.app().line_queue.flush().await.unwrap();
    let kept = server.admin(Surface::Owl).get("/api/logs/system?search=agent").await.expect(200);
    let items = kept.at("/items").as_array().unwrap();
    let told: Vec<&str> = items.iter().map(|item| item["message"].as_str().unwrap()).collect();
    assert_eq!(
        told,
        [
            "the agent of a GPU server left",
            "an agent took over from another one",
            "the agent of a GPU server connected"
        ]
    );
    for item in items {
        assert_eq!(
            (&item["fields"]["server"], &item["fields"]["name"]),
            (&json!(agent.server_id), &json!("GPU-Server-01"))
        );
    }
}
