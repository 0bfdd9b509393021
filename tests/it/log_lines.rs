//! Log lines on both databases: what is kept, how it is counted, paged, searched and let go.

mod runs;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use commands::gateways::log_lines::{
    Level, LineFilter, LinePage, LogLines, MATCHES_MAX, NewLine, Reached, Source, StoredLines,
};
use domain::metadata::{TenantId, UserId};
use serde_json::json;
use tempfile::TempDir;
use tests::engine::Engine;
use tests::postgres::Database;
use uuid::Uuid;

/// The same as a filter, asked of a number.
type Plain = fn(i64) -> bool;

/// Lines, and what they live in.
struct Kept {
    lines: Arc<dyn LogLines>,
    _place: (TempDir, Option<Database>),
}

async fn kept_in(engine: Engine) -> Kept {
    let place = TempDir::new().unwrap();
    match engine {
        Engine::Sqlite => {
            let lines = StoredLines::sqlite(&place.path().join("lines.db")).await.unwrap();
            Kept { lines: Arc::new(lines), _place: (place, None) }
        }
        Engine::Postgres => {
            let database = Database::create().await;
            let lines = StoredLines::postgres(&database.url()).await.unwrap();
            Kept { lines: Arc::new(lines), _place: (place, Some(database)) }
        }
    }
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(n))
}

/// Line `n`: one a second; each tenth is an error, each hundredth says something rare.
fn line(n: i64) -> NewLine {
    let level = if n % 10 == 0 { Level::Error } else { Level::Info };
    let rare = if n % 100 == 0 { " and it overheated" } else { "" };
    let message = format!("step {n} of the run{rare}");
    let line = NewLine::new(start() + TimeDelta::seconds(n), TenantId::DEFAULT, Source::System, level, message);
    NewLine { user: Some(user(u128::from(n.unsigned_abs()) % 3)), ..line }
}

async fn fill(lines: &dyn LogLines, count: i64) {
    for first in (1..=count).step_by(1_000) {
        lines.append((first..(first + 1_000).min(count + 1)).map(line).collect(), None).await.unwrap();
    }
}

fn system() -> LineFilter {
    LineFilter::all(TenantId::DEFAULT, Source::System)
}

/// The numbers of the lines on a page.
fn numbers(page: &LinePage) -> Vec<i64> {
    let number = |message: &str| message.split(' ').nth(1).unwrap().parse().unwrap();
    page.lines.iter().map(|line| number(&line.line.message)).collect()
}

#[tokio::test]
async fn pages_and_totals_are_those_of_a_plain_filter_sqlite() {
    pages_and_totals(Engine::Sqlite).await;
}
#[tokio::test]
async fn pages_and_totals_are_those_of_a_plain_filter_postgres() {
    pages_and_totals(Engine::Postgres).await;
}
/// Over more lines than are counted or searched together, each filter gives what looking at every line gives.
async fn pages_and_totals(engine: Engine) {
    let count = 17_500;
    let kept = kept_in(engine).await;
    fill(kept.lines.as_ref(), count).await;
    let (from, before) = (start() + TimeDelta::seconds(1_234), start() + TimeDelta::seconds(9_876));
    let filters: [(LineFilter, Plain); 8] = [
        (system(), |_| true),
        (LineFilter { level: Some(Level::Error), ..system() }, |n| n % 10 == 0),
        (LineFilter { level: Some(Level::Critical), ..system() }, |_| false),
        (LineFilter { user: Some(user(1)), ..system() }, |n| n % 3 == 1),
        (LineFilter { from: Some(from), before: Some(before), ..system() }, |n| (1_234..9_876).contains(&n)),
        (LineFilter { level: Some(Level::Error), from: Some(from), ..system() }, |n| n % 10 == 0 && n >= 1_234),
        (LineFilter { level: Some(Level::Error), user: Some(user(0)), ..system() }, |n| n % 30 == 0),
        (LineFilter { search: Some("OVERHEA".into()), before: Some(before), ..system() }, |n| {
            n % 100 == 0 && n < 9_876
        }),
    ];
    for (filter, plain) in filters {
        let expected: Vec<i64> = (1..=count).rev().filter(|n| plain(*n)).collect();
        for (offset, limit) in [(0, 50), (50, 50), (4_090, 20), (expected.len() as u64 - expected.len() as u64 / 3, 7)]
        {
            let page = kept.lines.page(&filter, offset, limit).await.unwrap();
            let places = expected.iter().skip(usize::try_from(offset).unwrap()).take(usize::try_from(limit).unwrap());
            assert_eq!(numbers(&page), places.copied().collect::<Vec<_>>(), "{filter:?} from {offset}");
            assert!(page.total_is_exact, "{filter:?}");
            assert_eq!(page.total, expected.len() as u64, "{filter:?}");
        }
    }
}

#[tokio::test]
async fn every_line_stands_on_one_page_sqlite() {
    every_line_stands_on_one_page(Engine::Sqlite).await;
}
#[tokio::test]
async fn every_line_stands_on_one_page_postgres() {
    every_line_stands_on_one_page(Engine::Postgres).await;
}
async fn every_line_stands_on_one_page(engine: Engine) {
    let (count, kept) = (9_000, kept_in(engine).await);
    let task = |n: i64| Uuid::from_u128(1 + u128::from(n % 2 == 0));
    let of_task = |n| NewLine { source: Source::Task, task: Some(task(n)), ..line(n) };
    let both = |n| [line(n), of_task(n)];
    for first in (1..=count).step_by(1_000) {
        kept.lines.append((first..first + 1_000).flat_map(both).collect(), None).await.unwrap();
    }
    let of = |filter: LineFilter| LineFilter { task: Some(task(2)), source: Source::Task, ..filter };
    let errors = LineFilter { level: Some(Level::Error), ..system() };
    let filters: [(LineFilter, Plain); 4] = [
        (system(), |_| true),
        (errors.clone(), |n| n % 10 == 0),
        (of(system()), |n| n % 2 == 0),
        (of(errors), |n| n % 10 == 0),
    ];
    for (filter, plain) in filters {
        let (mut shown, mut offset) = (Vec::new(), 0);
        loop {
            let page = kept.lines.page(&filter, offset, 677).await.unwrap();
            offset += 677;
            if page.lines.is_empty() {
                break;
            }
            shown.extend(numbers(&page));
        }
        assert_eq!(shown, (1..=count).rev().filter(|n| plain(*n)).collect::<Vec<_>>(), "{filter:?}");
    }
}

#[tokio::test]
async fn a_word_that_is_frequent_elsewhere_is_found_where_it_is_rare_sqlite() {
    frequent_elsewhere(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_word_that_is_frequent_elsewhere_is_found_where_it_is_rare_postgres() {
    frequent_elsewhere(Engine::Postgres).await;
}
/// More lines without it come after the few with it than are looked through one by one, and of others more than are read.
async fn frequent_elsewhere(engine: Engine) {
    let kept = kept_in(engine).await;
    let saying = |n: i64, source, message: String| NewLine {
        source,
        ..NewLine::new(start(), TenantId::DEFAULT, source, line(n).level, message)
    };
    let few = (1..=10).map(|n| saying(n, Source::Task, format!("step {n} overheated, code{n}"))).collect();
    kept.lines.append(few, None).await.unwrap();
    for _ in 0..6 {
        let others = (1..=1_000).map(|n| saying(n, Source::Task, format!("step {n} went well, code{n}"))).collect();
        kept.lines.append(others, None).await.unwrap();
        let elsewhere = (1..=500).map(|n| saying(n, Source::System, format!("step {n} overheated"))).collect();
        kept.lines.append(elsewhere, None).await.unwrap();
    }
    let all = (1..=10).rev().collect::<Vec<_>>();
    let of_tasks = LineFilter::all(TenantId::DEFAULT, Source::Task);
    let errors = LineFilter { level: Some(Level::Error), ..of_tasks.clone() };
    for (filter, search, expected) in [
        (&of_tasks, "overheat", all.clone()),
        (&of_tasks, "overheated code", all),
        (&of_tasks, "overheated code7", vec![7]),
        (&of_tasks, "overheated meltdown", vec![]),
        (&errors, "overheat step", vec![10]),
    ] {
        let filter = LineFilter { search: Some(search.to_owned()), ..filter.clone() };
        let page = kept.lines.page(&filter, 0, 20).await.unwrap();
        assert_eq!(numbers(&page), expected, "{search}");
        assert_eq!((page.total, page.total_is_exact), (expected.len() as u64, true), "{search}");
    }
}

#[tokio::test]
async fn what_stands_in_many_lines_is_counted_up_to_a_bound_sqlite() {
    many_matches(Engine::Sqlite).await;
}
#[tokio::test]
async fn what_stands_in_many_lines_is_counted_up_to_a_bound_postgres() {
    many_matches(Engine::Postgres).await;
}
async fn many_matches(engine: Engine) {
    let kept = kept_in(engine).await;
    fill(kept.lines.as_ref(), 20_500).await;
    let search = LineFilter { search: Some("step".into()), ..system() };
    let page = kept.lines.page(&search, 0, 3).await.unwrap();
    assert_eq!(numbers(&page), [20_500, 20_499, 20_498]);
    assert!(!page.total_is_exact && page.total <= MATCHES_MAX, "{}", page.total);
    let page = kept.lines.page(&search, MATCHES_MAX - 10, 20).await.unwrap();
    assert_eq!(numbers(&page), (19_501..=19_510).rev().collect::<Vec<_>>(), "nothing beyond the bound");
    let rare = LineFilter { search: Some("Overheated step".into()), ..system() };
    let page = kept.lines.page(&rare, 150, 5).await.unwrap();
    assert_eq!(numbers(&page), [5_500, 5_400, 5_300, 5_200, 5_100]);
    assert_eq!((page.total, page.total_is_exact), (205, true));
}

#[tokio::test]
async fn a_line_is_kept_as_it_was_sqlite() {
    kept_as_it_was(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_line_is_kept_as_it_was_postgres() {
    kept_as_it_was(Engine::Postgres).await;
}
async fn kept_as_it_was(engine: Engine) {
    let kept = kept_in(engine).await;
    let (task, tenant) = (Uuid::from_u128(7), TenantId(Uuid::from_u128(8)));
    let full = NewLine {
        fields: serde_json::from_value(json!({ "端口": 8000, "why": "it's \"x\"" })).unwrap(),
        request_id: Some(Uuid::from_u128(5)),
        user: Some(user(6)),
        task: Some(task),
        ..NewLine::new(start(), tenant, Source::Task, Level::Warning, "任务 超时: 100% _of_ 'it' สวัสดี हिन्दी")
    };
    kept.lines.append(vec![full.clone()], None).await.unwrap();
    let filter = LineFilter { task: Some(task), ..LineFilter::all(tenant, Source::Task) };
    let no_word = Some("--- _!");
    for search in [None, no_word, Some("超时"), Some("任"), Some("100 IT"), Some("x"), Some("สวัสดี"), Some("हिन्दी")]
    {
        let filter = LineFilter { search: search.map(str::to_owned), ..filter.clone() };
        let page = kept.lines.page(&filter, 0, 10).await.unwrap();
        assert_eq!(page.lines.iter().map(|line| &line.line).collect::<Vec<_>>(), [&full], "{search:?}");
    }
    for search in ["超市", "200", "' OR 1=1", "\" OR x", "task*"] {
        let filter = LineFilter { search: Some(search.to_owned()), ..filter.clone() };
        assert_eq!(kept.lines.page(&filter, 0, 10).await.unwrap().total, 0, "{search}");
    }
    let others = [
        LineFilter::all(TenantId::DEFAULT, Source::Task),
        LineFilter::all(tenant, Source::System),
        LineFilter { task: Some(Uuid::from_u128(9)), ..filter.clone() },
        LineFilter { search: Some("超时".into()), ..LineFilter::all(TenantId::DEFAULT, Source::Task) },
    ];
    for other in others {
        assert_eq!(kept.lines.page(&other, 0, 10).await.unwrap().total, 0, "{other:?}");
    }
    let long = NewLine::new(start(), tenant, Source::Task, Level::Info, format!("\0{}", "字".repeat(10_000)));
    kept.lines.append(vec![long], None).await.unwrap();
    let newest = kept.lines.page(&LineFilter::all(tenant, Source::Task), 0, 1).await.unwrap();
    assert!((8_000..=8_200).contains(&newest.lines[0].line.message.len()));
}

#[tokio::test]
async fn lines_are_read_in_order_and_readers_move_with_them_sqlite() {
    in_order(Engine::Sqlite).await;
}
#[tokio::test]
async fn lines_are_read_in_order_and_readers_move_with_them_postgres() {
    in_order(Engine::Postgres).await;
}
async fn in_order(engine: Engine) {
    let kept = kept_in(engine).await;
    assert_eq!(kept.lines.reached("r").await.unwrap(), 0);
    // A clock that is set back does not change the order.
    let late = NewLine { at: start() - TimeDelta::hours(1), ..line(4) };
    kept.lines
        .append(vec![line(1), line(2), line(3)], Some(Reached { reader: "r", from: 0, position: 9 }))
        .await
        .unwrap();
    // Another server, which does not know yet that it leads no more.
    kept.lines.append(vec![line(9)], Some(Reached { reader: "r", from: 0, position: 9 })).await.unwrap_err();
    kept.lines.append(vec![late], Some(Reached { reader: "r", from: 9, position: 12 })).await.unwrap();
    assert_eq!(kept.lines.reached("r").await.unwrap(), 12);
    let first = kept.lines.after(&system(), 0, 3).await.unwrap();
    let rest = kept.lines.after(&system(), first[2].id, 3).await.unwrap();
    let times: Vec<_> = first.iter().chain(&rest).map(|line| line.line.at).collect();
    assert_eq!(times.len(), 4);
    assert!(times.is_sorted(), "{times:?}");
    let ids: BTreeSet<i64> = first.iter().chain(&rest).map(|line| line.id).collect();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn old_lines_go_and_actions_of_users_stay_sqlite() {
    old_lines_go(Engine::Sqlite).await;
}
#[tokio::test]
async fn old_lines_go_and_actions_of_users_stay_postgres() {
    old_lines_go(Engine::Postgres).await;
}
async fn old_lines_go(engine: Engine) {
    let kept = kept_in(engine).await;
    let action = |n| NewLine { source: Source::Action, ..line(n) };
    kept.lines.append((1..=10).map(action).collect(), None).await.unwrap();
    fill(kept.lines.as_ref(), 9_000).await;
    assert_eq!(kept.lines.trim(start(), 1_000_000).await.unwrap(), 0, "nothing is old");
    let gone = kept.lines.trim(start() + TimeDelta::seconds(5_000), 1_000_000).await.unwrap();
    assert_eq!(gone, 4_095 - 10, "one whole run of ids, without the actions in it");
    let actions = LineFilter::all(TenantId::DEFAULT, Source::Action);
    for (search, of_system, of_users) in [(None, 9_000 - gone, 10), (Some("overheated"), 50, 0), (Some("step 7"), 0, 1)]
    {
        let search = search.map(str::to_owned);
        let left = kept.lines.page(&LineFilter { search: search.clone(), ..system() }, 0, 100).await.unwrap();
        assert_eq!(left.total, of_system, "{search:?}");
        let left = kept.lines.page(&LineFilter { search: search.clone(), ..actions.clone() }, 0, 1).await.unwrap();
        assert_eq!(left.total, of_users, "{search:?}");
    }
    let gone = kept.lines.trim(start(), 10).await.unwrap();
    assert!(gone > 0);
    let left = kept.lines.page(&system(), 0, 1).await.unwrap();
    assert_eq!(numbers(&left), [9_000]);
    assert!(left.total < 4_096);
}
