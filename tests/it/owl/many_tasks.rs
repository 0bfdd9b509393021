//! Pages of very many tasks of one user: each is the right one, wherever it is, and none takes long.
//!
//! `CORELOG_TEST_TASKS=1000000` is the long form; what it took is printed.

use std::time::{Duration, Instant};

use domain::metadata::{TenantId, UserId};
use projections::Paging;
use projections::compute::tasks::{self, SortBy, Wanted};
use sea_orm::ConnectionTrait;
use tests::engine::Engine;
use tests::server::TestServer;

/// Rows of the task table, as far as lists look at them.
fn fill(engine: Engine, user: UserId, count: u64) -> Vec<String> {
    let (id, at) = match engine {
        Engine::Sqlite => ("printf('%032x', n)", "datetime(1700000000 + n, 'unixepoch') || '+00:00'"),
        Engine::Postgres => ("lpad(to_hex(n), 32, '0')", "to_timestamp(1700000000 + n)"),
    };
    let updated = at.replace("+ n", "+ (n * 7919) % 1000003");
    let tenant = TenantId::DEFAULT;
    let status = "CASE WHEN n % 1000 = 0 THEN 'running' WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END";
    let task_type = "CASE WHEN n % 4 = 0 THEN 'training' ELSE 'inference' END";
    let tasks = format!(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
         INSERT INTO tasks_v1 (id, tenant, user_id, title, task_type, status, progress, priority, lease, gpus, memory_gb, \
         config, cost, created_at, updated_at, queued, position) \
         SELECT {id}, '{tenant}', '{user}', 'task ' || n, {task_type}, {status}, 0.0, n % 5 + 1, 0, 0, '0', '{{}}', '0', \
         {at}, {updated}, n, n FROM numbers"
    );
    let counts = "INSERT INTO task_counts_v1 (id, tenant, user_id, status, task_type, tasks) \
         SELECT user_id || '/' || status || '/' || task_type, tenant, user_id, status, task_type, count(*) FROM tasks_v1 \
         GROUP BY tenant, user_id, status, task_type";
    let look = match engine {
        Engine::Sqlite => "ANALYZE",
        Engine::Postgres => "VACUUM ANALYZE tasks_v1",
    };
    vec![tasks, counts.to_owned(), look.to_owned()]
}

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
    for statement in fill(engine, user, count) {
        server.models.write.execute_unprepared(&statement).await.unwrap();
    }
    let sorted = [SortBy::Created, SortBy::Updated, SortBy::Priority];
    let mut took = Vec::new();
    for (number, sort_by) in sorted.into_iter().cycle().take(120).enumerate() {
        let statuses = [None, Some("failed"), None, Some("completed"), Some("running")];
        let task_type = (number % 4 == 3).then(|| "training".to_owned());
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
        SortBy::Updated => (row.updated_at.timestamp(), row.position),
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
