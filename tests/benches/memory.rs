//! What a server with a long log keeps in memory.

use std::time::Duration;

use tests::engine::Engine;
use tests::postgres::Database;
use tests::program::Installation;

use crate::settings::Settings;
use crate::stores::{self, Store};
use crate::table::{Table, whole};
use crate::{filling, http, machine, measure};

/// 250 MB.
const MEBIBYTES_MAX: f64 = 238.4;

pub(crate) fn section(settings: &Settings) -> String {
    http::build_program();
    let mut table =
        Table::new("Resident memory of a server", &["log", "events", "after the rebuild", "idle", "started again"]);
    for (option, engine) in [("memory.sqlite", Engine::Sqlite), ("memory.postgres", Engine::Postgres)] {
        if settings.wants(option) {
            let [rebuilt, idle, again] = mebibytes(engine, settings.events);
            for (when, reached) in [("after the rebuild", rebuilt), ("idle", idle), ("started again", again)] {
                let what = format!("resident, {}, {} events, {when}", stores::name(engine), settings.events);
                settings.aims.under(what, MEBIBYTES_MAX, reached, " MiB");
            }
            let shown = |mebibytes: f64| format!("{} MiB", whole(mebibytes));
            let cells = [stores::name(engine).to_owned(), settings.events.to_string()];
            table.row(&[cells.to_vec(), vec![shown(rebuilt), shown(idle), shown(again)]].concat());
        }
    }
    table.into_text()
}

/// Right after the server has built every read model from the log; some seconds later; and after another start.
fn mebibytes(engine: Engine, events: u64) -> [f64; 3] {
    let filling = measure::runtime();
    let (data, database) = filling.block_on(async {
        let store = Store::open(engine).await;
        filling::credits(&store.storage.log, events).await;
        // As far as the process managers of the server that wrote it would have come.
        let log = &store.storage.log;
        log.keep_reader_position("processes", log.head().await.unwrap()).await.unwrap();
        store.into_parts()
    });
    let database_url = database.as_ref().map(Database::url);
    let installation = Installation { data_dir: data.path().to_owned(), database_url };
    // It listens when the read models are there.
    let program = installation.serve();
    let rebuilt = machine::resident_mebibytes(program.id());
    std::thread::sleep(Duration::from_secs(5));
    let idle = machine::resident_mebibytes(program.id());
    assert!(program.terminate().success());
    let program = installation.serve();
    std::thread::sleep(Duration::from_secs(5));
    let again = machine::resident_mebibytes(program.id());
    [rebuilt, idle, again]
}
