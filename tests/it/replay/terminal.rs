//! Values from outside on somebody's terminal.

use domain::Metadata;
use domain::log::{Append, NewEvent};
use domain::metadata::TenantId;
use serde_json::json;
use tests::engine::Engine;
use tests::fresh_id;
use tests::program::Installation;
use tests::server::TestServer;

use super::{caught_up, tamper};

/// Clears the screen, goes on in a line of its own, and writes from the right to the left.
const EVIL: &str = "\u{1b}[2J\nbalances: equal\r\u{9b}31m\u{7f}\u{202e}";
const SHOWN: &str = r"\u{1b}[2J\nbalances: equal\r\u{9b}31m\u{7f}\u{202e}";

/// A log may hold what today's commands refuse.
async fn with_an_evil_code() -> TestServer {
    let server = TestServer::start(Engine::Sqlite).await;
    let issued = json!({ "issued": {
        "code_id": fresh_id(), "prefix": "OWL-0000", "amount": "10", "description": EVIL,
        "expires_at": null, "max_uses": 1, "issued_by": fresh_id(),
    }});
    let mut metadata = Metadata::of(TenantId::DEFAULT, "system", "cli", fresh_id());
    metadata.actor = format!("user:{EVIL}").into();
    let append = Append {
        aggregate_type: "recharge_code",
        aggregate_id: "evil".to_owned(),
        expected_sequence: 0,
        events: vec![NewEvent {
            event_id: fresh_id(),
            event_type: "recharge_code.issued",
            event_version: 1,
            payload: issued.to_string(),
        }],
        tenant: TenantId::DEFAULT,
        metadata: serde_json::to_string(&metadata).unwrap(),
        key: None,
    };
    server.log.append(append).await.unwrap();
    caught_up(&server).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_are_shown_and_not_obeyed() {
    let server = with_an_evil_code().await;
    tamper(&server, "UPDATE recharge_codes_v1 SET description = description || char(27) || char(10) || 'x'").await;
    let installation = Installation { data_dir: server.data_dir().to_owned(), database_url: None };
    let head = server.head().await.to_string();
    let reports = [
        &["replay", "list", "recharge_codes"][..],
        &["replay", "show", "recharge_code/evil"],
        &["replay", "diff", "--from", "0", "--to", &head, "--projection", "recharge_codes"],
        &["replay", "verify", "--projection", "recharge_codes"],
    ];
    for arguments in reports {
        let (_, text) = installation.run(arguments);
        let obeyed = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
        assert!(!text.contains(obeyed) && text.contains(SHOWN), "{arguments:?}: {text:?}");
        assert!(text.lines().all(|line| !line.starts_with("balances")), "{arguments:?}: {text}");
    }
    let (_, text) = installation.run(&["replay", "show", "recharge_code/e\u{1b}vil"]);
    assert!(text.contains(r"there is no recharge_code/e\u{1b}vil"), "{text:?}");
}
