//! Pages of many log lines: how long each sort of question takes.
//!
//! `cargo bench -p tests --bench log_lines -- [lines] [sqlite|postgres] [file.db]`, 5,000,000 lines on both when nothing
//! is said. A file that is named stays, and is filled only once: to ask again after a change.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures ends where it cannot go on")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use commands::gateways::log_lines::{Level, LineFilter, LogLines, NewLine, Source, StoredLines};
use domain::metadata::{TenantId, UserId};
use tests::postgres::Database;
use tests::processor_time;
use uuid::Uuid;

const BATCH: i64 = 2_000;
const REPETITIONS: u32 = 100;
const USERS: u128 = 1_000;
const TASKS: u128 = 20_000;
/// A task that says every eighth line, and one that says every 512th.
const LONG_TASK: Uuid = Uuid::from_u128(1 << 100);
const MEDIUM_TASK: Uuid = Uuid::from_u128(2 << 100);
/// The word that only lines up to this one have.
const FORMER_LINES: i64 = 1_000_000;

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
    let state = if n % 100_003 == 0 { "overheated" } else { "fine" };
    let state = if n <= FORMER_LINES { format!("formerly {state}") } else { state.to_owned() };
    let message = format!("request {} to shard {} took {} ms and was {state}", n % 9_973, n % 61, n % 307);
    let of = |source| NewLine::new(at, TenantId::DEFAULT, source, level, message.clone());
    match n % 4 {
        0 | 1 => of(Source::System),
        2 => NewLine { task: Some(task_of(n)), ..of(Source::Task) },
        _ => NewLine { user: Some(UserId(Uuid::from_u128(place % USERS))), ..of(Source::Action) },
    }
}

fn task_of(n: i64) -> Uuid {
    match n % 512 {
        6 => MEDIUM_TASK,
        n if n % 8 == 2 => LONG_TASK,
        _ => Uuid::from_u128(u128::from(n.unsigned_abs()) % TASKS),
    }
}

type Question = (&'static str, LineFilter, u64);

fn of_source(source: Source) -> LineFilter {
    LineFilter::all(TenantId::DEFAULT, source)
}

fn of_level(level: Level, filter: LineFilter) -> LineFilter {
    LineFilter { level: Some(level), ..filter }
}

fn search(words: &str, mut filter: LineFilter) -> LineFilter {
    filter.search = Some(words.to_owned());
    filter
}

/// The day in the middle.
fn day(lines: i64, filter: LineFilter) -> LineFilter {
    let middle = start() + TimeDelta::milliseconds(lines / 2 * 333);
    LineFilter { from: Some(middle), before: Some(middle + TimeDelta::days(1)), ..filter }
}

fn pages(lines: i64) -> Vec<Question> {
    let (system, actions) = (|| of_source(Source::System), || of_source(Source::Action));
    let task = |task| LineFilter { task: Some(task), ..of_source(Source::Task) };
    let of_user = || LineFilter { user: Some(UserId(Uuid::from_u128(3))), ..actions() };
    let half = lines.unsigned_abs() / 4;
    vec![
        ("system, first page", system(), 0),
        ("system, page in the middle", system(), half),
        ("system, last page", system(), half * 2 - 50),
        ("level INFO, in the middle", of_level(Level::Info, system()), half),
        ("level ERROR, first page", of_level(Level::Error, system()), 0),
        ("level CRITICAL, in the middle", of_level(Level::Critical, system()), half / 1_000),
        ("one day in the middle", day(lines, system()), 0),
        ("one day, level ERROR, deep", day(lines, of_level(Level::Error, system())), 200),
        ("actions, page in the middle", actions(), half / 2),
        ("actions of one user", of_user(), 0),
        ("actions of one user, last page", of_user(), 4_000),
        ("lines of one task", task(Uuid::from_u128(6)), 0),
        ("lines of a task of 600,000, in the middle", task(LONG_TASK), half / 4),
        ("the same, level WARNING, first page", of_level(Level::Warning, task(LONG_TASK)), 0),
        ("the same, level WARNING, deep", of_level(Level::Warning, task(LONG_TASK)), 9_000),
        ("the same, level DEBUG: none", of_level(Level::Debug, task(LONG_TASK)), 0),
    ]
}

fn searches(lines: i64) -> Vec<Question> {
    let system = || of_source(Source::System);
    let task = |task| LineFilter { task: Some(task), ..of_source(Source::Task) };
    vec![
        ("search, one in 100,003", search("overheated", system()), 0),
        ("search, one in 9,973", search("8123", system()), 0),
        ("search, one in 307", search("301", system()), 0),
        ("search, one in 307, page 19", search("301", system()), 900),
        ("search, one in 61 and one in 307", search("59 301", system()), 0),
        ("search, in every line", search("request", system()), 0),
        ("search, in every line, page 19", search("request", system()), 900),
        ("search, in every line up to the millionth", search("formerly", system()), 0),
        ("the same by its beginning", search("forme", system()), 0),
        ("search, in no line", search("meltdown", system()), 0),
        ("search, a frequent word and one of no line", search("request meltdown", system()), 0),
        ("search and level", search("took", of_level(Level::Error, system())), 0),
        ("search and level, one in 307", search("301", of_level(Level::Warning, system())), 0),
        ("search in one day", search("301", day(lines, system())), 0),
        ("search, in every line of one day", search("request", day(lines, system())), 0),
        ("search in a task of 600,000 lines", search("301", task(LONG_TASK)), 0),
        ("search in a task of 9,766 lines, in every line", search("request", task(MEDIUM_TASK)), 0),
        ("search in a task of 9,766 lines, in no line", search("meltdown", task(MEDIUM_TASK)), 0),
        ("search of actions, in every line", search("took", of_source(Source::Action)), 0),
    ]
}

async fn fill(kept: &dyn LogLines, lines: i64) {
    let begun = Instant::now();
    for first in (1..=lines).step_by(2_000) {
        kept.append((first..(first + BATCH).min(lines + 1)).map(line).collect(), None).await.unwrap();
    }
    println!("\n{lines} lines kept in {:.0} s", begun.elapsed().as_secs_f64());
}

async fn measure(name: &str, kept: &dyn LogLines, lines: i64) {
    if kept.page(&of_source(Source::System), 0, 1).await.unwrap().total == 0 {
        fill(kept, lines).await;
    }
    println!(
        "\n{name}, {lines} lines\n\n| question | lines | total | p50 ms | p99 ms | CPU ms |\n|---|---|---|---|---|---|"
    );
    for (question, filter, offset) in [pages(lines), searches(lines)].concat() {
        let mut took: Vec<Duration> = Vec::new();
        let (mut shown, computed) = ((0, 0), processor_time::used());
        for _ in 0..REPETITIONS {
            let asked = Instant::now();
            let page = kept.page(&filter, offset, 50).await.unwrap();
            took.push(asked.elapsed());
            shown = (page.lines.len(), page.total);
        }
        let computed = processor_time::used_since(computed).as_secs_f64() * 1e3 / f64::from(REPETITIONS);
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!("| {question} | {} | {} | {:.1} | {:.1} | {computed:.1} |", shown.0, shown.1, at(50), at(99));
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
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let named = arguments.iter().find(|argument| argument.contains(".db")).map(PathBuf::from);
        let kept = StoredLines::sqlite(&named.unwrap_or_else(|| place.path().join("lines.db"))).await.unwrap();
        measure("SQLite", &kept, lines).await;
    }
    if wants("postgres") {
        let database = Database::create().await;
        let kept = StoredLines::postgres(&database.url()).await.unwrap();
        measure("PostgreSQL", &kept, lines).await;
    }
}
