//! Programs beside ours on the same table: those of postgres-es, and those that hold their transaction open.

use std::time::Duration;

use commands::log::PostgresOptions;
use cqrs_es::CqrsFramework;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore};
use domain::billing::recharge_code::{CodeTerms, RechargeCode, RechargeCodeCommand, RechargeCodeEvent};
use domain::log::{Append, Log, LogError};
use domain::{Now, UserId};
use postgres_es::PostgresEventRepository;
use rust_decimal::Decimal;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tests::events::{append, event};
use tokio::time::timeout;
use uuid::Uuid;

use super::Postgres;
use crate::log_contract::{Durable, Engine, done, positions, read_everything};

const PATIENCE: Duration = Duration::from_secs(20);
const FOREIGN: &str = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
     metadata) VALUES ('foreign', $1, 1, 'thing.changed', '1.0', '{}', '{}')";

async fn foreign_insert(connection: &mut PgConnection, stream: &str) {
    sqlx::query(FOREIGN).bind(stream).execute(connection).await.unwrap();
}

/// What a transaction that is still open would append is in nobody's way when it has ended, and before that nothing
/// passes it.
async fn nothing_passes_an_open_writer(commits: bool) {
    let place = Postgres::create().await;
    let (writer, reader) = (place.open().await, place.open().await);
    done(&*writer, append("lead", "1", 0, 2)).await;
    let mut stranger = place.0.connect().await;
    let mut open = stranger.begin().await.unwrap();
    foreign_insert(&mut open, "open").await;

    let later = tokio::spawn(async move { done(&*writer, append("lead", "2", 0, 1)).await });
    // The append stands behind the stranger as soon as it waits for the lock.
    until_somebody_waits_to_append(&place).await;
    let page = reader.read_all(0, &[], 10).await.unwrap();
    assert_eq!((positions(&page.events), page.through), (vec![1, 2], 2), "nothing after the open transaction");
    assert_eq!(reader.read_all(0, &["lead"], 10).await.unwrap().through, 2);
    assert_eq!(reader.head().await.unwrap(), 2);

    if commits {
        open.commit().await.unwrap();
    } else {
        open.rollback().await.unwrap();
    }
    let appended = timeout(PATIENCE, later).await.unwrap().unwrap();
    let page = reader.read_all(page.through, &[], 10).await.unwrap();
    let streams: Vec<_> = page.events.iter().map(|event| &*event.aggregate_id).collect();
    assert_eq!(streams, if commits { vec!["open", "2"] } else { vec!["2"] });
    assert_eq!(page.events.last(), appended.last());
    assert_eq!(page.through, if commits { 4 } else { 3 });
}

async fn until_somebody_waits_to_append(place: &Postgres) {
    let mut connection = place.0.connect().await;
    let waiting = async {
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut connection).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the append did not wait for the open transaction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_passes_an_open_writer_that_commits() {
    nothing_passes_an_open_writer(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_passes_an_open_writer_that_rolls_back() {
    nothing_passes_an_open_writer(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_writer_cannot_stop_the_log_for_ever() {
    let place = Postgres::create().await;
    let short = PostgresOptions { turn_timeout: Duration::from_millis(200), ..PostgresOptions::default() };
    let log = place.server(short).await;
    let mut stranger = place.0.connect().await;
    let mut open = stranger.begin().await.unwrap();
    foreign_insert(&mut open, "open").await;
    let idle: String =
        sqlx::query_scalar("SHOW idle_in_transaction_session_timeout").fetch_one(&mut *open).await.unwrap();
    assert_eq!(idle, "30s", "the database ends a stranger who sleeps while he is appending");
    let refusal = log.append(append("lead", "1", 0, 1)).await.unwrap_err();
    assert!(matches!(refusal, LogError::Unavailable(_)), "{refusal}");
    open.rollback().await.unwrap();
    assert_eq!(done(&*log, append("lead", "1", 0, 1)).await[0].position, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_of_one_foreign_statement_are_placed_in_order() {
    let place = Postgres::create().await;
    let log = place.open().await;
    done(&*log, append("lead", "1", 0, 1)).await;
    let rows = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata) \
                SELECT 'foreign', '1', number, 'thing.changed', '1', '{}', \
                '{\"tenant\":\"00000000-0000-0000-0000-000000000007\"}' FROM generate_series(1, 50) number";
    place.sql(rows).await.unwrap();
    let events = read_everything(&*log, &["foreign"], 100).await;
    assert_eq!(positions(&events), (2..=51).collect::<Vec<_>>());
    assert!(events.is_sorted_by_key(|event| event.sequence));
    assert!(events.iter().all(|event| event.tenant.0 == Uuid::from_u128(7)));
    assert!(events.iter().all(|event| event.event_id.get_version_num() == 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_append_wakes_us() {
    let place = Postgres::create().await;
    let options = PostgresOptions { poll_interval: Duration::from_secs(600), ..PostgresOptions::default() };
    let log = place.server(options).await;
    foreign_insert(&mut place.0.connect().await, "1").await;
    timeout(PATIENCE, log.grown(0)).await.unwrap();
    assert_eq!(read_everything(&*log, &[], 10).await[0].event_version, 1);
}

#[tokio::test]
async fn truncating_is_refused() {
    let place = Postgres::create().await;
    let log = place.open().await;
    done(&*log, append("lead", "1", 0, 1)).await;
    let mut stranger = place.0.connect().await;
    for change in ["TRUNCATE events", "TRUNCATE commands", "SET session_replication_role = replica; DELETE FROM events"]
    {
        let refusal = stranger.execute(sqlx::raw_sql(change)).await.unwrap_err().to_string();
        assert!(refusal.contains("is refused"), "{change}: {refusal}");
    }
    assert_eq!(log.head().await.unwrap(), 1);
}

const CODES: u128 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_of_postgres_es_work_on_the_same_table() {
    let place = Postgres::create().await;
    let log = place.open().await;
    let pool = PgPool::connect(&place.0.url()).await.unwrap();
    let theirs = async {
        let store = PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone()));
        let framework = CqrsFramework::<RechargeCode, _>::new(store, vec![], Now(chrono::DateTime::UNIX_EPOCH));
        for number in 0..CODES {
            for stream in ["theirs-1", "theirs-2"] {
                framework.execute(&format!("{stream}-{number}"), issue(number)).await.unwrap();
                framework.execute(&format!("{stream}-{number}"), redeem(number)).await.unwrap();
            }
        }
    };
    let ours = async {
        for number in 0..CODES * 4 {
            done(&*log, ours(number)).await;
        }
    };
    tokio::join!(theirs, ours);

    let everything = read_everything(&*log, &[], 7).await;
    assert_eq!(positions(&everything), (1..=160).collect::<Vec<_>>());
    assert!(everything.is_sorted_by_key(|event| event.recorded_at));
    for event in &everything {
        let decoded = event.decode::<RechargeCode>().unwrap().unwrap();
        assert_eq!(matches!(decoded, RechargeCodeEvent::Issued { .. }), event.sequence == 1);
    }
    // And theirs read what ours wrote.
    let repository = PostgresEventRepository::new(pool);
    let read = repository.get_events::<RechargeCode>("ours-3").await.unwrap();
    assert_eq!(serde_json::from_value::<RechargeCodeEvent>(read[0].payload.clone()).unwrap(), issued(3));
    assert_eq!((read[0].sequence, read[0].event_type.as_str()), (1, "recharge_code.issued"));
    let store = PersistedEventStore::<_, RechargeCode>::new_event_store(repository);
    let framework = CqrsFramework::new(store, vec![], Now(chrono::DateTime::UNIX_EPOCH));
    framework.execute("ours-3", redeem(3)).await.unwrap();
    assert_eq!(log.read_stream("recharge_code", "ours-3", 1).await.unwrap()[0].position, 161);
}

fn issued(number: u128) -> RechargeCodeEvent {
    RechargeCodeEvent::Issued {
        code_id: Uuid::from_u128(number),
        prefix: "OWL-ABCD".to_owned(),
        amount: Decimal::from(100),
        description: None,
        expires_at: None,
        max_uses: 1,
        issued_by: UserId(Uuid::nil()),
    }
}

fn issue(number: u128) -> RechargeCodeCommand {
    RechargeCodeCommand::Issue {
        code_id: Uuid::from_u128(number),
        prefix: "OWL-ABCD".to_owned(),
        terms: CodeTerms { amount: Decimal::from(100), description: None, expires_at: None, max_uses: 1 },
        issued_by: UserId(Uuid::nil()),
    }
}

fn redeem(number: u128) -> RechargeCodeCommand {
    RechargeCodeCommand::Redeem { redemption_id: Uuid::from_u128(number), by: UserId(Uuid::nil()) }
}

fn ours(number: u128) -> Append {
    let mut issued_event = event(&serde_json::to_string(&issued(number)).unwrap());
    issued_event.event_type = "recharge_code.issued";
    Append { events: vec![issued_event], ..append("recharge_code", &format!("ours-{number}"), 0, 0) }
}
