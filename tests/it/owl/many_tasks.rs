//! Pages of very many tasks of one user: each is the right one, wherever it is, and none takes long.
//!
//! `CORELOG_TEST_TASKS=1000000` is the long form; what it took is printed.

use std::time::{Duration, Instant};

use domain::metadata::{TenantId, UserId};
use projections::Paging;
use projections::compute::tasks::{self, SortBy, Wanted};
use sea_orm::EntityTrait;
use tests::engine::Engine;
use tests::many_tasks::fill;
use tests::server::TestServer;

#[tokio::test]
async fn any_page_of_many_tasks_sqlite() {
    any_page_of_many_tasks(Engine::Sqlite).await;
}
#[tokio::test]
async fn any_page_of_many_tasks_postgres() {
    any_page_of_many_tasks(Engine::Postgres).await;
}
async fn any_page_of_many_tasks(engine: Engine) {
    let count = std::env::var_os("CORELOG_TEST_TASKS").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(20_000);
    let server = TestServer::start(engine).await;
    let user = UserId(tests::fresh_id());
    fill(&server.models, engine, user, count).await;
    let sorted = [SortBy::Created, SortBy::Updated, SortBy::Priority];
    let mut took = Vec::new();
    for (number, sort_by) in sorted.into_iter().cycle().take(120).enumerate() {
        let statuses = [None, Some("failed"), None, Some("completed"), Some("running")];
        let task_type = (number % 4 == 3).then(|| "inference".to_owned());
        let wanted = Wanted { status: statuses[number % 5], task_type, sort_by, ascending: number % 2 == 0 };
        let first = Paging { page: 1, per_page: 20 };
        let pages = tasks::list(&server.models.read, TenantId::DEFAULT, user, &wanted, first).await.unwrap().pages();
        let page = 1 + u64::try_from(number).unwrap() * 7_919 % pages.max(1);
        let since = Instant::now();
        let paging = Paging { page, per_page: 20 };
        let found = tasks::list(&server.models.read, TenantId::DEFAULT, user, &wanted, paging).await.unwrap();
        took.push(since.elapsed());
        is_the_page(
            &found.rows,
            &wanted,
            page,
            found.total,
            sort_by == SortBy::Created && wanted == unfiltered(&wanted),
        );
    }
    took.sort_unstable();
    let (middle, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    eprintln!("{engine:?}: pages of {count} tasks: median {middle:?}, p99 {p99:?}");
    assert!(p99 < Duration::from_secs(5), "a page took {p99:?}");
}

fn unfiltered(wanted: &Wanted) -> Wanted {
    Wanted { status: None, task_type: None, ..wanted.clone() }
}

/// The rows are in order and fit the filter; without filters and by creation, it is known which they are.
fn is_the_page(rows: &[tasks::Model], wanted: &Wanted, page: u64, total: u64, known: bool) {
    assert!(!rows.is_empty() || total == 0, "page {page} of {total} is empty: {wanted:?}");
    assert!(rows.iter().all(|row| wanted.status.is_none_or(|status| row.status == status)));
    assert!(rows.iter().all(|row| wanted.task_type.as_ref().is_none_or(|task_type| row.task_type == *task_type)));
    let key = |row: &tasks::Model| match wanted.sort_by {
        SortBy::Created => (row.position, row.position),
        SortBy::Updated => (row.changed, row.position),
        SortBy::Priority => (row.priority, row.position),
    };
    let keys: Vec<_> = rows.iter().map(key).collect();
    assert!(if wanted.ascending { keys.is_sorted() } else { keys.iter().rev().is_sorted() }, "{keys:?}");
    if known {
        let offset = (page - 1) * 20;
        let first = if wanted.ascending { offset + 1 } else { total - offset };
        assert_eq!(rows[0].position, first.cast_signed());
    }
}

#[tokio::test]
async fn pages_hold_every_task_of_a_list_once_sqlite() {
    pages_hold_every_task_of_a_list_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn pages_hold_every_task_of_a_list_once_postgres() {
    pages_hold_every_task_of_a_list_once(Engine::Postgres).await;
}
async fn pages_hold_every_task_of_a_list_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = UserId(tests::fresh_id());
    fill(&server.models, engine, user, 1_500).await;
    let all = tasks::Entity::find().all(&server.models.read).await.unwrap();
    for wanted in every_list() {
        // What divides nothing, so the last page is shorter.
        let mut paging = Paging { page: 1, per_page: 97 };
        let mut shown = Vec::new();
        loop {
            let page = tasks::list(&server.models.read, TenantId::DEFAULT, user, &wanted, paging).await.unwrap();
            assert_eq!(page.total, expected(&all, &wanted).len() as u64, "{wanted:?}");
            if page.rows.is_empty() {
                break;
            }
            shown.extend(page.rows.into_iter().map(|row| row.position));
            paging.page += 1;
        }
        assert_eq!(shown, expected(&all, &wanted), "{wanted:?}");
    }
}

/// Every status and type that there is, alone and together, in every order.
fn every_list() -> Vec<Wanted> {
    let mut lists = Vec::new();
    for status in [None, Some("completed"), Some("running"), Some("cancelled")] {
        for task_type in [None, Some("inference"), Some("simulation"), Some("inf")] {
            for sort_by in [SortBy::Created, SortBy::Updated, SortBy::Priority] {
                for ascending in [false, true] {
                    lists.push(Wanted { status, task_type: task_type.map(str::to_owned), sort_by, ascending });
                }
            }
        }
    }
    lists
}

/// The positions of a list's tasks in its order. Those of one priority are in the order of creation.
fn expected(all: &[tasks::Model], wanted: &Wanted) -> Vec<i64> {
    let of_status = |row: &&tasks::Model| wanted.status.is_none_or(|status| row.status == status);
    let of_type = |row: &&tasks::Model| wanted.task_type.as_ref().is_none_or(|task_type| row.task_type == *task_type);
    let mut rows: Vec<&tasks::Model> = all.iter().filter(of_status).filter(of_type).collect();
    rows.sort_by_key(|row| match wanted.sort_by {
        SortBy::Created => (row.position, 0),
        SortBy::Updated => (row.changed, 0),
        SortBy::Priority => (row.priority, row.position),
    });
    if !wanted.ascending {
        rows.reverse();
    }
    rows.into_iter().map(|row| row.position).collect()
}
