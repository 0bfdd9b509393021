//! What tasks say, on its way through agents: nothing is lost and nothing told twice, whatever the wire does.

use std::fs;
use std::path::Path;

use api::config::{AgentSettings, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::agent::Agent;
use tests::engine::Engine;
use tests::proxy::Proxy;
use tests::server::{Client, TestServer, settings};

use super::agents::{self, Puppet};
use super::real_agents::{ended, registered, rich, submit, until};

/// Every message of a task's log, the oldest first.
async fn messages(user: &Client, id: &str) -> Vec<String> {
    let (mut messages, mut page) = (Vec::new(), 1);
    loop {
        let path = format!("/api/logs/tasks/{id}?page={page}&page_size=200");
        let answer = user.get(&path).await.expect(200);
        let items = answer.at("/items").as_array().unwrap();
        messages.extend(items.iter().map(|item| item["message"].as_str().unwrap().to_owned()));
        if items.len() < 200 {
            messages.reverse();
            return messages;
        }
        page += 1;
    }
}

/// Does not give an agent up while the wire is cut.
async fn patient() -> TestServer {
    let agents = AgentSettings { heartbeat_ms: 300, patience_ms: 60_000 };
    TestServer::start_with(Config { agents, ..settings() }).await
}

/// Speaks before the wire breaks, while it is broken, and afterwards; files tell when.
fn script(place: &Path) -> String {
    let file = |name: &str| place.join(name).display().to_string();
    let wait_for = |name: &str| format!("while [ ! -e {} ]; do sleep 0.05; done", file(name));
    let say = |from: u32, to: u32| format!("n={from}; while [ $n -le {to} ]; do echo line $n; n=$((n + 1)); done");
    [
        say(1, 10),
        format!("touch {}", file("started")),
        wait_for("broken"),
        say(11, 700),
        // Long enough for the agent to try and fail.
        "sleep 2".to_owned(),
        say(701, 710),
        format!("touch {}", file("said")),
        wait_for("mended"),
        say(711, 720),
    ]
    .join("; ")
}

async fn no_line_is_lost_or_told_twice(break_it: fn(&Proxy)) {
    let (server, place, files) = (patient().await, TempDir::new().unwrap(), TempDir::new().unwrap());
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let wire = Proxy::to(server.url().trim_start_matches("http://").parse().unwrap()).await;
    let agent = Agent::start(&format!("http://{}", wire.address()), &token, place.path(), &[]);
    let id = submit(&user, &["sh", "-c", &script(files.path())]).await;
    until("the start of the job", || files.path().join("started").exists()).await;
    break_it(&wire);
    fs::write(files.path().join("broken"), "").unwrap();
    until("the end of what it says meanwhile", || files.path().join("said").exists()).await;
    wire.mend();
    fs::write(files.path().join("mended"), "").unwrap();
    let done = ended(&server, &user, &id).await;
    assert_eq!(done["status"], "completed", "{done}");
    let expected: Vec<String> = (1..=720).map(|n| format!("line {n}")).collect();
    let told = messages(&user, &id).await;
    assert_eq!(told.len(), expected.len(), "{:?} … {:?}", told.first(), told.last());
    assert_eq!(told, expected);
    tokio::task::spawn_blocking(|| agent.terminate()).await.unwrap();
}

#[tokio::test]
async fn what_a_task_says_while_the_server_is_out_of_reach_is_told_later() {
    no_line_is_lost_or_told_twice(Proxy::cut).await;
}

#[tokio::test]
async fn what_the_server_kept_is_not_told_twice_though_its_answer_was_lost() {
    no_line_is_lost_or_told_twice(Proxy::lose_answers).await;
}

#[tokio::test]
async fn long_lines_are_told_in_as_many_requests_as_they_need() {
    let (server, place) = (patient().await, TempDir::new().unwrap());
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let agent = Agent::start(&server.url(), &token, place.path(), &[]);
    // Quotes are two bytes each on the wire.
    let script = r#"line=$(head -c 8000 /dev/zero | tr '\0' '"'); n=0; while [ $n -lt 300 ]; do echo "$line"; n=$((n + 1)); done"#;
    let id = submit(&user, &["sh", "-c", script]).await;
    assert_eq!(ended(&server, &user, &id).await["status"], "completed");
    let told = messages(&user, &id).await;
    assert_eq!((told.len(), told.iter().all(|line| line.len() == 8_000)), (300, true));
    tokio::task::spawn_blocking(|| agent.terminate()).await.unwrap();
}

#[tokio::test]
async fn a_result_that_cannot_be_used_is_named_in_the_tasks_log() {
    let (server, place) = (patient().await, TempDir::new().unwrap());
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let agent = Agent::start(&server.url(), &token, place.path(), &[]);
    for (script, why) in [
        ("echo hello; echo '{nonsense' > $CORELOG_TASK_RESULT", "result.json is not used: it is no JSON"),
        (
            r#"echo hello; { echo '"'; head -c 300000 /dev/zero | tr '\0' x; echo '"'; } > $CORELOG_TASK_RESULT"#,
            "result.json is not used: it is larger than 256 KB",
        ),
        ("echo hello; mkdir $CORELOG_TASK_RESULT", "result.json is not used: it is no file"),
    ] {
        let id = submit(&user, &["sh", "-c", script]).await;
        let done = ended(&server, &user, &id).await;
        assert_eq!(
            (&done["status"], &done["result"]),
            (&json!("completed"), &json!({ "exit_code": 0, "output": "hello\n" }))
        );
        let told = messages(&user, &id).await;
        assert!(told[0] == "hello" && told.len() == 2 && told[1].starts_with(why), "{told:?}");
    }
    tokio::task::spawn_blocking(|| agent.terminate()).await.unwrap();
}

#[tokio::test]
async fn numbered_lines_are_kept_once_sqlite() {
    numbered_lines_are_kept_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn numbered_lines_are_kept_once_postgres() {
    numbered_lines_are_kept_once(Engine::Postgres).await;
}
async fn numbered_lines_are_kept_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (user, agent) = (agents::rich(&server).await, Puppet::connect(&server, 4).await);
    let id = agents::submit(&user, "a", 1, json!({})).await;
    let (_, _, lease) = agent.lease().await.unwrap();
    let path = format!("/api/gpu/agent/tasks/{id}/logs");
    let said = |first: u64, messages: &[&str]| {
        let lines: Vec<Value> = messages.iter().map(|text| json!({ "level": "INFO", "message": text })).collect();
        json!({ "lease": lease, "first": first, "lines": lines })
    };
    let kept = async |body: Value| agent.client.post(&path, body).await.expect(200).at("/data/kept").clone();
    assert_eq!(kept(said(1, &["one", "two"])).await, 2);
    assert_eq!(kept(said(1, &["one", "two"])).await, 0);
    assert_eq!(kept(said(2, &["two", "three"])).await, 1);
    assert_eq!(kept(said(4, &["four"])).await, 1);
    assert_eq!(messages(&user, &id).await, ["one", "two", "three", "four"]);
    agent.client.post(&path, said(0, &["zero"])).await.expect(422);
}
