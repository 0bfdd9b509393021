//! Keys, tokens, passwords and the addresses of receivers: in no log line, no event, no export and no file.

use std::fs::{self, File};
use std::path::Path;

use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::json;
use tests::postgres::Database;
use tests::program::{Installation, Program};
use tests::server::Client;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::devices::device;

const PASSWORD: &str = "Secure-pass-that-nobody-sees-1";
const WEBHOOK_KEY: &str = "webhook-key-that-nobody-sees";
const WEBHOOK_PATH: &str = "webhook-path-that-nobody-sees";
const PUSH_PATH: &str = "push-address-that-nobody-sees";
/// A key pair's public half, and what a browser made up beside it.
const P256DH: &str = "BLn9b-VR0ca83knDNZ32dCHGyjJp-1riX9ZTN40MqV8K_LpQmLqxC_DoHvqvFXO_nGdAB4W9dogZb_sM-uV4JbY";
const AUTH: &str = "_ordMnz7uTCmrpBTeUV4Bw";

#[tokio::test]
async fn no_secret_is_left_anywhere_sqlite() {
    no_secret_is_left_anywhere(None).await;
}
#[tokio::test]
async fn no_secret_is_left_anywhere_postgres() {
    no_secret_is_left_anywhere(Some(Database::create().await)).await;
}
async fn no_secret_is_left_anywhere(database: Option<Database>) {
    let (data, lines) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let installation =
        Installation { data_dir: data.path().to_owned(), database_url: database.as_ref().map(Database::url) };
    let mut command = installation.command();
    command.env("CORELOG_LOG", "debug").env("CORELOG_ALERTS__ALLOW_PRIVATE_TARGETS", "true");
    command.env("CORELOG_ALERTS__RETRY_AFTER_MS", "[10, 10, 10]").stderr(File::create(lines.path()).unwrap());
    let program = Program::spawn(command);
    let secrets = use_everything(&program).await;
    assert!(program.terminate().success());
    let (exported, history) = installation.run(&["export"]);
    assert!(exported.success() && history.contains("alert.triggered"), "{history}");
    let mut places = vec![("the export".to_owned(), history), ("the log".to_owned(), text(lines.path()))];
    places.extend(
        fs::read_dir(data.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.display().to_string(), text(&path))),
    );
    for (place, found) in &places {
        for (name, secret) in &secrets {
            assert!(!found.contains(secret.as_str()), "{name} is in {place}");
        }
    }
    assert!(places.iter().any(|(_, found)| found.contains("alert.triggered")));
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

/// Somebody uses everything that takes or gives a secret. Answers the secrets, by name.
async fn use_everything(program: &Program) -> Vec<(&'static str, String)> {
    let anonymous = program.anonymous();
    let body = json!({ "email": "john@example.com", "username": "johndoe", "password": PASSWORD });
    anonymous.post("/api/v1/users/register", body).await.expect(201);
    let entered = anonymous.post("/api/v1/users/login", json!({ "login": "johndoe", "password": PASSWORD })).await;
    let token = |pointer: &str| entered.at(pointer).as_str().unwrap().to_owned();
    let owner = anonymous.with_token(&token("/data/access_token"));
    let wishes = json!({
        "webhook_enabled": true, "webhook_secret": WEBHOOK_KEY, "webhook_url": format!("http://127.0.0.1:9/{WEBHOOK_PATH}")
    });
    owner.put("/api/v1/notifications/preferences", wishes).await.expect(200);
    let keys = json!({ "p256dh": P256DH, "auth": AUTH });
    let subscription = json!({ "endpoint": format!("http://127.0.0.1:9/{PUSH_PATH}"), "keys": keys });
    owner.post("/api/v1/notifications/web-push/subscribe", subscription).await.expect(201);
    let (id, key) = device(&owner, "hall").await;
    let issued = owner.post(&format!("/api/v1/devices/{id}/tokens"), json!({ "name": "t", "permission": "all" })).await;
    let device_token = issued.expect(201).at("/data/token").as_str().unwrap().to_owned();
    let session = anonymous.post("/api/v1/auth/exchange", json!({ "api_key": key })).await.expect(200);
    let session = session.at("/data/access_token").as_str().unwrap().to_owned();
    for credential in [&key, &device_token, &session] {
        let reporting = anonymous.with_token(credential);
        reporting.post("/api/v1/battery/report", json!({ "battery_level": 50 })).await.expect(200);
    }
    let by_url = format!("/api/v1/compat/battery/report?token={device_token}&level=15");
    anonymous.get(&by_url).await.expect(200);
    live(program, owner.token().unwrap(), "jwt").await;
    live(program, &device_token, "device_token").await;
    told(&owner).await;
    let rotated = owner.send(Method::POST, &format!("/api/v1/devices/{id}/rotate-key"), None).await.expect(200);
    // What is wrong may be secret as well.
    anonymous
        .with("x-api-key", "zn_live_wrong-and-still-secret")
        .get(&format!("/api/v1/battery/latest/{id}"))
        .await
        .expect(401);
    vec![
        ("a password", PASSWORD.to_owned()),
        ("an access token", token("/data/access_token")),
        ("a refresh token", token("/data/refresh_token")),
        ("a device's key", key),
        ("a device's new key", rotated.at("/data/api_key").as_str().unwrap().to_owned()),
        ("a wrong key", "zn_live_wrong-and-still-secret".to_owned()),
        ("a device's token", device_token),
        ("a device's session", session),
        ("a webhook's key", WEBHOOK_KEY.to_owned()),
        ("a webhook's address", WEBHOOK_PATH.to_owned()),
        ("a browser's address", PUSH_PATH.to_owned()),
        ("a browser's key", AUTH.to_owned()),
    ]
}

/// Shows a token on a live connection.
async fn live(program: &Program, token: &str, auth_type: &str) {
    let (mut socket, _) = connect_async(format!("ws://{}/api/v1/battery/ws", program.address())).await.unwrap();
    let auth = json!({ "type": "auth", "token": token, "auth_type": auth_type });
    socket.send(Message::text(auth.to_string())).await.unwrap();
    let greeting = socket.next().await.unwrap().unwrap();
    assert!(greeting.into_text().unwrap().contains("connected"));
    assert!(socket.next().await.unwrap().unwrap().into_text().unwrap().contains("\"success\":true"));
}

/// Waits until there is an alert, and until the receivers (of whom there are none) were tried.
async fn told(owner: &Client) {
    let waiting = async {
        loop {
            let alerts = owner.get("/api/v1/alerts/events").await.expect(200);
            if alerts.at("/data/pagination/total_items") == 1 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(tests::server::WAIT_MAX, waiting).await.unwrap();
}
