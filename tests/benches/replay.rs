//! A long log read from its beginning: into a fold in memory, and into stored read models.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cqrs_es::Aggregate;
use cqrs_es::persist::PersistedEventRepository;
use domain::Text;
use domain::billing::balance::Balance;
use domain::log::Log;
use projections::ReadAhead;
use tests::engine::Engine;

use crate::filling;
use crate::idiomatic::Idiomatic;
use crate::measure::{median, rate, runtime};
use crate::settings::Settings;
use crate::stores::{self, Store};
use crate::table::{Table, whole};

/// Events of the idiomatic stack, whose rebuild is slow.
const IDIOMATIC_EVENTS: usize = 20_000;

pub(crate) fn section(settings: &Settings) -> String {
    let mut table = Table::new("Reading the log from its beginning", &["what", "log", "events", "events/s"]);
    for (option, engine) in [("replay.sqlite", Engine::Sqlite), ("replay.postgres", Engine::Postgres)] {
        if settings.wants(option) {
            for events in [settings.events / 10, settings.events] {
                runtime().block_on(rows_of(engine, events, settings, &mut table));
            }
        }
    }
    if settings.wants("replay.idiomatic") {
        runtime().block_on(idiomatic_rows(settings, &mut table));
    }
    table.into_text()
}

async fn rows_of(engine: Engine, events: u64, settings: &Settings, table: &mut Table) {
    let store = Store::open(engine).await;
    let log = &store.storage.log;
    filling::credits(log, events).await;
    let name = stores::name(engine);
    let mut measured = |what: &str, aim: f64, rates: Vec<f64>| {
        let reached = median(rates.into_iter());
        table.row(&[what.to_owned(), name.to_owned(), events.to_string(), whole(reached)]);
        settings.aims.at_least(format!("{what}, {name}, {events} events"), aim, reached, "/s");
    };
    let count = usize::try_from(events).unwrap();
    let (mut folds, mut rebuilds) = (Vec::new(), Vec::new());
    for _ in 0..settings.runs {
        let begun = Instant::now();
        let entries = fold(log).await;
        folds.push(rate(count, begun.elapsed()));
        assert_eq!(entries, events);
        let begun = Instant::now();
        rebuild(&store, events).await;
        rebuilds.push(rate(count, begun.elapsed()));
    }
    let fold_aim = match engine {
        Engine::Sqlite => 1_000_000.0,
        Engine::Postgres => 600_000.0,
    };
    measured("fold: every balance, in memory", fold_aim, folds);
    measured("rebuild of the list of balances", 100_000.0, rebuilds);
}

/// Every balance there is, and how many events that took; pages are read ahead, as all replays do.
async fn fold(log: &Arc<dyn Log>) -> u64 {
    let (mut balances, mut count) = (HashMap::<Text, Balance>::new(), 0);
    let mut pages = ReadAhead::new(log, 0, log.head().await.unwrap(), &[]);
    while let Some(page) = pages.next().await.unwrap() {
        for recorded in &page.events {
            if let Some(event) = recorded.decode::<Balance>().unwrap() {
                match balances.get_mut(&*recorded.aggregate_id) {
                    Some(balance) => balance.apply(event),
                    None => balances.entry(Text::from(&*recorded.aggregate_id)).or_default().apply(event),
                }
                count += 1;
            }
        }
    }
    count
}

/// The list of balances, from nothing into new tables, and those in the place of the live ones.
async fn rebuild(store: &Store, events: u64) {
    let balances = replay::projections_named(Some("balances")).unwrap();
    let rebuilt = replay::rebuild::rebuild(&store.storage.log, &store.storage.models, balances, &()).await.unwrap();
    assert_eq!(rebuilt[0].events, events);
}

async fn idiomatic_rows(settings: &Settings, table: &mut Table) {
    let stack = Idiomatic::start().await;
    filling::idiomatic(&stack, IDIOMATIC_EVENTS).await;
    let mut row = |what: &str, rates: Vec<f64>| {
        let events = IDIOMATIC_EVENTS.to_string();
        table.row(&[what.to_owned(), "cqrs-es + postgres-es".to_owned(), events, whole(median(rates.into_iter()))]);
    };
    let (mut folds, mut rebuilds) = (Vec::new(), Vec::new());
    for _ in 0..settings.runs {
        let begun = Instant::now();
        assert_eq!(idiomatic_fold(&stack).await, IDIOMATIC_EVENTS);
        folds.push(rate(IDIOMATIC_EVENTS, begun.elapsed()));
        let begun = Instant::now();
        stack.rebuild_view().await;
        rebuilds.push(rate(IDIOMATIC_EVENTS, begun.elapsed()));
    }
    row("fold: every balance, in memory", folds);
    row("rebuild of the GenericQuery", rebuilds);
}

async fn idiomatic_fold(stack: &Idiomatic) -> usize {
    let mut stream = stack.repository().stream_all_events::<Balance>().await.unwrap();
    let (mut balances, mut count) = (HashMap::<String, Balance>::new(), 0);
    while let Some(event) = stream.next::<Balance>(&[]).await {
        let event = event.unwrap();
        balances.entry(event.aggregate_id).or_default().apply(event.payload);
        count += 1;
    }
    count
}
