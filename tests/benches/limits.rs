//! What the disk and the databases can do at most, whatever program asks.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tests::engine::Engine;

use crate::measure::{clients, median, rate, runtime};
use crate::settings::Settings;
use crate::stores;
use crate::table::{Table, milliseconds, whole};

/// About what an event takes.
const PAYLOAD: &str = "{\"credited\":{\"amount\":\"1\",\"balance_after\":\"17\",\
     \"redemption_id\":\"00000000-0000-7000-8000-000000000000\",\"code_id\":\"00000000-0000-7000-8000-000000000000\"}}";
const BATCH: usize = 500;
const PAGE: [u8; 4096] = [7; 4096];
const TABLE: &str = "CREATE TABLE rows (position bigint PRIMARY KEY, stream text NOT NULL, payload text NOT NULL)";

pub(crate) fn section(settings: &Settings) -> String {
    let mut table = Table::new("Raw limits of this machine", &["what", "a second", "each"]);
    let mut measured = |what: &str, once: &dyn Fn() -> f64| {
        let per_second = median((0..settings.runs).map(|_| once()));
        let each = milliseconds(Duration::from_secs_f64(1.0 / per_second));
        table.row(&[what.to_owned(), whole(per_second), each]);
    };
    let lasting = settings.lasting / 2;
    measured("4 KiB appended and flushed (fdatasync)", &|| flushes(lasting));
    if settings.wants("limits.sqlite") {
        measured("SQLite, 1 row a durable transaction", &|| sqlite(lasting, 1));
        measured("SQLite, 500 rows a durable transaction (rows)", &|| sqlite(lasting, BATCH));
    }
    if settings.wants("limits.postgres") {
        for count in [1, 8, 64] {
            let what = format!("PostgreSQL, 1 row an INSERT, {count} connections");
            measured(&what, &|| runtime().block_on(postgres_rows(lasting, count)));
        }
        measured("PostgreSQL, 500 rows a statement with UNNEST, 1 connection (rows)", &|| {
            runtime().block_on(postgres_batches(lasting))
        });
    }
    table.into_text()
}

fn flushes(lasting: Duration) -> f64 {
    let directory = stores::directory();
    let mut file = OpenOptions::new().create(true).append(true).open(directory.path().join("file")).unwrap();
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < lasting {
        file.write_all(&PAGE).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    rate(count, begun.elapsed())
}

fn sqlite(lasting: Duration, rows: usize) -> f64 {
    let directory = stores::directory();
    let mut connection = Connection::open(directory.path().join("rows.db")).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").unwrap();
    connection.execute_batch(TABLE).unwrap();
    let begun = Instant::now();
    let mut position = 0;
    while begun.elapsed() < lasting {
        let transaction = connection.transaction().unwrap();
        {
            let mut insert = transaction.prepare_cached("INSERT INTO rows VALUES (?1, ?2, ?3)").unwrap();
            for _ in 0..rows {
                position += 1;
                insert.execute((position, "balance", PAYLOAD)).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
    rate(usize::try_from(position).unwrap(), begun.elapsed())
}

async fn postgres(connections: u32) -> (tests::postgres::Database, PgPool) {
    let database = stores::database(Engine::Postgres).await.unwrap();
    let options = PgPoolOptions::new().max_connections(connections).test_before_acquire(false);
    let pool = options.connect(&database.url()).await.unwrap();
    sqlx::raw_sql(TABLE).execute(&pool).await.unwrap();
    sqlx::raw_sql("CREATE SEQUENCE positions CACHE 100").execute(&pool).await.unwrap();
    (database, pool)
}

async fn postgres_rows(lasting: Duration, connections: usize) -> f64 {
    let (_database, pool) = postgres(u32::try_from(connections).unwrap()).await;
    let insert = move || {
        let pool = pool.clone();
        async move {
            let insert = sqlx::query("INSERT INTO rows VALUES (nextval('positions'), $1, $2)");
            insert.bind("balance").bind(PAYLOAD).execute(&pool).await.unwrap();
        }
    };
    let begun = Instant::now();
    let done = clients(connections, lasting, insert).await.len();
    rate(done, begun.elapsed())
}

async fn postgres_batches(lasting: Duration) -> f64 {
    let (_database, pool) = postgres(1).await;
    let (streams, payloads) = (vec!["balance"; BATCH], vec![PAYLOAD; BATCH]);
    let begun = Instant::now();
    let mut count: i64 = 0;
    while begun.elapsed() < lasting {
        let positions: Vec<i64> = (count..).take(BATCH).collect();
        let insert = sqlx::query("INSERT INTO rows SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])");
        insert.bind(&positions).bind(&streams).bind(&payloads).execute(&pool).await.unwrap();
        count += i64::try_from(BATCH).unwrap();
    }
    rate(usize::try_from(count).unwrap(), begun.elapsed())
}
