//! What a verification finds, and what it says of it.

use api::surface::Surface;
use replay::verify::{FieldFound, Finding};
use tests::engine::Engine;
use tests::server::TestServer;

use super::{caught_up, issue, of, redeem, tamper, verified};

#[tokio::test]
async fn a_difference_names_row_field_and_values_sqlite() {
    a_difference_names_row_field_and_values(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_difference_names_row_field_and_values_postgres() {
    a_difference_names_row_field_and_values(Engine::Postgres).await;
}
async fn a_difference_names_row_field_and_values(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (codes, user) = (issue(&server, 2).await, server.user(Surface::Owl));
    redeem(&user, &codes[0]).await;
    caught_up(&server).await;
    let sound = verified(&server).await;
    assert!(sound.equal && of(&sound, "recharge_codes").rows == 2, "{sound:#?}");
    tamper(&server, "UPDATE balances_v2 SET amount = '1000000'").await;
    let found = verified(&server).await;
    let balances = of(&found, "balances");
    assert!(!found.equal && balances.differences.len() == 1);
    let row = &balances.differences[0];
    let amount = FieldFound { field: "amount".into(), live: Some("1000000".into()), rebuilt: Some("10".into()) };
    assert_eq!(
        (row.row.as_str(), row.finding, &row.fields),
        (&*user.user_id().to_string(), Finding::Differs, &vec![amount])
    );
}

#[tokio::test]
async fn missing_and_surplus_rows_are_found() {
    let server = TestServer::start(Engine::Sqlite).await;
    let codes = issue(&server, 1).await;
    redeem(&server.user(Surface::Owl), &codes[0]).await;
    caught_up(&server).await;
    tamper(&server, "UPDATE recharge_records_v2 SET position = position - 1").await;
    let found = verified(&server).await;
    let findings: Vec<_> = of(&found, "recharge_records").differences.iter().map(|row| row.finding).collect();
    assert_eq!(findings, [Finding::Surplus, Finding::Missing]);
}

#[tokio::test]
async fn a_digest_that_is_not_that_of_the_log_is_found() {
    let server = TestServer::start(Engine::Sqlite).await;
    issue(&server, 2).await;
    caught_up(&server).await;
    tamper(&server, "UPDATE checkpoints SET events = events - 1, digest = 'ff' WHERE table_name = 'recharge_codes_v1'")
        .await;
    let found = verified(&server).await;
    let fields: Vec<_> = of(&found, "recharge_codes").checkpoint.iter().map(|field| field.field.as_str()).collect();
    assert_eq!((found.equal, fields), (false, vec!["events", "digest"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn live_tables_may_move_meanwhile_sqlite() {
    live_tables_may_move_meanwhile(Engine::Sqlite).await;
}
#[tokio::test(flavor = "multi_thread")]
async fn live_tables_may_move_meanwhile_postgres() {
    live_tables_may_move_meanwhile(Engine::Postgres).await;
}
async fn live_tables_may_move_meanwhile(engine: Engine) {
    let server = TestServer::start(engine).await;
    let codes = issue(&server, 100).await;
    let user = server.user(Surface::Owl);
    let redeeming = tokio::spawn(async move {
        for code in codes {
            redeem(&user, &code).await;
        }
    });
    while !redeeming.is_finished() {
        let found = verified(&server).await;
        assert!(found.equal, "{found:#?}");
    }
    redeeming.await.unwrap();
}
