//! Pages of big lists, from the database to rows.

use std::time::{Duration, Instant};

use domain::metadata::{TenantId, UserId};
use projections::Paging;
use projections::compute::tasks::{self, SortBy, Wanted};
use tests::engine::Engine;
use tests::{fresh_id, many_tasks, processor_time};

use crate::measure::{Load, runtime};
use crate::settings::Settings;
use crate::stores::{self, Store};
use crate::table::{Table, milliseconds};

/// Each page is asked for so often.
const ASKED: usize = 200;
const PAGE_AIM: Duration = Duration::from_millis(50);

pub(crate) fn section(settings: &Settings) -> String {
    let mut table = Table::new("Pages of big lists", &["list", "rows", "log", "page", "p50", "p99", "CPU"]);
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
        let (begun, computed) = (Instant::now(), processor_time::used());
        for _ in 0..ASKED {
            let asked = Instant::now();
            ask().await;
            latencies.push(asked.elapsed());
        }
        let load = Load::of(latencies, begun.elapsed());
        let computed = processor_time::used_since(computed) / u32::try_from(ASKED).unwrap();
        let (rows, log) = (self.rows.to_string(), stores::name(self.engine));
        let cells = [self.name, &rows, log, page].map(str::to_owned);
        self.table.row(
            &[cells.to_vec(), vec![load.p50, load.p99, computed].into_iter().map(milliseconds).collect()].concat(),
        );
        let what = format!("{}, {rows} rows, {log}, {page}: p99", self.name);
        self.settings.aims.under(what, PAGE_AIM.as_secs_f64() * 1e3, load.p99.as_secs_f64() * 1e3, " ms");
    }
}

async fn pages(engine: Engine, settings: &Settings, table: &mut Table) {
    let store = Store::open(engine).await;
    let models = &store.storage.models;
    // All of one user: nothing is easier to read for being few of many.
    let user = UserId(fresh_id());
    many_tasks::fill(models, engine, user, settings.rows).await;
    let mut tasks = List { engine, name: "tasks of a user", rows: settings.rows, settings, table };
    for (filter, sort, wanted) in lists() {
        let first = Paging::new(None, None, 20, 100);
        let total = tasks::list(&models.read, TenantId::DEFAULT, user, &wanted, first).await.unwrap().total;
        // Nothing is farther from both ends than the middle.
        for (place, page) in [("first", 1), ("in the middle", 1 + total / 40)] {
            let paging = Paging { page, ..first };
            let ask = async || {
                let found = tasks::list(&models.read, TenantId::DEFAULT, user, &wanted, paging).await.unwrap();
                assert_eq!(found.rows.len() as u64, total.min(20));
            };
            if page > 1 || place == "first" {
                tasks.page(&format!("{filter}, by {sort}: {place}"), ask).await;
            }
        }
    }
}

/// Every documented filter in every order.
fn lists() -> Vec<(&'static str, &'static str, Wanted)> {
    let (completed, of_type) = (Some("completed"), |task_type: &str| Some(task_type.to_owned()));
    let filters = [
        ("all", None, None),
        ("completed", completed, None),
        ("pending", Some("pending"), None),
        ("of a type", None, of_type("inference")),
        ("of a type, completed", completed, of_type("inference")),
        ("of a rare type", None, of_type("simulation")),
        ("of a rare type, completed", completed, of_type("simulation")),
    ];
    let sorts = [("creation", SortBy::Created), ("change", SortBy::Updated), ("priority", SortBy::Priority)];
    let mut lists = Vec::new();
    for (filter, status, task_type) in filters {
        for (sort, sort_by) in sorts {
            let wanted = Wanted { status, task_type: task_type.clone(), sort_by, ascending: false };
            lists.push((filter, sort, wanted));
        }
    }
    lists
}
