//! Pages of many log lines: how long each sort of question takes.
//!
//! `cargo bench -p tests --bench log_lines -- [lines] [sqlite|postgres]`, 5,000,000 lines on both when nothing is said.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures ends where it cannot go on")]

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use commands::gateways::log_lines::{Level, LineFilter, LogLines, NewLine, Source, StoredLines};
use domain::metadata::{TenantId, UserId};
use tests::postgres::Database;
use uuid::Uuid;

const BATCH: i64 = 2_000;
const REPETITIONS: usize = 100;
const USERS: u128 = 1_000;
const TASKS: u128 = 20_000;

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

/// Half system lines, a quarter of tasks, a quarter of users; three lines a second.
fn line(n: i64) -> NewLine {
    let at = start() + TimeDelta::milliseconds(n * 333);
    let level = match n % 1_000 {
        0 => Level::Critical,
        1..=9 => Level::Error,
        10..=59 => Level::Warning,
        _ => Level::Info,
    };
    let place = u128::from(n.unsigned_abs());
    let rare = if n % 100_003 == 0 { "overheated" } else { "fine" };
    let message = format!("request {} to shard {} took {} ms and was {rare}", n % 9_973, n % 61, n % 307);
    let of = |source| NewLine::new(at, TenantId::DEFAULT, source, level, message.clone());
    match n % 4 {
        0 | 1 => of(Source::System),
        2 => NewLine { task: Some(Uuid::from_u128(place % TASKS)), ..of(Source::Task) },
        _ => NewLine { user: Some(UserId(Uuid::from_u128(place % USERS))), ..of(Source::Action) },
    }
}

fn questions(lines: i64) -> Vec<(&'static str, LineFilter, u64)> {
    let system = || LineFilter::all(TenantId::DEFAULT, Source::System);
    let actions = || LineFilter::all(TenantId::DEFAULT, Source::Action);
    let tasks = || LineFilter::all(TenantId::DEFAULT, Source::Task);
    let middle = start() + TimeDelta::milliseconds(lines / 2 * 333);
    let day = |filter| LineFilter { from: Some(middle), before: Some(middle + TimeDelta::days(1)), ..filter };
    let search = |words: &str| LineFilter { search: Some(words.to_owned()), ..system() };
    let half = lines.unsigned_abs() / 4;
    vec![
        ("system, first page", system(), 0),
        ("system, page in the middle", system(), half),
        ("system, last page", system(), half * 2 - 50),
        ("level ERROR, first page", LineFilter { level: Some(Level::Error), ..system() }, 0),
        ("level CRITICAL, in the middle", LineFilter { level: Some(Level::Critical), ..system() }, half / 1_000),
        ("one day in the middle", day(system()), 0),
        ("one day, level ERROR, deep", day(LineFilter { level: Some(Level::Error), ..system() }), 200),
        ("search, one in 100,003", search("overheated"), 0),
        ("search, one in 9,973", search("8123"), 0),
        ("search, one in 61 and one in 307", search("59 301"), 0),
        ("search, in every line", search("request"), 0),
        ("search, in no line", search("meltdown"), 0),
        ("search and level", LineFilter { level: Some(Level::Error), ..search("took") }, 0),
        ("search in one day", day(search("301")), 0),
        ("actions, page in the middle", actions(), half / 2),
        ("actions of one user", LineFilter { user: Some(UserId(Uuid::from_u128(3))), ..actions() }, 0),
        ("actions of one user, last page", LineFilter { user: Some(UserId(Uuid::from_u128(3))), ..actions() }, 4_000),
        ("lines of one task", LineFilter { task: Some(Uuid::from_u128(2)), ..tasks() }, 0),
    ]
}

async fn measure(name: &str, kept: &dyn LogLines, lines: i64) {
    let begun = Instant::now();
    for first in (1..=lines).step_by(2_000) {
        kept.append((first..(first + BATCH).min(lines + 1)).map(line).collect(), None).await.unwrap();
    }
    let filled = begun.elapsed();
    println!("\n{name}: {lines} lines in {:.0} s", filled.as_secs_f64());
    println!("| question | lines | total | p50 ms | p99 ms |\n|---|---|---|---|---|");
    for (question, filter, offset) in questions(lines) {
        let mut took: Vec<Duration> = Vec::new();
        let mut shown = (0, 0);
        for _ in 0..REPETITIONS {
            let asked = Instant::now();
            let page = kept.page(&filter, offset, 50).await.unwrap();
            took.push(asked.elapsed());
            shown = (page.lines.len(), page.total);
        }
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!("| {question} | {} | {} | {:.1} | {:.1} |", shown.0, shown.1, at(50), at(99));
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let lines = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(5_000_000);
    let wants = |name: &str| {
        let named = arguments.iter().any(|argument| ["sqlite", "postgres"].contains(&argument.as_str()));
        !named || arguments.iter().any(|argument| argument == name)
    };
    if wants("sqlite") {
        let place = tempfile::tempdir_in(".").unwrap();
        let kept = StoredLines::sqlite(&place.path().join("lines.db")).await.unwrap();
        measure("SQLite", &kept, lines).await;
    }
    if wants("postgres") {
        let database = Database::create().await;
        let kept = StoredLines::postgres(&database.url()).await.unwrap();
        measure("PostgreSQL", &kept, lines).await;
    }
}
