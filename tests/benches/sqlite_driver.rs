//! Which driver writes SQLite faster: rusqlite on a thread of its own, or sqlx. One durable transaction at a time
//! (write-ahead log, `synchronous=FULL`), with 1, 64 and 500 rows, as the writer of the log does it.
//!
//! `cargo bench -p tests --bench sqlite_driver`
#![expect(clippy::print_stdout, reason = "a benchmark reports to whoever runs it")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use migrations::EVENT_STORE_SQLITE;
use rusqlite::TransactionBehavior;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

type Outcome<T> = Result<T, Box<dyn Error>>;

const RUNS: usize = 5;
const MEASURED: Duration = Duration::from_secs(2);
const INSERT: &str = "INSERT INTO events (position, event_id, aggregate_type, aggregate_id, sequence, event_type, \
     event_version, payload, tenant, metadata, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
const ID: [u8; 16] = [7; 16];
const PAYLOAD: &str = r#"{"redeemed":{"code_id":"00000000-0000-0000-0000-000000000001","by":"00000000-0000-0000-0000-000000000003","amount":"10.50","use_number":1}}"#;
const METADATA: &str = r#"{"tenant":"00000000-0000-0000-0000-000000000001","actor":"user:00000000-0000-0000-0000-000000000003","surface":"owl","request_id":"00000000-0000-0000-0000-000000000004","command_id":"00000000-0000-0000-0000-000000000004","correlation_id":"00000000-0000-0000-0000-000000000004"}"#;

#[tokio::main]
async fn main() -> Outcome<()> {
    println!("| rows a transaction | rusqlite rows/s | sqlx rows/s | rusqlite faster by |\n|---|---|---|---|");
    for batch in [1, 64, 500] {
        let (mut native, mut asynchronous) = (Vec::new(), Vec::new());
        // In turn, so that a slow moment of the disk strikes both.
        for _ in 0..RUNS {
            native.push(with_rusqlite(batch)?);
            asynchronous.push(with_sqlx(batch).await?);
        }
        let (native, asynchronous) = (median(native), median(asynchronous));
        println!("| {batch} | {native:.0} | {asynchronous:.0} | {:.2} × |", native / asynchronous);
    }
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "a count of seconds' work")]
fn rate(rows: i64, since: Instant) -> f64 {
    rows as f64 / since.elapsed().as_secs_f64()
}

fn prepared(path: &Path) -> Outcome<rusqlite::Connection> {
    let mut connection = rusqlite::Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
    EVENT_STORE_SQLITE.apply_sqlite(&mut connection)?;
    Ok(connection)
}

fn with_rusqlite(batch: i64) -> Outcome<f64> {
    let place = tempfile::tempdir_in(".")?;
    let mut connection = prepared(&place.path().join("log.db"))?;
    let (start, mut position) = (Instant::now(), 0);
    while start.elapsed() < MEASURED {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut insert = transaction.prepare_cached(INSERT)?;
        for _ in 0..batch {
            position += 1;
            let stream = position.to_string();
            insert.execute(rusqlite::params![
                position,
                ID,
                "code",
                stream,
                1,
                "code.redeemed",
                "1",
                PAYLOAD,
                ID,
                METADATA,
                1_700_000_000_000_000_i64
            ])?;
        }
        drop(insert);
        transaction.commit()?;
    }
    Ok(rate(position, start))
}

async fn with_sqlx(batch: i64) -> Outcome<f64> {
    let place = tempfile::tempdir_in(".")?;
    let path = place.path().join("log.db");
    drop(prepared(&path)?);
    let options = SqliteConnectOptions::new().filename(&path).journal_mode(SqliteJournalMode::Wal);
    let mut connection: SqliteConnection = options.synchronous(SqliteSynchronous::Full).connect().await?;
    let (start, mut position) = (Instant::now(), 0);
    while start.elapsed() < MEASURED {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for _ in 0..batch {
            position += 1;
            let insert =
                sqlx::query(INSERT).bind(position).bind(&ID[..]).bind("code").bind(position.to_string()).bind(1);
            let insert = insert.bind("code.redeemed").bind("1").bind(PAYLOAD).bind(&ID[..]).bind(METADATA);
            insert.bind(1_700_000_000_000_000_i64).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
    }
    let rate = rate(position, start);
    connection.close().await?;
    Ok(rate)
}
