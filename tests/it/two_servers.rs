//! Two servers on one PostgreSQL: one order of events, no projection skips any, one set of sessions.

use std::process::Command;
use std::time::Duration;

use api::config::Config;
use api::surface::Surface;
use domain::metadata::{Metadata, TenantId};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::json;
use sqlx::Connection as _;
use tempfile::TempDir;
use tests::agent::Agent;
use tests::postgres::Database;
use tests::program::{Installation, Program};
use tests::server::{Client, TestServer, WAIT_MAX, settings};

const CODES: usize = 400;
const CLIENTS: usize = 32;
/// Programs beside ours that append while their transaction stays open.
const STRANGERS: i64 = 5;
/// Servers that make the tables of one database at the same time.
const STARTING: usize = 4;
const FOREIGN: &str = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
     metadata) VALUES ('lead', $1, 1, 'lead.created', '1', $2::json, $3::json)";
const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

async fn servers(database: &Database) -> [TestServer; 2] {
    let config = Config { database_url: Some(database.url()), secret_key: Some("7".repeat(64)), ..settings() };
    [TestServer::start_with(config.clone()).await, TestServer::start_with(config).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_under_load_agree_and_no_projection_skips_an_event() {
    let database = Database::create().await;
    let servers = servers(&database).await;
    let admins = servers.each_ref().map(|server| server.admin(Surface::Owl));
    let issued = admins[0].post("/api/recharge/codes", json!({ "amount": 1, "batch_size": CODES })).await.expect(200);
    let codes: Vec<String> = issued
        .at("/data/codes")
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code["code"].as_str().unwrap().to_owned())
        .collect();
    let redeeming = codes.chunks(CODES.div_ceil(CLIENTS)).enumerate().map(|(number, codes)| {
        let user = servers[number % 2].user(Surface::Owl);
        tokio::spawn(redeem_all(user, codes.to_vec()))
    });
    let redeeming: Vec<_> = redeeming.collect();
    for id in 1..=STRANGERS {
        insert_while_others_wait(&database, id).await;
    }
    for client in redeeming {
        client.await.unwrap();
    }
    for (server, admin) in servers.iter().zip(&admins) {
        let head = server.head().await;
        let seen = admin.with("Corelog-Min-Position", &head.to_string());
        let used = seen.get("/api/recharge/codes?status=used&page_size=1").await.expect(200);
        assert_eq!(used.at("/total"), CODES);
        let leads = server.admin(Surface::HashInsight).with("Corelog-Min-Position", &head.to_string());
        assert_eq!(leads.get("/crm/api/leads").await.expect(200).at("/total"), STRANGERS);
        nothing_was_skipped(server, &seen.get("/platform/v1/projections").await.expect(200).json).await;
    }
}

/// Another program appends the lead `id`, and leaves its transaction open until the servers' commands stand behind it.
async fn insert_while_others_wait(database: &Database, id: i64) {
    let (mut stranger, mut watcher) = (database.connect().await, database.connect().await);
    let golden: Vec<serde_json::Value> =
        serde_json::from_str(&crate::tree::read("tests/fixtures/events/lead.created.v1.json")).unwrap();
    let mut payload = golden[0].clone();
    payload["created"]["id"] = json!(id);
    let metadata = Metadata::of(TenantId::DEFAULT, "system", "cli", tests::fresh_id());
    let mut open = stranger.begin().await.unwrap();
    sqlx::query(FOREIGN)
        .bind(id.to_string())
        .bind(payload.to_string())
        .bind(serde_json::to_string(&metadata).unwrap())
        .execute(&mut *open)
        .await
        .unwrap();
    let waiting = async {
        while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut watcher).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the load was over before");
    open.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_the_same_time_on_an_empty_database_all_start() {
    let database = Database::create().await;
    let places: Vec<_> = (0..STARTING).map(|_| TempDir::new().unwrap()).collect();
    let starting: Vec<_> = places.iter().map(|place| one_of_several(&database, place)).collect();
    let starting: Vec<_> =
        starting.into_iter().map(|start| tokio::task::spawn_blocking(|| Program::spawn(start))).collect();
    for started in starting {
        let program = started.await.expect("a server did not start");
        program.admin().await.get("/api/recharge/codes").await.expect(200);
    }
}

/// How one of the programs on `database` is started, with a directory of its own.
fn one_of_several(database: &Database, place: &TempDir) -> Command {
    let installation = Installation { data_dir: place.path().to_owned(), database_url: Some(database.url()) };
    let mut command = installation.command();
    command.env("CORELOG_SECRET_KEY", "7".repeat(64));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_one_server_closes_is_closed_on_the_other() {
    let database = Database::create().await;
    let [first, second] = servers(&database).await;
    let registration = json!({ "email": "ann@example.com", "username": "ann", "password": "password123" });
    first.anonymous().post("/api/auth/register", registration.clone()).await.expect(200);
    let entered = first.anonymous().post("/api/auth/login", registration).await.expect(200);
    let token = entered.at("/data/access_token").as_str().unwrap();
    let [here, there] = [&first, &second].map(|server| server.anonymous().with_token(token));
    there.with("Corelog-Min-Position", entered.header("corelog-position")).get("/api/users/me").await.expect(200);
    here.send(reqwest::Method::POST, "/api/auth/logout", None).await.expect(200);
    here.get("/api/users/me").await.expect(401);
    let shut_out = async { while there.get("/api/users/me").await.status != 401 {} };
    tokio::time::timeout(Duration::from_secs(10), shut_out).await.expect("the other server never noticed");
}

/// Redeems its codes one after the other: what it wrote is there at once, and its position only grows.
async fn redeem_all(user: Client, codes: Vec<String>) {
    let mut last = 0;
    for (number, code) in (1..).zip(codes) {
        let answer = user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(200);
        assert_eq!(answer.at("/data/new_balance").as_f64(), Some(f64::from(number)));
        let position: u64 = answer.header("corelog-position").parse().unwrap();
        assert!(position > last, "position {position} after {last}");
        last = position;
        assert_eq!(user.get("/api/recharge/records").await.expect(200).at("/total"), number);
    }
}

/// Count and digest of every projection are those of the log.
async fn nothing_was_skipped(server: &TestServer, shown: &serde_json::Value) {
    for projector in projections::catalogue() {
        let shown = shown["projections"].as_array().unwrap().iter().find(|p| p["name"] == projector.name()).unwrap();
        let (mut tally, mut after) = (projections::checkpoint::Tally::default(), 0);
        let through = shown["position"].as_u64().unwrap();
        while after < through {
            let page = server.log.read_all(after, projector.aggregate_types(), 1_000).await.unwrap();
            page.events.iter().filter(|event| event.position <= through).for_each(|event| tally.add(event));
            after = page.through;
        }
        assert_eq!((shown["events"].as_u64(), shown["digest"].as_str()), (Some(tally.events), Some(&*tally.hex())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_goes_the_other_server_takes_over() {
    let database = Database::create().await;
    let [first, second] = servers(&database).await;
    let admin = second.admin(Surface::Owl);
    drop(first);
    // The command is durable at once; its effect shows as soon as the other server leads.
    let answer = admin.post("/api/recharge/codes", json!({ "amount": 1, "batch_size": 3 })).await.expect(200);
    let seen = admin.with("Corelog-Min-Position", answer.header("corelog-position"));
    assert_eq!(seen.get("/api/recharge/codes").await.expect(200).at("/total"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_is_replaced_and_does_no_harm_when_it_goes_on() {
    let (database, data) = (Database::create().await, [TempDir::new().unwrap(), TempDir::new().unwrap()]);
    let [leader, other] = data.each_ref().map(|place| Program::spawn(one_of_several(&database, place)));
    let admin = other.admin().await;
    leader.signal("STOP");
    let issued = admin.post("/api/recharge/codes", json!({ "amount": 5, "batch_size": 3 })).await.expect(200);
    shown(&admin, issued.header("corelog-position"), 3).await;
    leader.signal("CONT");
    // Whichever leads now, both show what is done on either.
    for (program, codes) in [(&leader, 4), (&other, 5)] {
        let here = program.reached_by(&admin);
        let issued = here.post("/api/recharge/codes", json!({ "amount": 5, "batch_size": 1 })).await.expect(200);
        for program in [&leader, &other] {
            shown(&program.reached_by(&admin), issued.header("corelog-position"), codes).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_stopped_within_a_transaction_does_not_stop_the_projections() {
    let database = Database::create().await;
    let [first, second] = servers(&database).await;
    let admin = second.admin(Surface::Owl);
    let stopped = first.models.write.begin().await.unwrap();
    stopped.execute_unprepared("UPDATE checkpoints SET position = position").await.unwrap();
    let issued = admin.post("/api/recharge/codes", json!({ "amount": 5, "batch_size": 3 })).await.expect(200);
    shown(&admin, issued.header("corelog-position"), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_goes_on_with_the_server_that_leads_next() {
    let (database, data) = (Database::create().await, [TempDir::new().unwrap(), TempDir::new().unwrap()]);
    let [mut leader, other] = data.each_ref().map(|place| Program::spawn(one_of_several(&database, place)));
    let admin = leader.admin().await;
    let me = admin.user_id();
    admin.put(&format!("/api/admin/users/{me}"), json!({ "balance": 10 })).await.expect(200);
    let made = admin.post("/api/gpu/servers", json!({ "name": "one", "host": "127.0.0.1" })).await.expect(200);
    let token = made.at("/data/agent_token").as_str().unwrap();
    let refused = other.anonymous().with_token(token).post("/api/gpu/agent/register", json!({})).await.expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(other.anonymous().get("/health").await.expect(200).at("/leading"), false);

    let [near, far] = [&other, &leader].map(|program| format!("http://{}", program.address()));
    let place = TempDir::new().unwrap();
    let (begun, go) = (place.path().join("begun"), place.path().join("go"));
    let _agent = Agent::start(&near, token, place.path(), &["--server", &far]);
    let script = format!("touch {}; until [ -e {} ]; do sleep 0.05; done", begun.display(), go.display());
    let body = json!({ "title": "a", "task_type": "inference", "config": { "command": ["sh", "-c", script] } });
    let task = admin.post("/api/tasks", body).await.expect(200).at("/data/id").as_str().unwrap().to_owned();
    until("the start of the task", async || begun.exists()).await;
    leader.kill();
    until("another leader", async || other.anonymous().get("/health").await.at("/leading") == true).await;
    std::fs::write(&go, "").unwrap();
    let admin = other.reached_by(&admin);
    let path = format!("/api/tasks/{task}");
    until("the end of the task", async || admin.get(&path).await.at("/data/status") == "completed").await;
    let events = admin.get(&format!("/platform/v1/streams/task/{task}")).await.expect(200);
    let types = events.at("/events").as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap());
    assert_eq!(types.filter(|word| *word == "task.leased").count(), 1, "it ran twice: {}", events.text);
}

async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, waiting).await.unwrap_or_else(|_| panic!("{what} does not happen"));
}

/// Asks until so many codes are shown; as long as the read models are behind, the server says so.
async fn shown(admin: &Client, position: &str, codes: u64) {
    let admin = admin.with("Corelog-Min-Position", position);
    let asking = async {
        loop {
            let answer = admin.get("/api/recharge/codes?page_size=1").await;
            if answer.status != 503 {
                return answer.expect(200);
            }
        }
    };
    let answer = tokio::time::timeout(WAIT_MAX, asking).await.expect("the read models stand still");
    assert_eq!(answer.at("/total"), codes);
}
