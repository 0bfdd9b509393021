//! What the subcommands about history refuse, and how they say it.

use std::process::Stdio;

use serde_json::Value;
use tests::engine::Engine;

use super::command_line::place;

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let place = place(Engine::Sqlite).await;
    assert!(place.run(&["replay", "verify"], 2).contains("there is no log at"));
    drop(place.installation.serve());
    assert!(place.run(&["replay", "show", "user"], 2).contains("<aggregate_type>/<id>"));
    assert!(place.run(&["replay", "show", "user/nobody"], 2).contains("there is no user/nobody"));
    let early = place.run(&["replay", "show", "user/nobody", "--at", "1"], 2);
    assert!(early.contains("there was no user/nobody at position 1"), "{early}");
    assert!(place.run(&["replay", "show", "usher/x"], 2).contains("there is no sort of aggregate usher"));
    assert!(place.run(&["replay", "rebuild", "--projection", "x"], 2).contains("there is no projection x"));
    assert!(place.run(&["replay", "list", "balances", "--at", "soon"], 2).contains("must be a position or a time"));
    assert!(place.run(&["replay", "diff", "--from", "2", "--to", "2"], 0).contains("Nothing changed."));
    let unknown = place.run(&["export", "--type", "nope"], 2);
    assert!(unknown.contains("there is no sort of aggregate nope; there are: recharge_code, "), "{unknown}");
    let unknown = place.run(&["export", "--type", "balance.nope"], 2);
    assert!(unknown.contains("there is no event balance.nope; there are: balance.credited, "), "{unknown}");
    let backwards = place.run(&["export", "--from", "9", "--to", "5"], 2);
    assert!(backwards.contains("the range ends before it begins"), "{backwards}");
    assert!(place.run(&["export", "--full", "--format", "csv"], 2).contains("--full is for ndjson"));
    let directory = place.installation.data_dir.display().to_string();
    let refused = place.run(&["import", "history", &directory], 2);
    assert!(refused.contains(&format!("{directory} is a directory, not a file")), "{refused}");
}

#[tokio::test]
async fn a_program_that_asks_for_json_is_refused_in_json() {
    let place = place(Engine::Sqlite).await;
    let asked = [&["audit", "--json"][..], &["replay", "show", "user/nobody", "--json"], &["export", "--json"]];
    for arguments in asked {
        let output = place.installation.command().args(arguments).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert!(said["error"].as_str().unwrap().contains("there is no log at"), "{said}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
    // 1 would mean that something was found.
    let output = place.installation.command().args(["audit", "--json"]).env("CORELOG_MODE", "x").output().unwrap();
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(said["error"].as_str().unwrap().contains("the setting mode"), "{said}");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_fault() {
    let place = place(Engine::Sqlite).await;
    drop(place.installation.serve());
    for arguments in [&["config"][..], &["audit"], &["replay", "list", "balances"], &["export"]] {
        let (nobody, pipe) = std::io::pipe().unwrap();
        drop(nobody);
        let mut command = place.installation.command();
        let output = command.args(arguments).stdout(pipe).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
