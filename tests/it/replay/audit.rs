//! What an audit finds.

use api::surface::Surface;
use replay::audit::{Audit, Check, audit};
use rusqlite::Connection;
use tempfile::TempDir;
use tests::engine::Engine;
use tests::server::{TestServer, settings};

use super::{caught_up, issue, redeem, tamper};

async fn audited(server: &TestServer) -> Audit {
    audit(&server.log, &server.models, &()).await.unwrap()
}

async fn with_a_history(engine: Engine) -> TestServer {
    let server = TestServer::start(engine).await;
    let codes = issue(&server, 2).await;
    let user = server.user(Surface::Owl);
    for code in codes {
        redeem(&user.with("Idempotency-Key", &code), &code).await;
    }
    caught_up(&server).await;
    server
}

#[tokio::test]
async fn a_sound_log_is_found_sound_sqlite() {
    a_sound_log_is_found_sound(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_sound_log_is_found_sound_postgres() {
    a_sound_log_is_found_sound(Engine::Postgres).await;
}
async fn a_sound_log_is_found_sound(engine: Engine) {
    let fresh = audited(&TestServer::start(engine).await).await;
    let server = with_a_history(engine).await;
    let audit = audited(&server).await;
    assert!(fresh.sound && audit.sound, "{audit:#?}");
    // Two codes issued and redeemed, two credits of one balance; a key each for redemption and credit.
    let more = (audit.events - fresh.events, audit.streams - fresh.streams, audit.commands - fresh.commands);
    assert_eq!(more, (6, 3, 4));
    assert!(audit.projections.iter().all(|consumed| consumed.digest == consumed.digest_of_log));
}

#[tokio::test]
async fn a_projection_that_skipped_an_event_is_found() {
    let server = with_a_history(Engine::Sqlite).await;
    tamper(&server, "UPDATE checkpoints SET events = events - 1 WHERE table_name = 'balances_v2'").await;
    let audit = audited(&server).await;
    let checks: Vec<_> = audit.findings.iter().map(|finding| finding.check).collect();
    assert_eq!((audit.sound, checks), (false, vec![Check::Projections]));
}

/// Somebody with the file in hand, and the guards of the database out of the way.
async fn after_forging(sql: &str) -> Vec<Check> {
    let data = TempDir::new().unwrap();
    let config = api::config::Config { data_dir: data.path().to_owned(), ..settings() };
    let server = with_a_history(Engine::Sqlite).await;
    let whole = replay::export::Wanted {
        format: replay::export::Format::Ndjson,
        from: None,
        to: None,
        event_type: None,
        full: true,
    };
    let mut file = Vec::new();
    replay::export::export(&server.log, &whole, &mut file, &()).await.unwrap();
    let restore = api::storage::Storage::restore(&config).await.unwrap();
    replay::import::import(restore, file.as_slice(), file.len() as u64, &()).await.unwrap();
    let forger = Connection::open(data.path().join("log.db")).unwrap();
    forger.execute_batch("DROP TRIGGER events_are_never_changed; DROP TRIGGER events_are_never_deleted").unwrap();
    forger.execute_batch("DROP TRIGGER events_are_only_appended; DROP TRIGGER commands_are_answered_once").unwrap();
    assert!(forger.execute(sql, []).unwrap() > 0);
    let storage = api::storage::Storage::history(&config).await.unwrap();
    let projectors = replay::projections_named(None).unwrap();
    // Read models say what the forged log says, where it can be read at all.
    let _ = replay::rebuild::rebuild(&storage.log, &storage.models, projectors, &()).await;
    let mut checks: Vec<_> =
        audit(&storage.log, &storage.models, &()).await.unwrap().findings.iter().map(|finding| finding.check).collect();
    checks.dedup();
    // The forger took the guards away, which is found each time.
    assert_eq!(checks.pop(), Some(Check::Guards));
    checks
}

#[tokio::test]
async fn forged_events_are_found() {
    let forgeries = [
        (
            "DELETE FROM events WHERE position = (SELECT min(position) FROM events WHERE aggregate_type = 'recharge_code')",
            vec![Check::Positions, Check::Sequences],
        ),
        ("UPDATE events SET recorded_at = 0 WHERE position = 2", vec![Check::Times]),
        ("UPDATE events SET tenant = zeroblob(16) WHERE position = 4", vec![Check::Tenants]),
        (
            "UPDATE events SET payload = '{\"issued\":{}}' WHERE event_type = 'recharge_code.issued'",
            vec![Check::Payloads],
        ),
        ("UPDATE events SET event_version = 9 WHERE event_type = 'balance.credited'", vec![Check::Payloads]),
        (
            "UPDATE events SET event_id = (SELECT event_id FROM events WHERE position = 1) WHERE position = 2",
            vec![Check::Ids],
        ),
        (
            "UPDATE events SET payload = replace(payload, '\"amount\":\"10\"', '\"amount\":\"11\"') \
             WHERE event_type = 'balance.credited' AND sequence = 1",
            vec![Check::Balances],
        ),
        ("UPDATE commands SET last_position = 99 WHERE first_position > 3", vec![Check::Commands]),
        ("UPDATE reader_positions SET position = 99", vec![Check::Readers]),
    ];
    for (sql, expected) in forgeries {
        let found = after_forging(sql).await;
        assert!(expected.iter().all(|check| found.contains(check)), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn money_that_is_not_that_of_one_redemption_is_found() {
    let credit = "WHERE event_type = 'balance.credited' AND sequence = 2";
    let forgeries = [
        // The first redemption is credited twice.
        format!(
            "UPDATE events SET payload = json_set(payload, '$.credited.redemption_id', (SELECT \
             json_extract(payload, '$.credited.redemption_id') FROM events \
             WHERE event_type = 'balance.credited' AND sequence = 1)) {credit}"
        ),
        // More is credited than was redeemed; the entries still sum.
        format!(
            "UPDATE events SET payload = \
             json_set(payload, '$.credited.amount', '11', '$.credited.balance_after', '21') {credit}"
        ),
        // Nobody redeemed it.
        format!(
            "UPDATE events SET payload = json_set(payload, '$.credited.redemption_id', \
             '00000000-0000-0000-0000-000000000001') {credit}"
        ),
    ];
    for sql in forgeries {
        assert_eq!(after_forging(&sql).await, [Check::Redemptions], "{sql}");
    }
}
