//! Log lines over HTTP: of the server, of what users did, and as files.

use api::log_lines::SystemLines;
use api::surface::Surface;
use commands::Clock;
use commands::gateways::log_lines::{Level, NewLine, Source};
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::TestServer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use super::accounts::registered;
use super::agents::{Puppet, rich, submit};

fn line(n: i64, level: Level, message: &str) -> NewLine {
    // 2024-01-15, one a minute.
    let at = chrono::DateTime::from_timestamp(1_705_276_800 + n * 60, 0).unwrap();
    NewLine::new(at, TenantId::DEFAULT, Source::System, level, message)
}

async fn keep(server: &TestServer, lines: Vec<NewLine>) {
    server.app().line_queue.keep(lines).await.unwrap();
}

fn messages(answer: &tests::answer::Answer) -> Vec<&str> {
    answer.at("/items").as_array().unwrap().iter().map(|item| item["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn system_lines_are_filtered_and_paged_sqlite() {
    system_lines(Engine::Sqlite).await;
}
#[tokio::test]
async fn system_lines_are_filtered_and_paged_postgres() {
    system_lines(Engine::Postgres).await;
}
async fn system_lines(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::Owl);
    let lines = vec![
        line(0, Level::Info, "listening"),
        line(1, Level::Error, "a request failed"),
        line(2, Level::Critical, "a handler panicked"),
        line(24 * 60, Level::Error, "磁盘已满"),
    ];
    keep(&server, lines).await;
    let all = admin.get("/api/logs/system?page_size=3").await.expect(200);
    assert_eq!(messages(&all), ["磁盘已满", "a handler panicked", "a request failed"]);
    assert_eq!(
        (all.at("/total"), all.at("/total_pages"), all.at("/data/page_size")),
        (&json!(4), &json!(2), &json!(3))
    );
    assert_eq!(
        (all.at("/items/1/level"), all.at("/items/1/timestamp")),
        (&json!("CRITICAL"), &json!("2024-01-15T00:02:00Z"))
    );
    for (query, expected) in [
        ("page=2&page_size=3", vec!["listening"]),
        ("level=ERROR", vec!["磁盘已满", "a request failed"]),
        ("level=ERROR&start_date=2024-01-01&end_date=2024-01-15", vec!["a request failed"]),
        ("start_date=2024-01-16", vec!["磁盘已满"]),
        ("start_date=2024-01-15T00:01:00Z&end_date=2024-01-15T00:02:00Z", vec!["a request failed"]),
        ("search=request", vec!["a request failed"]),
        ("search=panick", vec!["a handler panicked"]),
        ("search=%E7%A3%81%E7%9B%98", vec!["磁盘已满"]),
        ("search=nothing", vec![]),
        ("level=DEBUG", vec![]),
        ("start_date=2030-01-01", vec![]),
        ("page=9", vec![]),
    ] {
        let page = admin.get(&format!("/api/logs/system?{query}")).await.expect(200);
        assert_eq!(messages(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn the_servers_own_lines_are_kept_without_secrets() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Owl);
    let lines = SystemLines::default();
    let _here =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(LevelFilter::INFO).with(lines.clone()));
    tracing::error!("before anybody listens");
    lines.connect(server.app().line_queue.clone(), Clock::system());
    tracing::warn!(password = "hunter2", attempt = 3, "postgres://corelog:hunter2@db/x does not answer");
    tracing::error!(critical = true, "the projection halted");
    tracing::trace!("not kept");
    keep(&server, vec![]).await;
    let kept = admin.get("/api/logs/system").await.expect(200);
    assert_eq!(messages(&kept), ["the projection halted", "postgres://corelog:[redacted]@db/x does not answer"]);
    assert_eq!((kept.at("/items/0/level"), kept.at("/items/1/level")), (&json!("CRITICAL"), &json!("WARNING")));
    assert_eq!(kept.at("/items/1/fields/attempt"), 3);
    assert!(!kept.text.contains("hunter2"), "{}", kept.text);
}

#[tokio::test]
async fn what_users_did_is_listed_sqlite() {
    what_users_did(Engine::Sqlite).await;
}
#[tokio::test]
async fn what_users_did_is_listed_postgres() {
    what_users_did(Engine::Postgres).await;
}
async fn what_users_did(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::Owl);
    let (ada, grace) = (registered(&server, "ada").await, registered(&server, "grace").await);
    ada.put("/api/users/me", json!({ "full_name": "艾达" })).await.expect(200);
    grace.put("/api/users/me", json!({ "full_name": "Grace" })).await.expect(200);
    let of_ada = format!("/api/logs/user-actions?user_id={}", ada.user_id());
    let listed = admin.get(&of_ada).await.expect(200);
    let actions: Vec<&Value> = listed.at("/items").as_array().unwrap().iter().map(|item| &item["action"]).collect();
    assert_eq!(actions, ["user.profile_changed", "user.session_opened"]);
    assert_eq!(
        (listed.at("/items/0/username"), listed.at("/items/0/ip_address"), listed.at("/items/0/resource_type")),
        (&json!("ada"), &json!("127.0.0.1"), &json!("user"))
    );
    assert_eq!(listed.at("/items/0/position"), server.head().await - 1);
    let all = admin.get("/api/logs/user-actions?search=profile_changed").await.expect(200);
    assert_eq!((all.at("/total"), all.at("/items/0/username")), (&json!(2), &json!("grace")));
    let today = admin.get(&format!("{of_ada}&start_date=2030-01-01")).await.expect(200);
    assert_eq!(today.at("/total"), 0);
    // What the server did by itself is nobody's action.
    let processes = admin.get("/api/logs/user-actions?search=confirmed").await.expect(200);
    assert_eq!(processes.at("/total"), 0);
}

#[tokio::test]
async fn a_day_is_downloaded_sqlite() {
    a_day_is_downloaded(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_day_is_downloaded_postgres() {
    a_day_is_downloaded(Engine::Postgres).await;
}
async fn a_day_is_downloaded(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::Owl);
    let mut lines = vec![line(-1, Level::Info, "the day before")];
    lines.extend((0..5_000).map(|n| line(n / 4, Level::Info, &format!("step {n}"))));
    lines.push(line(24 * 60 - 1, Level::Error, "=HYPERLINK(\"http://x\"),\nnext"));
    lines.push(line(24 * 60, Level::Info, "the day after"));
    keep(&server, lines).await;
    let file = admin.get("/api/logs/download?log_type=system&date=2024-01-15").await.expect(200);
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"system-2024-01-15.csv\"");
    assert!(file.header("content-type").starts_with("text/csv"));
    // The client takes the mark of UTF-8 off what it reads as text.
    let url = format!("{}/api/logs/download?log_type=system&date=2024-01-15", server.url());
    let raw = reqwest::Client::new().get(url).bearer_auth(admin.token().unwrap()).send().await.unwrap();
    assert!(raw.bytes().await.unwrap().starts_with("\u{feff}id,timestamp".as_bytes()));
    let mut read = csv::Reader::from_reader(file.text.as_bytes());
    let rows: Vec<csv::StringRecord> = read.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 5_001);
    assert_eq!((&rows[0][3], &rows[4_999][3]), ("step 0", "step 4999"));
    assert_eq!(&rows[5_000][3], "'=HYPERLINK(\"http://x\"),\nnext");
    let only =
        admin.get("/api/logs/download?log_type=system&date=2024-01-15&level=ERROR&format=ndjson").await.expect(200);
    let shown: Value = serde_json::from_str(only.text.trim()).unwrap();
    assert_eq!((&shown["level"], &shown["timestamp"]), (&json!("ERROR"), &json!("2024-01-15T23:59:00Z")));
    let actions = admin.get("/api/logs/download?log_type=user-actions&date=2024-01-15").await.expect(200);
    assert_eq!(actions.text.lines().count(), 1, "the head alone");
    admin.get("/api/logs/download?log_type=tasks&date=2024-01-15").await.expect(200);
}

#[tokio::test]
async fn logs_are_for_administrators_of_their_tenant() {
    let server = TestServer::start(Engine::Sqlite).await;
    keep(&server, vec![line(0, Level::Info, "ours")]).await;
    let (user, anonymous) = (server.user(Surface::Owl), server.anonymous());
    let stranger = server.signed_in(Surface::Owl, Role::Owner, TenantId(tests::fresh_id()));
    let paths = ["/api/logs/system", "/api/logs/user-actions", "/api/logs/download?log_type=system&date=2024-01-15"];
    for path in paths {
        assert_eq!(user.get(path).await.expect(403).at("/error_code"), "ACCESS_DENIED");
        assert_eq!(anonymous.get(path).await.expect(401).at("/error_code"), "INVALID_CREDENTIALS");
    }
    assert_eq!(stranger.get("/api/logs/system").await.expect(200).at("/total"), 0);
    assert_eq!(stranger.get("/api/logs/user-actions").await.expect(200).at("/total"), 0);
    let file = stranger.get(paths[2]).await.expect(200);
    assert_eq!(file.text.lines().count(), 1);
}

#[tokio::test]
async fn odd_questions_are_refused() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Owl);
    for (query, field) in [
        ("system?level=LOUD", "level"),
        ("system?start_date=yesterday", "start_date"),
        ("system?end_date=2024-13-01", "end_date"),
        ("system?search=---", "search"),
        ("system?page=x", "page"),
        ("system?page=-1", "page"),
        ("user-actions?user_id=7", "user_id"),
        ("download?date=2024-01-15", "log_type"),
        ("download?log_type=system", "date"),
        ("download?log_type=secrets&date=2024-01-15", "log_type"),
        ("download?log_type=system&date=..%2F", "date"),
        ("download?log_type=system&date=2024-01-15&format=exe", "format"),
    ] {
        let refused = admin.get(&format!("/api/logs/{query}")).await.expect(422);
        assert_eq!(refused.at("/error_code"), "VALIDATION_ERROR");
        let message = refused
            .at(&format!("/details/field_errors/{field}/0"))
            .as_str()
            .unwrap_or_else(|| panic!("{}", refused.text));
        assert!(!message.is_ascii(), "{query}: {message}");
    }
    admin.get("/api/logs/system?search=%00").await.expect(422);
    admin.get("/api/logs/system?page=99999999999999999999").await.expect(422);
    assert_eq!(admin.get("/api/logs/system?page=999999999&page_size=9999").await.expect(200).at("/page_size"), 200);
}

#[tokio::test]
async fn what_a_task_says_is_read_by_its_owner_sqlite() {
    what_a_task_says(Engine::Sqlite).await;
}
#[tokio::test]
async fn what_a_task_says_is_read_by_its_owner_postgres() {
    what_a_task_says(Engine::Postgres).await;
}
async fn what_a_task_says(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (user, agent) = (rich(&server).await, Puppet::connect(&server, 4).await);
    let other = Puppet::connect(&server, 4).await;
    let id = submit(&user, "a", 1, json!({})).await;
    let (_, _, lease) = agent.lease().await.unwrap();
    let path = format!("/api/gpu/agent/tasks/{id}/logs");
    let said = |lease: u64, level: &str, message: &str| json!({ "lease": lease, "lines": [{ "level": level, "message": message }, { "level": "INFO", "message": "on" }] });
    let first = said(lease, "ERROR", "显存不足");
    let kept = agent.client.post(&format!("/api/gpu/agent/tasks/{id}/logs"), first).await.expect(200);
    assert_eq!((kept.at("/data/kept"), kept.at("/data/dropped")), (&json!(2), &json!(0)));
    other.client.post(&path, said(lease, "INFO", "not its task")).await.expect(409);
    agent.client.post(&path, said(lease + 1, "INFO", "not its lease")).await.expect(409);
    agent.client.post(&path, said(lease, "LOUD", "x")).await.expect(422);
    user.post(&path, said(lease, "INFO", "no agent")).await.expect(401);
    let lines = user.get(&format!("/api/logs/tasks/{id}")).await.expect(200);
    assert_eq!(messages(&lines), ["on", "显存不足"]);
    assert_eq!((lines.at("/items/1/level"), lines.at("/items/1/task_id")), (&json!("ERROR"), &json!(id)));
    let found = user.get(&format!("/api/logs/tasks/{id}?level=ERROR&search=%E6%98%BE%E5%AD%98")).await.expect(200);
    assert_eq!(found.at("/total"), 1);
    assert_eq!(server.admin(Surface::Owl).get(&format!("/api/logs/tasks/{id}")).await.expect(200).at("/total"), 2);
    let stranger = server.signed_in(Surface::Owl, Role::Owner, TenantId(tests::fresh_id()));
    for nobody in [server.user(Surface::Owl), stranger] {
        nobody.get(&format!("/api/logs/tasks/{id}")).await.expect(404);
    }
    server.anonymous().get(&format!("/api/logs/tasks/{id}")).await.expect(401);
    user.get("/api/logs/tasks/7").await.expect(404);
    agent.complete(&id, lease).await.expect(200);
    agent.client.post(&path, said(lease, "INFO", "too late")).await.expect(409);
}
