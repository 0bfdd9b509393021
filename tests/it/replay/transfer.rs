//! A history taken from one installation to another.

use api::config::Config;
use api::storage::Storage;
use api::surface::Surface;
use replay::export::{Exported, Format, Wanted, export};
use replay::import::{Imported, import};
use replay::{Moment, ReplayError};
use tempfile::TempDir;
use tests::engine::Engine;
use tests::postgres::Database;
use tests::server::{TestServer, settings};

use super::{caught_up, issue, redeem};

fn everything(format: Format, full: bool) -> Wanted {
    Wanted { format, from: None, to: None, event_type: None, full }
}

async fn exported(log: &std::sync::Arc<dyn domain::log::Log>, wanted: &Wanted) -> (String, Exported) {
    let mut output = Vec::new();
    let exported = export(log, wanted, &mut output, &()).await.unwrap();
    (String::from_utf8(output).unwrap(), exported)
}

async fn imported(config: &Config, text: &str) -> Result<Imported, ReplayError> {
    import(Storage::restore(config).await.unwrap(), text.as_bytes(), text.len() as u64, &()).await
}

async fn with_a_history(engine: Engine) -> TestServer {
    let server = TestServer::start(engine).await;
    let codes = issue(&server, 3).await;
    let user = server.user(Surface::Owl).with("Idempotency-Key", "=once");
    redeem(&user, &codes[0]).await;
    caught_up(&server).await;
    // How far the process managers have come is kept a moment later.
    let head = server.head().await;
    while server.log.reader_positions().await.unwrap().get("processes").is_none_or(|kept| *kept < head) {
        tokio::task::yield_now().await;
    }
    server
}

/// An installation with nothing in it.
struct Empty {
    config: Config,
    _data: TempDir,
    _database: Option<Database>,
}

async fn empty(engine: Engine) -> Empty {
    let data = TempDir::new().unwrap();
    let database = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Database::create().await),
    };
    let database_url = database.as_ref().map(Database::url);
    let config = Config { data_dir: data.path().to_owned(), database_url, ..settings() };
    Empty { config, _data: data, _database: database }
}

#[tokio::test]
async fn a_full_export_becomes_the_same_log_from_sqlite_to_postgres() {
    a_full_export_becomes_the_same_log(Engine::Sqlite, Engine::Postgres).await;
}
#[tokio::test]
async fn a_full_export_becomes_the_same_log_from_postgres_to_sqlite() {
    a_full_export_becomes_the_same_log(Engine::Postgres, Engine::Sqlite).await;
}
async fn a_full_export_becomes_the_same_log(from: Engine, to: Engine) {
    let (server, target) = (with_a_history(from).await, empty(to).await);
    let (text, out) = exported(&server.log, &everything(Format::Ndjson, true)).await;
    let done = imported(&target.config, &text).await.unwrap();
    assert_eq!((done.events, done.commands, &done.digest), (server.head().await, out.commands, &out.digest));
    assert!(out.commands >= 2);
    let storage = Storage::history(&target.config).await.unwrap();
    let (here, there) =
        (server.log.read_all(0, &[], 100).await.unwrap(), storage.log.read_all(0, &[], 100).await.unwrap());
    assert_eq!(here.events, there.events);
    assert_eq!(server.log.commands(None, 10).await.unwrap(), storage.log.commands(None, 10).await.unwrap());
    assert_eq!(server.log.reader_positions().await.unwrap(), storage.log.reader_positions().await.unwrap());
    drop(storage);
    let refused = Storage::restore(&target.config).await.err().unwrap();
    assert!(refused.to_string().contains("not empty"), "{refused}");
}

#[tokio::test]
async fn a_server_goes_on_from_an_imported_history() {
    let (server, target) = (with_a_history(Engine::Sqlite).await, empty(Engine::Sqlite).await);
    let (text, _) = exported(&server.log, &everything(Format::Ndjson, true)).await;
    imported(&target.config, &text).await.unwrap();
    let running = api::server::Running::start(target.config.clone(), commands::Clock::system()).await.unwrap();
    let app = running.app();
    let head = server.head().await;
    app.readers.passed(head).await.unwrap();
    // Nobody is credited, and no owner made, a second time.
    assert_eq!(app.log().head().await.unwrap(), head);
    let storage = running.storage();
    assert!(replay::audit::audit(&storage.log, &storage.models, &()).await.unwrap().sound);
}

#[tokio::test]
async fn a_history_that_ends_before_a_credit_is_gone_on_with_by_the_credit() {
    let (server, target) = (with_a_history(Engine::Sqlite).await, empty(Engine::Sqlite).await);
    let events = server.log.read_all(0, &[], 100).await.unwrap().events;
    let position = |name: &str| events.iter().find(|event| *event.event_type == *name).unwrap().position;
    let (redeemed, credited) = (position("recharge_code.redeemed"), position("balance.credited"));
    assert!(redeemed < credited);
    let to_redeemed = Wanted { to: Some(Moment::Position(redeemed)), ..everything(Format::Ndjson, true) };
    let (text, _) = exported(&server.log, &to_redeemed).await;
    imported(&target.config, &text).await.unwrap();
    let running = api::server::Running::start(target.config.clone(), commands::Clock::system()).await.unwrap();
    let app = running.app();
    app.readers.passed(redeemed).await.unwrap();
    let after = app.log().read_all(redeemed, &["balance"], 100).await.unwrap().events;
    assert_eq!(after.iter().map(|event| &*event.event_type).collect::<Vec<_>>(), ["balance.credited"]);
}

#[tokio::test]
async fn a_log_that_is_older_than_its_read_models_is_not_served() {
    let (server, target) = (with_a_history(Engine::Sqlite).await, empty(Engine::Sqlite).await);
    let (text, _) = exported(&server.log, &everything(Format::Ndjson, true)).await;
    imported(&target.config, &text).await.unwrap();
    let start = || api::server::Running::start(target.config.clone(), commands::Clock::system());
    drop(start().await.unwrap());
    std::fs::remove_file(target.config.data_dir.join("log.db")).unwrap();
    let to_third = Wanted { to: Some(Moment::Position(3)), ..everything(Format::Ndjson, true) };
    let (text, _) = exported(&server.log, &to_third).await;
    imported(&target.config, &text).await.unwrap();
    let refused = start().await.err().unwrap().to_string();
    assert!(refused.contains("the log ends at 3: one of them is of another time"), "{refused}");
    let storage = Storage::history(&target.config).await.unwrap();
    let projectors = replay::projections_named(None).unwrap();
    replay::rebuild::rebuild(&storage.log, &storage.models, projectors, &()).await.unwrap();
    drop(storage);
    start().await.unwrap();
}

#[tokio::test]
async fn what_does_not_belong_into_a_log_is_refused_whole() {
    let server = with_a_history(Engine::Sqlite).await;
    let (text, _) = exported(&server.log, &everything(Format::Ndjson, true)).await;
    let lines: Vec<&str> = text.lines().collect();
    let without = |line: usize| {
        lines.iter().enumerate().filter(|(at, _)| *at != line).map(|(_, line)| *line).collect::<Vec<_>>().join("\n")
    };
    let issued = lines.iter().position(|line| line.contains("recharge_code.issued")).unwrap() + 1;
    let redacted = lines[0].replacen("{\"position\"", "{\"redacted\":[\"password_hash\"],\"position\"", 1);
    let command = lines.iter().find(|line| line.contains("kept_command") && !line.contains("\"last\":0")).unwrap();
    let beyond = command.replace("\"last\":", "\"last\":9");
    let wrong = [
        (without(0), "line 1: position 2 follows 0 (a whole history begins at 1)".to_owned()),
        (without(2), "line 3: position 4 follows 2".to_owned()),
        (text.replacen("recharge_code.issued\"", "recharge_code.found\"", 1), format!("line {issued}: ")),
        (text.replacen("\"issued\":", "\"found\":", 1), format!("line {issued}: ")),
        (
            text.replacen("\"aggregate_type\":\"recharge_code\"", "\"aggregate_type\":\"unheard_of\"", 1),
            format!("line {issued}: there is no sort of aggregate unheard_of"),
        ),
        (redacted, "line 1: the event was exported without its secrets (password_hash): export with --full".to_owned()),
        (format!("{}\nnot json", lines[0]), "line 2: ".to_owned()),
        (text.replacen(command, &beyond, 1), "a kept command".to_owned()),
    ];
    for (text, reason) in wrong {
        let target = empty(Engine::Sqlite).await;
        let Err(error) = imported(&target.config, &text).await else { panic!("not refused: {reason}") };
        assert!(error.to_string().contains(&reason), "{error}");
        let storage = Storage::history(&target.config).await.unwrap();
        assert_eq!(storage.log.head().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_file_that_was_cut_off_or_changed_is_refused_whole() {
    let server = with_a_history(Engine::Sqlite).await;
    let (text, _) = exported(&server.log, &everything(Format::Ndjson, true)).await;
    let lines: Vec<&str> = text.lines().collect();
    let of = |lines: &[&str]| lines.join("\n") + "\n";
    let without = |kind: &str| {
        let at = lines.iter().position(|line| line.starts_with(kind)).unwrap();
        of(&[&lines[..at], &lines[at + 1..]].concat())
    };
    let events = lines.iter().filter(|line| line.starts_with("{\"position\"")).count();
    let wrong = [
        String::new(),
        of(&lines[..events]),
        of(&lines[..events - 1]),
        of(&lines[..lines.len() - 1]),
        text[..text.len() - 9].to_owned(),
        format!("{}\n", &lines[0][..lines[0].len() - 9]),
        format!("{text}{}\n", lines[events]),
        format!("{text}\n"),
        without("{\"kept_command\""),
        without("{\"reader\""),
        text.replacen("\"max_uses\":1", "\"max_uses\":2", 1),
        text.replacen("\"end\":{\"events\":", "\"end\":{\"events\":1", 1),
    ];
    for (number, text) in wrong.iter().enumerate() {
        let target = empty(Engine::Sqlite).await;
        let Err(error) = imported(&target.config, text).await else { panic!("{number} is not refused") };
        assert!(error.to_string().contains("cut off or changed"), "{number}: {error}");
        let storage = Storage::history(&target.config).await.unwrap();
        assert_eq!(storage.log.head().await.unwrap(), 0);
        assert!(storage.log.commands(None, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn parts_are_exported_by_moment_and_type() {
    let server = with_a_history(Engine::Sqlite).await;
    let all = everything(Format::Ndjson, false);
    let part = Wanted { from: Some("2".parse().unwrap()), to: Some("4".parse().unwrap()), ..all.clone() };
    let (_, out) = exported(&server.log, &part).await;
    assert_eq!((out.events, out.first, out.last), (3, 2, 4));
    let (text, out) = exported(&server.log, &Wanted { event_type: Some("balance".into()), ..all }).await;
    assert_eq!((out.events, out.first), (1, server.head().await));
    let event: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(
        (&event["event_type"], &event["payload"]["credited"]["amount"]),
        (&"balance.credited".into(), &"10".into())
    );
}

#[tokio::test]
async fn a_table_opens_in_a_spreadsheet() {
    let server = with_a_history(Engine::Sqlite).await;
    let (text, out) = exported(&server.log, &everything(Format::Csv, false)).await;
    let mut table = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(&table.headers().unwrap()[0], "position");
    let rows: Vec<_> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len() as u64, out.events);
    assert!(rows.iter().any(|row| &row[7] == "recharge_code.issued"));
    assert!(rows.iter().flatten().all(|cell| !cell.starts_with(['=', '+', '-', '@'])));
}
