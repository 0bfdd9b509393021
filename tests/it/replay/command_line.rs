//! The subcommands about history, beside a running server.

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::engine::Engine;
use tests::postgres::Database;
use tests::program::Installation;

pub(super) struct Place {
    pub(super) installation: Installation,
    data: TempDir,
    _database: Option<Database>,
}

pub(super) async fn place(engine: Engine) -> Place {
    let data = TempDir::new().unwrap();
    let database = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Database::create().await),
    };
    let database_url = database.as_ref().map(Database::url);
    Place { installation: Installation { data_dir: data.path().to_owned(), database_url }, data, _database: database }
}

impl Place {
    #[track_caller]
    pub(super) fn run(&self, arguments: &[&str], code: i32) -> String {
        let (status, text) = self.installation.run(arguments);
        assert_eq!(status.code(), Some(code), "corelog {}: {text}", arguments.join(" "));
        text
    }

    #[track_caller]
    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let text = self.run(&[arguments, &["--json"]].concat(), code);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    async fn tamper(&self, sql: &str) {
        use sea_orm::ConnectionTrait;
        let models = match &self.installation.database_url {
            Some(url) => projections::ReadModels::postgres(url).await,
            None => projections::ReadModels::sqlite(&self.data.path().join("read.db")).await,
        };
        models.unwrap().write.execute_unprepared(sql).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_told_while_a_server_runs_sqlite() {
    history_is_told_while_a_server_runs(Engine::Sqlite).await;
}
#[tokio::test(flavor = "multi_thread")]
async fn history_is_told_while_a_server_runs_postgres() {
    history_is_told_while_a_server_runs(Engine::Postgres).await;
}
async fn history_is_told_while_a_server_runs(engine: Engine) {
    let place = place(engine).await;
    let program = place.installation.serve();
    let (admin, user) = (program.admin().await, program.new_user("ann").await);
    let codes = admin.post("/api/recharge/codes", json!({ "amount": 10, "batch_size": 2 })).await.expect(200);
    let redeem = async |at: &str| {
        let body = json!({ "code": codes.at(at) });
        user.post("/api/recharge/redeem", body).await.expect(200);
    };
    redeem("/data/codes/0/code").await;

    assert!(place.run(&["replay", "verify"], 0).contains("balances: equal"));
    assert_eq!(place.json(&["audit"], 0)["sound"], true);
    let listed = place.json(&["replay", "list", "balances"], 0);
    assert_eq!((&listed["total"], &listed["rows"][0]["amount"]), (&json!(1), &json!("10")));
    let id = listed["rows"][0]["user_id"].as_str().unwrap().to_owned();
    let shown = place.json(&["replay", "show", &format!("balance/{id}")], 0);
    assert_eq!((&shown["state"]["balance"], &shown["version"]), (&json!("10"), &json!(1)));
    let text = place.run(&["replay", "show", &format!("user/{id}")], 0);
    assert!(text.contains("ann@example.com") && text.contains("[redacted]") && !text.contains("$argon2"), "{text}");
    let diff = place.json(&["replay", "diff", "--from", "0", "--to", "9999", "--projection", "balances"], 0);
    assert_eq!(diff["projections"][0]["rows"][0]["change"], "added");

    place.tamper("UPDATE balances_v2 SET amount = '77'").await;
    let text = place.run(&["replay", "verify", "--projection", "balances"], 1);
    assert!(text.contains(&format!("balances, row {id}, amount: live 77, rebuilt 10")), "{text}");
    assert!(place.run(&["replay", "rebuild"], 0).contains("balances: 1 rows from 1 events"));
    redeem("/data/codes/1/code").await;
    assert_eq!(place.json(&["replay", "verify"], 0)["equal"], true);
    assert!(program.terminate().success());
    assert_eq!(place.json(&["replay", "verify"], 0)["equal"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_moved_by_the_command_line() {
    let place = place(Engine::Sqlite).await;
    let program = place.installation.serve();
    program.new_user("bob").await;
    assert!(program.terminate().success());
    let file = |name: &str| place.data.path().join(name).display().to_string();
    let (full, redacted, table) = (file("full.ndjson"), file("redacted.ndjson"), file("table.csv"));
    place.run(&["export", "--full", "--out", &full], 0);
    assert!(place.json(&["export", "--out", &redacted], 0)["redacted"].as_u64().unwrap() > 0);
    place.run(&["export", "--format", "csv", "--out", &table], 0);
    let read = |name: &str| std::fs::read_to_string(name).unwrap();
    assert!(read(&full).contains("$argon2"));
    assert!(!read(&redacted).contains("$argon2") && !read(&table).contains("$argon2"));
    assert_eq!(place.run(&["export", "--full"], 0), read(&full));

    let target = self::place(Engine::Sqlite).await;
    assert!(target.run(&["import", "history", &redacted], 2).contains("export with --full"));
    let cut_off = file("cut-off.ndjson");
    std::fs::write(&cut_off, read(&full).split_inclusive('\n').take(3).collect::<String>()).unwrap();
    assert!(target.run(&["import", "history", &cut_off], 2).contains("cut off or changed"));
    assert!(target.run(&["import", "history", &full], 0).contains("events"));
    assert!(target.run(&["import", "history", &full], 2).contains("not empty"));
    assert_eq!(target.run(&["export", "--full"], 0), read(&full));
    assert_eq!(target.json(&["replay", "verify"], 0)["equal"], true);
    let program = target.installation.serve();
    // Passwords came along.
    program.admin().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_arguments_is_said_as_they_ask() {
    let place = place(Engine::Sqlite).await;
    for (arguments, expected) in [
        (&["replay", "list", "balances", "--at", "soon", "--json"][..], "invalid value 'soon' for '--at <AT>'"),
        (&["--json", "replay", "verify"], "unexpected argument '--json' found"),
        (&["replay", "verify", "--json", "--limit"], "a value is required for '--limit <LIMIT>'"),
        (&["replay", "diff", "--json", "--from", "1"], "the following required arguments were not provided: --to <TO>"),
        (&["replay", "verfy", "--json"], "unrecognized subcommand 'verfy'"),
        (&["export", "--format", "xml", "--json"], "invalid value 'xml' for '--format <FORMAT>'"),
    ] {
        let text = place.run(arguments, 2);
        let said: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let sentence = said["error"].as_str().unwrap();
        assert!(sentence.starts_with(expected) && !sentence.contains("Usage"), "{sentence}");
        let words: Vec<&str> = arguments.iter().copied().filter(|argument| *argument != "--json").collect();
        if expected.contains("--json") {
            continue;
        }
        let text = place.run(&words, 2);
        assert!(text.starts_with("error: ") && text.contains("--help"), "{text}");
    }
    assert!(place.run(&["replay", "verify", "--json", "--help"], 0).contains("Usage: "));
}
