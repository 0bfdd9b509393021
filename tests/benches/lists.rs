//! Pages of big lists, from the database to rows.

use std::time::{Duration, Instant};

use domain::metadata::{TenantId, UserId};
use projections::compute::tasks::{self, SortBy, Wanted};
use projections::{Paging, ReadModels};
use sea_orm::ConnectionTrait;
use tests::engine::Engine;
use tests::fresh_id;

use crate::measure::{Load, runtime};
use crate::settings::Settings;
use crate::stores::{self, Store};
use crate::table::{Table, milliseconds};

/// Each page is asked for so often.
const ASKED: usize = 200;
const PAGE_AIM: Duration = Duration::from_millis(50);

pub(crate) fn section(settings: &Settings) -> String {
    let mut table = Table::new("Pages of big lists", &["list", "rows", "log", "page", "p50", "p99"]);
    for (option, engine) in [("lists.sqlite", Engine::Sqlite), ("lists.postgres", Engine::Postgres)] {
        if settings.wants(option) {
            runtime().block_on(pages(engine, settings, &mut table));
        }
    }
    table.into_text()
}

/// One list, and how its pages are asked for and shown.
struct List<'a> {
    engine: Engine,
    name: &'static str,
    rows: u64,
    settings: &'a Settings,
    table: &'a mut Table,
}

impl List<'_> {
    async fn page<T>(&mut self, page: &str, ask: impl AsyncFn() -> T) {
        let mut latencies = Vec::with_capacity(ASKED);
        let begun = Instant::now();
        for _ in 0..ASKED {
            let asked = Instant::now();
            ask().await;
            latencies.push(asked.elapsed());
        }
        let load = Load::of(latencies, begun.elapsed());
        let (rows, log) = (self.rows.to_string(), stores::name(self.engine));
        let cells = [self.name, &rows, log, page].map(str::to_owned);
        self.table.row(&[cells.to_vec(), vec![milliseconds(load.p50), milliseconds(load.p99)]].concat());
        let what = format!("{}, {rows} rows, {log}, {page}: p99", self.name);
        self.settings.aims.under(what, PAGE_AIM.as_secs_f64() * 1e3, load.p99.as_secs_f64() * 1e3, " ms");
    }
}

async fn pages(engine: Engine, settings: &Settings, table: &mut Table) {
    let store = Store::open(engine).await;
    let models = &store.storage.models;
    // All of one user: nothing is easier to read for being few of many.
    let user = UserId(fresh_id());
    fill_tasks(engine, models, user, settings.rows).await;
    let mut tasks = List { engine, name: "tasks of a user", rows: settings.rows, settings, table };
    let (completed, of_type) = (Some("completed"), Some("rendering".to_owned()));
    let all = Wanted::default;
    for (page, wanted, number) in [
        ("first", all(), 1),
        ("hundredth", all(), 100),
        ("in the middle", all(), settings.rows / 40),
        ("last", all(), settings.rows / 20),
        ("first by priority", Wanted { sort_by: SortBy::Priority, ..all() }, 1),
        ("first of those completed", Wanted { status: completed, ..all() }, 1),
        (
            "first of a type completed, by change",
            Wanted { status: completed, task_type: of_type, sort_by: SortBy::Updated, ..all() },
            1,
        ),
    ] {
        let paging = Paging::new(Some(number), Some(20), 20, 100);
        tasks
            .page(page, async || {
                let found = tasks::list(&models.read, TenantId::DEFAULT, user, &wanted, paging).await.unwrap();
                assert_eq!(found.rows.len(), 20);
            })
            .await;
    }
}

/// Rows as the projections leave them, made by the database, which takes seconds where a log of them takes minutes.
async fn fill_tasks(engine: Engine, models: &ReadModels, user: UserId, rows: u64) {
    let (numbers, moment) = match engine {
        Engine::Sqlite => (
            format!("WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})"),
            "strftime('%Y-%m-%dT%H:%M:%S+00:00', 1750000000 + n * 10, 'unixepoch')",
        ),
        Engine::Postgres => {
            (format!("WITH numbers (n) AS (SELECT generate_series(1, {rows}))"), "to_timestamp(1750000000 + n * 10)")
        }
    };
    let tenant = TenantId::DEFAULT;
    let status = "CASE WHEN n % 10 = 0 THEN 'failed' WHEN n % 1000 = 1 THEN 'pending' ELSE 'completed' END";
    let kind = "CASE WHEN n % 3 = 0 THEN 'rendering' ELSE 'training' END";
    let tasks = format!(
        "{numbers} INSERT INTO tasks_v1 (id, tenant, user_id, title, task_type, status, progress, priority, lease, gpus, \
         memory_gb, config, cost, created_at, updated_at, queued, position) \
         SELECT 'task-' || n, '{tenant}', '{user}', 'Task ' || n, {kind}, {status}, 100, n % 5, 1, 1, \
         '8', '{{\"command\": [\"true\"]}}', '1.50', {moment}, {moment}, n, n FROM numbers"
    );
    let counts = "INSERT INTO task_counts_v1 (id, tenant, user_id, status, task_type, tasks) \
                  SELECT user_id || '/' || status || '/' || task_type, tenant, user_id, status, task_type, COUNT(*) \
                  FROM tasks_v1 GROUP BY tenant, user_id, status, task_type";
    for sql in [&*tasks, counts, "ANALYZE"] {
        models.write.execute_unprepared(sql).await.unwrap();
    }
}
