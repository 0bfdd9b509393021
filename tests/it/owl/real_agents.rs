//! Real agents that run real programs, and are killed in the middle.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use api::config::{AgentSettings, Config};
use api::surface::Surface;
use domain::compute::task::{Task, TaskEvent};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::agent::Agent;
use tests::server::{Client, TestServer, settings};
use tokio::time::Instant;

use super::top_up;

pub(super) const PATIENCE_MS: u64 = 1_500;
/// How long a test waits for what must happen.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) async fn impatient() -> TestServer {
    let agents = AgentSettings { heartbeat_ms: 300, patience_ms: PATIENCE_MS };
    TestServer::start_with(Config { agents, ..settings() }).await
}

/// Registers a server; answers the token of its agent.
pub(super) async fn registered(server: &TestServer, name: &str) -> String {
    let body = json!({ "name": name, "host": "127.0.0.1", "max_concurrent_tasks": 4 });
    let made = server.admin(Surface::Owl).post("/api/gpu/servers", body).await.expect(200);
    made.at("/data/agent_token").as_str().unwrap().to_owned()
}

pub(super) async fn rich(server: &TestServer) -> Client {
    let user = server.user(Surface::Owl);
    top_up(&server.admin(Surface::Owl), &user, "100").await;
    user
}

pub(super) async fn submit(user: &Client, command: &[&str]) -> String {
    let body = json!({ "title": "a", "task_type": "inference", "config": { "command": command } });
    user.post("/api/tasks", body).await.expect(200).at("/data/id").as_str().unwrap().to_owned()
}

pub(super) async fn ended(server: &TestServer, user: &Client, id: &str) -> Value {
    let over =
        |answer: &tests::answer::Answer| !["pending", "running"].contains(&answer.at("/data/status").as_str().unwrap());
    server.get_until(user, &format!("/api/tasks/{id}"), over).await.at("/data").clone()
}

/// Whether some process has `word` among its arguments.
pub(super) fn runs(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
}

pub(super) async fn until(what: &str, done: impl Fn() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < WAIT_MAX, "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_agent_runs_programs_and_tells_what_became_of_them() {
    let (server, place) = (impatient().await, TempDir::new().unwrap());
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let allowed = ["--allow", "sh", "--allow", "/bin/sh", "--program", "inference=/bin/pwd"];
    let agent = Agent::start(&server.url(), &token, place.path(), &allowed);
    // What this machine cannot run waits for one that can, and keeps nobody waiting.
    let mut unfit = vec![submit(&user, &["cat", "/etc/passwd"]).await];
    for body in [
        json!({ "title": "a", "task_type": "training" }),
        json!({ "title": "a", "task_type": "inference", "config": { "image": "x", "command": ["sh", "-c", "true"] } }),
    ] {
        let made = user.post("/api/tasks", body).await.expect(200);
        unfit.push(made.at("/data/id").as_str().unwrap().to_owned());
    }
    let script = r#"echo hello; echo "::progress 50"; cat "$CORELOG_TASK_CONFIG" > "$CORELOG_TASK_RESULT""#;
    let done = ended(&server, &user, &submit(&user, &["sh", "-c", script]).await).await;
    assert_eq!((&done["status"], &done["result"]["command"][0]), (&json!("completed"), &json!("sh")));
    let said = ended(&server, &user, &submit(&user, &["sh", "-c", "echo hello"]).await).await;
    assert_eq!(said["result"], json!({ "exit_code": 0, "output": "hello\n" }));
    // Whatever is being told when a program ends is told.
    let id = submit(&user, &["sh", "-c", "for n in 1 2 3 4 5 6 7 8 9 10 11; do echo line $n; sleep 0.1; done"]).await;
    ended(&server, &user, &id).await;
    assert_eq!(user.get(&format!("/api/logs/tasks/{id}")).await.expect(200).at("/total"), 11);
    let failed = ended(&server, &user, &submit(&user, &["sh", "-c", "echo no luck >&2; exit 3"]).await).await;
    assert_eq!((&failed["status"], &failed["error_message"]), (&json!("failed"), &json!("exit code 3: no luck")));
    let missing = ended(&server, &user, &submit(&user, &["/bin/sh", "-c", "exec /no/such"]).await).await;
    assert_eq!(missing["status"], "failed");
    // Tasks that name no command run the machine's own program for their type.
    let own = json!({ "title": "a", "task_type": "inference" });
    let own = user.post("/api/tasks", own).await.expect(200).at("/data/id").as_str().unwrap().to_owned();
    let own = ended(&server, &user, &own).await["result"]["output"].as_str().unwrap().to_owned();
    assert!(Path::new(own.trim()).starts_with(place.path()), "{own}");
    // A job sees nothing of the agent's variables, and has no more memory than it asked for.
    let body = json!({ "title": "a", "task_type": "inference", "config": { "memory_gb": 0.1,
        "command": ["sh", "-c", "ulimit -v; env | grep -c CORELOG_LOG"] } });
    let limited = user.post("/api/tasks", body).await.expect(200).at("/data/id").as_str().unwrap().to_owned();
    assert_eq!(ended(&server, &user, &limited).await["error_message"], "exit code 1: 104857\n0");
    for id in &unfit {
        assert_eq!(user.get(&format!("/api/tasks/{id}")).await.expect(200).at("/data/status"), "pending");
    }
    let servers = user.get("/api/gpu/servers").await.expect(200);
    assert!(servers.at("/data/0/total_memory").as_f64().unwrap() > 0.0);
    assert!(servers.at("/data/0/gpu_count") != 0 || servers.at("/data/0/gpu_note").is_string());
    // The server runs in this thread and has to hear the goodbye meanwhile.
    tokio::task::spawn_blocking(|| agent.terminate()).await.unwrap();
    let gone = server.get_until(&user, "/api/gpu/servers", |answer| answer.at("/data/0/status") == "offline").await;
    let id = gone.at("/data/0/id").as_str().unwrap();
    let last = server.log.read_stream("gpu_server", id, 0).await.unwrap().pop().unwrap();
    assert!(last.payload.contains("left"), "the agent did not say goodbye: {}", &*last.payload);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "directories of jobs are left behind");
}

#[tokio::test]
async fn what_runs_is_ended_when_it_is_cancelled_or_too_slow_or_its_agent_dies() {
    let (server, place) = (impatient().await, TempDir::new().unwrap());
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let mut agent = Agent::start(&server.url(), &token, place.path(), &[]);
    let word = |what: &str| format!("{what}-{}", tests::fresh_id());
    // Children and grandchildren, one of which ignores the polite signals.
    let script = |word: &str| format!("trap '' TERM HUP INT; sh -c 'sleep 600; :' {word} & sleep 600; : {word}");
    let (cancelled, slow, orphaned) = (word("cancelled"), word("slow"), word("orphaned"));
    let id = submit(&user, &["sh", "-c", &script(&cancelled)]).await;
    until("the start of a job", || runs(&cancelled)).await;
    user.post(&format!("/api/tasks/{id}/cancel"), json!({})).await.expect(200);
    until("the end of a cancelled job", || !runs(&cancelled)).await;
    let body = json!({ "title": "a", "task_type": "inference",
        "config": { "timeout_seconds": 5, "command": ["sh", "-c", script(&slow)] } });
    let id = user.post("/api/tasks", body).await.expect(200).at("/data/id").as_str().unwrap().to_owned();
    until("the start of a job", || runs(&slow)).await;
    let timed_out = ended(&server, &user, &id).await;
    assert_eq!((&timed_out["status"], &timed_out["error_message"]), (&json!("timed_out"), &json!("任务执行超时")));
    assert!(timed_out["cost"].as_f64().unwrap() > 0.0);
    until("the end of a job that ran too long", || !runs(&slow)).await;
    submit(&user, &["sh", "-c", &script(&orphaned)]).await;
    until("the start of a job", || runs(&orphaned)).await;
    agent.kill();
    until("the end of a job whose agent died", || !runs(&orphaned)).await;
}

/// A number that the environment sets for a longer run.
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var_os(name).and_then(|value| value.to_str()?.parse().ok()).unwrap_or(usual)
}

/// Five agents, one of them killed every few seconds while hundreds of tasks run: each task ends exactly once, and every
/// account adds up to the cent. `CORELOG_TEST_AGENTS_SECONDS=120 CORELOG_TEST_AGENTS_TASKS=500` is the long form.
#[tokio::test(flavor = "multi_thread")]
async fn every_task_ends_exactly_once_while_agents_are_killed() {
    let seconds = setting("CORELOG_TEST_AGENTS_SECONDS", 20);
    let count = setting("CORELOG_TEST_AGENTS_TASKS", 100);
    let (server, place) = (impatient().await, TempDir::new().unwrap());
    let mut tokens = Vec::new();
    for number in 0..5 {
        tokens.push(registered(&server, &format!("GPU-Server-0{number}")).await);
    }
    // Twenty places; the tasks fill six tenths of the time.
    let pause = Duration::from_secs(seconds * 12) / u32::try_from(count).unwrap();
    let mut users: Vec<(Client, Vec<String>)> = Vec::new();
    for number in 0..count {
        if number % 5 == 0 {
            users.push((rich(&server).await, Vec::new()));
        }
        let (user, tasks) = users.last_mut().unwrap();
        let code = if number % 10 == 9 { 3 } else { 0 };
        let half = pause.as_secs_f64() / 2.0;
        let script = format!("sleep {half}; echo '::progress 50'; sleep {half}; exit {code}");
        tasks.push(submit(user, &["sh", "-c", &script]).await);
    }
    // Only now, so that there is work for all of them from the first kill on, however long the above took.
    let mut hosts: Vec<_> =
        tokens.into_iter().map(|token| (Agent::start(&server.url(), &token, place.path(), &[]), token)).collect();
    let jobs_of_first = place.path().join(format!("agent-{}", hosts[0].0.id()));
    until("a job of the first agent", || fs::read_dir(&jobs_of_first).is_ok_and(|mut jobs| jobs.next().is_some()))
        .await;
    let (since, mut killed) = (Instant::now(), 0);
    while since.elapsed() < Duration::from_secs(seconds) {
        let (agent, token) = &mut hosts[killed % 5];
        agent.kill();
        if killed % 2 == 0 {
            // Long enough for the server to notice; otherwise it comes back before that.
            tokio::time::sleep(Duration::from_millis(PATIENCE_MS + 500)).await;
        }
        *agent = Agent::start(&server.url(), token, place.path(), &[]);
        killed += 1;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let mut requeued = 0;
    for (number, (user, id)) in
        users.iter().flat_map(|(user, tasks)| tasks.iter().map(move |id| (user, id))).enumerate()
    {
        let task = ended(&server, user, id).await;
        assert_eq!(task["status"], if number % 10 == 9 { "failed" } else { "completed" }, "{task}");
        requeued += ends_once(&server, id).await;
    }
    assert!(requeued > 0, "no agent was killed in the middle of a task");
    let spent = accounts_add_up(&server, &users).await;
    let audit = replay::audit::audit(&server.log, &server.models, &()).await.unwrap();
    assert!(audit.sound, "{:?}", audit.findings);
    eprintln!(
        "{count} tasks in {:?}, {killed} agents killed, {requeued} runs taken back, {spent} spent",
        since.elapsed()
    );
}

/// The number of times that a task was taken back.
pub(super) async fn ends_once(server: &TestServer, id: &str) -> usize {
    let (mut ends, mut requeued) = (0, 0);
    for event in server.log.read_stream("task", id, 0).await.unwrap() {
        match event.decode::<Task>().unwrap().unwrap() {
            TaskEvent::Requeued { .. } => requeued += 1,
            TaskEvent::Completed { .. }
            | TaskEvent::Failed { .. }
            | TaskEvent::Stopped { .. }
            | TaskEvent::TimedOut { .. }
            | TaskEvent::Cancelled { .. } => ends += 1,
            TaskEvent::Submitted { .. }
            | TaskEvent::Leased { .. }
            | TaskEvent::Started { .. }
            | TaskEvent::Progressed { .. }
            | TaskEvent::Retried { .. }
            | TaskEvent::Deleted { .. } => {}
        }
    }
    assert_eq!(ends, 1, "task {id} ends {ends} times");
    requeued
}

/// What everybody spent: for each user the sum of the tasks' costs, and what is missing of the hundred.
async fn accounts_add_up(server: &TestServer, users: &[(Client, Vec<String>)]) -> Decimal {
    let mut spent_by_all = Decimal::ZERO;
    for (user, tasks) in users {
        let free = |answer: &tests::answer::Answer| answer.at("/data/held") == 0.0;
        let account = server.get_until(user, "/api/recharge/balance", free).await;
        let decimal = |value: &Value| value.to_string().parse::<Decimal>().unwrap().normalize();
        let (balance, spent) = (decimal(account.at("/data/balance")), decimal(account.at("/data/spent")));
        let mut costs = BTreeMap::new();
        for id in tasks {
            let task = user.get(&format!("/api/tasks/{id}")).await.expect(200);
            costs.insert(id, decimal(task.at("/data/cost")));
        }
        assert_eq!((costs.values().sum::<Decimal>(), balance + spent), (spent, Decimal::from(100)), "{costs:?}");
        spent_by_all += spent;
    }
    spent_by_all
}
