//! Real agents that run tasks in containers of a real engine.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::agent::Agent;
use tests::container_engine::{ContainerEngine, IMAGE};
use tests::program::binary;
use tests::server::{Client, TestServer};
use tokio::time::{Duration, Instant};

use super::real_agents::{WAIT_MAX, ended, ends_once, impatient, registered, rich, submit};

/// An agent that runs tasks in containers of `engine`, and is told more.
fn started(server: &TestServer, token: &str, place: &Path, engine: &ContainerEngine, more: &[&str]) -> Agent {
    let usual = ["--docker", IMAGE, "--docker-socket", engine.socket()];
    Agent::start(&server.url(), token, place, &[&usual, more].concat())
}

async fn submit_with(user: &Client, config: Value) -> String {
    let body = json!({ "title": "a", "task_type": "inference", "config": config });
    user.post("/api/tasks", body).await.expect(200).at("/data/id").as_str().unwrap().to_owned()
}

/// What became of a task with this script.
async fn ran(server: &TestServer, user: &Client, script: &str) -> Value {
    ended(server, user, &submit(user, &["sh", "-c", script]).await).await
}

/// Waits until the containers of a task are these: their names, and whether each runs.
async fn until_containers(engine: &ContainerEngine, task: &str, wanted: &[(String, bool)]) {
    let since = Instant::now();
    loop {
        let found = engine.containers_of(task).await;
        if found == wanted {
            return;
        }
        assert!(since.elapsed() < WAIT_MAX, "{found:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The container of a task's lease, as it runs.
fn running(task: &str, lease: u32) -> [(String, bool); 1] {
    [(format!("corelog-{task}-{lease}"), true)]
}

fn own_user() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

async fn terminate(agent: Agent) {
    // The server runs in this thread and has to hear the goodbye meanwhile.
    tokio::task::spawn_blocking(|| agent.terminate()).await.unwrap();
}

#[tokio::test]
async fn a_task_runs_in_a_container_and_tells_what_became_of_it() {
    let (server, place, engine) = (impatient().await, TempDir::new().unwrap(), ContainerEngine::start().await);
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let more = ["--allow", "sh", "--allow", "tail", "--allow", "/no/such", "--docker-allow", "corelog-test:none"];
    let agent = started(&server, &token, place.path(), &engine, &more);
    let script =
        r#"echo hello; echo trouble >&2; echo "::progress 50"; cat "$CORELOG_TASK_CONFIG" > "$CORELOG_TASK_RESULT""#;
    let id = submit(&user, &["sh", "-c", script]).await;
    let done = ended(&server, &user, &id).await;
    assert_eq!((&done["status"], &done["result"]["command"][0]), (&json!("completed"), &json!("sh")), "{done}");
    assert!(done["cost"].as_f64().unwrap() > 0.0, "{done}");
    let lines = user.get(&format!("/api/logs/tasks/{id}")).await.expect(200);
    let lines = lines.at("/items").as_array().unwrap().clone();
    let said = |level: &str| lines.iter().find(|line| line["level"] == level).map(|line| line["message"].clone());
    assert_eq!((said("INFO"), said("ERROR"), lines.len()), (Some(json!("hello")), Some(json!("trouble")), 2));
    let plain = ran(&server, &user, "echo hello").await;
    assert_eq!(plain["result"], json!({ "exit_code": 0, "output": "hello\n" }));
    // Never as root, not even for an agent that is.
    let nobody_for_root = if own_user() == 0 { 65_534 } else { own_user() };
    assert_eq!(ran(&server, &user, "id -u").await["result"]["output"], format!("{nobody_for_root}\n"));
    let failed = ran(&server, &user, "echo no luck >&2; exit 3").await;
    assert_eq!((&failed["status"], &failed["error_message"]), (&json!("failed"), &json!("exit code 3: no luck")));
    // What this machine may not run waits for one that may.
    let other_image = submit_with(&user, json!({ "image": "debian", "command": ["sh", "-c", "true"] })).await;
    let unfit = [submit(&user, &["cat", "/etc/passwd"]).await, other_image];
    let missing = ended(&server, &user, &submit(&user, &["/no/such"]).await).await;
    let why = missing["error_message"].as_str().unwrap();
    assert!(why.starts_with("/no/such cannot be started: ") && why.contains("no such file"), "{why}");
    let absent = json!({ "image": "corelog-test:none", "command": ["sh", "-c", "true"] });
    let absent = ended(&server, &user, &submit_with(&user, absent).await).await;
    assert_eq!(absent["error_message"], "the image corelog-test:none is not on this server");
    let greedy = json!({ "memory_gb": 0.02, "image": IMAGE, "command": ["tail", "/dev/zero"] });
    let greedy = ended(&server, &user, &submit_with(&user, greedy).await).await;
    let why = "exit code 137: it needed more than its 0.02 GB of memory";
    assert_eq!((&greedy["status"], &greedy["error_message"]), (&json!("failed"), &json!(why)));
    until_containers(&engine, &id, &[]).await;
    for id in &unfit {
        assert_eq!(user.get(&format!("/api/tasks/{id}")).await.expect(200).at("/data/status"), "pending");
    }
    terminate(agent).await;
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "directories of jobs are left behind");
}

/// What a program finds out about its container, a line each.
const LOOK_AROUND: &str = r"
id -u; grep -e '^CapEff' -e '^NoNewPrivs' /proc/self/status
ls /sys/class/net; cat /proc/net/route | tail -n +2
echo no > /not 2>&1 || echo the root is read-only
echo yes > here && echo yes > /tmp/there && cat here /tmp/there
env | grep -c -e CORELOG_LOG -e CORELOG_ADMIN
ulimit -n; ls -a /task
";

#[tokio::test]
async fn a_container_is_shut_off_from_the_machine() {
    let (server, place, engine) = (impatient().await, TempDir::new().unwrap(), ContainerEngine::start().await);
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    // Only root can give the directory of a job to somebody else.
    let whose = if own_user() == 0 { 1_234 } else { own_user() };
    let owner = format!("{whose}:1234");
    let limits = ["--docker-cpus", "0.5", "--docker-pids", "20", "--docker-user", &owner];
    let agent = started(&server, &token, place.path(), &engine, &limits);
    let seen = ran(&server, &user, LOOK_AROUND).await;
    let said = seen["result"]["output"].as_str().unwrap_or_else(|| panic!("{seen}"));
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "the root is read-only", "4096", "config.json", "0"] {
        assert!(said.lines().any(|found| found == line), "{line} is missing: {said}");
    }
    assert_eq!(said.matches("yes").count(), 2, "{said}");
    // What a job says on its two streams comes in no order.
    assert!(said.lines().any(|line| line == whose.to_string()), "{said}");
    // The server listens on the loopback device of the machine, which is not the container's.
    let call = format!("wget -q -T 5 -O - {}/health", server.url());
    let called = ran(&server, &user, &call).await;
    assert_eq!(called["status"], "failed", "{called}");
    let crowd = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 60 & done";
    let crowd = ran(&server, &user, crowd).await;
    assert!(crowd["error_message"].as_str().unwrap().contains("fork"), "{crowd}");
    // A link that a task leaves as its result is not followed by the agent, who sees more than the task.
    let secret = place.path().join("secret.json");
    fs::write(&secret, r#"{"secret":true}"#).unwrap();
    let linked = ran(&server, &user, &format!("ln -s {} $CORELOG_TASK_RESULT", secret.display())).await;
    assert_eq!(linked["result"], json!({ "exit_code": 0, "output": "" }));
    terminate(agent).await;
}

#[tokio::test]
async fn a_container_ends_when_its_task_is_cancelled_or_too_slow_or_its_agent_dies() {
    let (server, place, engine) = (impatient().await, TempDir::new().unwrap(), ContainerEngine::start().await);
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let mut agent = started(&server, &token, place.path(), &engine, &[]);
    // Deaf to the polite signals.
    let command = json!(["sh", "-c", "trap '' TERM HUP INT; sleep 600 & sleep 600; :"]);
    let id = submit_with(&user, json!({ "command": command })).await;
    until_containers(&engine, &id, &running(&id, 1)).await;
    user.post(&format!("/api/tasks/{id}/cancel"), json!({})).await.expect(200);
    until_containers(&engine, &id, &[]).await;
    let id = submit_with(&user, json!({ "command": command, "timeout_seconds": 5 })).await;
    until_containers(&engine, &id, &running(&id, 1)).await;
    let slow = ended(&server, &user, &id).await;
    assert_eq!(slow["status"], "timed_out");
    assert!(slow["cost"].as_f64().unwrap() > 0.0);
    until_containers(&engine, &id, &[]).await;
    // The watchman sees to it before there is another agent.
    let id = submit_with(&user, json!({ "command": command })).await;
    until_containers(&engine, &id, &running(&id, 1)).await;
    agent.kill();
    until_containers(&engine, &id, &[]).await;
    let mut agent = started(&server, &token, place.path(), &engine, &[]);
    until_containers(&engine, &id, &running(&id, 2)).await;
    // And without him, the next agent does.
    kill(watchman_of(agent.id()));
    agent.kill();
    until_containers(&engine, &id, &running(&id, 2)).await;
    let agent = started(&server, &token, place.path(), &engine, &[]);
    until_containers(&engine, &id, &running(&id, 3)).await;
    // An agent that ends in good order leaves nothing either.
    terminate(agent).await;
    until_containers(&engine, &id, &[]).await;
}

/// The process that ends the containers of an agent when it is gone.
fn watchman_of(agent: u32) -> u32 {
    let mut processes = fs::read_dir("/proc").unwrap().filter_map(|process| {
        let id: u32 = process.ok()?.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        status.lines().any(|line| line == format!("PPid:\t{agent}")).then_some(id)
    });
    processes.next().expect("the agent has no watchman")
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn the_late_answer_of_a_lost_agent_changes_nothing() {
    let (server, place, engine) = (impatient().await, TempDir::new().unwrap(), ContainerEngine::start().await);
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let lost = started(&server, &token, place.path(), &engine, &[]);
    let id = submit(&user, &["sh", "-c", "sleep 3; echo done"]).await;
    until_containers(&engine, &id, &running(&id, 1)).await;
    lost.signal("STOP");
    let other = registered(&server, "two").await;
    let other = started(&server, &other, place.path(), &engine, &[]);
    let done = ended(&server, &user, &id).await;
    assert_eq!(done["status"], "completed", "{done}");
    // Its container has ended long ago; it learns that the session is lost, and takes its container away.
    lost.signal("CONT");
    until_containers(&engine, &id, &[]).await;
    let online = |answer: &tests::answer::Answer| {
        answer.at("/data").as_array().unwrap().iter().all(|server| server["status"] == "online")
    };
    server.get_until(&user, "/api/gpu/servers", online).await;
    assert_eq!(ends_once(&server, &id).await, 1);
    assert_eq!(user.get(&format!("/api/tasks/{id}")).await.expect(200).at("/data"), &done);
    terminate(other).await;
    terminate(lost).await;
}

#[test]
fn an_agent_says_that_its_engine_is_not_there() {
    let place = TempDir::new().unwrap();
    let mut command = Command::new(binary());
    command.env_clear().current_dir(place.path()).stdin(Stdio::null());
    command.args(["agent", "--server", "http://127.0.0.1:9", "--token", "none", "--docker", IMAGE]);
    let output = command.args(["--docker-socket", "docker.sock"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it starts");
    assert!(said.contains("the container engine at docker.sock does not answer"), "{said}");
}
