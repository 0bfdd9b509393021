//! `POST /api/recharge/redeem` of a signed-in user: two commands and the rows of five read models, which answers
//! do not wait for, but whoever reads them does.

pub(crate) mod connection;
mod in_process;
pub(crate) mod over_http;

use std::process::Command;

use tests::engine::Engine;

use crate::aims::Aims;
use crate::measure::{Load, runtime};
use crate::settings::Settings;
use crate::stores;
use crate::table::{Table, milliseconds, whole};

/// What one code is worth.
const AMOUNT: i64 = 10;
const CLIENTS: usize = 64;

pub(crate) fn section(settings: &Settings) -> String {
    let mut table = Table::new(
        "Redeeming a code, over HTTP and in process",
        &["what", "log", "clients", "requests/s", "p50", "p99", "to the same in process"],
    );
    if !settings.in_process {
        build_program();
        let bare = repeated(settings, || over_http::bare_answers(CLIENTS, settings.requests));
        row(&mut table, "a bare axum JSON answer, same generator", "none", CLIENTS, bare, None);
    }
    for (option, engine) in [("http.sqlite", Engine::Sqlite), ("http.postgres", Engine::Postgres)] {
        if settings.wants(option) {
            rows_of(engine, settings, &mut table);
        }
    }
    table.into_text()
}

fn rows_of(engine: Engine, settings: &Settings, table: &mut Table) {
    let log = stores::name(engine);
    for clients in settings.clients(&[1, CLIENTS]) {
        let requests = if clients == CLIENTS { settings.requests } else { settings.requests / 10 };
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for _ in 0..settings.runs {
            inside.push(runtime().block_on(in_process::redemptions(engine, clients, requests)));
            if !settings.in_process {
                outside.push(over_http::redemptions(engine, clients, requests));
            }
        }
        let inside = Load::median(&inside);
        row(table, "redeem, in process", log, clients, inside, None);
        if outside.is_empty() {
            continue;
        }
        let outside = Load::median(&outside);
        row(table, "POST /api/recharge/redeem", log, clients, outside, Some(inside));
        if clients == CLIENTS {
            aims(&settings.aims, engine, inside, outside);
        }
    }
}

fn aims(aims: &Aims, engine: Engine, inside: Load, outside: Load) {
    let what = |what: &str| format!("{what}, {}, {CLIENTS} clients", stores::name(engine));
    let asked = (0.6 * inside.per_second).min(15_000.0);
    aims.at_least(what("redemptions over HTTP: 60 % of those in process, or 15,000"), asked, outside.per_second, "/s");
    if engine == Engine::Sqlite {
        aims.at_least(what("redemptions over HTTP"), 10_000.0, outside.per_second, "/s");
    }
}

fn repeated(settings: &Settings, load: impl Fn() -> Load) -> Load {
    Load::median(&(0..settings.runs).map(|_| load()).collect::<Vec<_>>())
}

fn row(table: &mut Table, what: &str, log: &str, clients: usize, load: Load, base: Option<Load>) {
    table.row(&[
        what.to_owned(),
        log.to_owned(),
        clients.to_string(),
        whole(load.per_second),
        milliseconds(load.p50),
        milliseconds(load.p99),
        base.map_or_else(String::new, |base| format!("{:.0} %", 100.0 * load.per_second / base.per_second)),
    ]);
}

/// The server is a process of its own: the program as it is released, built like this one.
pub(crate) fn build_program() {
    // With the features that this program is built with too: then nothing is built twice.
    let arguments = ["build", "--quiet", "--profile", "bench", "-p", "api", "-p", "tests", "--bin", "corelog"];
    assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
}
