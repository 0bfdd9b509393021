//! Who may append, and what.

use std::collections::HashMap;
use std::sync::Arc;

use domain::log::{
    AGGREGATE_ID_BYTES_MAX, APPEND_BYTES_MAX, APPEND_EVENTS_MAX, Appended, EVENT_BYTES_MAX, KEY_BYTES_MAX, LogError,
};
use futures::future::join_all;
use tests::events::{append, event, key};
use tokio::sync::Barrier;

use super::{Engine, done, positions, read_everything};

pub(super) async fn an_append_names_the_sequence_it_saw(engine: &impl Engine) {
    let log = engine.open().await;
    let first = done(&*log, append("lead", "1", 0, 2)).await;
    assert_eq!(first.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
    for seen in [0, 1, 3] {
        let appended = log.append(append("lead", "1", seen, 1)).await.unwrap();
        assert!(matches!(appended, Appended::Conflict), "at 2, expected {seen}: {appended:?}");
    }
    let next = done(&*log, append("lead", "1", 2, 1)).await;
    assert_eq!((next[0].sequence, next[0].position), (3, 3));
    done(&*log, append("deal", "1", 0, 1)).await;
    assert_eq!(log.read_stream("lead", "1", 0).await.unwrap(), [first, next].concat());
}

pub(super) async fn of_two_writers_one_wins(engine: &impl Engine) {
    let log = engine.open().await;
    for sequence in 0..200 {
        let start = Barrier::new(2);
        let race = || async {
            start.wait().await;
            log.append(append("lead", "1", sequence, 1)).await.unwrap()
        };
        let (one, other) = tokio::join!(race(), race());
        let won = [&one, &other].iter().filter(|appended| matches!(appended, Appended::Done(_))).count();
        let lost = [&one, &other].iter().filter(|appended| matches!(appended, Appended::Conflict)).count();
        assert_eq!((won, lost), (1, 1), "at {sequence}: {one:?}, {other:?}");
    }
    assert_eq!(log.read_stream("lead", "1", 0).await.unwrap().len(), 200);
}

pub(super) async fn losers_do_not_fail_their_neighbours(engine: &impl Engine) {
    let log = engine.open().await;
    done(&*log, append("lead", "taken", 0, 1)).await;
    let writers = (0..200).map(|number| {
        let stream = if number % 2 == 0 { "taken".to_owned() } else { number.to_string() };
        log.append(append("lead", &stream, 0, 1))
    });
    for (number, appended) in join_all(writers).await.into_iter().enumerate() {
        let won = matches!(appended.unwrap(), Appended::Done(_));
        assert_eq!(won, number % 2 == 1, "writer {number}");
    }
    assert_eq!(log.head().await.unwrap(), 101);
}

pub(super) async fn many_writers_fill_the_log_without_gaps(engine: &impl Engine) {
    let log = engine.open().await;
    let writers = (0..64).map(|writer| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for sequence in 0..20 {
                let stream = writer.to_string();
                acknowledged.extend(done(&*log, append("lead", &stream, sequence * 2, 2)).await);
            }
            acknowledged
        })
    });
    let mut acknowledged: Vec<_> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    acknowledged.sort_by_key(|event| event.position);
    let events = read_everything(&*log, &[], 1_000).await;
    assert_eq!(positions(&events), (1..=64 * 40).collect::<Vec<_>>());
    assert_eq!(events, acknowledged);
    let mut streams = HashMap::new();
    for event in &events {
        let last = streams.insert(&*event.aggregate_id, event.sequence).unwrap_or(0);
        assert_eq!(event.sequence, last + 1, "in stream {}", event.aggregate_id);
    }
}

pub(super) async fn what_is_too_large_is_refused(engine: &impl Engine) {
    let log = engine.open().await;
    let mut heavy = append("lead", "1", 0, 2);
    heavy.events.push(event(&json_of(EVENT_BYTES_MAX + 1)));
    let mut heavy_together = append("lead", "1", 0, 0);
    heavy_together.events = vec![event(&json_of(EVENT_BYTES_MAX)); APPEND_BYTES_MAX / EVENT_BYTES_MAX + 1];
    let mut long_key = append("lead", "1", 0, 1);
    long_key.key = Some(key(&"k".repeat(KEY_BYTES_MAX + 1), b""));
    let refused = [
        heavy,
        heavy_together,
        append("lead", "1", 0, APPEND_EVENTS_MAX + 1),
        append("lead", &"1".repeat(AGGREGATE_ID_BYTES_MAX + 1), 0, 1),
        append("lead", "1\0", 0, 1),
        long_key,
    ];
    for too_large in refused {
        let refusal = log.append(too_large).await.unwrap_err();
        assert!(matches!(refusal, LogError::TooLarge(_)), "{refusal:?}");
    }
    assert_eq!(log.head().await.unwrap(), 0);

    let mut largest = append("lead", &"1".repeat(AGGREGATE_ID_BYTES_MAX), 0, 1);
    largest.events.push(event(&json_of(EVENT_BYTES_MAX)));
    largest.key = Some(key(&"k".repeat(KEY_BYTES_MAX), b""));
    assert_eq!(done(&*log, largest).await.len(), 2);
    assert_eq!(done(&*log, append("lead", "1", 0, APPEND_EVENTS_MAX)).await.len(), APPEND_EVENTS_MAX);
}

pub(super) async fn odd_texts_come_back_unchanged(engine: &impl Engine) {
    let log = engine.open().await;
    let texts = ["", " ", "ключ 钥匙 🔑", "'; DROP TABLE events; --", "{\"a\":1}", "\\x00", "NULL", "a,b{}\"\t\n"];
    for (number, text) in texts.into_iter().enumerate() {
        let mut odd = append("lead", text, 0, 0);
        odd.events.push(event(&serde_json::json!({ "said": text, "control": "\u{0}\u{1f}" }).to_string()));
        odd.key = Some(key(text, text.as_bytes()));
        let appended = done(&*log, odd).await;
        assert_eq!(log.read_stream("lead", text, 0).await.unwrap(), appended);
        let kept = log.command(appended[0].tenant, text).await.unwrap().unwrap();
        assert_eq!((kept.fingerprint.as_slice(), kept.first_position), (text.as_bytes(), number as u64 + 1));
    }
    assert!(log.read_stream("lead", "\0", 0).await.unwrap().is_empty());
}

/// JSON of so many bytes.
fn json_of(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}
