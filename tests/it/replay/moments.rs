//! Aggregates and lists as they were.

use api::surface::Surface;
use replay::diff::Change;
use replay::{Moment, ReplayError};
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::TestServer;

use super::{issue, redeem};

/// The state of a balance of which nothing is held or spent.
fn account(balance: &str) -> Value {
    json!({ "balance": balance, "held": "0", "spent": "0", "holds": [] })
}

#[tokio::test]
async fn an_aggregate_is_shown_as_it_was_sqlite() {
    an_aggregate_is_shown_as_it_was(Engine::Sqlite).await;
}
#[tokio::test]
async fn an_aggregate_is_shown_as_it_was_postgres() {
    an_aggregate_is_shown_as_it_was(Engine::Postgres).await;
}
async fn an_aggregate_is_shown_as_it_was(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (codes, user) = (issue(&server, 2).await, server.user(Surface::Owl));
    let before = server.head().await;
    redeem(&user, &codes[0]).await;
    let between = server.log.read_all(server.head().await - 1, &[], 1).await.unwrap().events[0].clone();
    redeem(&user, &codes[1]).await;
    let id = user.user_id().to_string();
    let show = async |moment| replay::show::show(server.log.as_ref(), "balance", &id, moment).await.unwrap();
    let now = show(None).await.unwrap();
    assert_eq!((now.version, &now.state, now.events.len()), (2, &account("20"), 2));
    assert_eq!(now.events[1].about("actor"), "process:credit_balance_on_redeem");
    for moment in [Moment::Position(between.position), Moment::Time(between.recorded_at)] {
        let then = show(Some(moment)).await.unwrap();
        assert_eq!((then.version, &then.state, then.position), (1, &account("10"), between.position));
    }
    assert!(show(Some(Moment::Position(before))).await.is_none());
    let unknown = replay::show::show(server.log.as_ref(), "ballance", &id, None).await.unwrap_err();
    assert!(matches!(unknown, ReplayError::UnknownAggregate { .. }) && unknown.to_string().contains("balance"));
}

#[tokio::test]
async fn a_list_is_shown_as_it_was() {
    let server = TestServer::start(Engine::Sqlite).await;
    let codes = issue(&server, 3).await;
    let before = server.head().await;
    redeem(&server.user(Surface::Owl), &codes[0]).await;
    let list = async |moment| replay::list::list(&server.log, "recharge_codes", moment, 2, &()).await.unwrap();
    let (then, now) = (list(Some(Moment::Position(before))).await, list(None).await);
    assert_eq!((then.total, then.rows.len(), then.position), (3, 2, before));
    assert!(then.rows.iter().all(|row| row["used_count"] == 0 && row["prefix"].is_string()));
    assert_eq!((now.total, now.position), (3, server.head().await));
    assert_eq!(list(Some(Moment::Position(0))).await.total, 0);
    let unknown = replay::list::list(&server.log, "codes", None, 2, &()).await.unwrap_err();
    assert!(unknown.to_string().contains("there are: recharge_codes"), "{unknown}");
}

#[tokio::test]
async fn what_changed_is_told_row_by_row() {
    let server = TestServer::start(Engine::Sqlite).await;
    let codes = issue(&server, 1).await;
    let from = server.head().await;
    redeem(&server.user(Surface::Owl), &codes[0]).await;
    issue(&server, 1).await;
    let to = server.head().await;
    let diff = async |from, to| {
        let moments = (Moment::Position(from), Moment::Position(to));
        let diff = replay::diff::diff(&server.log, Some("recharge_codes"), moments, 10, &()).await.unwrap();
        diff.projections.into_iter().next().unwrap().rows
    };
    let rows = diff(from, to).await;
    let of = |change| rows.iter().find(|row| row.change == change).unwrap();
    let used = of(Change::Changed).fields.iter().find(|field| field.field == "used_count").unwrap();
    assert_eq!((used.before.as_deref(), used.after.as_deref()), (Some("0"), Some("1")));
    let amount = of(Change::Added).fields.iter().find(|field| field.field == "amount").unwrap();
    assert_eq!((amount.before.as_deref(), amount.after.as_deref()), (None, Some("10")));
    assert_eq!(rows.len(), 2);
    assert!(diff(to, to).await.is_empty());
    assert_eq!(diff(from, 0).await[0].change, Change::Removed);
}
