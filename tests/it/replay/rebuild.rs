//! Read models built anew while a server runs.

use api::surface::Surface;
use futures::future::join_all;
use replay::ReplayError;
use replay::projections_named;
use replay::rebuild::{Rebuilt, rebuild};
use sea_orm::{ConnectionTrait, Statement};
use tests::engine::Engine;
use tests::server::TestServer;

use super::{caught_up, issue, of, redeem, tamper, verified};

async fn rebuilt(server: &TestServer, projection: Option<&str>) -> Vec<Rebuilt> {
    rebuild(&server.log, &server.models, projections_named(projection).unwrap(), &()).await.unwrap()
}

#[tokio::test]
async fn a_rebuild_heals_what_was_changed_sqlite() {
    a_rebuild_heals_what_was_changed(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_rebuild_heals_what_was_changed_postgres() {
    a_rebuild_heals_what_was_changed(Engine::Postgres).await;
}
async fn a_rebuild_heals_what_was_changed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (codes, user) = (issue(&server, 5).await, server.user(Surface::Owl));
    redeem(&user, &codes[0]).await;
    caught_up(&server).await;
    tamper(&server, "UPDATE recharge_codes_v1 SET used_count = 7").await;
    tamper(&server, "DELETE FROM recharge_records_v2").await;
    assert!(!verified(&server).await.equal);
    let only = rebuilt(&server, Some("recharge_codes")).await;
    assert_eq!((only.len(), only[0].rows, only[0].events), (1, 5, 6));
    let after = verified(&server).await;
    assert!(of(&after, "recharge_codes").is_equal() && !of(&after, "recharge_records").is_equal());
    rebuilt(&server, None).await;
    assert!(verified(&server).await.equal);
    // Indexes come along with the table.
    redeem(&user, &codes[1]).await;
    assert_eq!(user.get("/api/recharge/records").await.expect(200).at("/data/total"), 2);
    assert!(verified(&server).await.equal);
}

#[tokio::test]
async fn a_table_that_is_gone_comes_back_with_its_indexes_sqlite() {
    a_table_that_is_gone_comes_back(Engine::Sqlite, "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'index'")
        .await;
}
#[tokio::test]
async fn a_table_that_is_gone_comes_back_with_its_indexes_postgres() {
    let indexes = "SELECT count(*) AS n FROM pg_indexes WHERE schemaname = 'read_models'";
    a_table_that_is_gone_comes_back(Engine::Postgres, indexes).await;
}
async fn a_table_that_is_gone_comes_back(engine: Engine, indexes: &str) {
    let server = TestServer::start(engine).await;
    issue(&server, 3).await;
    caught_up(&server).await;
    let db = &server.models.read;
    let count = async || {
        let row = db.query_one(Statement::from_string(db.get_database_backend(), indexes)).await.unwrap().unwrap();
        row.try_get::<i64>("", "n").unwrap()
    };
    let before = count().await;
    tamper(&server, "DROP TABLE recharge_codes_v1").await;
    assert_eq!(rebuilt(&server, Some("recharge_codes")).await[0].rows, 3);
    assert_eq!(count().await, before);
    assert!(verified(&server).await.equal);
}

#[tokio::test]
async fn rows_in_memory_are_forgotten_after_a_switch_sqlite() {
    rows_in_memory_are_forgotten_after_a_switch(Engine::Sqlite).await;
}
#[tokio::test]
async fn rows_in_memory_are_forgotten_after_a_switch_postgres() {
    rows_in_memory_are_forgotten_after_a_switch(Engine::Postgres).await;
}
/// The runner has folded an event into a row that was wrong from the start, and holds it in memory.
async fn rows_in_memory_are_forgotten_after_a_switch(engine: Engine) {
    let server = TestServer::start(engine).await;
    let codes = issue(&server, 3).await;
    let user = server.user(Surface::Owl);
    let id = user.user_id();
    let wrong = format!(
        "INSERT INTO balances_v2 (user_id, tenant, amount, held, spent, entries, updated_at) \
         VALUES ('{id}', 'x', '0', '0', '0', 100, '2020-01-01 00:00:00+00:00')"
    );
    tamper(&server, &wrong).await;
    redeem(&user, &codes[0]).await;
    let found = verified(&server).await;
    let fields = &of(&found, "balances").differences[0].fields;
    assert_eq!((fields[0].field.as_str(), fields[0].live.as_deref()), ("entries", Some("101")));
    rebuilt(&server, Some("balances")).await;
    redeem(&user, &codes[1]).await;
    caught_up(&server).await;
    assert_eq!(of(&verified(&server).await, "balances").differences, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_skipped_or_folded_twice_under_load_sqlite() {
    nothing_is_skipped_or_folded_twice_under_load(Engine::Sqlite).await;
}
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_skipped_or_folded_twice_under_load_postgres() {
    nothing_is_skipped_or_folded_twice_under_load(Engine::Postgres).await;
}
async fn nothing_is_skipped_or_folded_twice_under_load(engine: Engine) {
    const CLIENTS: usize = 16;
    const ROUNDS: usize = 8;
    let server = TestServer::start(engine).await;
    let codes = issue(&server, 25 * CLIENTS).await;
    let clients = codes.chunks(codes.len() / CLIENTS).map(|codes| {
        let (user, codes) = (server.user(Surface::Owl), codes.to_vec());
        tokio::spawn(async move {
            for (number, code) in (1..).zip(&codes) {
                redeem(&user, code).await;
                // What it wrote is there at once, whatever is rebuilt meanwhile.
                assert_eq!(user.get("/api/recharge/records").await.expect(200).at("/data/total"), number);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut during_load = 0;
    for round in 0..ROUNDS {
        tamper(&server, &format!("UPDATE recharge_codes_v1 SET used_count = {}", 10 + round)).await;
        let before = server.head().await;
        rebuilt(&server, None).await;
        during_load += usize::from(server.head().await > before);
    }
    join_all(clients).await.into_iter().for_each(|client| client.unwrap());
    caught_up(&server).await;
    assert!(during_load > 0, "nothing was appended while tables were rebuilt");
    let found = verified(&server).await;
    // Digest and count of what each projection consumed are compared too.
    assert!(found.equal, "{found:#?}");
}

#[tokio::test]
async fn two_rebuilds_at_once_are_one_too_many_sqlite() {
    two_rebuilds_at_once_are_one_too_many(Engine::Sqlite).await;
}
#[tokio::test]
async fn two_rebuilds_at_once_are_one_too_many_postgres() {
    two_rebuilds_at_once_are_one_too_many(Engine::Postgres).await;
}
async fn two_rebuilds_at_once_are_one_too_many(engine: Engine) {
    let server = TestServer::start(engine).await;
    let held = projections::Beside::open(&server.models, "rebuild", &[]).await.unwrap().unwrap();
    let refused = rebuild(&server.log, &server.models, projections_named(None).unwrap(), &()).await.unwrap_err();
    assert!(matches!(refused, ReplayError::Busy("rebuild")), "{refused}");
    held.close().await.unwrap();
    rebuilt(&server, None).await;
}

#[tokio::test]
async fn read_models_of_another_log_are_replaced() {
    let server = TestServer::start(Engine::Sqlite).await;
    issue(&server, 3).await;
    caught_up(&server).await;
    tamper(&server, "UPDATE checkpoints SET position = 99, events = 99").await;
    let found = verified(&server).await;
    let position = &of(&found, "recharge_codes").checkpoint[0];
    assert_eq!(
        (position.live.as_deref(), position.rebuilt.as_deref()),
        (Some("99"), Some(server.head().await.to_string().as_str()))
    );
    rebuilt(&server, None).await;
    assert!(verified(&server).await.equal);
}
