//! Reports of battery devices over HTTP, and questions to millions of readings.

mod questions;
mod reporting;

use tests::engine::Engine;

use crate::http::build_program;
use crate::measure::Load;
use crate::settings::Settings;
use crate::stores;
use crate::table::{Table, milliseconds, whole};

/// Most readings of one report.
const BATCH: usize = 1_000;
const CLIENTS: usize = 64;

pub(crate) fn section(settings: &Settings) -> String {
    build_program();
    let mut text = String::new();
    if settings.wants("battery.reports") {
        let mut table = Table::new(
            "Reports of battery devices over HTTP",
            &["what", "readings kept by", "devices", "readings/s", "p50", "p99"],
        );
        for (option, engine) in
            [("battery.reports.sqlite", Engine::Sqlite), ("battery.reports.postgres", Engine::Postgres)]
        {
            if settings.wants(option) {
                reports(engine, settings, &mut table);
            }
        }
        text += &table.into_text();
    }
    if settings.wants("battery.questions") {
        text += &questions::tables(settings);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a batch is small")]
fn reports(engine: Engine, settings: &Settings, table: &mut Table) {
    let batches = settings.requests / 100;
    for (what, clients, size, requests) in [
        ("one reading a report", CLIENTS, 1, settings.requests),
        ("one reading a report", 1, 1, settings.requests / 20),
        ("1,000 readings a report", CLIENTS / 8, BATCH, batches),
    ] {
        let loads: Vec<Load> =
            (0..settings.runs.min(3)).map(|_| reporting::load(engine, clients, size, requests)).collect();
        let load = Load::median(&loads);
        table.row(&[
            what.to_owned(),
            stores::name(engine).to_owned(),
            clients.to_string(),
            whole(load.per_second * size as f64),
            milliseconds(load.p50),
            milliseconds(load.p99),
        ]);
    }
}
