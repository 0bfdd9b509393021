//! How fast the engines of the log append and are read back, without anything around them.
//!
//! `cargo bench -p tests --bench log` measures SQLite; with `CORELOG_TEST_POSTGRES_URL` set, PostgreSQL as well.
#![expect(clippy::print_stdout, reason = "a benchmark reports to whoever runs it")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use commands::log::{PostgresLog, PostgresOptions, SqliteLog};
use domain::Recorded;
use domain::billing::recharge_code::RechargeCode;
use domain::log::{Append, Appended, Log, PAGE_EVENTS_MAX};
use tests::events::{append, event, key};
use tests::postgres::{Database, SERVER};
use tokio::task::JoinHandle;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const RUNS: usize = 5;
const MEASURED: Duration = Duration::from_secs(2);
const REPLAYED: u64 = 1_000_000;

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "a setting of the benchmark, not of the program")]
async fn main() -> Outcome<()> {
    let place = tempfile::tempdir_in(".")?;
    let open = |name: &str| SqliteLog::open(&place.path().join(name));
    println!("| engine | clients | key | appends/s | p50 ms | p99 ms |\n|---|---|---|---|---|---|");
    appending("SQLite", Arc::new(open("append.db")?)).await?;
    let database = if std::env::var(SERVER).is_ok() { Some(Database::create().await) } else { None };
    if let Some(database) = &database {
        let log = PostgresLog::connect(&database.url(), PostgresOptions::default()).await?;
        appending("PostgreSQL", Arc::new(log)).await?;
    }
    println!("\n| engine | read | events/s |\n|---|---|---|");
    fill(&open("replay.db")?).await?;
    replaying("SQLite", Arc::new(open("replay.db")?)).await?;
    if database.is_some() {
        let database = Database::create().await;
        let connect = || async { PostgresLog::connect(&database.url(), PostgresOptions::default()).await };
        fill(&connect().await?).await?;
        replaying("PostgreSQL", Arc::new(connect().await?)).await?;
    }
    Ok(())
}

/// An event of about 150 bytes with its metadata of about 300, as recharge codes write them.
fn redemption(stream: &str, sequence: u64) -> Append {
    let payload = format!(
        r#"{{"redeemed":{{"code_id":"00000000-0000-0000-0000-000000000001","redemption_id":"00000000-0000-0000-0000-000000000002","by":"00000000-0000-0000-0000-000000000003","amount":"10.50","use_number":{sequence}}}}}"#
    );
    let mut redeemed = event(&payload);
    redeemed.event_type = "recharge_code.redeemed";
    Append { events: vec![redeemed], ..append("recharge_code", stream, sequence, 0) }
}

async fn appending(engine: &str, log: Arc<dyn Log>) -> Outcome<()> {
    for (clients, keyed) in [(1, false), (8, false), (64, false), (64, true), (500, false)] {
        let mut runs = Vec::new();
        for run in 0..RUNS {
            runs.push(appends(&log, clients, keyed, run).await?);
        }
        runs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (rate, p50, p99) = runs[RUNS / 2];
        println!("| {engine} | {clients} | {keyed} | {rate:.0} | {p50:.2} | {p99:.2} |");
    }
    Ok(())
}

/// Appends a second and latencies in milliseconds, of clients that each wait for their answer.
async fn appends(log: &Arc<dyn Log>, clients: usize, keyed: bool, run: usize) -> Outcome<(f64, f64, f64)> {
    let start = Instant::now();
    let clients = (0..clients).map(|client| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let stream = format!("{clients}-{keyed}-{run}-{client}");
            let mut took = Vec::new();
            while start.elapsed() < MEASURED {
                let mut command = redemption(&stream, took.len() as u64);
                command.key = keyed.then(|| key(&format!("{stream}-{}", took.len()), &[7; 32]));
                let asked = Instant::now();
                match log.append(command).await? {
                    Appended::Done(_) => took.push(asked.elapsed()),
                    refused @ (Appended::Conflict | Appended::Repeated(_)) => return Err(format!("{refused:?}").into()),
                }
            }
            Outcome::Ok(took)
        })
    });
    let mut took = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        took.extend(client.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    took.sort_unstable();
    let milliseconds = |at: usize| took.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3);
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' work")]
    let rate = took.len() as f64 / seconds;
    Ok((rate, milliseconds(took.len() / 2), milliseconds(took.len() * 99 / 100)))
}

async fn fill(log: &dyn Log) -> Outcome<()> {
    let head = log.head().await?;
    for number in (head / 500)..(REPLAYED / 500) {
        let batch = (0..500).map(|stream| log.append(redemption(&format!("{}", number * 500 + stream), 0)));
        futures::future::try_join_all(batch).await?;
    }
    Ok(())
}

/// Pages alone; pages with each payload decoded while the next page is read; pages of a sort that is not there.
async fn replaying(engine: &str, log: Arc<dyn Log>) -> Outcome<()> {
    for what in ["pages", "pages, decoded", "pages, filtered to nothing"] {
        let mut rates = Vec::new();
        for _ in 0..RUNS {
            let start = Instant::now();
            match what {
                "pages" => read(&log, &[], |_| Ok(())).await?,
                "pages, decoded" => read(&log, &[], decode).await?,
                _ => read(&log, &["nothing"], |_| Ok(())).await?,
            }
            #[expect(clippy::cast_precision_loss, reason = "a million is no loss")]
            rates.push(REPLAYED as f64 / start.elapsed().as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        println!("| {engine} | {what} | {:.0} |", rates[RUNS / 2]);
    }
    Ok(())
}

fn decode(events: &[Recorded]) -> Outcome<()> {
    for event in events {
        std::hint::black_box(event.decode::<RechargeCode>()?);
    }
    Ok(())
}

async fn read(log: &Arc<dyn Log>, wanted: &'static [&str], fold: fn(&[Recorded]) -> Outcome<()>) -> Outcome<()> {
    let (mut through, head) = (0, log.head().await?);
    let mut next: Option<JoinHandle<_>> = None;
    loop {
        let page = match next.take() {
            Some(page) => page.await??,
            None => log.read_all(through, wanted, PAGE_EVENTS_MAX).await?,
        };
        through = page.through;
        if through < head {
            let log = Arc::clone(log);
            next = Some(tokio::spawn(async move { log.read_all(through, wanted, PAGE_EVENTS_MAX).await }));
        }
        fold(&page.events)?;
        if next.is_none() {
            return Ok(());
        }
    }
}
