//! What is kept of an installation is all that it takes to go on elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tests::program::{Installation, Program};

fn installation(data: &Path) -> Installation {
    Installation { data_dir: data.to_owned(), database_url: None }
}

/// Copies files, each by itself, without any that SQLite keeps beside them.
fn copied(files: &[&str], from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for file in files {
        fs::copy(from.join(file), to.path().join(file)).unwrap();
    }
    to
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_stopped_server_are_whole_by_themselves() {
    let data = TempDir::new().unwrap();
    let program = installation(data.path()).serve();
    let (admin, user) = (program.admin().await, program.new_user("ann").await);
    let codes = admin.post("/api/recharge/codes", json!({ "amount": 10, "batch_size": 2 })).await.expect(200);
    user.post("/api/recharge/redeem", json!({ "code": codes.at("/data/codes/0/code") })).await.expect(200);
    assert!(program.terminate().success());
    for file in fs::read_dir(data.path()).unwrap().map(Result::unwrap) {
        let is_log = file.file_name().to_string_lossy().ends_with("-wal");
        assert!(!is_log || file.metadata().unwrap().len() == 0, "{} holds something", file.path().display());
    }

    let copy = copied(&["log.db", "secret.key"], data.path());
    let program = installation(copy.path()).serve();
    // Who signed in before is still signed in, and codes are still known by their hashes.
    let user = program.reached_by(&user);
    user.post("/api/recharge/redeem", json!({ "code": codes.at("/data/codes/1/code") })).await.expect(200);
    let balance = user.get("/api/recharge/balance").await.expect(200);
    assert_eq!(balance.at("/data/balance"), &json!(20.0));
    program.admin().await;
    assert!(program.terminate().success());
    let (status, text) = installation(copy.path()).run(&["audit"]);
    assert!(status.success(), "{text}");
}

#[tokio::test]
async fn a_secret_without_a_history_is_told_of() {
    let data = TempDir::new().unwrap();
    let warnings = |data: &Path| {
        let said = TempDir::new().unwrap();
        let file = said.path().join("said");
        let mut command = installation(data).command();
        command.stderr(fs::File::create(&file).unwrap());
        assert!(Program::spawn(command).terminate().success());
        fs::read_to_string(file).unwrap()
    };
    let first = warnings(data.path());
    assert!(!first.contains("secret.key"), "{first}");
    let alone = copied(&["secret.key"], data.path());
    let said = warnings(alone.path());
    let (secret, log) = (alone.path().join("secret.key"), alone.path().join("log.db"));
    for named in [secret, log] {
        assert!(said.contains(&named.display().to_string()), "{} is not in {said}", named.display());
    }
    let again = warnings(alone.path());
    assert!(!again.contains("secret.key"), "{again}");
}

#[tokio::test]
async fn the_data_are_their_owners_alone() {
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    let mut command = installation(place.path()).command();
    command.env("CORELOG_DATA_DIR", &data);
    drop(Program::spawn(command));
    let mode = fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(format!("{:o}", mode & 0o777), "700");
}
