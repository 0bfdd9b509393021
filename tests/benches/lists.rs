//! Pages of big lists, from the database to rows.

use std::time::{Duration, Instant};

use domain::metadata::TenantId;
use projections::billing::recharge_codes::{self, CodeStatus};
use projections::{Paging, ReadModels};
use sea_orm::ConnectionTrait;
use tests::engine::Engine;

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
    fill_codes(engine, models, settings.rows).await;
    let mut codes = List { engine, name: "recharge codes", rows: settings.rows, settings, table };
    for (page, status, number) in [
        ("first", None, 1),
        ("hundredth", None, 100),
        ("first of those used (a tenth)", Some(CodeStatus::Used), 1),
        ("first of those active", Some(CodeStatus::Active), 1),
    ] {
        let paging = Paging::new(Some(number), Some(20), 20, 100);
        codes
            .page(page, async || {
                let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
                let found = recharge_codes::list(&models.read, TenantId::DEFAULT, status, now, paging).await.unwrap();
                assert_eq!(found.rows.len(), 20);
            })
            .await;
    }
}

/// Rows as the projection leaves them, made by the database, which takes seconds where a log of them takes minutes.
async fn fill_codes(engine: Engine, models: &ReadModels, rows: u64) {
    let (numbers, hex) = match engine {
        Engine::Sqlite => (
            format!("WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})"),
            "hex(randomblob(32))",
        ),
        Engine::Postgres => {
            (format!("WITH numbers (n) AS (SELECT generate_series(1, {rows}))"), "md5(n::text) || md5((n + 1)::text)")
        }
    };
    let (tenant, time) = (TenantId::DEFAULT, "'2026-01-31T12:00:00+00:00'");
    let sql = format!(
        "{numbers} INSERT INTO recharge_codes_v1 (id, code_id, tenant, prefix, amount, max_uses, used_count, is_active, \
         created_by, created_at, updated_at, position) SELECT {hex}, {hex}, '{tenant}', 'OWL-2222', '10', 1, \
         CASE WHEN n % 10 = 0 THEN 1 ELSE 0 END, TRUE, {hex}, {time}, {time}, n FROM numbers"
    );
    let sql = if engine == Engine::Postgres { sql.replace(time, &format!("{time}::timestamptz")) } else { sql };
    models.write.execute_unprepared(&sql).await.unwrap();
    models.write.execute_unprepared("ANALYZE").await.unwrap();
}
