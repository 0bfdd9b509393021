//! What outlives the program, and what nobody can change.

use chrono::Datelike;
use domain::TenantId;
use domain::log::{Append, EVENT_BYTES_MAX, PAGE_EVENTS_MAX};
use futures::future::join_all;
use tests::events::{append, event, key};

use super::{Durable, done, positions, read_everything};

pub(super) async fn everything_is_there_after_reopening(engine: &impl Durable) {
    let log = engine.open().await;
    let appended = join_all((0..50).map(|number| {
        let log = &log;
        async move { done(&**log, append("lead", &number.to_string(), 0, 3)).await }
    }))
    .await;
    let mut appended = appended.concat();
    appended.sort_by_key(|event| event.position);
    let log = engine.reopen(log).await;
    assert_eq!(log.head().await.unwrap(), 150);
    assert_eq!(read_everything(&*log, &[], 40).await, appended);
    let next = done(&*log, append("lead", "0", 3, 1)).await;
    assert_eq!(next[0].position, 151);
    assert!(next[0].recorded_at >= appended[149].recorded_at);
}

pub(super) async fn keys_are_kept_for_good(engine: &impl Durable) {
    let log = engine.open().await;
    let asked = key("asked", b"body");
    done(&*log, Append { key: Some(asked.clone()), ..append("lead", "1", 0, 2) }).await;
    let log = engine.reopen(log).await;
    log.keep_answer(TenantId::DEFAULT, &asked, b"answer".to_vec()).await.unwrap();
    let log = engine.reopen(log).await;
    let kept = log.command(TenantId::DEFAULT, "asked").await.unwrap().unwrap();
    assert_eq!((kept.first_position, kept.last_position), (1, 2));
    assert_eq!((kept.fingerprint, kept.answer), (asked.fingerprint, Some(b"answer".to_vec())));
}

pub(super) async fn the_database_refuses_changes(engine: &impl Durable) {
    let log = engine.open().await;
    let before = done(&*log, append("lead", "1", 0, 3)).await;
    for change in [
        "UPDATE events SET payload = '{}'",
        "UPDATE events SET position = 7 WHERE position = 3",
        "DELETE FROM events",
        "DELETE FROM events WHERE position = 3",
    ] {
        let refusal = engine.sql(change).await.unwrap_err();
        assert!(refusal.contains("events are"), "{change}: {refusal}");
    }
    let log = engine.reopen(log).await;
    assert_eq!(read_everything(&*log, &[], 10).await, before);
}

pub(super) async fn a_guard_that_is_gone_is_missed(engine: &impl Durable) {
    let log = engine.open().await;
    assert_eq!(log.missing_guards().await.unwrap(), [""; 0]);
    let on_sqlite = "DROP TRIGGER events_are_never_changed";
    let on_postgres = "ALTER TABLE events DISABLE TRIGGER events_are_never_changed";
    assert!(engine.sql(on_sqlite).await.is_ok() || engine.sql(on_postgres).await.is_ok());
    assert_eq!(log.missing_guards().await.unwrap(), ["events_are_never_changed"]);
}

pub(super) async fn the_database_refuses_changes_of_keys(engine: &impl Durable) {
    let log = engine.open().await;
    done(&*log, Append { key: Some(key("asked", b"body")), ..append("lead", "1", 0, 1) }).await;
    for change in [
        "DELETE FROM commands",
        "UPDATE commands SET key = 'other'",
        "UPDATE commands SET first_position = 9",
        "UPDATE commands SET fingerprint = NULL",
    ] {
        assert!(engine.sql(change).await.is_err(), "{change}");
    }
    log.keep_answer(TenantId::DEFAULT, &key("asked", b"body"), b"answer".to_vec()).await.unwrap();
    let refusal = engine.sql("UPDATE commands SET answer = NULL").await.unwrap_err();
    assert!(refusal.contains("answer once"), "{refusal}");
}

pub(super) async fn time_stands_still_rather_than_going_back(engine: &impl Durable) {
    drop(engine.open().await);
    engine.sql(&engine.insert_in(2_100)).await.unwrap();
    let log = engine.open().await;
    done(&*log, append("lead", "2", 0, 1)).await;
    done(&*log, append("lead", "3", 0, 1)).await;
    let years = read_everything(&*log, &[], 10).await.into_iter().map(|event| event.recorded_at.year());
    assert_eq!(years.collect::<Vec<_>>(), [2_100, 2_100, 2_100]);
}

pub(super) async fn heavy_pages_end_early(engine: &impl Durable) {
    let log = engine.open().await;
    let payload = format!("\"{}\"", "x".repeat(EVENT_BYTES_MAX - 2));
    for number in 0..20 {
        done(&*log, Append { events: vec![event(&payload)], ..append("lead", &number.to_string(), 0, 0) }).await;
    }
    let log = engine.reopen(log).await;
    for wanted in [&[][..], &["lead"][..]] {
        let page = log.read_all(0, wanted, PAGE_EVENTS_MAX).await.unwrap();
        assert!(page.events.len() < 20, "{} MiB in one page", page.events.len());
        assert_eq!(page.through, page.events.len() as u64);
        let everything = read_everything(&*log, wanted, PAGE_EVENTS_MAX).await;
        assert_eq!(positions(&everything), (1..=20).collect::<Vec<_>>());
    }
}

pub(super) async fn a_rare_event_is_found_behind_many_others(engine: &impl Durable) {
    let log = engine.open().await;
    let many = (0..101).map(|number| log.append(append("site", &number.to_string(), 0, 1_000)));
    join_all(many).await.into_iter().for_each(|appended| drop(appended.unwrap()));
    let rare = done(&*log, append("lead", "1", 0, 1)).await;
    let log = engine.reopen(log).await;
    let first = log.read_all(0, &["lead"], 10).await.unwrap();
    assert!(first.events.is_empty() && first.through < rare[0].position, "one page looks only so far");
    assert_eq!(read_everything(&*log, &["lead"], 10).await, rare);
}
