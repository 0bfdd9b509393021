//! The log in an SQLite file.

use std::path::PathBuf;
use std::sync::Arc;

use commands::log::SqliteLog;
use domain::log::{Log, LogError};
use rusqlite::Connection;
use tempfile::TempDir;
use tests::events::append;

use super::{Durable, Engine, contract, done, durable_contract, positions, read_everything};

struct Sqlite(TempDir);

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.0.path().join("log.db")
    }
    fn connect(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

impl Engine for Sqlite {
    async fn create() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(SqliteLog::open(&self.path()).unwrap())
    }
}

impl Durable for Sqlite {
    async fn sql(&self, sql: &str) -> Result<(), String> {
        self.connect().execute_batch(sql).map_err(|error| error.to_string())
    }
    fn insert_in(&self, year: i32) -> String {
        format!(
            "INSERT INTO events VALUES (1, zeroblob(16), 'lead', '1', 1, 'thing.changed', '1', '{{}}', zeroblob(16), \
             '{{}}', unixepoch('{year}-01-01') * 1000000)"
        )
    }
}

contract!(Sqlite);
durable_contract!(Sqlite);

#[test]
fn sqlite_is_compiled_as_the_settings_of_cargo_say() {
    let connection = Connection::open_in_memory().unwrap();
    let mut options = connection.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> = options.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(options.contains(&"DEFAULT_MEMSTATUS=0".to_owned()), "{options:?}");
    assert!(!options.contains(&"ENABLE_MEMORY_MANAGEMENT".to_owned()), "{options:?}");
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let place = Sqlite::create().await;
    let log = place.open().await;
    let refusal = SqliteLog::open(&place.path()).unwrap_err();
    assert!(matches!(&refusal, LogError::Unavailable(why) if why.contains("in use by another process")), "{refusal}");
    place.reopen(log).await;
}

#[tokio::test]
async fn a_file_that_is_no_log_is_refused() {
    let place = Sqlite::create().await;
    std::fs::write(place.path(), "x".repeat(10_000)).unwrap();
    let refusal = SqliteLog::open(&place.path()).unwrap_err();
    assert!(refusal.to_string().contains("not a database"), "{refusal}");
}

#[tokio::test]
async fn replacing_is_refused_too() {
    let place = Sqlite::create().await;
    let log = place.open().await;
    let before = done(&*log, append("lead", "1", 0, 2)).await;
    let columns = "event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, tenant, \
                   metadata, recorded_at";
    for (position, sequence) in [(1, 1), (2, 9), (3, 1), (5, 5)] {
        let forged = format!(
            "INSERT OR REPLACE INTO events (position, {columns})
             SELECT {position}, event_id, aggregate_type, aggregate_id, {sequence}, event_type, event_version, '{{}}',
             tenant, metadata, recorded_at FROM events WHERE position = 1"
        );
        let refusal = place.sql(&forged).await.unwrap_err();
        assert!(refusal.contains("only appended"), "{refusal}");
    }
    let kept = "INSERT OR REPLACE INTO commands VALUES (zeroblob(16), 'key', x'01', 0, 0, x'02')";
    place.sql(kept).await.unwrap();
    let refusal = place.sql(&kept.replace("x'02'", "x'03'")).await.unwrap_err();
    assert!(refusal.contains("kept for good"), "{refusal}");
    let log = place.reopen(log).await;
    assert_eq!(read_everything(&*log, &[], 10).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer_recovers_from_failing_batches() {
    let place = Sqlite::create().await;
    let log = place.open().await;
    done(&*log, append("lead", "1", 0, 1)).await;
    // Stands for a disk that is full: every insert fails until it is not.
    let full = "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    place.sql(full).await.unwrap();
    for _ in 0..3 {
        let failures = futures::join!(log.append(append("lead", "1", 1, 1)), log.append(append("lead", "2", 0, 1)));
        for failure in [failures.0.unwrap_err(), failures.1.unwrap_err()] {
            assert!(matches!(&failure, LogError::Unavailable(why) if why.contains("disk full")), "{failure}");
        }
        assert_eq!(log.read_all(0, &[], 10).await.unwrap().events.len(), 1, "reading goes on");
    }
    place.sql("DROP TRIGGER full").await.unwrap();
    done(&*log, append("lead", "1", 1, 1)).await;
    assert_eq!(positions(&read_everything(&*log, &[], 10).await), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_that_holds_the_file_is_waited_for_and_survived() {
    let place = Sqlite::create().await;
    let log = place.open().await;
    let stranger = place.connect();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refusal = log.append(append("lead", "1", 0, 1)).await.unwrap_err();
    assert!(matches!(&refusal, LogError::Unavailable(why) if why.contains("locked")), "{refusal}");
    stranger.execute_batch("ROLLBACK").unwrap();
    done(&*log, append("lead", "1", 0, 1)).await;
}
